// interleave ROUNDS LANE_FILE...: run the lanes' commands in turns and print what each timed one took.
//
// A lane is one runtime. Each line of its file is one step:
//   CASE: COMMAND ARG...    timed; one line on standard output: CASE <tab> LANE <tab> NANOSECONDS
//   : COMMAND ARG...        not timed
//   ended PIDFILE           wait for the process in PIDFILE, a container's init, to end
// The lane's name is the file's last path element. Words are split at blanks; there is no quoting.
//
// A round runs every lane once, each round beginning with another one: what else the machine does meanwhile meets all
// of them alike. One round goes before and is not counted. A time reaches from before posix_spawn to after wait4, so
// it contains the program's own start, as an engine sees it.
//
//   cc -O2 -o interleave interleave.c
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LANES = 16, MAX_STEPS = 64, MAX_WORDS = 64 };

struct step {
  const char *name; // of the case; empty: not timed
  char *words[MAX_WORDS];
};
static struct lane {
  const char *name;
  int count;
  struct step steps[MAX_STEPS];
} lanes[MAX_LANES];

static void die(const char *what, const char *name) {
  fprintf(stderr, "interleave: %s: %s: %s\n", name, what, strerror(errno));
  exit(1);
}

static void load(struct lane *lane, const char *path) {
  FILE *file = fopen(path, "r");
  char *line = NULL;
  size_t room = 0;
  if (!file) die("open", path);
  lane->name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  while (getline(&line, &room, file) > 0) {
    struct step *step = &lane->steps[lane->count];
    char *rest = strdup(line), *colon = strchr(rest, ':');
    line[strcspn(line, "\n")] = 0;
    rest[strcspn(rest, "\n")] = 0;
    if (!*rest) continue;
    if (++lane->count == MAX_STEPS) errno = E2BIG, die("steps", path);
    step->name = "";
    if (strncmp(rest, "ended ", 6)) {
      if (!colon) errno = EINVAL, die(rest, path);
      *colon = 0;
      step->name = rest;
      rest = colon + 1;
    }
    int n = 0;
    for (char *word = strtok(rest, " "); word; word = strtok(NULL, " ")) {
      if (n == MAX_WORDS - 1) errno = E2BIG, die("words", path);
      step->words[n++] = word;
    }
  }
  free(line);
  fclose(file);
}

// We are the subreaper, as an engine's shim is, so a detached container's init has become our child.
static void ended(const struct lane *lane, const char *path) {
  FILE *file = fopen(path, "r");
  int pid, status;
  if (!file || fscanf(file, "%d", &pid) != 1) die(path, lane->name);
  fclose(file);
  if (waitpid(pid, &status, 0) < 0) die("wait for the container's init", lane->name);
}

static long long run(const struct lane *lane, const struct step *step, posix_spawn_file_actions_t *quiet) {
  extern char **environ;
  struct timespec from, to;
  int status, failed;
  pid_t pid;
  clock_gettime(CLOCK_MONOTONIC, &from);
  failed = posix_spawnp(&pid, step->words[0], quiet, NULL, step->words, environ);
  if (failed) errno = failed, die(step->words[0], lane->name);
  if (wait4(pid, &status, 0, NULL) < 0) die("wait4", lane->name);
  clock_gettime(CLOCK_MONOTONIC, &to);
  if (status) {
    fprintf(stderr, "interleave: %s: status %#x from:", lane->name, status);
    for (int i = 0; step->words[i]; i++) fprintf(stderr, " %s", step->words[i]);
    fprintf(stderr, "\n");
    exit(1);
  }
  return (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec;
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 0, count = argc - 2;
  posix_spawn_file_actions_t quiet;
  if (argc < 3 || count > MAX_LANES) {
    fprintf(stderr, "usage: interleave ROUNDS LANE_FILE...\n");
    return 2;
  }
  for (int i = 0; i < count; i++) load(&lanes[i], argv[i + 2]);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) die("subreaper", "prctl");
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
  for (int round = 0; round <= rounds; round++)
    for (int i = 0; i < count; i++) {
      struct lane *lane = &lanes[(i + round + count - 1) % count];
      for (int k = 0; k < lane->count; k++) {
        struct step *step = &lane->steps[k];
        if (!strcmp(step->words[0], "ended")) {
          ended(lane, step->words[1]);
          continue;
        }
        long long took = run(lane, step, &quiet);
        if (round && *step->name) printf("%s\t%s\t%lld\n", step->name, lane->name, took);
      }
    }
  return 0;
}
