// calls COUNT: nanoseconds that one system call takes, printed as CASE <tab> NANOSECONDS.
//   getppid       the filter allows it whatever its arguments are: since Linux 5.11 the kernel remembers that
//   personality   Docker's profile looks at its argument, so the filter runs each time
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void measure(const char *name, long count, long call, unsigned long argument) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (long i = 0; i < count; i++)
    if (syscall(call, argument) < 0) {
      perror(name);
      exit(1);
    }
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("%s\t%.2f\n", name, ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / count);
}

int main(int argc, char **argv) {
  long count = argc == 2 ? atol(argv[1]) : 0;
  if (count <= 0) {
    fprintf(stderr, "usage: calls COUNT\n");
    return 2;
  }
  measure("getppid", count, SYS_getppid, 0);
  measure("personality", count, SYS_personality, 0xffffffff); // asks, changes nothing
  return 0;
}
