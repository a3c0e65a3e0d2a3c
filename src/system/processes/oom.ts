/**
 * Proves that the kernel has ended a process for want of memory. A SIGKILL alone proves nothing: anybody can send one.
 *
 * 1. The kernel log names the pid. Where it can be read it decides, both ways.
 * 2. Else (not root, a container) the counter of the memory cgroup that the process was in. Its siblings are in the same
 *    one, and a rise proves one death only: each is claimed once, and only by who ends within seconds of it. So counters
 *    are read once a second; not at all where the log can be read.
 *
 * A process may be moved to another cgroup after its start, so where it is is asked again, seldom.
 */
import { KernelLog } from './kernel-log.ts';
import { memoryCgroupOf, oomKillsOf, type MemoryCgroup } from './memory-cgroups.ts';
import { isAlive, type ProcessId } from './strays.ts';

const lookEveryMs = 1_000;
/** The cgroup of a process is asked at each look for so long after its start, then at every thirtieth. */
const youngLooks = 5;
const seldomLooks = 30;
/** A killed process is gone this soon after it was counted, however much memory it had to give back. */
const freshMs = 10_000;

interface Watched {
  readonly process: ProcessId;
  /** By the monotonic clock of the system. */
  readonly startedMs: number;
  /** Kills that the log had told of before. */
  readonly killsBefore: number;
  cgroup: MemoryCgroup | null;
  looks: number;
}

interface Counter {
  readonly cgroup: MemoryCgroup;
  count: number;
  /** When it was seen to rise, once for each unit that nobody has claimed. */
  rises: readonly number[];
}

export class OomWitness {
  readonly #log: KernelLog;
  readonly #watched = new Map<number, Watched>();
  readonly #counters = new Map<string, Counter>();
  #own: MemoryCgroup | null | undefined;
  #timer: NodeJS.Timeout | null = null;

  constructor(log = new KernelLog()) {
    this.#log = log;
  }

  /** From now on its end can be explained; to be called at its start. */
  watch(process_: ProcessId): void {
    const watched: Watched = {
      process: process_,
      startedMs: monotonicMs(),
      killsBefore: this.#log.count,
      cgroup: null,
      looks: 0,
    };
    this.#watched.set(process_.pid, watched);
    if (this.#log.isUsable) return;
    // It starts where we are; whoever moves it does so later.
    this.#own ??= memoryCgroupOf(process.pid);
    watched.cgroup = this.#own;
    if (this.#own !== null) this.#counterOf(this.#own);
    this.#timer ??= setInterval(() => this.look(), lookEveryMs).unref();
  }

  forget(process_: ProcessId): void {
    // Its pid may be another one's by now.
    if (this.#watched.get(process_.pid)?.process === process_) this.#watched.delete(process_.pid);
    if (this.#watched.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.#counters.clear();
  }

  /**
   * What proves that the kernel has just ended it, or one that was seen `below` it, in words; null: nothing does. To be
   * asked when it has ended by a SIGKILL that was not ours.
   */
  testimony(process_: ProcessId, below: readonly ProcessId[]): string | null {
    const watched = this.#watched.get(process_.pid);
    if (watched === undefined) return null;
    if (this.#log.isUsable) return this.#byLog(watched, [process_, ...below]);
    return this.#byCounter(watched);
  }

  /** Reads all counters, and asks young processes where they are. It does so by itself once a second, where it has to. */
  look(): void {
    for (const watched of this.#watched.values()) {
      if (watched.looks++ > youngLooks && watched.looks % seldomLooks !== 0) continue;
      const cgroup = isAlive(watched.process) ? memoryCgroupOf(watched.process.pid) : null;
      if (cgroup === null) continue;
      watched.cgroup = cgroup;
      this.#counterOf(cgroup);
    }
    for (const counter of this.#counters.values()) read(counter);
  }

  #byLog({ startedMs, killsBefore }: Watched, processes: readonly ProcessId[]): string | null {
    const pids = new Set(processes.map(({ pid }) => pid));
    // The kernel's clock is not set right as ours is: up to 500 ppm. A pid of long ago may be another process's.
    const sinceMs = startedMs - 2_000 - startedMs / 2_000;
    const kill = this.#log.killsSince(killsBefore).find(({ pid, atMs }) => pids.has(pid) && atMs >= sinceMs);
    if (kill === undefined) return null;
    return `the kernel log says "${kill.text}"${kill.cgroup === null ? '' : ` (memory cgroup ${kill.cgroup})`}`;
  }

  #byCounter({ cgroup, startedMs }: Watched): string | null {
    if (cgroup === null) return null;
    const counter = this.#counterOf(cgroup);
    read(counter);
    const leastMs = Math.max(startedMs, monotonicMs() - freshMs);
    const claimable = counter.rises.filter((atMs) => atMs >= leastMs);
    counter.rises = claimable.slice(1);
    return claimable.length === 0 ? null : `memory cgroup ${cgroup.path} counted 1 oom_kill when it ended`;
  }

  #counterOf(cgroup: MemoryCgroup): Counter {
    let counter = this.#counters.get(cgroup.file);
    if (counter === undefined) {
      counter = { cgroup, count: oomKillsOf(cgroup) ?? 0, rises: [] };
      this.#counters.set(cgroup.file, counter);
    }
    return counter;
  }
}

function read(counter: Counter): void {
  const count = oomKillsOf(counter.cgroup) ?? counter.count;
  const nowMs = monotonicMs();
  const risen = Math.max(0, count - counter.count);
  counter.rises = [...counter.rises.filter((atMs) => nowMs - atMs <= freshMs), ...Array<number>(risen).fill(nowMs)];
  counter.count = count;
}

/** Milliseconds of CLOCK_MONOTONIC: since boot, without the time that the host was suspended. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
