/**
 * The share of memory that is a process's own (PSS, from /proc/PID/smaps_rollup, proc(5)): a page that n processes share
 * counts a nth in each of them, so that children which were forked and have written little are not counted many times.
 *
 * Reading it makes the kernel look at every page of the process: some 0.2 ms, and 25 ms more for each GB. So it is read seldom, and
 * estimated in between by what is cheap: the PSS then, and what its RSS has grown by since; where that has shrunk, the PSS with it.
 *
 * | a process is read                                            | after |
 * |--------------------------------------------------------------|-------|
 * | that was never read                                          | at once, before all others |
 * | whose tree has got or lost a process: shares have changed    | the next sample |
 * | whose RSS is a fifth, and 4 MB, away from what it was then   | the next sample |
 * | that has done something since (tree-walk.ts)                 | 5 samples |
 * | that has done nothing, or was not to be read                 | 30 samples |
 *
 * Rules
 * - All that together may take a five-hundredth of a core, by the costs above. What is due waits for its turn, the oldest
 *   reading first; after a quiet time some 40 processes of 100 MB can be read at once.
 * - While it is read a process cannot map or unmap memory (nor start a thread): for as long as the reading of its largest mapping takes. So a
 *   large one is left in peace for a while, whatever happens: at least 2,500 times what a reading takes beyond 5 ms, 50 s for 1 GB.
 * - A reading may wait for the process for as long as it hangs in the kernel (for its lock on its memory). So the thread pool reads,
 *   one process at a time; nobody waits for it for longer than half a second, and none is begun while one hangs.
 * - A process that is not ours to see (EACCES: another user's, without CAP_SYS_PTRACE), or a host without the file: not known.
 */
import { close, open, read } from 'node:fs';
import { residentBytes, statOf, type ProcStat } from '../procfs.ts';

/** A process, as it was read for this sample. */
export interface Resident {
  /** The same object as before for one that has done nothing since. */
  readonly stat: ProcStat;
  readonly rssBytes: number;
}

interface Reading {
  readonly stat: ProcStat;
  readonly rssBytes: number;
  /** null: it was not to be read. */
  readonly pssBytes: number | null;
  readonly pass: number;
  /** When it was due. */
  readonly atMs: number;
}

const shareOfCore = 1 / 500;
const mostCreditMs = 100;
const passesWhenBusy = 5;
const passesWhenIdle = 30;
const driftShare = 0.2;
const driftBytes = 4 * 2 ** 20;
const waitMs = 500;

/** What a reading takes, by what was measured. */
function costMs(rssBytes: number): number {
  return 0.2 + (25 * rssBytes) / 2 ** 30;
}

/** For how long it is not to be read again. */
function peaceMs(rssBytes: number): number {
  return 2_500 * Math.max(0, costMs(rssBytes) - 5);
}

/** Calls back with the PSS of a process; null: it is gone, not ours to see, or the kernel does not say. */
export type ReadPss = (pid: number, done: (pssBytes: number | null) => void) => void;

export class PssReader {
  readonly #read: ReadPss;
  #readings = new Map<number, Reading>();
  /** Leader -> how many processes its tree had. */
  #sizes: ReadonlyMap<number, number> = new Map();
  #pass = 0;
  #creditMs = mostCreditMs;
  #lookedMs: number | null = null;
  #isReading = false;

  constructor(read: ReadPss = readPss) {
    this.#read = read;
  }

  /**
   * Reads what is due, of the trees as they are now, the leader of each first. Resolves when that is done, or hangs.
   * @param nowMs of a clock that never goes back
   */
  async look(trees: readonly (readonly Resident[])[], nowMs: number): Promise<void> {
    this.#pass += 1;
    this.#creditMs = Math.min(mostCreditMs, this.#creditMs + (nowMs - (this.#lookedMs ?? nowMs)) * shareOfCore);
    this.#lookedMs = nowMs;
    const due = this.#due(trees);
    if (this.#isReading || due.length === 0) return;
    this.#isReading = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((done) => {
      timer = setTimeout(done, waitMs);
    });
    const reading = this.#readAll(due).finally(() => {
      this.#isReading = false;
    });
    await Promise.race([reading, late]);
    clearTimeout(timer);
  }

  /** What it holds now, by the last reading; null: not known. */
  estimate({ stat, rssBytes }: Resident): number | null {
    const known = this.#readingOf(stat);
    if (known === null || known.pssBytes === null) return null;
    // The reading is newer than what was measured for this sample.
    if (known.pass === this.#pass) return known.pssBytes;
    const grownBytes = rssBytes - known.rssBytes;
    if (grownBytes >= 0) return known.pssBytes + grownBytes;
    // Not the difference: a process that executes another program has nothing left of what it shared.
    return Math.round((known.pssBytes * rssBytes) / known.rssBytes);
  }

  /** Whose turn it is, the oldest reading first; what is not in a tree any more is forgotten. */
  #due(trees: readonly (readonly Resident[])[]): readonly Resident[] {
    const kept = new Map<number, Reading>();
    const sizes = new Map<number, number>();
    const due: { readonly resident: Resident; readonly pass: number }[] = [];
    for (const tree of trees) {
      const readings = tree.map(({ stat }) => this.#readingOf(stat));
      const leader = tree[0]?.stat.pid ?? 0;
      sizes.set(leader, tree.length);
      const hasChanged = readings.includes(null) || this.#sizes.get(leader) !== tree.length;
      for (const [at, resident] of tree.entries()) {
        const reading = readings[at] ?? null;
        if (reading !== null) kept.set(resident.stat.pid, reading);
        if (reading === null || this.#isDue(reading, resident, hasChanged))
          due.push({ resident, pass: reading?.pass ?? 0 });
      }
    }
    this.#readings = kept;
    this.#sizes = sizes;
    return due.sort((a, b) => a.pass - b.pass).map(({ resident }) => resident);
  }

  #isDue(reading: Reading, { stat, rssBytes }: Resident, treeHasChanged: boolean): boolean {
    const age = this.#pass - reading.pass;
    if ((this.#lookedMs ?? 0) - reading.atMs < peaceMs(rssBytes)) return false;
    if (reading.pssBytes === null || age >= passesWhenIdle) return age >= passesWhenIdle;
    const drift = Math.abs(rssBytes - reading.rssBytes);
    const isFar = drift > driftBytes && drift > reading.rssBytes * driftShare;
    return treeHasChanged || isFar || (age >= passesWhenBusy && stat !== reading.stat);
  }

  async #readAll(due: readonly Resident[]): Promise<void> {
    const [pass, atMs] = [this.#pass, this.#lookedMs ?? 0];
    for (const { stat, rssBytes } of due) {
      if (this.#creditMs <= 0) return;
      this.#creditMs -= costMs(rssBytes);
      const pssBytes = await new Promise<number | null>((done) => this.#read(stat.pid, done));
      // What was read may be of another process that has got its pid meanwhile.
      if (statOf(stat.pid)?.startTimeTicks !== stat.startTimeTicks) continue;
      this.#readings.set(stat.pid, { stat, rssBytes: residentBytes(stat.pid) ?? rssBytes, pssBytes, pass, atMs });
    }
  }

  #readingOf(stat: ProcStat): Reading | null {
    const known = this.#readings.get(stat.pid);
    return known !== undefined && known.stat.startTimeTicks === stat.startTimeTicks ? known : null;
  }
}

/** The file has less than 1 KB, which comes in one piece. */
const readPss: ReadPss = (pid, done) => {
  open(`/proc/${pid}/smaps_rollup`, 'r', (failed, fd) => {
    if (failed) return done(null);
    const buffer = Buffer.allocUnsafe(4096);
    read(fd, buffer, 0, buffer.length, null, (unread, bytes) => {
      close(fd, () => undefined);
      done(unread ? null : parsePss(buffer.toString('latin1', 0, bytes)));
    });
  });
};

function parsePss(text: string): number | null {
  const found = /^Pss:\s+(\d+) kB$/m.exec(text)?.[1];
  return found === undefined ? null : Number(found) * 1024;
}
