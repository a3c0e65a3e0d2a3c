/* A worker for bench/sampling.mjs. It rests; given a number, it touches a few new pages that many times per second, as a
 * program that does a little does: the kernel then tells other numbers of it at each look. It ends with the bench. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { size = 16 * 4096 };

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int per_second = argc > 1 ? atoi(argv[1]) : 0;
  while (per_second == 0) pause();
  for (;;) {
    usleep(1000000 / per_second);
    char *pages = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return 1;
    for (int at = 0; at < size; at += 4096) pages[at] = 1;
    munmap(pages, size);
  }
}
