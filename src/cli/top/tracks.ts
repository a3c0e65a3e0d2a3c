/**
 * The curves behind the bars: of the host, of each app and of each worker, from the master's history and from the
 * snapshots since.
 *
 * - A bar stands for a fixed stretch of the clock and shows the highest value in it, so bars that are past do not change.
 * - The history replaces what was seen before its last point. A master that has none leaves the snapshots alone.
 * - What nobody saw is a gap.
 */
import { fineSpanMs, hostTarget, sumOfKnown, type History } from '../../core/history.ts';
import type { AppSnapshot, Snapshot } from '../../core/protocol.ts';

export interface Point {
  readonly atMs: number;
  readonly cpuPercent: number | null;
  readonly memoryBytes: number | null;
}

export interface Track {
  /** The time that a point stands for. */
  readonly stepMs: number;
  /** Oldest first. */
  readonly points: readonly Point[];
}

export type Tracks = ReadonlyMap<string, Track>;

/** What bars may span, and the ring of the master that reaches so far. */
export const spans = {
  '2m': { spanMs: 120_000, ring: 'fine' },
  '10m': { spanMs: fineSpanMs, ring: 'fine' },
  '24h': { spanMs: 86_400_000, ring: 'day' },
} as const;
export type SpanName = keyof typeof spans;

/** Snapshots come more often than samples: those that are closer than this are one point. */
const snapshotStepMs = 2000;

/** The CPU of an app's workers together. */
export function appCpu({ workers }: AppSnapshot): number | null {
  return sumOfKnown(workers.map(({ cpuPercent }) => cpuPercent));
}

export function appMemory({ workers }: AppSnapshot): number | null {
  return sumOfKnown(workers.map(({ memoryBytes }) => memoryBytes));
}

/** The tracks with what a snapshot shows. Who is gone has none any more. */
export function withSnapshot(tracks: Tracks, { host, apps }: Snapshot, atMs: number): Tracks {
  const next = new Map<string, Track>();
  const add = (target: string, cpuPercent: number | null, memoryBytes: number | null) => {
    const track = tracks.get(target) ?? { stepMs: snapshotStepMs, points: [] };
    next.set(target, withPoint(track, { atMs, cpuPercent, memoryBytes }));
  };
  const { cpuUtilisation, memoryUtilisation, memoryBytes } = host;
  add(
    hostTarget,
    cpuUtilisation === null ? null : cpuUtilisation * 100,
    memoryUtilisation === null ? null : memoryUtilisation * memoryBytes,
  );
  for (const app of apps) {
    add(app.name, appCpu(app), appMemory(app));
    for (const worker of app.workers) add(worker.id, worker.cpuPercent, worker.memoryBytes);
  }
  return next;
}

function withPoint(track: Track, point: Point): Track {
  if (point.cpuPercent === null && point.memoryBytes === null) return track;
  const { stepMs, points } = track;
  const last = points.at(-1);
  if (last === undefined || point.atMs - last.atMs >= snapshotStepMs) {
    return { stepMs, points: [...points.filter(({ atMs }) => point.atMs - atMs <= fineSpanMs), point] };
  }
  const merged: Point = {
    atMs: last.atMs,
    cpuPercent: highest([last.cpuPercent, point.cpuPercent]),
    memoryBytes: highest([last.memoryBytes, point.memoryBytes]),
  };
  return { stepMs, points: [...points.slice(0, -1), merged] };
}

/** The track with the master's history of it. */
export function withHistory(track: Track | undefined, { stepMs, points }: History): Track {
  const known = points.map(({ atMs, cpuPercent, cpuMaxPercent, memoryBytes, memoryMaxBytes }): Point => ({
    atMs,
    cpuPercent: cpuMaxPercent ?? cpuPercent,
    memoryBytes: memoryMaxBytes ?? memoryBytes,
  }));
  const lastMs = known.at(-1)?.atMs ?? 0;
  return { stepMs, points: [...known, ...(track?.points ?? []).filter(({ atMs }) => atMs > lastMs)] };
}

/** `count` values, the last for the stretch of the clock that `nowMs` lies in. null: nothing is known of it. */
export function barsOf(
  track: Track | undefined,
  of: 'cpuPercent' | 'memoryBytes',
  { nowMs, spanMs, count }: { nowMs: number; spanMs: number; count: number },
): (number | null)[] {
  const bars = Array.from({ length: count }, (): number | null => null);
  if (track === undefined || count < 1) return bars;
  const barMs = spanMs / count;
  const first = Math.floor(nowMs / barMs) - count + 1;
  for (const { atMs, [of]: value } of track.points) {
    // A point stands for the time until the next one: bars shorter than that are filled.
    const from = Math.max(0, Math.floor(atMs / barMs) - first);
    const to = Math.floor(Math.min(nowMs, Math.max(atMs, atMs + track.stepMs - 1)) / barMs) - first;
    for (let at = from; at <= to && at < count; at++) bars[at] = highest([bars[at] ?? null, value]);
  }
  return bars;
}

function highest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}
