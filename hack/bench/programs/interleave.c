// interleave ROUNDS LANE_FILE...: run the lanes' commands in turns and print what each timed one took.
//
// A lane is one runtime in one setting. Each line of its file is one step:
//   CASE: COMMAND ARG...       timed; one line on standard output: CASE <tab> LANE <tab> NANOSECONDS; the first % in a
//                              word is the number of the round
//   : COMMAND ARG...           not timed
//   N* CASE: COMMAND ARG-%...  N processes at once, % being 0 to N - 1; timed from the first start to the last end
//   cpu* CASE: COMMAND ARG...  not the time but the CPU time, of the user and the kernel, with that of children
//   ended PIDFILE              wait for the process in PIDFILE, a container's init, to end
//   CASE: ended PIDFILE        the same, timed
//   mounts FILE                the steps after it run in this mount namespace
// The lane's name is the file's last path element. Words are split at blanks; there is no quoting.
//
// A round runs every lane once, each round beginning with another one: what else the machine does meanwhile meets all
// of them alike. One round goes before and is not counted. A time reaches from before posix_spawn to after wait4, so
// it contains the program's own start, as an engine sees it.
//
// A lane whose command fails is not run again, and is left out: ! <tab> CASE <tab> LANE <tab> REASON for each of its
// cases, the reason being the command's last line on standard error.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LANES = 64, MAX_STEPS = 64, MAX_WORDS = 1024, MAX_AT_ONCE = 1000, NAME_SIZE = 256 };

struct step {
  const char *name; // of the case; empty: not timed
  int at_once;      // 0: one, its words as they are
  int cpu;          // whether its CPU time is what is asked for
  char *words[MAX_WORDS];
};
static struct lane {
  const char *name;
  int count, left_out;
  struct step steps[MAX_STEPS];
} lanes[MAX_LANES];

static int errors = -1, own_mounts = -1; // what the commands write to standard error; the namespace we came from
static char reason[512];
static posix_spawn_file_actions_t quiet;

static void die(const char *what, const char *name) {
  fprintf(stderr, "interleave: %s: %s: %s\n", name, what, strerror(errno));
  exit(1);
}

static void parse(struct step *step, char *rest, const char *path) {
  char *colon = strchr(rest, ':');
  step->name = "";
  if (strncmp(rest, "ended ", 6) && strncmp(rest, "mounts ", 7)) {
    if (!colon) errno = EINVAL, die(rest, path);
    *colon = 0;
    // A case may begin with a number, too.
    if (!strncmp(rest, "cpu*", 4)) step->cpu = 1, rest += 4 + strspn(rest + 4, " ");
    char *star = rest + strspn(rest, "0123456789");
    if (*star == '*') {
      step->at_once = atoi(rest);
      if (step->at_once < 1 || step->at_once > MAX_AT_ONCE) errno = ERANGE, die("N at once", path);
      rest = star + 1 + strspn(star + 1, " ");
    }
    step->name = rest;
    rest = colon + 1;
  }
  int n = 0;
  for (char *word = strtok(rest, " "); word; word = strtok(NULL, " ")) {
    if (n == MAX_WORDS - 1) errno = E2BIG, die("words", path);
    step->words[n++] = word;
  }
  if (!n) errno = EINVAL, die("a step without a command", path);
}

static void load(struct lane *lane, const char *path) {
  FILE *file = fopen(path, "r");
  char *line = NULL;
  size_t room = 0;
  if (!file) die("open", path);
  lane->name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  while (getline(&line, &room, file) > 0) {
    line[strcspn(line, "\n")] = 0;
    if (!*line) continue;
    if (lane->count == MAX_STEPS) errno = E2BIG, die("steps", path);
    parse(&lane->steps[lane->count++], strdup(line), path);
  }
  free(line);
  fclose(file);
}

// Fills `reason` with WHAT, the command, and the last line that it wrote to standard error.
static void failed(const char *what, char *const *words) {
  char text[4096], *line = text;
  ssize_t length = pread(errors, text, sizeof text - 1, 0);
  text[length > 0 ? length : 0] = 0;
  while (length > 0 && strchr("\n\t ", text[length - 1])) text[--length] = 0;
  for (char *at = text; *at; at++) {
    if (*at == '\t') *at = ' ';
    if (*at == '\n') line = at + 1;
  }
  // The command is its words that are no path: an option's value says little, and machines differ in it.
  size_t used = snprintf(reason, sizeof reason, "%s from", what);
  for (; *words && used < sizeof reason; words++)
    if (!strchr(*words, '/')) used += snprintf(reason + used, sizeof reason - used, " %s", *words);
  if (used < sizeof reason) snprintf(reason + used, sizeof reason - used, ": %.300s", line);
}

static long long between(const struct timespec *from, const struct timespec *to) {
  return (to->tv_sec - from->tv_sec) * 1000000000LL + to->tv_nsec - from->tv_nsec;
}

// We are the subreaper, as an engine's shim is, so a detached container's init has become our child.
static long long ended(struct step *step) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  FILE *file = fopen(step->words[1], "r");
  int pid, status, found = file && fscanf(file, "%d", &pid) == 1;
  if (file) fclose(file);
  if (found && waitpid(pid, &status, 0) == pid) {
    clock_gettime(CLOCK_MONOTONIC, &to);
    return between(&from, &to);
  }
  snprintf(reason, sizeof reason, "the container's init cannot be waited for: %s", strerror(errno));
  return -1;
}

static void enter(const char *path) {
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : own_mounts;
  if (fd < 0 || setns(fd, CLONE_NEWNS)) die("setns", path ? path : "own mount namespace");
  if (path) close(fd);
}

static pid_t start(const struct step *step, int number) {
  extern char **environ;
  static char text[MAX_WORDS][NAME_SIZE];
  char *words[MAX_WORDS] = {0}, *mark;
  pid_t pid;
  for (int i = 0; step->words[i]; i++) {
    words[i] = step->words[i];
    if (!(mark = strchr(words[i], '%'))) continue;
    snprintf(text[i], NAME_SIZE, "%.*s%d%s", (int)(mark - words[i]), words[i], number, mark + 1);
    words[i] = text[i];
  }
  errno = posix_spawnp(&pid, words[0], &quiet, NULL, words, environ);
  if (errno) die("posix_spawn", words[0]);
  return pid;
}

// Nanoseconds, or -1 and the reason.
static long long run(const struct step *step, int round) {
  static pid_t pids[MAX_AT_ONCE];
  struct timespec from, to;
  struct rusage usage;
  long long cpu = 0;
  int count = step->at_once ? step->at_once : 1, bad = 0, status, last = 0;
  if (ftruncate(errors, 0)) die("truncate", "standard error");
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (int i = 0; i < count; i++) pids[i] = start(step, step->at_once ? i : round);
  for (int i = 0; i < count; i++) {
    if (wait4(pids[i], &status, 0, &usage) < 0) die("wait4", step->words[0]);
    cpu += 1000LL * (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    cpu += 1000000000LL * (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec);
    if (status) bad++, last = status;
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  if (bad) {
    char what[64];
    snprintf(what, sizeof what, "%d of %d failed, status %#x", bad, count, last);
    failed(what, step->words);
    return -1;
  }
  return step->cpu ? cpu : between(&from, &to);
}

// One round of one lane; false if it failed.
static int round_of(struct lane *lane, int round) {
  int away = 0, good = 1;
  for (int k = 0; good && k < lane->count; k++) {
    struct step *step = &lane->steps[k];
    if (!strcmp(step->words[0], "mounts")) {
      enter(step->words[1]);
      away = 1;
    } else {
      long long took = strcmp(step->words[0], "ended") ? run(step, round) : ended(step);
      good = took >= 0;
      if (good && round && *step->name) printf("%s\t%s\t%lld\n", step->name, lane->name, took);
    }
  }
  if (away) enter(NULL);
  // Inits of containers that are deleted by now: nobody else waits for them.
  while (waitpid(-1, NULL, WNOHANG) > 0) {}
  return good;
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 0, count = argc - 2, left = count;
  if (argc < 3 || count > MAX_LANES) {
    fprintf(stderr, "usage: interleave ROUNDS LANE_FILE... (at most %d)\n", MAX_LANES);
    return 2;
  }
  for (int i = 0; i < count; i++) load(&lanes[i], argv[i + 2]);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) die("subreaper", "prctl");
  errors = memfd_create("errors", MFD_CLOEXEC);
  own_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (errors < 0 || own_mounts < 0) die("open", "memfd or /proc/self/ns/mnt");
  if (fcntl(errors, F_SETFL, O_APPEND)) die("O_APPEND", "memfd");
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&quiet, errors, 2);
  for (int round = 0; round <= rounds && left; round++)
    for (int i = 0; i < count; i++) {
      struct lane *lane = &lanes[(i + round + count - 1) % count];
      if (lane->left_out || round_of(lane, round)) continue;
      lane->left_out = 1;
      left--;
      for (int k = 0; k < lane->count; k++)
        if (*lane->steps[k].name) printf("!\t%s\t%s\t%s\n", lane->steps[k].name, lane->name, reason);
    }
  return 0;
}
