/**
 * The trees of all workers, walked as seldom as possible.
 *
 * Finding the children of a process means a file per thread of it; most of the time nothing has changed. The kernel counts
 * every new process and thread of the host (`processes` in /proc/stat): while that number stands still, trees can only
 * have shrunk, and it is enough to look again at the processes that were there.
 * - The number is read before a walk, so what starts during the walk makes the next one a full one.
 * - It is trusted only after it was seen to change: sandboxes give a fixed one.
 * - A process whose /proc/PID/stat reads as before is the very same object as before: it has neither used a tick of CPU
 *   time nor touched a new page since, and nobody needs to look any closer.
 */
import { parseStat, readText, statsOfTree, type ProcStat } from '../procfs.ts';

export type Trees = ReadonlyMap<string, readonly ProcStat[]>;

export class TreeWalk {
  #trees: Trees = new Map();
  #forks: number | null = null;
  #counts = false;
  #texts: ReadonlyMap<number, StatText> = new Map();

  /**
   * The leader first, then its descendants; empty for a leader that is gone.
   * @param forks the number of processes and threads that were ever started on this host, read before; null: not known
   */
  walk(leaders: ReadonlyMap<string, number>, forks: number | null): Trees {
    if (this.#forks !== null && forks !== this.#forks) this.#counts = true;
    const isQuiet = this.#counts && forks !== null && forks === this.#forks;
    const trees = new Map<string, readonly ProcStat[]>();
    const texts = new Map<number, StatText>();
    const read = (pid: number): ProcStat | null => {
      const one = readStat(pid, this.#texts.get(pid));
      if (one !== null) texts.set(pid, one);
      return one?.stat ?? null;
    };
    for (const [worker, pid] of leaders) {
      const known = isQuiet ? this.#trees.get(worker) : undefined;
      trees.set(worker, (known?.[0]?.pid === pid ? whatIsLeft(known, read) : null) ?? statsOfTree(pid, read));
    }
    this.#trees = trees;
    this.#texts = texts;
    this.#forks = forks;
    return trees;
  }
}

/** What one look at a process has read. */
interface StatText {
  readonly text: string;
  readonly stat: ProcStat;
}

function readStat(pid: number, before: StatText | undefined): StatText | null {
  const text = readText(`/proc/${pid}/stat`);
  if (before !== undefined && before.text === text) return before;
  const stat = text === null ? null : parseStat(text);
  return text === null || stat === null ? null : { text, stat };
}

/** The same processes as they are now, without those that are gone or were given to another parent; null: the leader is. */
function whatIsLeft(known: readonly ProcStat[], read: (pid: number) => ProcStat | null): ProcStat[] | null {
  const left = new Map<number, ProcStat>();
  for (const before of known) {
    const now = read(before.pid);
    const isSame = now !== null && now.startTimeTicks === before.startTimeTicks;
    if (isSame && (before === known[0] || left.has(now.ppid))) left.set(now.pid, now);
    else if (before === known[0]) return null;
  }
  return [...left.values()];
}
