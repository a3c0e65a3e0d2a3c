/**
 * Which process of a worker's tree waits for connections, and which sockets it listens on itself.
 *
 * Rules
 * - Only the worker's own tree counts: of two workers on one socket, each is judged by its own processes.
 * - One of the inherited listeners is enough. A program that is given two may serve one of them by design (`{fd}` names
 *   the first alone), or open the second later; waiting for all would mean that such a worker never gets ready.
 * - Zombies hold nothing and are not looked at.
 */
import { readOrThrow, statsOfTree } from '../procfs.ts';
import { ownReader, viewProcess, type ProcessView } from './process-view.ts';

/**
 * The process of the tree below `pid` that waits on one of the listeners now, the first from the leader down; null when
 * none does, or when none can be seen to (another uid's /proc, io_uring).
 * @param listeners `socket:[inode]` each
 */
export function acceptingPid(pid: number, listeners: readonly string[]): number | null {
  for (const each of livingTree(pid)) {
    if (waitsOnOne(viewProcess(ownReader, process.arch, each, listeners), listeners)) return each;
  }
  return null;
}

/** The processes of a tree that are not zombies, the leader first. */
export function livingTree(pid: number): number[] {
  const living = statsOfTree(pid).filter((stat) => stat.state !== 'Z' && stat.state !== 'X');
  return living.map((stat) => stat.pid);
}

export function waitsOnOne(view: ProcessView, listeners: readonly string[]): boolean {
  return view.waitsOn.some((socket) => listeners.includes(socket));
}

/** Why a process that holds a listener may wait on it without being seen to; null when that cannot be. */
export function unseenWay(view: ProcessView, listeners: readonly string[]): string | null {
  if (!view.sockets.some((socket) => listeners.includes(socket))) return null;
  if (view.access === 'fds-only') return 'this system hides the calls of its threads (ptrace_scope)';
  return view.ioUring ? 'it uses io_uring, which /proc does not show' : null;
}

/**
 * `socket:[inode]` of every socket that listens in the network namespace of that process: TCP, and unix stream sockets.
 * /proc/PID/net is open to every uid, unlike /proc/PID/fd.
 */
export function listeningSockets(pid: number): Set<string> {
  const found = new Set<string>();
  for (const file of ['tcp', 'tcp6']) {
    // Listening sockets (state 0A) come first: a host with many connections is not read to the end.
    const text = readOrEmpty(`/proc/${pid}/net/${file}`, (soFar) => hasConnection(soFar));
    for (const line of text.split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] === '0A' && fields[9] !== undefined) found.add(`socket:[${fields[9]}]`);
    }
  }
  for (const line of readOrEmpty(`/proc/${pid}/net/unix`).split('\n').slice(1)) {
    const fields = line.split(/\s+/);
    // Flags: __SO_ACCEPTCON
    if (fields[3] === '00010000' && fields[6] !== undefined) found.add(`socket:[${fields[6]}]`);
  }
  return found;
}

function hasConnection(text: string): boolean {
  const lines = text.split('\n');
  // The last line may be cut, the first is the heading.
  const last = lines.at(-2);
  return lines.length > 2 && last !== undefined && last.trim().split(/\s+/)[3] !== '0A';
}

function readOrEmpty(path: string, enough?: (text: string) => boolean): string {
  try {
    return readOrThrow(path, enough);
  } catch {
    return '';
  }
}
