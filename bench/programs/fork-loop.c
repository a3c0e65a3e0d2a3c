/* The floor: fork and exec N times, then start again whatever ends. Nothing else that a supervisor does is in it.
 * Usage: fork-loop N PROGRAM */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t *pids;
static int count;

static void end(int signal) {
  for (int i = 0; i < count; i++) kill(pids[i], signal);
  _exit(0);
}

static pid_t start(char **argv) {
  pid_t pid = fork();
  if (pid == 0) {
    execv(argv[0], argv);
    _exit(127);
  }
  return pid;
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  pids = calloc(atoi(argv[1]), sizeof *pids);
  signal(SIGTERM, end);
  for (count = 0; count < atoi(argv[1]); count++) pids[count] = start(argv + 2);
  for (pid_t ended; (ended = wait(NULL)) > 0;)
    for (int i = 0; i < count; i++)
      if (pids[i] == ended) pids[i] = start(argv + 2);
}
