/**
 * The trees of all workers, walked as seldom as possible.
 *
 * Finding the children of a process means a file per thread of it; most of the time nothing has changed. The kernel counts
 * every new process and thread of the host (`processes` in /proc/stat): while that number stands still, trees can only
 * have shrunk, and it is enough to look again at the processes that were there.
 * - The number is read before a walk, so what starts during the walk makes the next one a full one.
 * - It is trusted only after it was seen to change: sandboxes give a fixed one.
 */
import { statOf, statsOfTree, type ProcStat } from '../procfs.ts';

export type Trees = ReadonlyMap<string, readonly ProcStat[]>;

export class TreeWalk {
  #trees: Trees = new Map();
  #forks: number | null = null;
  #counts = false;

  /**
   * The leader first, then its descendants; empty for a leader that is gone.
   * @param forks the number of processes and threads that were ever started on this host, read before; null: not known
   */
  walk(leaders: ReadonlyMap<string, number>, forks: number | null): Trees {
    if (this.#forks !== null && forks !== this.#forks) this.#counts = true;
    const isQuiet = this.#counts && forks !== null && forks === this.#forks;
    const trees = new Map<string, readonly ProcStat[]>();
    for (const [worker, pid] of leaders) {
      const known = isQuiet ? this.#trees.get(worker) : undefined;
      trees.set(worker, (known?.[0]?.pid === pid ? whatIsLeft(known) : null) ?? statsOfTree(pid));
    }
    this.#trees = trees;
    this.#forks = forks;
    return trees;
  }
}

/** The same processes as they are now, without those that are gone or were given to another parent; null: the leader is. */
function whatIsLeft(known: readonly ProcStat[]): ProcStat[] | null {
  const left = new Map<number, ProcStat>();
  for (const before of known) {
    const now = statOf(before.pid);
    const isSame = now !== null && now.startTimeTicks === before.startTimeTicks;
    if (isSame && (before === known[0] || left.has(now.ppid))) left.set(now.pid, now);
    else if (before === known[0]) return null;
  }
  return [...left.values()];
}
