/**
 * CPU and memory of each worker's whole tree, and of the host, in one pass.
 *
 * Rules
 * - A tree is the leader and all its descendants, so that the server behind `sh -c` or `npm start` is counted.
 * - Memory is PSS where it can be read (pss.ts): pages that processes share are counted once. Where one process of a tree can
 *   only be told by its RSS, it counts with that, and the kind of the tree is rss: it may be less than what is said.
 * - A zombie has no memory and is not a process.
 * - A process is its pid and its start time: a reused pid is another process and is never mixed with the one before.
 * - The first sample of a tree has no CPU; tree-cpu.ts says how the later ones are counted.
 * - A leader that is gone, or a zombie, is missing from the answer.
 * - A process that has done nothing since the sample before (tree-walk.ts says how that is known) is as it was then: it
 *   costs one read. Workers that idle are the many, and the CPU of a master that idles is to be next to none.
 * - While a sample is running, a further call does nothing: the running one answers its own caller.
 * - Without /proc (macOS) a tree is its leader alone, as pidusage sees it through ps.
 */
import type { HostSample } from '../../core/protocol.ts';
import type { Sampler, TreeSample } from '../../ports.ts';
import { parseForks } from '../host/cpu-times.ts';
import { createHostReader } from '../host/host-sample.ts';
import { pageSizeBytes, readText, residentBytes, tickMs, uptimeMs, type ProcStat } from '../procfs.ts';
import { PssReader, type Resident } from './pss.ts';
import { cpuPercent, type ProcessReading, type TreeReading } from './tree-cpu.ts';
import { TreeWalk, type Trees } from './tree-walk.ts';
import { UsageReader, type ProcessRef, type Usage } from './usage.ts';

/** `settled` resolves when no sample is under way: at its first one pidusage runs other programs (getconf). */
export function createSampler(): Sampler & { settled(): Promise<void> } {
  return new TreeSampler();
}

type Done = Parameters<Sampler['sample']>[1];

/** The trees as they were walked, before anybody was asked for usages. */
interface Walk {
  readonly atMs: number;
  readonly uptimeMs: number | null;
  readonly trees: Trees;
}

/** A tree whose processes were all measured, the leader first. */
interface MeasuredTree {
  readonly reading: TreeReading;
  readonly living: readonly Resident[];
}

/** What a process had used, and held, when its stat was read. */
interface Measured {
  readonly reading: ProcessReading;
  readonly memoryBytes: number;
}

class TreeSampler implements Sampler {
  readonly #usage = new UsageReader();
  readonly #readHost = createHostReader();
  readonly #treeWalk = new TreeWalk();
  readonly #pss = new PssReader();
  #before: ReadonlyMap<string, TreeReading> = new Map();
  #measured: ReadonlyMap<ProcessRef, Measured> = new Map();
  #running = false;
  #answered: Promise<void> = Promise.resolve();

  settled(): Promise<void> {
    return this.#answered;
  }

  sample(leaders: ReadonlyMap<string, number>, done: Done): void {
    if (this.#running) return;
    this.#running = true;
    const procStat = readText('/proc/stat');
    const walk = this.#walk(leaders, procStat);
    const host = this.#readHost(procStat);
    this.#answered = this.#answer(walk, host, done);
  }

  async #answer(walk: Walk, host: HostSample, done: Done): Promise<void> {
    const living = [...walk.trees.values()].flat().filter(isLiving);
    const usages = await this.#usage.read(living, walk.uptimeMs, (stat) => this.#measured.has(stat));
    const trees = this.#measure(walk, usages);
    if (walk.uptimeMs !== null)
      await this.#pss.look(
        [...trees.values()].map((tree) => tree.living),
        walk.atMs,
      );
    this.#running = false;
    done(this.#conclude(trees), host);
  }

  #walk(leaders: ReadonlyMap<string, number>, procStat: string | null): Walk {
    const atMs = performance.now();
    const sinceBootMs = uptimeMs();
    if (sinceBootMs !== null)
      return { atMs, uptimeMs: sinceBootMs, trees: this.#treeWalk.walk(leaders, parseForks(procStat)) };
    return { atMs, uptimeMs: null, trees: new Map([...leaders].map(([worker, pid]) => [worker, [unknownStat(pid)]])) };
  }

  #measure(walk: Walk, usages: ReadonlyMap<number, Usage>): ReadonlyMap<string, MeasuredTree> {
    const trees = new Map<string, MeasuredTree>();
    const measured = new Map<ProcessRef, Measured>();
    for (const [worker, stats] of walk.trees) {
      // Without /proc a process that pidusage does not know is gone.
      const living = stats.filter((stat) => isLiving(stat) && (walk.uptimeMs !== null || usages.has(stat.pid)));
      const leader = stats[0];
      if (leader === undefined || living[0] !== leader) continue;
      for (const stat of stats) measured.set(stat, this.#measured.get(stat) ?? measure(stat, usages.get(stat.pid)));
      const processes = new Map(stats.map((stat) => [stat.pid, measured.get(stat)!.reading]));
      trees.set(worker, {
        reading: { leader: leader.pid, atMs: walk.atMs, uptimeMs: walk.uptimeMs ?? 0, processes },
        living: living.map((stat) => ({ stat, rssBytes: measured.get(stat)!.memoryBytes })),
      });
    }
    this.#measured = measured;
    return trees;
  }

  #conclude(trees: ReadonlyMap<string, MeasuredTree>): Map<string, TreeSample> {
    const samples = new Map<string, TreeSample>();
    for (const [worker, { reading, living }] of trees) {
      const own = living.map((resident) => this.#pss.estimate(resident));
      samples.set(worker, {
        cpuPercent: cpuPercent(this.#before.get(worker), reading),
        memoryBytes: own.reduce<number>((sum, pssBytes, at) => sum + (pssBytes ?? living[at]!.rssBytes), 0),
        memoryKind: own.includes(null) ? 'rss' : 'pss',
        processes: living.length,
      });
    }
    this.#before = new Map([...trees].map(([worker, { reading }]) => [worker, reading]));
    return samples;
  }
}

function isLiving(stat: ProcStat): boolean {
  return stat.state !== 'Z' && stat.state !== 'X';
}

function measure(stat: ProcStat, usage: Usage | undefined): Measured {
  const { pid, startTimeTicks } = stat;
  const cpuMs = usage?.cpuMs ?? (stat.utimeTicks + stat.stimeTicks) * tickMs;
  const memoryBytes = residentBytes(pid) ?? usage?.memoryBytes ?? stat.rssPages * pageSizeBytes();
  return { reading: { pid, startTimeTicks, cpuMs, childMs: stat.childTicks * tickMs }, memoryBytes };
}

/** A process of which only the pid is known. */
function unknownStat(pid: number): ProcStat {
  const times = { utimeTicks: 0, stimeTicks: 0, childTicks: 0, startTimeTicks: 0 };
  return { pid, comm: '', state: 'R', ppid: 0, pgid: 0, session: 0, threads: 1, rssPages: 0, ...times };
}
