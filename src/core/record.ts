/**
 * The record of an exit: what is kept of every end of a worker's process, how much of it, and how it lies in a file.
 *
 * Rules
 * - A record is bounded whatever the worker did: so many lines, so long, so many points. An end that was asked for keeps no
 *   curve and few lines: it is told, not investigated.
 * - A curve is thinned evenly in time. What falls together keeps the highest memory and the mean CPU: a peak is not lost.
 * - One line of JSON a record. A line that cannot be read (torn by a power cut, of another version) is passed over.
 */
import type { Cause, WorkerState } from './protocol.ts';
import type { Signal } from './spec.ts';

/** One look at the worker's whole process tree. */
export interface CurvePoint {
  /** How long before the exit. */
  readonly beforeMs: number;
  readonly memoryBytes: number;
  /** 100 = one core busy; null: not known. */
  readonly cpuPercent: number | null;
}

/** What became of the worker after the exit. */
export type Next =
  | { readonly type: 'restarted' }
  | { readonly type: 'backoff'; readonly delayMs: number; readonly crashes: number }
  /** `delayMs`: until a slow trial; null: none. */
  | { readonly type: 'failed'; readonly delayMs: number | null; readonly crashes: number }
  | { readonly type: 'completed' }
  /** It is gone for good. `by`: the worker that took its place. */
  | { readonly type: 'stopped'; readonly by: string | null };

export interface ExitRecord {
  /** When its process, and all that it left behind, were gone. ISO 8601, UTC. */
  readonly at: string;
  readonly app: string;
  readonly worker: string;
  readonly slot: number;
  readonly pid: number | null;
  readonly revision: number;
  readonly cause: Cause;
  readonly code: number | null;
  readonly signal: Signal | null;
  readonly error: string | null;
  /** What proves that the kernel ended it for want of memory. */
  readonly oom: string | null;
  /** What was seen before supervise ended it: how it hung, which limit it was over. */
  readonly reason: string | null;
  readonly uptimeMs: number;
  /** How long it took to be ready; null: it never was. */
  readonly readyMs: number | null;
  /** How often a process of this worker had followed another one. */
  readonly restarts: number;
  /** The spare that took its place in the rotation; null: none did. */
  readonly spare: string | null;
  readonly lastLines: readonly string[];
  /** The minutes before, oldest first. */
  readonly curve: readonly CurvePoint[];
  readonly next: Next;
}

/** Why a worker's present process was started. */
export const startReasons = [
  'start', // the app's first workers
  'scale-up',
  'reload',
  'rollback',
  'restart',
  'respawn', // an earlier process of the same worker ended
  'replacement', // of a worker that hung, was not healthy, or was over a limit
  'missing', // fewer workers ran than are wanted
] as const;
export type StartReason = (typeof startReasons)[number];

export interface Start {
  readonly at: string;
  readonly why: StartReason;
  /** The worker in whose place it came; null when there is none or it is the same worker. */
  readonly of: string | null;
  /** Why the process before it ended, in words; null: there was none, or it is not known. */
  readonly after: string | null;
}

/** What `why` says of a worker that there is now. */
export interface WorkerWhy {
  readonly id: string;
  readonly state: WorkerState;
  readonly pid: number | null;
  readonly revision: number;
  readonly uptimeMs: number | null;
  /** What it waits for, or what is wrong with it though it runs: it hangs, it is not healthy. */
  readonly reason: string | null;
  /** null: its process was not started yet. */
  readonly start: Start | null;
}

/** The answer to `why`. */
export interface Why {
  readonly target: string;
  /** Whether a master answered; else this is what it has left. */
  readonly running: boolean;
  /** Those that there are now; none when no master runs. */
  readonly workers: readonly WorkerWhy[];
  /** Newest first. */
  readonly records: readonly ExitRecord[];
}

export const curveMs = 300_000;
export const curvePoints = 60;
const mostLines = 20;
const linesOfPlanned = 5;
/** A dump of the stacks of one that hung: its first lines say where. */
const linesOfDump = 200;
const longestText = 500;
/** Ends that somebody wanted for reasons of their own: nothing was wrong with the worker. */
const planned: ReadonlySet<Cause> = new Set(['stop', 'scale-down', 'restart', 'reload', 'rollback']);

/** Whether an end was wanted, and is no sign of a trouble of the worker. */
export function isPlanned(cause: Cause): boolean {
  return planned.has(cause);
}

/** The record with everything in its bounds. */
export function bounded(record: ExitRecord): ExitRecord {
  const wanted = isPlanned(record.cause);
  const most = record.cause === 'stall' ? linesOfDump : wanted ? linesOfPlanned : mostLines;
  const lines = record.lastLines.slice(-most);
  const cutOrNull = (text: string | null) => (text === null ? null : cut(text));
  return {
    ...record,
    error: cutOrNull(record.error),
    oom: cutOrNull(record.oom),
    reason: cutOrNull(record.reason),
    lastLines: lines.map(cut),
    curve: wanted ? [] : record.curve,
  };
}

function cut(text: string): string {
  return text.length <= longestText ? text : `${text.slice(0, longestText - 1)}…`;
}

// ---------------------------------------------------------------- curves

/** A point while the worker still runs: its exit is not known yet. */
export interface Point {
  readonly atMs: number;
  readonly memoryBytes: number;
  readonly cpuPercent: number | null;
}

/** The points with one more, without those that are too old for a record; never more than twice `curvePoints`. */
export function addPoint(points: readonly Point[], point: Point): readonly Point[] {
  const [oldest] = points;
  const isYoung = oldest === undefined || point.atMs - oldest.atMs <= curveMs;
  const young = isYoung ? points : points.filter((one) => point.atMs - one.atMs <= curveMs);
  return [...(young.length < 2 * curvePoints - 1 ? young : thin(young, curvePoints)), point];
}

/** The points of the last minutes before an exit, at most `curvePoints`, oldest first. */
export function curveBefore(points: readonly Point[], exitMs: number): readonly CurvePoint[] {
  const young = points.filter(({ atMs }) => atMs <= exitMs && exitMs - atMs <= curveMs);
  return thin(young, curvePoints).map(({ atMs, memoryBytes, cpuPercent }) => ({
    beforeMs: Math.round(exitMs - atMs),
    memoryBytes,
    cpuPercent,
  }));
}

/** At most `most` points: those of equal spans of time become one each. */
export function thin(points: readonly Point[], most: number): readonly Point[] {
  const firstMs = points[0]?.atMs ?? 0;
  if (points.length <= most) return points;
  const spanMs = ((points.at(-1)?.atMs ?? 0) - firstMs) / most || 1;
  const spanOf = ({ atMs }: Point) => Math.min(most - 1, Math.floor((atMs - firstMs) / spanMs));
  const thinned: Point[] = [];
  for (let from = 0, to = 0; from < points.length; from = to) {
    const span = spanOf(points[from]!);
    while (to < points.length && spanOf(points[to]!) === span) to++;
    thinned.push(merged(points, from, to));
  }
  return thinned;
}

/** Those from `from` to before `to` as one point, at the time of the last of them. */
function merged(points: readonly Point[], from: number, to: number): Point {
  let [memoryBytes, cpuSum, known] = [0, 0, 0];
  for (let at = from; at < to; at++) {
    const point = points[at]!;
    memoryBytes = Math.max(memoryBytes, point.memoryBytes);
    if (point.cpuPercent === null) continue;
    cpuSum += point.cpuPercent;
    known++;
  }
  const cpuPercent = known === 0 ? null : Math.round((10 * cpuSum) / known) / 10;
  return { atMs: points[to - 1]!.atMs, memoryBytes, cpuPercent };
}

// ---------------------------------------------------------------- the file

/** Without the closing newline. App and worker stand near the head: a reader may look for them before it parses. */
export function recordLine(record: ExitRecord): string {
  const { at, app, worker, ...rest } = record;
  return JSON.stringify({ at, app, worker, ...rest });
}

/**
 * The last `n` records of the lines of a file that belong to an app or (`worker`) to one worker, newest first. Lines that
 * are no records are passed over.
 */
export function recordsIn(
  lines: readonly string[],
  target: { readonly app: string; readonly worker: string | null },
  n: number,
): readonly ExitRecord[] {
  const { app, worker } = target;
  const key = worker === null ? `"app":${JSON.stringify(app)}` : `"worker":${JSON.stringify(worker)}`;
  const found: ExitRecord[] = [];
  for (let at = lines.length - 1; at >= 0 && found.length < n; at--) {
    const line = lines[at] ?? '';
    const record = line.includes(key) ? parseRecord(line) : null;
    if (record !== null && (worker === null ? record.app === app : record.worker === worker)) found.push(record);
  }
  return found;
}

/** The apps of which there are records, in the order of their first. */
export function appsIn(lines: readonly string[]): readonly string[] {
  const names = new Set<string>();
  for (const line of lines) {
    const name = /^\{"at":"[^"]*","app":("(?:[^"\\]|\\.)*")/.exec(line)?.[1];
    if (name !== undefined) names.add(JSON.parse(name) as string);
  }
  return [...names];
}

/** null: the line is torn, or not one of ours. */
export function parseRecord(line: string): ExitRecord | null {
  let value: Partial<ExitRecord> | null;
  try {
    value = JSON.parse(line) as Partial<ExitRecord> | null;
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { at, app, worker, cause, uptimeMs, lastLines, curve, next } = value;
  const isText = [at, app, worker, cause].every((one) => typeof one === 'string');
  const isWhole = Array.isArray(lastLines) && Array.isArray(curve) && typeof next?.type === 'string';
  return isText && isWhole && typeof uptimeMs === 'number' ? ({ spare: null, ...value } as ExitRecord) : null;
}
