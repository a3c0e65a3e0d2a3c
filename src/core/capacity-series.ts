/**
 * What a history says in numbers: levels, the time in the band, gaps, and whether memory grows steadily.
 *
 * Rules
 * - What is not known is left out and counted; it is never 0.
 * - p95 is that of the points (nearest rank): 5 % of the minutes were higher. The peak is the highest single sample.
 * - Growth is steady when five of six equal parts of the time, the warm-up left out, rise one after the other, as much late
 *   as early, and the CPU does not rise with it: else it is the load that grows.
 */
import type { History, HistoryPoint } from './history.ts';

export interface Levels {
  readonly mean: number;
  readonly median: number;
  readonly p95: number;
  readonly p99: number;
  readonly peak: number;
}

/** Shares of the whole, 0..1; and the shares of the time that were spent below, within and above the band. */
export interface Usage extends Levels {
  readonly below: number;
  readonly within: number;
  readonly above: number;
  /** How long it was above the band. */
  readonly aboveMs: number;
}

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** How much was seen. nothing: no point. minutes: less than an hour. day: at least 22 hours. */
export type Coverage = 'nothing' | 'minutes' | 'hours' | 'day';

/** What the numbers were made of. */
export interface Observed {
  readonly coverage: Coverage;
  /** The time that one point stands for. */
  readonly stepMs: number;
  readonly points: number;
  /** From the first point to the last one; null: there is none. */
  readonly span: Span | null;
  /** The time that was seen: the span without its gaps. */
  readonly coveredMs: number;
  /** Between the first point and now, longest first, `mostGaps` at most. */
  readonly gaps: readonly Span[];
  readonly gapsMs: number;
}

export interface Reading {
  readonly mean: number;
  readonly peak: number;
}

export const hourMs = 3_600_000;
const dayCoverageMs = 22 * hourMs;
const mostGaps = 5;
const fewMinutes = 10;
/** A sample may come this much late without anything being missing. */
const latenessMs = 5_000;

/** The points of the last `spanMs`: minutes, or where there are fewer than ten of them, single samples. */
export function recent(day: History, fine: History, window: { nowMs: number; spanMs: number }): History {
  const fromMs = window.nowMs - window.spanMs;
  const within = ({ points }: History) => points.filter(({ atMs }) => atMs >= fromMs && atMs <= window.nowMs);
  const minutes = within(day);
  const samples = within(fine);
  return minutes.length >= fewMinutes || samples.length === 0
    ? { ...day, points: minutes }
    : { ...fine, points: samples };
}

/** What is known of one quantity; the peak is the mean where no peak is known. */
export function readings(
  points: readonly HistoryPoint[],
  pick: (point: HistoryPoint) => readonly [mean: number | null, peak: number | null],
): readonly Reading[] {
  return points.flatMap((point) => {
    const [mean, peak] = pick(point);
    return mean === null ? [] : [{ mean, peak: Math.max(mean, peak ?? mean) }];
  });
}

/** null: nothing is known. */
export function levelsOf(known: readonly Reading[]): Levels | null {
  if (known.length === 0) return null;
  const means = known.map(({ mean }) => mean).toSorted((a, b) => a - b);
  return {
    mean: means.reduce((sum, value) => sum + value, 0) / means.length,
    median: rank(means, 0.5),
    p95: rank(means, 0.95),
    p99: rank(means, 0.99),
    peak: known.reduce((highest, { peak }) => Math.max(highest, peak), 0),
  };
}

/** Nearest rank: the smallest value that at least this share of the values does not exceed. */
function rank(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)] ?? 0;
}

/** null: nothing is known. */
export function usageOf(
  known: readonly Reading[],
  band: { readonly low: number; readonly high: number },
  stepMs: number,
): Usage | null {
  const levels = levelsOf(known);
  if (levels === null) return null;
  const below = known.filter(({ mean }) => mean < band.low).length;
  const above = known.filter(({ mean }) => mean > band.high).length;
  const within = known.length - below - above;
  const share = (count: number) => count / known.length;
  return { ...levels, below: share(below), within: share(within), above: share(above), aboveMs: above * stepMs };
}

/** How much of the last time was seen, and what is missing between the first point and now. */
export function observedIn({ points, stepMs }: History, nowMs: number): Observed {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined)
    return { coverage: 'nothing', stepMs, points: 0, span: null, coveredMs: 0, gaps: [], gapsMs: 0 };
  const toMs = Math.min(nowMs, last.atMs + stepMs);
  const gaps = gapsIn(points, stepMs, nowMs);
  const between = gaps.filter((gap) => gap.toMs <= toMs);
  const coveredMs = Math.max(0, toMs - first.atMs - lengthOf(between));
  return {
    coverage: coveredMs < hourMs ? 'minutes' : coveredMs < dayCoverageMs ? 'hours' : 'day',
    stepMs,
    points: points.length,
    span: { fromMs: first.atMs, toMs },
    coveredMs,
    gaps: gaps.toSorted((a, b) => b.toMs - b.fromMs - (a.toMs - a.fromMs)).slice(0, mostGaps),
    gapsMs: lengthOf(gaps),
  };
}

function gapsIn(points: readonly HistoryPoint[], stepMs: number, nowMs: number): readonly Span[] {
  const slackMs = Math.max(stepMs / 2, latenessMs);
  return points.flatMap(({ atMs }, index) => {
    const endMs = atMs + stepMs;
    const nextMs = points[index + 1]?.atMs ?? nowMs;
    return nextMs - endMs > slackMs ? [{ fromMs: endMs, toMs: nextMs }] : [];
  });
}

function lengthOf(spans: readonly Span[]): number {
  return spans.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
}

// ---------------------------------------------------------------- growth

export interface Growth {
  /** Of one worker. */
  readonly fromBytes: number;
  readonly toBytes: number;
  readonly bytesPerHour: number;
  /** From the one to the other. */
  readonly spanMs: number;
}

const parts = 6;
/** So many points tell a line from noise. */
export const leastPoints = 30;
const leastGrowthMs = 300_000;
const leastShare = 0.1;
const leastBytes = 8 * 2 ** 20;

/** Steady growth of the memory of one worker since it was last lowest; null: none. */
export function growthOf(points: readonly HistoryPoint[]): Growth | null {
  const perWorker = points.flatMap(({ atMs, memoryBytes, cpuPercent, ready }) =>
    memoryBytes === null || ready === null || ready === 0
      ? []
      : [{ atMs, bytes: memoryBytes / ready, cpu: cpuPercent === null ? null : cpuPercent / ready }],
  );
  const lowest = perWorker.reduce((low, { bytes }, index) => (bytes <= (perWorker[low]?.bytes ?? 0) ? index : low), 0);
  const known = perWorker.slice(lowest);
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined) return null;
  const spanMs = last.atMs - first.atMs;
  if (known.length < leastPoints || spanMs < leastGrowthMs) return null;
  const medians = split(known).map((part) => median(part.map(({ bytes }) => bytes)));
  const [, from = 0, , middle = 0, , to = 0] = medians;
  const rise = to - from;
  const rises = medians.slice(2).every((value, index) => value >= 0.99 * (medians[index + 1] ?? 0));
  const isSteady = rises && rise >= Math.max(leastShare * from, leastBytes) && to - middle >= rise / 3;
  if (!isSteady || loadGrows(known)) return null;
  // From the middle of the second part to that of the last one.
  const riseMs = ((parts - 2) / parts) * spanMs * (known.length / (known.length - 1));
  return { fromBytes: from, toBytes: to, bytesPerHour: (rise / riseMs) * hourMs, spanMs: riseMs };
}

function loadGrows(known: readonly { readonly cpu: number | null }[]): boolean {
  const loads = split(known).map((part) => median(part.flatMap(({ cpu }) => cpu ?? [])));
  const [early, late] = [median(loads.slice(1, 3)), median(loads.slice(4))];
  return late > 1.25 * early + 5;
}

/** Six parts of as many points each. */
function split<T>(values: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: parts }, (_, part) =>
    values.slice(Math.floor((part * values.length) / parts), Math.floor(((part + 1) * values.length) / parts)),
  );
}

function median(values: readonly number[]): number {
  return rank(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}
