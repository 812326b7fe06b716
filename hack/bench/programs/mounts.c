// mounts N DIRECTORY: a private copy of this mount namespace in which /proc/self/mounts has N lines, the missing ones
// being bind mounts below DIRECTORY. Prints a line when it is ready and keeps the namespace until it is killed.
// (mount(8) would read the whole table for each of them.)
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what) {
  fprintf(stderr, "mounts: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int lines(void) {
  FILE *table = fopen("/proc/self/mounts", "r");
  int count = 0;
  if (!table) die("/proc/self/mounts");
  for (int c; (c = getc(table)) != EOF;) count += c == '\n';
  fclose(table);
  return count;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: mounts N DIRECTORY\n");
    return 2;
  }
  if (unshare(CLONE_NEWNS)) die("unshare");
  // Our mounts must not appear in the namespace that we came from.
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("make / private");
  if (chdir(argv[2])) die(argv[2]);
  for (int i = 0, missing = atoi(argv[1]) - lines(); i < missing; i++) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    if (mkdir(name, 0755) && errno != EEXIST) die(name);
    if (mount(name, name, NULL, MS_BIND, NULL)) die(name);
  }
  printf("%d\n", lines());
  fflush(stdout);
  // Nobody needs our descriptors: the reader of that line sees its end.
  for (fclose(stdout);;) pause();
}
