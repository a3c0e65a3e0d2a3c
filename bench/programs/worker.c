/* The worker of all contenders: says when it runs, as "nanoseconds pid", and then only waits. The clock is the one of
 * process.hrtime.bigint(). One write to a file opened for appending is never mixed with another one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(void) {
  struct timespec now;
  char line[64];
  clock_gettime(CLOCK_MONOTONIC, &now);
  int length = snprintf(line, sizeof line, "%lld%09ld %d\n", (long long)now.tv_sec, now.tv_nsec, getpid());
  const char *path = getenv("BENCH_REPORT");
  int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
  if (fd < 0 || write(fd, line, length) != length) return 1;
  close(fd);
  for (;;) pause();
}
