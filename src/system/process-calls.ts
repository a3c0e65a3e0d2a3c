/**
 * posix_spawn(3), pipe2(2) and waitpid(2) over libc; Linux only. Node forks: that copies the page tables of the master and
 * lets it fault on every page that it writes to afterwards, about a millisecond a spawn. posix_spawn shares the memory until
 * the exec (glibc and musl: CLONE_VM | CLONE_VFORK).
 */
import { constants } from 'node:os';
import type { Signal } from '../core/spec.ts';
import type { Libc } from './native.ts';

export interface ProcessCalls {
  /** @returns the pid; null: it cannot be started */
  spawn(what: NativeSpawn): number | null;
  /** Both ends close-on-exec; null: there is no descriptor left. */
  pipe(): { readonly read: number; readonly write: number } | null;
  /** How a child has ended, which takes it off the kernel's list; null: it has not, or is none of ours. */
  reap(pid: number): { readonly code: number | null; readonly signal: Signal | null } | null;
  close(fd: number): void;
}

export interface NativeSpawn {
  /** The program, by its path, and its words. */
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** What becomes descriptor 1, 2 and so on. Descriptor 0 is /dev/null. */
  readonly fds: readonly number[];
}

const O_CLOEXEC = 0o2000000;
const F_DUPFD_CLOEXEC = 1030;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
/** glibc 2.26, musl 1.1.23 */
const POSIX_SPAWN_SETSID = 0x80;
const WNOHANG = 1;
/** posix_spawn_file_actions_t, posix_spawnattr_t and sigset_t are smaller in every libc. */
const opaqueBytes = 1024;

/** Of two names for one number the first: SIGABRT, not SIGIOT. */
const signalNames = new Map(
  Object.entries(constants.signals)
    .map(([name, number]) => [number, name as Signal] as const)
    .toReversed(),
);

/** Null: this libc has not all of it. */
export function processCalls(libc: Libc): ProcessCalls | null {
  try {
    return bind(libc);
  } catch {
    return null;
  }
}

function bind(libc: Libc): ProcessCalls {
  const spawn = libc.func(
    'int posix_spawn(void *, const char *, const void *, const void *, const char **, const char **)',
  );
  const actionsInit = libc.func('int posix_spawn_file_actions_init(void *)');
  const actionsDestroy = libc.func('int posix_spawn_file_actions_destroy(void *)');
  const addDup = libc.func('int posix_spawn_file_actions_adddup2(void *, int, int)');
  const addOpen = libc.func('int posix_spawn_file_actions_addopen(void *, int, const char *, int, uint32_t)');
  const addChdir = libc.func('int posix_spawn_file_actions_addchdir_np(void *, const char *)');
  const pipe2 = libc.func('int pipe2(void *, int)');
  const fcntl = libc.func('int fcntl(int, int, ...)');
  const waitpid = libc.func('int waitpid(int, void *, int)');
  const close = libc.func('int close(int)');

  const attributes = new Uint8Array(opaqueBytes);
  libc.func('int posix_spawnattr_init(void *)')(attributes);
  const all = new Uint8Array(opaqueBytes);
  libc.func('int sigfillset(void *)')(all);
  const none = new Uint8Array(opaqueBytes);
  libc.func('int posix_spawnattr_setsigdefault(void *, const void *)')(attributes, all);
  libc.func('int posix_spawnattr_setsigmask(void *, const void *)')(attributes, none);
  const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID;
  libc.func('int posix_spawnattr_setflags(void *, short)')(attributes, flags);

  const pid = new Int32Array(1);
  const status = new Int32Array(1);
  return {
    spawn({ argv, cwd, env, fds }) {
      const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      // C would end the string there.
      if ([cwd, ...argv, ...variables].some((each) => each.includes('\0'))) return null;
      const actions = new Uint8Array(opaqueBytes);
      actionsInit(actions);
      // Out of the way of the numbers that they become.
      const lifted: number[] = [];
      try {
        const sources = fds.map((fd) => {
          if (fd > fds.length) return fd;
          const high = Number(fcntl(fd, F_DUPFD_CLOEXEC, 'int', fds.length + 1));
          if (high >= 0) lifted.push(high);
          return high;
        });
        if (sources.some((fd) => fd < 0)) return null;
        addOpen(actions, 0, '/dev/null', 0, 0);
        sources.forEach((fd, index) => addDup(actions, fd, index + 1));
        addChdir(actions, cwd);
        const failed = Number(spawn(pid, argv[0], actions, attributes, [...argv, null], [...variables, null]));
        return failed === 0 ? (pid[0] ?? null) : null;
      } finally {
        for (const fd of lifted) close(fd);
        actionsDestroy(actions);
      }
    },
    pipe() {
      const fds = new Int32Array(2);
      const failed = Number(pipe2(fds, O_CLOEXEC)) < 0;
      return failed ? null : { read: fds[0] ?? -1, write: fds[1] ?? -1 };
    },
    reap(child) {
      if (Number(waitpid(child, status, WNOHANG)) !== child) return null;
      const ended = status[0] ?? 0;
      const signal = ended & 0x7f;
      return signal === 0
        ? { code: (ended >> 8) & 0xff, signal: null }
        : { code: null, signal: signalNames.get(signal) ?? null };
    },
    close: (fd) => void close(fd),
  };
}
