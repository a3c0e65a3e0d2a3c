/** A day of a host and its apps, minute by minute, as the facts that `capacity` judges. */
import type {
  CapacityAppFacts,
  CapacityFacts,
  CapacityReport,
  HistoryPair,
  Staffing,
} from '../../src/core/capacity.ts';
import { capacityOf } from '../../src/core/capacity.ts';
import type { Verdict } from '../../src/core/capacity-advice.ts';
import type { HistoryPoint } from '../../src/core/history.ts';

export const minuteMs = 60_000;
export const nowMs = Date.UTC(2026, 0, 2);
export const gb = 2 ** 30;
export const mb = 2 ** 20;

/** What is said of minute `i`, or of all of them. */
export type Curve<T> = T | ((i: number) => T);

const nothingKnown = {
  ...{ cpuPercent: null, cpuMaxPercent: null, memoryBytes: null, memoryMaxBytes: null },
  ...{ queue: null, ready: null, goal: null },
};

/** The last `minutes` minutes; those for which `point` answers null are missing. */
export function minutes(count: number, point: (i: number) => Partial<HistoryPoint> | null): HistoryPair {
  const points = Array.from({ length: count }, (_, i): HistoryPoint | null => {
    const one = point(i);
    if (one === null) return null;
    const known = { ...nothingKnown, ...one };
    return {
      ...known,
      atMs: nowMs - (count - i) * minuteMs,
      cpuMaxPercent: one.cpuMaxPercent ?? known.cpuPercent,
      memoryMaxBytes: one.memoryMaxBytes ?? known.memoryBytes,
    };
  });
  return {
    fine: { target: 'x', stepMs: 2_000, points: [] },
    day: { target: 'x', stepMs: minuteMs, points: points.filter((one) => one !== null) },
  };
}

export interface AppDay {
  readonly name?: string;
  readonly workers?: number;
  readonly staffing?: Staffing;
  readonly serves?: boolean;
  /** CPUs of all its workers together. */
  readonly cpus: Curve<number | null>;
  readonly workerBytes: Curve<number | null>;
  readonly queue?: Curve<number | null>;
  readonly surge?: number;
  /** Besides `workers`, each with as much memory. */
  readonly spares?: number;
  readonly oomKills?: number;
  readonly recycled?: number;
  /** CPUs of each worker, where they differ. */
  readonly each?: readonly number[];
}

export interface Day {
  readonly count?: number;
  readonly spanMs?: number;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  /** CPUs and bytes in use, all together; null: not known. */
  readonly usedCpus: Curve<number | null>;
  readonly usedBytes: Curve<number | null>;
  readonly peakCpus?: Curve<number>;
  readonly missing?: (i: number) => boolean;
  readonly apps?: readonly AppDay[];
  readonly target?: number;
  readonly budgetBytes?: number;
}

function at<T>(curve: Curve<T>, i: number): T {
  return typeof curve === 'function' ? (curve as (i: number) => T)(i) : curve;
}

export function factsOf(day: Day): CapacityFacts {
  const { count = 1_440, cpus = 4, memoryBytes = 8 * gb, missing = () => false, target = 0.7 } = day;
  const percent = (used: number | null) => (used === null ? null : (100 * used) / cpus);
  const hostHistory = minutes(count, (i) => {
    if (missing(i)) return null;
    const bytes = at(day.usedBytes, i);
    const peak = day.peakCpus === undefined ? null : percent(at(day.peakCpus, i));
    return { cpuPercent: percent(at(day.usedCpus, i)), cpuMaxPercent: peak, memoryBytes: bytes };
  });
  return {
    nowMs,
    spanMs: day.spanMs ?? 1_440 * minuteMs,
    target,
    host: {
      ...{ cpus: Math.ceil(cpus), usableCpus: cpus, cpuSource: `${cpus} CPUs online`, cpuUtilisation: null },
      ...{ memoryBytes, memorySource: 'memory of the host', memoryUtilisation: null },
    },
    budgetBytes: day.budgetBytes ?? null,
    hostHistory,
    apps: (day.apps ?? []).map((app) => appFacts(app, count, missing)),
  };
}

function appFacts(app: AppDay, count: number, missing: (i: number) => boolean): CapacityAppFacts {
  const { name = 'web', workers = 2, spares = 0, staffing = { kind: 'fixed', max: workers } } = app;
  const history = minutes(count, (i) => {
    if (missing(i)) return null;
    const [cpus, bytes, queue = null] = [at(app.cpus, i), at(app.workerBytes, i), at(app.queue, i)];
    return {
      cpuPercent: cpus === null ? null : cpus * 100,
      memoryBytes: bytes === null ? null : bytes * (workers + spares),
      ...{ queue: queue ?? null, ready: workers, goal: workers },
    };
  });
  return {
    ...{ name, staffing, goal: workers, surge: app.surge ?? 1, spares, serves: app.serves ?? true, history },
    workers: (app.each ?? []).map((cpus, index) => ({
      id: `${name}.${index + 1}`,
      history: minutes(count, () => ({ cpuPercent: cpus * 100 })),
    })),
    ...{ oomKills: app.oomKills ?? 0, recycled: app.recycled ?? 0 },
  };
}

export function reportOf(day: Day): CapacityReport {
  return capacityOf(factsOf(day), new Date(nowMs).toISOString());
}

export function kindsOf({ advice }: CapacityReport): readonly string[] {
  return advice.map(({ kind }) => kind);
}

/** The one verdict of that kind. */
export function verdict<K extends Verdict['kind']>(
  { advice }: CapacityReport,
  kind: K,
): Extract<Verdict, { readonly kind: K }> & { readonly text: string } {
  const found = advice.filter((one) => one.kind === kind);
  if (found.length !== 1) throw new Error(`${found.length} verdicts ${kind}: ${JSON.stringify(advice, null, 1)}`);
  return found[0] as Extract<Verdict, { readonly kind: K }> & { readonly text: string };
}
