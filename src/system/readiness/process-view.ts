/**
 * What one process shows about its sockets: which it holds, and on which of them it waits for connections.
 *
 * It waits on a socket when
 * - an eventpoll of it watches that socket for input (`tfd:` lines of /proc/PID/fdinfo/N; uvicorn, Node, gthread), or
 * - one of its threads is blocked in accept or accept4 on it (/proc/PID/task/TID/syscall), or
 * - one of its threads is blocked in poll, ppoll, select or pselect6 with it among the inputs (the list of fds is in the
 *   process's memory: /proc/PID/mem; gunicorn's sync worker).
 * A thread that runs, and an io_uring, show nothing.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { readOrThrow } from '../procfs.ts';

export interface ProcessView {
  readonly pid: number;
  /** 'fds-only': blocked calls are hidden (ptrace is restricted); 'closed': its /proc is not ours to read. */
  readonly access: 'open' | 'fds-only' | 'closed' | 'gone';
  /** `socket:[inode]` of every socket that it holds. */
  readonly sockets: readonly string[];
  /** `socket:[inode]` of those that it waits on for input; looked for only when it holds one that was asked for. */
  readonly waitsOn: readonly string[];
  readonly ioUring: boolean;
}

/** How viewProcess reads; every function throws the error of the system. */
export interface ProcReader {
  list(path: string): string[];
  link(path: string): string;
  text(path: string): string;
  memory(pid: number, address: number, bytes: number): Uint8Array;
}

/** Reads with the rights of this process. */
export const ownReader: ProcReader = {
  list: (path) => readdirSync(path),
  link: (path) => readlinkSync(path),
  text: (path) => readOrThrow(path),
  memory: (pid, address, bytes) => {
    const fd = openSync(`/proc/${pid}/mem`, 'r');
    try {
      const found = new Uint8Array(bytes);
      return found.subarray(0, readSync(fd, found, 0, bytes, address));
    } finally {
      closeSync(fd);
    }
  },
};

/**
 * Looks into one process. Never throws: a process that is gone, or not ours to read, is an answer.
 *
 * This function also runs in a reader under another uid (user-reader.ts), which gets it as text: it must use nothing but
 * its arguments and the language (and the bundler must not add calls of its own: no keepNames).
 * @param listeners the sockets that matter, `socket:[inode]` each: it stops when it knows whether one of them is waited
 *   on; null: all of them matter
 * @param arch process.arch: the numbers of the system calls depend on it (Linux: arch/x86/entry/syscalls/syscall_64.tbl,
 *   include/uapi/asm-generic/unistd.h)
 */
export function viewProcess(
  read: ProcReader,
  arch: string,
  pid: number,
  listeners: readonly string[] | null,
): ProcessView {
  // poll goes on as restart_syscall, with the same arguments, after the process was stopped and continued.
  const calls =
    arch === 'x64'
      ? { accept: [43, 288], poll: [7, 271, 219], select: [23, 270] }
      : { accept: [202, 242], poll: [73, 128], select: [72] };
  const input = 0x41; // POLLIN, POLLRDNORM; the same bits in epoll
  let access: ProcessView['access'] = 'open';
  let ioUring = false;
  const linkOfFd = new Map<number, string>();
  const eventpolls: number[] = [];
  const waitsOn = new Set<string>();

  const isClosed = (error: unknown): boolean => ['EACCES', 'EPERM'].includes((error as { code: string }).code);
  const view = (): ProcessView => {
    const sockets = [...linkOfFd.values()].filter((link) => link.startsWith('socket:['));
    return { pid, access, sockets, waitsOn: [...waitsOn], ioUring };
  };
  const addFd = (fd: number): void => {
    const link = linkOfFd.get(fd);
    if (link !== undefined) waitsOn.add(link);
  };
  const watchedBy = (eventpoll: number): void => {
    const text = read.text(`/proc/${pid}/fdinfo/${eventpoll}`);
    for (const [, fd, events, inode] of text.matchAll(
      /^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)(?:.*\bino:([0-9a-f]+))?/gm,
    )) {
      if ((parseInt(events ?? '0', 16) & input) === 0) continue;
      // The fd may be closed, and the socket still be watched through another one: then its inode tells (Linux 4.16).
      if (linkOfFd.has(Number(fd))) addFd(Number(fd));
      else if (inode !== undefined) waitsOn.add(`socket:[${parseInt(inode, 16)}]`);
    }
  };
  const inPoll = (address: number, entries: number): void => {
    const bytes = read.memory(pid, address, Math.min(entries, 16384) * 8);
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + 8 <= words.byteLength; at += 8) {
      if ((words.getUint16(at + 4, true) & input) !== 0) addFd(words.getInt32(at, true));
    }
  };
  const inSelect = (address: number, fds: number): void => {
    const bits = read.memory(pid, address, Math.ceil(Math.min(fds, 65536) / 8));
    bits.forEach((byte, at) => {
      for (let bit = 0; bit < 8; bit += 1) if (((byte >> bit) & 1) === 1) addFd(at * 8 + bit);
    });
  };
  const blockedThread = (tid: string): void => {
    // `running`, or the number and the arguments of the call it is blocked in
    const [call, first, second] = read.text(`/proc/${pid}/task/${tid}/syscall`).split(' ').map(Number);
    if (call === undefined || first === undefined || second === undefined) return;
    if (calls.accept.includes(call)) addFd(first);
    else if (calls.poll.includes(call) && first !== 0) inPoll(first, second);
    else if (calls.select.includes(call) && second !== 0) inSelect(second, first);
  };
  const attempt = (look: () => void, closed: () => void): void => {
    try {
      look();
    } catch (error) {
      // Anything else: the process, the thread, the fd or the memory is gone meanwhile.
      if (isClosed(error)) closed();
    }
  };

  try {
    for (const name of read.list(`/proc/${pid}/fd`)) {
      const fd = Number(name);
      attempt(
        () => {
          const link = read.link(`/proc/${pid}/fd/${fd}`);
          linkOfFd.set(fd, link);
          if (link === 'anon_inode:[eventpoll]') eventpolls.push(fd);
          if (link === 'anon_inode:[io_uring]') ioUring = true;
        },
        () => (access = 'closed'),
      );
    }
  } catch (error) {
    access = isClosed(error) ? 'closed' : 'gone';
  }
  if (listeners !== null && !view().sockets.some((socket) => listeners.includes(socket))) return view();
  for (const eventpoll of eventpolls)
    attempt(
      () => watchedBy(eventpoll),
      () => (access = 'closed'),
    );
  if (listeners?.some((listener) => waitsOn.has(listener)) === true) return view();
  attempt(
    () =>
      read.list(`/proc/${pid}/task`).forEach((tid) =>
        attempt(
          () => blockedThread(tid),
          () => (access = 'fds-only'),
        ),
      ),
    () => (access = 'closed'),
  );
  return view();
}
