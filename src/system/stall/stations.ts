/**
 * Where the threads of a worker wait for connections, and whether one waits there now.
 *
 * - A station is a process with the descriptors that tell: the eventpolls that were seen to watch a listener, and the
 *   descriptors of the listeners. A thread waits there in epoll_wait on such an eventpoll (also after the listener was
 *   taken out of it for a while), in accept on such a listener, or in poll or select with one among the inputs.
 * - A script's station is its main thread in epoll_wait: on the eventpoll that watches a listener, if one does, else on any.
 * - A thread is remembered when it was seen to wait. One that cannot be another is remembered at once, because it may hang
 *   in its very first request: where an eventpoll watches a listener, a script's main thread, or a process's only one.
 * - Reading a thread's call needs the right to trace it: what is closed to us is an answer of its own.
 */
import { listeningSockets, livingTree } from '../readiness/accepting.ts';
import { ownReader } from '../readiness/process-view.ts';
import { linkOf, parseStat, readText, threadsOf, type ProcStat } from '../procfs.ts';

export interface Station {
  readonly pid: number;
  readonly epolls: ReadonlySet<number> | 'any';
  /** The descriptors of its listeners. */
  readonly inputs: ReadonlySet<number>;
}

/** A thread that is remembered. */
export interface Waiter {
  /** `waiting`: it was seen to wait at its station, or must be the one. `stopped`: counts only while it is stopped. */
  readonly seen: 'waiting' | 'stopped';
  readonly station: Station;
  readonly tid: number;
  readonly startTimeTicks: number;
}

/** "PID/TID" */
export function nameOf({ station, tid }: Waiter): string {
  return `${station.pid}/${tid}`;
}

export interface StationTarget {
  readonly pid: number;
  readonly kind: 'command' | 'script';
  /** `socket:[inode]` of the inherited listeners; none: what the tree itself listens on. */
  readonly listeners: readonly string[];
}

/** What one look for waiters found. */
export interface Found {
  /** Those that wait, that must be the ones, and main threads that are stopped. */
  readonly waiters: readonly Waiter[];
  readonly anyWaits: boolean;
  /** Whether a thread that could be one was closed to us. */
  readonly closed: boolean;
}

/** Looks through the tree of a worker. Never throws: what is gone is not there. */
export function findWaiters(target: StationTarget): Found {
  const pids = target.kind === 'script' ? [target.pid] : livingTree(target.pid);
  const listeners = new Set(target.listeners);
  if (listeners.size === 0) {
    for (const socket of listeningSockets(target.pid)) listeners.add(socket);
  }
  const waiters: Waiter[] = [];
  let closed = false;
  let anyWaits = false;
  for (const pid of pids) {
    const station = stationOf(pid, listeners, target.kind);
    if (station === 'closed') closed = true;
    if (station === null || station === 'closed') continue;
    const tids = target.kind === 'script' ? [pid] : threadsOf(pid);
    const isSole = tids.length === 1 && station.epolls !== 'any' && station.epolls.size > 0;
    for (const tid of tids) {
      const there = waitsThere(station, tid);
      if (there === 'closed') closed = true;
      const stat = there === 'yes' || tid === pid ? threadStat(pid, tid) : null;
      if (stat === null) continue;
      // A stopped thread still shows the call that it was in.
      const isStopped = stat.state === 'T' || stat.state === 't';
      const isOne = there === 'yes' || isSole;
      if (!isOne && !isStopped) continue;
      waiters.push({ seen: isOne ? 'waiting' : 'stopped', station, tid, startTimeTicks: stat.startTimeTicks });
      anyWaits ||= there === 'yes' && !isStopped;
    }
  }
  return { waiters, anyWaits, closed };
}

/** null: it is gone, or has nothing to do with the listeners. */
function stationOf(
  pid: number,
  listeners: ReadonlySet<string>,
  kind: StationTarget['kind'],
): Station | 'closed' | null {
  const fds = descriptorsOf(pid);
  if (fds === 'closed' || fds === null) return fds;
  const inputs = new Set([...fds].filter(([, link]) => listeners.has(link)).map(([fd]) => fd));
  if (inputs.size === 0 && kind === 'command') return null;
  const eventpolls = [...fds].filter(([, link]) => link === 'anon_inode:[eventpoll]').map(([fd]) => fd);
  const epolls = new Set(eventpolls.filter((epoll) => watches({ pid, epoll, inputs, listeners })));
  return { pid, epolls: epolls.size === 0 && kind === 'script' ? 'any' : epolls, inputs };
}

/** `socket:[inode]` of every socket that a process holds. */
export function socketsOf(pid: number): Set<string> {
  const fds = descriptorsOf(pid);
  const links = fds === null || fds === 'closed' ? [] : [...fds.values()];
  return new Set(links.filter((link) => link.startsWith('socket:[')));
}

/** What its descriptors point to; null: it is gone. */
function descriptorsOf(pid: number): Map<number, string> | 'closed' | null {
  const links = new Map<number, string>();
  let names: string[];
  try {
    names = ownReader.list(`/proc/${pid}/fd`);
  } catch (error) {
    return isClosed(error) ? 'closed' : null;
  }
  for (const name of names) {
    const link = linkOf(`/proc/${pid}/fd/${name}`);
    if (link !== null) links.set(Number(name), link);
  }
  return links;
}

interface Watching {
  readonly pid: number;
  readonly epoll: number;
  readonly inputs: ReadonlySet<number>;
  readonly listeners: ReadonlySet<string>;
}

/** Whether an eventpoll watches a listener: by its descriptor, or by its inode where that descriptor is closed (Linux 4.16). */
function watches({ pid, epoll, inputs, listeners }: Watching): boolean {
  const text = readText(`/proc/${pid}/fdinfo/${epoll}`) ?? '';
  for (const [, fd, inode] of text.matchAll(/^tfd:\s*(\d+)(?:.*\bino:([0-9a-f]+))?/gm)) {
    if (inputs.has(Number(fd))) return true;
    if (inode !== undefined && listeners.has(`socket:[${parseInt(inode, 16)}]`)) return true;
  }
  return false;
}

// ---------------------------------------------------------------- the call that a thread is in

/** Linux: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h; restart_syscall goes on with a poll. */
const calls =
  process.arch === 'x64'
    ? { epoll: [232, 281, 441], accept: [43, 288], poll: [7, 271, 219], select: [23, 270] }
    : { epoll: [22, 441], accept: [202, 242], poll: [73, 128], select: [72] };

/** POLLIN, POLLRDNORM */
const input = 0x41;

export type Presence = 'yes' | 'no' | 'running' | 'gone' | 'closed';

/** Whether a thread is in a call that waits at that station; a stopped one may be too. */
export function waitsThere({ pid, epolls, inputs }: Station, tid: number): Presence {
  try {
    const text = ownReader.text(`/proc/${pid}/task/${tid}/syscall`);
    if (text.startsWith('running')) return 'running';
    const [call = -1, first = 0, second = 0] = text.split(' ').map(Number);
    if (calls.epoll.includes(call)) return epolls === 'any' || epolls.has(first) ? 'yes' : 'no';
    if (calls.accept.includes(call)) return inputs.has(first) ? 'yes' : 'no';
    if (calls.poll.includes(call)) return polls(pid, first, second, inputs) ? 'yes' : 'no';
    if (calls.select.includes(call)) return selects(pid, second, first, inputs) ? 'yes' : 'no';
    return 'no';
  } catch (error) {
    return isClosed(error) ? 'closed' : 'gone';
  }
}

function polls(pid: number, address: number, entries: number, inputs: ReadonlySet<number>): boolean {
  if (address === 0 || inputs.size === 0) return false;
  const bytes = ownReader.memory(pid, address, Math.min(entries, 16_384) * 8);
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= words.byteLength; at += 8) {
    if ((words.getUint16(at + 4, true) & input) !== 0 && inputs.has(words.getInt32(at, true))) return true;
  }
  return false;
}

function selects(pid: number, address: number, fds: number, inputs: ReadonlySet<number>): boolean {
  if (address === 0 || inputs.size === 0) return false;
  const bits = ownReader.memory(pid, address, Math.ceil(Math.min(fds, 65_536) / 8));
  return [...inputs].some((fd) => fd < fds && (((bits[fd >> 3] ?? 0) >> (fd & 7)) & 1) === 1);
}

function isClosed(error: unknown): boolean {
  return ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** /proc/PID/task/TID/stat; null when the thread is gone. */
export function threadStat(pid: number, tid: number): ProcStat | null {
  const text = readText(`/proc/${pid}/task/${tid}/stat`);
  return text === null ? null : parseStat(text);
}
