// reap: the kernel's own price of ending a running container, to compare `delete --force` with.
//
//   reap list PIDFILE        print the directories of the process's cgroups
//   reap PIDFILE LIST        kill(2), poll(2) of the pidfd, rmdir(2) of these directories: no more
//
// A process that has ended may be in its cgroups a moment longer (EBUSY); then rmdir is called again.
//
//   cc -O2 -static -o reap reap.c
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void die(const char *what) {
  fprintf(stderr, "reap: %s: %s\n", what, strerror(errno));
  exit(1);
}

static FILE *open_file(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) die(path);
  return file;
}

static void list(int pid) {
  char path[64], line[4096], dir[4200];
  snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
  FILE *file = open_file(path);
  while (fgets(line, sizeof line, file)) { // number:controllers:path
    line[strcspn(line, "\n")] = 0;
    char *name = strchr(line, ':') + 1, *below = strchr(name, ':');
    *below++ = 0;
    if (!strncmp(name, "name=", 5)) name += 5;
    snprintf(dir, sizeof dir, "/sys/fs/cgroup/%s%s", name, below);
    if (below[1] && !access(dir, F_OK)) puts(dir);
  }
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: reap list PIDFILE | reap PIDFILE LIST\n");
    return 2;
  }
  int lists = !strcmp(argv[1], "list"), pid;
  if (fscanf(open_file(argv[lists ? 2 : 1]), "%d", &pid) != 1) die("no pid");
  if (lists) {
    list(pid);
    return 0;
  }
  struct pollfd end = {.fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
  if (end.fd < 0) die("pidfd_open");
  if (kill(pid, SIGKILL)) die("kill");
  if (poll(&end, 1, -1) != 1) die("poll");
  FILE *dirs = open_file(argv[2]);
  char dir[4200];
  while (fgets(dir, sizeof dir, dirs)) {
    dir[strcspn(dir, "\n")] = 0;
    while (rmdir(dir))
      if (errno != EBUSY) die(dir);
  }
  return 0;
}
