/**
 * Reads processes from /proc. It decides nothing; it answers what the kernel says now.
 *
 * Rules
 * - A process may go away between two reads: then the answer is null or an empty list, never an error.
 * - Everything is a plain synchronous read into one kept buffer: 5 to 10 us a file, less than a trip through the thread
 *   pool, and half of what readFileSync costs.
 * - Where there is no /proc (macOS) every answer is null or empty; `hasProcfs()` tells that case from a process that is gone.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';

/** The fields of /proc/PID/stat that are of use here (proc(5), fields 1 to 24). Ticks are of 1/100 s on every Linux. */
export interface ProcStat {
  readonly pid: number;
  /** At most 15 bytes; may hold spaces and parentheses. */
  readonly comm: string;
  /** R, S, D, Z (zombie), T or t (stopped), I, X. */
  readonly state: string;
  readonly ppid: number;
  readonly pgid: number;
  readonly session: number;
  readonly utimeTicks: number;
  readonly stimeTicks: number;
  /** Of the children that it has waited for, and of theirs. */
  readonly childTicks: number;
  readonly threads: number;
  /** Since boot. Together with the pid it names one process for good: a pid alone may be reused. */
  readonly startTimeTicks: number;
  /** Off by up to some hundred KB per CPU of the host (counters per CPU, Linux 6.2); residentBytes is exact. */
  readonly rssPages: number;
}

/** Whether this host has a /proc with processes in it. */
export function hasProcfs(): boolean {
  procfsSeen ??= statOf(process.pid) !== null;
  return procfsSeen;
}

/** It does not come or go while we live. */
let procfsSeen: boolean | null = null;

/** null when the process is gone; a zombie is returned, with state 'Z'. */
export function statOf(pid: number): ProcStat | null {
  const text = readText(`/proc/${pid}/stat`);
  return text === null ? null : parseStat(text);
}

/** Parses the text of /proc/PID/stat. The name stands between the first `(` and the last `)`: it may hold both. */
export function parseStat(text: string): ProcStat | null {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return null;
  // Field 3 of proc(5), the state, is fields[0].
  const fields = text.slice(close + 2).split(' ', 22);
  const numberAt = (field: number): number => Number(fields[field - 3]);
  if (fields.length < 22) return null;
  return {
    pid: Number(text.slice(0, open)),
    comm: text.slice(open + 1, close),
    state: fields[0] ?? '',
    ppid: numberAt(4),
    pgid: numberAt(5),
    session: numberAt(6),
    utimeTicks: numberAt(14),
    stimeTicks: numberAt(15),
    childTicks: numberAt(16) + numberAt(17),
    threads: numberAt(20),
    startTimeTicks: numberAt(22),
    rssPages: numberAt(24),
  };
}

/** The children of all threads of a process, zombies included; [] when it is gone. */
export function childrenOf(pid: number): number[] {
  const stat = statOf(pid);
  if (stat === null) return [];
  return hasChildrenFiles() ? childrenOfThreads(stat) : (childrenByScan().get(pid) ?? []);
}

/** A process and all its descendants, the leader first, breadth first; [] when the leader is gone. */
export function treeOf(pid: number): number[] {
  return statsOfTree(pid).map((stat) => stat.pid);
}

/**
 * As treeOf, with what was read on the way; processes that went away meanwhile are not in it.
 * @param read how one process is read
 */
export function statsOfTree(pid: number, read: (pid: number) => ProcStat | null = statOf): ProcStat[] {
  const leader = read(pid);
  if (leader === null) return [];
  const byParent = hasChildrenFiles() ? null : childrenByScan();
  const childrenOfOne = (stat: ProcStat): number[] =>
    byParent === null ? childrenOfThreads(stat) : (byParent.get(stat.pid) ?? []);
  const tree = [leader];
  // A pid that is reused while we walk must not make a ring.
  const seen = new Set([pid]);
  for (const parent of tree) {
    for (const child of childrenOfOne(parent)) {
      const stat = seen.has(child) ? null : read(child);
      seen.add(child);
      if (stat !== null) tree.push(stat);
    }
  }
  return tree;
}

/** The live (not zombie) processes whose process group or session is `pgid`. Reads all of /proc: some 25 us per process. */
export function groupMembers(pgid: number): number[] {
  const members: number[] = [];
  for (const pid of allPids()) {
    const stat = statOf(pid);
    if (stat === null || stat.state === 'Z' || stat.state === 'X') continue;
    if (stat.pgid === pgid || stat.session === pgid) members.push(pid);
  }
  return members;
}

/** `socket:[123]` when that fd is a socket; null when it is something else, closed, or not ours to see. */
export function socketInode(fd: number, pid: number | 'self' = 'self'): string | null {
  const link = linkOf(`/proc/${pid}/fd/${fd}`);
  return link !== null && link.startsWith('socket:[') ? link : null;
}

/** The thread ids of a process; [] when it is gone. */
export function threadsOf(pid: number): number[] {
  return numericNames(`/proc/${pid}/task`);
}

/** All pids that this /proc shows. */
export function allPids(): number[] {
  return numericNames('/proc');
}

/** The text of a file of /proc, or null when the process is gone or the file is not ours to read. */
export function readText(path: string): string | null {
  try {
    return readOrThrow(path);
  } catch {
    return null;
  }
}

const buffer = Buffer.allocUnsafeSlow(16384);

/**
 * The text of a file of /proc, from its start until `enough` says so (asked with the text so far) or its end.
 * @throws the error of the system: ENOENT or ESRCH when the process is gone, EACCES or EPERM when it is not ours to see
 */
export function readOrThrow(path: string, enough: (text: string) => boolean = () => false): string {
  const fd = openSync(path, 'r');
  try {
    let text = '';
    for (;;) {
      const bytes = readSync(fd, buffer, 0, buffer.length, null);
      text += buffer.toString('latin1', 0, bytes);
      // A file of /proc gives less than what was asked for long before its end, so only 0 says that this was all;
      // a first piece of less than 1 KB is the exception that pays: the kernel makes so little at once.
      if (bytes === 0 || (text.length === bytes && bytes < 1024) || enough(text)) return text;
    }
  } finally {
    closeSync(fd);
  }
}

/** What a link of /proc points to, or null. */
export function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

function numericNames(directory: string): number[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return [];
  }
  const numbers: number[] = [];
  for (const name of names) {
    const value = Number(name);
    if (Number.isInteger(value)) numbers.push(value);
  }
  return numbers;
}

/** A child that a thread has started stands under that thread. Most processes have one thread: no need to list them. */
function childrenOfThreads(stat: ProcStat): number[] {
  const children: number[] = [];
  for (const tid of stat.threads === 1 ? [stat.pid] : threadsOf(stat.pid)) {
    appendNumbers(children, readText(`/proc/${stat.pid}/task/${tid}/children`) ?? '');
  }
  return children;
}

function appendNumbers(into: number[], text: string): void {
  for (const word of text.split(' ')) {
    if (word !== '' && word !== '\n') into.push(Number(word));
  }
}

let childrenFiles: boolean | null = null;

/** Whether the kernel was built with CONFIG_PROC_CHILDREN. Our own process is sure to live while we ask. */
function hasChildrenFiles(): boolean {
  childrenFiles ??= readText(`/proc/${process.pid}/task/${process.pid}/children`) !== null;
  return childrenFiles;
}

/** Parent -> children of all processes, by their ppid: for kernels without the children files. */
export function childrenByScan(): Map<number, number[]> {
  const byParent = new Map<number, number[]>();
  for (const pid of allPids()) {
    const stat = statOf(pid);
    if (stat === null) continue;
    const siblings = byParent.get(stat.ppid);
    if (siblings === undefined) byParent.set(stat.ppid, [pid]);
    else siblings.push(pid);
  }
  return byParent;
}

/** Milliseconds in a tick of the kernel's user interface (USER_HZ is 100 on every architecture that Node runs on). */
export const tickMs = 10;

/** Milliseconds since boot, the clock that start times are told in; null without /proc. Resolution: 10 ms. */
export function uptimeMs(): number | null {
  const text = readText('/proc/uptime');
  // In whole milliseconds: 2.01 * 1000 is a little less than 2010.
  return text === null ? null : Math.round(Number.parseFloat(text) * 1000);
}

/** The resident memory (RSS) of a process, 0 for a zombie; null when it is gone. */
export function residentBytes(pid: number): number | null {
  const pages = readText(`/proc/${pid}/statm`)?.split(' ')[1];
  return pages === undefined ? null : Number(pages) * pageSizeBytes();
}

let pageBytes: number | null = null;

/** The size of a page (4 KB, 16 or 64 KB on some arm64), from the auxiliary vector of this process (getauxval(3)). */
export function pageSizeBytes(): number {
  pageBytes ??= auxiliaryValue(6) ?? 4096;
  return pageBytes;
}

function auxiliaryValue(type: number): number | null {
  const vector = Buffer.from(readText('/proc/self/auxv') ?? '', 'latin1');
  for (let at = 0; at + 16 <= vector.length; at += 16) {
    if (vector.readUInt32LE(at) === type) return vector.readUInt32LE(at + 8);
  }
  return null;
}
