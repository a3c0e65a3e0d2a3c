/**
 * CPU time and memory of processes by pidusage, one batch at a time, behind the guards that it needs.
 *
 * | pidusage 4                                             | guard |
 * |--------------------------------------------------------|-------|
 * | keeps a descriptor per pid for 60 to 90 s              | it is asked only for processes that were there at the sample before as well, and for no new ones while it keeps more than 64 of dead ones |
 * | sticks to the first process of a pid, so that a reused pid has no value | a pid is asked for again only when it is the same process (start time), or after 95 s |
 * | `clear()` and `maxage: 0` leak descriptors             | neither is used |
 * | its memory is off by up to some hundred KB per CPU of the host, and 0 for some small processes (/proc/PID/stat has per-CPU counters since Linux 6.2) | the caller prefers /proc/PID/statm, which is exact |
 * | its first cpu value is an average since the start      | its cpu value is not used: CPU time is subtracted from CPU time (tree-cpu.ts) |
 * | a missing value may be a process that lives            | then the caller's own reading holds |
 * | prints when `getconf` is missing                       | PIDUSAGE_SILENT while it looks for it; removed again, since workers inherit our environment |
 * | might never answer                                     | after 5 s the caller's own readings hold |
 */
import type pidusage from 'pidusage';
import { hasProcfs, tickMs } from '../procfs.ts';

const forgetAfterMs = 95_000;
const maxDead = 64;
const answerWithinMs = 5000;

export interface ProcessRef {
  readonly pid: number;
  readonly startTimeTicks: number;
}

export interface Usage {
  readonly cpuMs: number;
  readonly memoryBytes: number;
}

type Stats = Record<string, pidusage.Status | null | undefined>;
type Pidusage = (pids: number[], options: object) => Promise<Stats>;

interface Asked {
  readonly startTimeTicks: number;
  lastMs: number;
}

export class UsageReader {
  #seen = new Set<string>();
  readonly #asked = new Map<number, Asked>();
  #pidusage: Promise<Pidusage> | null = null;
  #silenced = false;

  /**
   * The usage of those processes that pidusage knows; what is missing the caller reads himself.
   * @param uptimeMs since boot, now; without /proc the start times are not known and nothing is compared
   * @param isKnown for whom nothing has changed since it was read: nobody is asked again
   */
  async read(
    living: readonly ProcessRef[],
    uptimeMs: number | null,
    isKnown: (process: ProcessRef) => boolean = () => false,
  ): Promise<Map<number, Usage>> {
    const asked = this.#choose(living, isKnown);
    const usages = new Map<number, Usage>();
    if (asked.length === 0) return usages;
    const stats = await this.#ask(asked.map((process) => process.pid));
    for (const process of asked) {
      const stat = stats[process.pid];
      if (stat !== null && stat !== undefined && isOf(stat, process, uptimeMs)) {
        usages.set(process.pid, { cpuMs: stat.ctime, memoryBytes: stat.memory });
      }
    }
    return usages;
  }

  #choose(living: readonly ProcessRef[], isKnown: (process: ProcessRef) => boolean): ProcessRef[] {
    const nowMs = performance.now();
    const alive = new Set(living.map((process) => process.pid));
    let dead = 0;
    for (const [pid, { lastMs }] of this.#asked) {
      if (nowMs - lastMs > forgetAfterMs) this.#asked.delete(pid);
      else if (!alive.has(pid)) dead += 1;
    }
    const seenBefore = this.#seen;
    this.#seen = new Set(living.map(identity));
    const chosen = living.filter((process) => {
      if (isKnown(process)) return false;
      const known = this.#asked.get(process.pid);
      if (known !== undefined) return known.startTimeTicks === process.startTimeTicks;
      return !hasProcfs() || (seenBefore.has(identity(process)) && dead <= maxDead);
    });
    for (const { pid, startTimeTicks } of chosen) this.#asked.set(pid, { startTimeTicks, lastMs: nowMs });
    return chosen;
  }

  async #ask(pids: number[]): Promise<Stats> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Stats>((done) => {
      timer = setTimeout(() => done({}), answerWithinMs);
    });
    try {
      const ask = await this.#load();
      return await Promise.race([ask(pids, { maxage: 60_000, usePs: false }), late]);
    } catch {
      // A single dead pid, no getconf, no ps: the caller's own readings hold.
      return {};
    } finally {
      clearTimeout(timer);
      if (this.#silenced) delete process.env['PIDUSAGE_SILENT'];
      this.#silenced = false;
    }
  }

  #load(): Promise<Pidusage> {
    if (this.#pidusage === null) {
      this.#silenced = process.env['PIDUSAGE_SILENT'] === undefined;
      process.env['PIDUSAGE_SILENT'] ??= '1';
      this.#pidusage = import('pidusage').then((loaded) => loaded.default as Pidusage);
    }
    return this.#pidusage;
  }
}

function identity(process: ProcessRef): string {
  return `${process.pid}:${process.startTimeTicks}`;
}

/** Whether a value can be of that process: it has to have started at the same time, up to the time that reading takes. */
function isOf(stat: pidusage.Status, process: ProcessRef, uptimeMs: number | null): boolean {
  return uptimeMs === null || Math.abs(uptimeMs - stat.elapsed - process.startTimeTicks * tickMs) < 3000;
}
