/**
 * The history of CPU and memory: what a point of it says, and which look at the host falls into which point.
 *
 * | ring | a point is | kept |
 * | --- | --- | --- |
 * | fine | one sample; of faster samples several, so that ten minutes are `finePoints` points at most | 10 minutes |
 * | day  | a minute of the clock | 24 hours |
 *
 * Rules
 * - What falls together keeps the mean and the highest: a peak is not lost. Of the queue the longest is kept, of the ready
 *   workers the fewest, and the goal as it was last.
 * - What nobody has seen has no point: a gap is a gap, and never 0.
 * - CPU of the host is told in what may be used now: where that has changed, earlier points are scaled, and may be above 100.
 */

/** One point. null: not known, or not told of that kind of target. */
export interface HistoryPoint {
  /** When it begins. Milliseconds since the epoch. */
  readonly atMs: number;
  /** The mean. Of the host 100 is all usable CPUs, of apps and workers one core. */
  readonly cpuPercent: number | null;
  readonly cpuMaxPercent: number | null;
  /** The mean. Of the host what is in use, of apps and workers what their trees hold. */
  readonly memoryBytes: number | null;
  readonly memoryMaxBytes: number | null;
  /** The most connections that waited to be accepted; not of the host. */
  readonly queue: number | null;
  /** The fewest workers that were ready; only of apps. */
  readonly ready: number | null;
  /** How many were wanted, at last; only of apps. */
  readonly goal: number | null;
}

export interface History {
  /** `host`, an app, or a worker's id. */
  readonly target: string;
  /** The time that a point stands for. */
  readonly stepMs: number;
  /** Oldest first; none where nothing was seen. */
  readonly points: readonly HistoryPoint[];
}

export const historySpans = ['fine', 'day'] as const;
export type HistorySpan = (typeof historySpans)[number];

/** What one look has seen of a target. */
export type Reading = Pick<HistoryPoint, 'cpuPercent' | 'memoryBytes' | 'queue' | 'ready' | 'goal'>;

/** What is kept of the day beyond the life of a master. */
export interface StoredHistory {
  /** What 100 % of the host were; null: not known. */
  readonly usableCpus: number | null;
  readonly host: readonly HistoryPoint[];
  readonly apps: ReadonlyMap<string, readonly HistoryPoint[]>;
}

/** The name under which the host is asked for. */
export const hostTarget = 'host';

export const fineSpanMs = 600_000;
export const finePoints = 300;
export const minuteMs = 60_000;
export const dayMinutes = 1_440;

/** The time between two points of the fine ring: a whole number of samples, so that `finePoints` reach for ten minutes. */
export function fineStepMs(sampleEveryMs: number): number {
  return sampleEveryMs * Math.max(1, Math.ceil(fineSpanMs / finePoints / sampleEveryMs));
}

/** Whether a sample begins a new point of the fine ring. Samples come a little early or late. */
export function beginsFinePoint(atMs: number, openedMs: number, sampleEveryMs: number): boolean {
  return atMs - openedMs >= fineStepMs(sampleEveryMs) - sampleEveryMs / 2;
}

/** The minute of the clock that a time lies in, counted from the epoch. */
export function minuteOf(atMs: number): number {
  return Math.floor(atMs / minuteMs);
}

/** The sum of what is known; null: nothing is. */
export function sumOfKnown(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0);
}
