/**
 * Capacity: how well the host is used, and what follows from it. This file makes the figures out of the histories;
 * `capacity-advice.ts` draws the conclusions, `capacity-words.ts` says them.
 *
 * The idea is that of FastAPI's page on deployment concepts: use between 50 % and 90 % of CPU and memory. Below it money is
 * wasted, above it one more wave is too much. What is judged is the p95 of the minutes: a server has to carry the busy hours,
 * not the mean of a day, and no spike of a minute.
 */
import type { Advice } from './capacity-advice.ts';
import { advise } from './capacity-advice.ts';
import { missingIn } from './capacity-missing.ts';
import {
  growthOf,
  leastPoints,
  levelsOf,
  observedIn,
  readings,
  recent,
  usageOf,
  type Growth,
  type Levels,
  type Observed,
  type Usage,
} from './capacity-series.ts';
import type { History, HistoryPoint } from './history.ts';
import type { HostSample } from './protocol.ts';
import type { StaffingSpec } from './spec.ts';

/** The band of utilisation in which a server is used well, and not too much. */
export const band = { low: 0.5, high: 0.9 } as const;

export const capacitySpan = { leastMs: 60_000, mostMs: 86_400_000 } as const;

export interface HistoryPair {
  readonly fine: History;
  readonly day: History;
}

export interface CapacityFacts {
  readonly nowMs: number;
  /** How far to look back. */
  readonly spanMs: number;
  /** 0..1: what is aimed at. */
  readonly target: number;
  readonly host: HostSample;
  /** What the workers of all apps together may have; null: not known. */
  readonly budgetBytes: number | null;
  readonly hostHistory: HistoryPair;
  readonly apps: readonly CapacityAppFacts[];
}

export interface CapacityAppFacts {
  readonly name: string;
  readonly staffing: Staffing;
  /** Wanted workers, and how many more a reload needs for a while. */
  readonly goal: number;
  readonly surge: number;
  /** Ready ones that stand by: they have memory, and nothing to do. */
  readonly spares: number;
  /** It answers clients: it has `listen`. */
  readonly serves: boolean;
  readonly history: HistoryPair;
  /** Of the workers that there are now. */
  readonly workers: readonly { readonly id: string; readonly history: HistoryPair }[];
  /** In the time looked at: workers that the kernel ended for want of memory, and that were replaced because of their memory. */
  readonly oomKills: number;
  readonly recycled: number;
}

export interface Staffing {
  readonly kind: StaffingSpec['kind'];
  readonly max: number | null;
}

/** What keeps the apps from doing more. */
export type Bound =
  | { readonly by: 'unknown' | 'nothing' | 'cpu' | 'memory' }
  /** Its workers are busy with one core each while the host idles; or connections wait while its workers do. */
  | { readonly by: 'workers' | 'queue'; readonly app: string };

export interface CapacityReport {
  readonly at: string;
  readonly askedMs: number;
  readonly target: number;
  readonly band: { readonly low: number; readonly high: number };
  readonly observed: Observed;
  readonly cpu: {
    readonly usable: number;
    readonly source: string;
    /** Shares of the usable CPUs. */
    readonly usage: Usage | null;
  };
  readonly memory: {
    readonly usableBytes: number;
    readonly source: string;
    /** `resources.memory_budget`; null: not known. */
    readonly budgetBytes: number | null;
    /** Shares of the usable memory. */
    readonly usage: Usage | null;
  };
  readonly apps: readonly AppCapacity[];
  /** The mean of what everything but the apps uses; null: not known. */
  readonly others: { readonly cpus: number | null; readonly memoryBytes: number | null };
  readonly bound: Bound;
  readonly advice: readonly Advice[];
  /** What is not known, a sentence each. */
  readonly missing: readonly string[];
}

export interface AppCapacity {
  readonly name: string;
  readonly staffing: Staffing;
  readonly workers: number;
  readonly surge: number;
  readonly serves: boolean;
  /** In CPUs, all its workers together. */
  readonly cpus: Levels | null;
  /** In CPUs, of one ready worker. */
  readonly cpusPerWorker: Levels | null;
  /** In bytes, all its workers together. */
  readonly memory: Levels | null;
  /** What one worker needs: p95 of its share of the app's memory. */
  readonly workerBytes: number | null;
  /** Its part of all that the host does: 0..1 of the mean; null: not known. */
  readonly cpuShare: number | null;
  readonly memoryShare: number | null;
  /** Connections that waited to be accepted, the most of each point; null: never counted. */
  readonly queue: Levels | null;
  readonly growth: Growth | null;
  /** The worker that does most, and how much the others do, in CPUs; null: fewer than two, or not known. */
  readonly busiest: { readonly worker: string; readonly cpus: number; readonly othersCpus: number } | null;
  readonly oomKills: number;
  readonly recycled: number;
}

/** The whole report. `at`: now, ISO 8601. */
export function capacityOf(facts: CapacityFacts, at: string): CapacityReport {
  const { host, hostHistory, target, nowMs, spanMs } = facts;
  const history = recent(hostHistory.day, hostHistory.fine, facts);
  const cpu = readings(history.points, (point) => [share(point.cpuPercent, 100), share(point.cpuMaxPercent, 100)]);
  const usableBytes = host.memoryBytes;
  const memory = readings(history.points, (point) => [
    share(point.memoryBytes, usableBytes),
    share(point.memoryMaxBytes, usableBytes),
  ]);
  const cpuUsage = host.usableCpus > 0 ? usageOf(cpu, band, history.stepMs) : null;
  const memoryUsage = usageOf(memory, band, history.stepMs);
  const hostCpus = cpuUsage && cpuUsage.mean * host.usableCpus;
  const hostBytes = memoryUsage && memoryUsage.mean * usableBytes;
  const apps = facts.apps.map((app) => appCapacity(app, facts, { cpus: hostCpus, memoryBytes: hostBytes }));
  const figures = {
    at,
    askedMs: spanMs,
    target,
    band,
    observed: observedIn(history, nowMs),
    cpu: { usable: host.usableCpus, source: host.cpuSource, usage: cpuUsage },
    memory: { usableBytes, source: host.memorySource, budgetBytes: facts.budgetBytes, usage: memoryUsage },
    apps,
    others: {
      cpus: rest(
        hostCpus,
        apps.map(({ cpus }) => cpus),
      ),
      memoryBytes: rest(
        hostBytes,
        apps.map((app) => app.memory),
      ),
    },
  };
  const missing = missingIn(figures, { cpu: cpu.length, memory: memory.length });
  return { ...figures, ...advise(figures), missing };
}

export type CapacityFigures = Omit<CapacityReport, 'bound' | 'advice' | 'missing'>;

function appCapacity(
  app: CapacityAppFacts,
  facts: CapacityFacts,
  host: { readonly cpus: number | null; readonly memoryBytes: number | null },
): AppCapacity {
  const { points } = recent(app.history.day, app.history.fine, facts);
  const cpus = levelsOf(readings(points, (point) => [share(point.cpuPercent, 100), share(point.cpuMaxPercent, 100)]));
  const memory = levelsOf(readings(points, ({ memoryBytes, memoryMaxBytes }) => [memoryBytes, memoryMaxBytes]));
  const each = (pick: 'cpuPercent' | 'memoryBytes', standBy: number) =>
    levelsOf(readings(points, (point) => [share(point[pick], (point.ready ?? 0) + standBy), null]));
  return {
    name: app.name,
    staffing: app.staffing,
    workers: app.goal,
    surge: app.surge,
    serves: app.serves,
    cpus,
    cpusPerWorker: scaled(each('cpuPercent', 0), 0.01),
    memory,
    workerBytes: each('memoryBytes', app.spares)?.p95 ?? null,
    cpuShare: partOf(cpus?.mean ?? null, host.cpus),
    memoryShare: partOf(memory?.mean ?? null, host.memoryBytes),
    queue: levelsOf(readings(points, ({ queue }) => [queue, queue])),
    growth: growthOf(forGrowth(app.history, facts)),
    busiest: busiestOf(app, facts),
    oomKills: app.oomKills,
    recycled: app.recycled,
  };
}

/** The minutes, or where they are too few the single samples. */
function forGrowth({ day, fine }: HistoryPair, facts: CapacityFacts): readonly HistoryPoint[] {
  const none = { ...fine, points: [] };
  const minutes = recent(day, none, facts).points;
  return minutes.length >= leastPoints ? minutes : recent({ ...day, points: [] }, fine, facts).points;
}

const fewLooks = 10;

/** Only of workers that were looked at often enough; each must have been, or nobody is said to do more than the others. */
function busiestOf({ workers }: CapacityAppFacts, facts: CapacityFacts): AppCapacity['busiest'] {
  const known = workers.flatMap(({ id, history }) => {
    const { points } = recent(history.day, history.fine, facts);
    const looks = readings(points, ({ cpuPercent }) => [share(cpuPercent, 100), null]);
    return looks.length < fewLooks ? [] : [{ worker: id, cpus: levelsOf(looks)?.mean ?? 0 }];
  });
  if (known.length < 2 || known.length < workers.length) return null;
  const [first, ...others] = known.toSorted((a, b) => b.cpus - a.cpus);
  if (first === undefined) return null;
  return { ...first, othersCpus: others.reduce((sum, { cpus }) => sum + cpus, 0) / others.length };
}

function share(value: number | null, whole: number): number | null {
  return value === null || whole <= 0 ? null : value / whole;
}

/** What is measured at other moments, or in another way, may be a little more than the whole. Pages that are shared, much more. */
const slack = 0.05;

/** null: it is not known, or the parts cannot be compared with the whole. */
function partOf(part: number | null, whole: number | null): number | null {
  const found = share(part, whole ?? 0);
  return found === null || found > 1 + slack ? null : Math.min(1, found);
}

function scaled(levels: Levels | null, factor: number): Levels | null {
  return (
    levels && {
      mean: levels.mean * factor,
      median: levels.median * factor,
      p95: levels.p95 * factor,
      p99: levels.p99 * factor,
      peak: levels.peak * factor,
    }
  );
}

/** What the apps leave of the whole; null where one of them is not known, or they are more than the whole. */
function rest(whole: number | null, parts: readonly (Levels | null)[]): number | null {
  if (whole === null || parts.includes(null)) return null;
  const left = parts.reduce((sum, part) => sum - (part?.mean ?? 0), whole);
  return left < -slack * whole ? null : Math.max(0, left);
}
