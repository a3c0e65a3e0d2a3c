/**
 * Keeps the history of the host, of each app and of each worker, in rings of a bounded size. It is fed with every sample.
 *
 * - Workers keep theirs over a crash, for their id stays. Of those that are gone for good the latest `deadKept` of each app
 *   are kept.
 * - The day of the host and of the apps outlives the master: it is stored every few minutes and at the end, and read again
 *   before the first sample. Where the clock has gone back meanwhile, what lies ahead is forgotten.
 * - An app that is gone keeps its day until that is over; of many that are gone the latest.
 */
import {
  beginsFinePoint,
  dayMinutes,
  finePoints,
  fineSpanMs,
  fineStepMs,
  hostTarget,
  minuteMs,
  minuteOf,
  sumOfKnown,
  type History,
  type HistoryPoint,
  type HistorySpan,
  type Reading,
} from '../core/history.ts';
import type { HostSample } from '../core/protocol.ts';
import type { HistoryStore, TreeSample } from '../ports.ts';
import { HistoryRing } from './history-ring.ts';

/** An app at this moment. */
export interface AppNow {
  readonly name: string;
  readonly ready: number;
  readonly goal: number;
  readonly queue: number | null;
  readonly workers: readonly WorkerNow[];
}

export interface WorkerNow {
  readonly id: string;
  /** undefined: it has no process, or was not sampled yet. */
  readonly sample: TreeSample | undefined;
  readonly queue: number | null;
}

interface Rings {
  readonly fine: HistoryRing;
  readonly day: HistoryRing;
}

/** Workers of an app that are gone, and whose history is kept. */
export const deadKept = 16;
/** Apps that are gone, and whose day is kept. */
const goneAppsKept = 32;
const storeEveryMs = 5 * minuteMs;

export class Histories {
  readonly #store: HistoryStore;
  readonly #host: Rings = ringsOf('all');
  readonly #apps = new Map<string, Rings>();
  readonly #workers = new Map<string, Rings>();
  /** The workers of the last sample, by app; and those that are gone, the latest last. */
  readonly #living = new Map<string, ReadonlySet<string>>();
  readonly #dead = new Map<string, string[]>();
  /** When the fine points began, by their tick. */
  readonly #fineMs = new Float64Array(finePoints);
  #fineTick = -1;
  #sampleEveryMs = fineSpanMs / finePoints;
  #isRestored = false;
  /** What 100 % of the host are in its points; null: not known. */
  #usableCpus: number | null = null;
  #storedMs: number | null = null;

  constructor(store: HistoryStore) {
    this.#store = store;
  }

  /** What its points take. */
  get sizeBytes(): number {
    const all = [this.#host, ...this.#apps.values(), ...this.#workers.values()];
    return all.reduce((sum, { fine, day }) => sum + fine.sizeBytes + day.sizeBytes, this.#fineMs.byteLength);
  }

  take(nowMs: number, sampleEveryMs: number, host: HostSample, apps: readonly AppNow[]): void {
    this.#restore(nowMs);
    this.#measureIn(host.usableCpus);
    this.#sampleEveryMs = sampleEveryMs;
    if (this.#fineTick < 0 || beginsFinePoint(nowMs, this.#openedMs(this.#fineTick), sampleEveryMs))
      this.#fineMs[++this.#fineTick % finePoints] = nowMs;
    const add = ({ fine, day }: Rings, reading: Reading): void => {
      fine.add(this.#fineTick, reading);
      day.add(minuteOf(nowMs), reading);
    };
    add(this.#host, hostReading(host));
    for (const app of apps) {
      add(ringsIn(this.#apps, app.name, 'withStaff'), appReading(app));
      for (const worker of app.workers)
        // Nothing in memory: it has ended, and was not waited for yet.
        if (worker.sample !== undefined && worker.sample.memoryBytes > 0)
          add(ringsIn(this.#workers, worker.id, 'all'), workerReading(worker));
    }
    this.#bury(apps);
    this.#storedMs ??= nowMs;
    if (nowMs - this.#storedMs >= storeEveryMs) this.store(nowMs);
  }

  /** null: nothing is known of that target. */
  of(target: string, span: HistorySpan, nowMs: number): History | null {
    this.#restore(nowMs);
    const rings = target === hostTarget ? this.#host : (this.#apps.get(target) ?? this.#workers.get(target));
    if (rings === undefined) return null;
    const points = span === 'day' ? dayOf(rings, nowMs) : this.#fineOf(rings, nowMs);
    return { target, stepMs: this.stepMs(span), points };
  }

  /** The time that a point stands for. */
  stepMs(span: HistorySpan): number {
    return span === 'day' ? minuteMs : fineStepMs(this.#sampleEveryMs);
  }

  /** Stores the day; also at the end of the master. */
  store(nowMs: number): void {
    // Nothing was sampled: what is stored is as good as what there is.
    if (this.#storedMs === null) return;
    this.#storedMs = nowMs;
    this.#forgetGone(nowMs);
    this.#store.save(() => ({
      usableCpus: this.#usableCpus,
      host: dayOf(this.#host, nowMs),
      apps: new Map([...this.#apps].map(([name, rings]) => [name, dayOf(rings, nowMs)])),
    }));
  }

  #fineOf({ fine }: Rings, nowMs: number): HistoryPoint[] {
    const points = fine.points(this.#fineTick - finePoints + 1, (tick) => this.#openedMs(tick));
    return points.filter(({ atMs }) => nowMs - atMs <= fineSpanMs);
  }

  #openedMs(tick: number): number {
    return this.#fineMs[tick % finePoints]!;
  }

  #restore(nowMs: number): void {
    if (this.#isRestored) return;
    this.#isRestored = true;
    const stored = this.#store.load();
    if (stored === null) return;
    this.#usableCpus = stored.usableCpus;
    restoreInto(this.#host, stored.host, nowMs);
    for (const [name, points] of stored.apps) restoreInto(ringsIn(this.#apps, name, 'withStaff'), points, nowMs);
    this.#forgetGone(nowMs);
  }

  /** A server or a quota that has changed its size is judged by what was used of it, not by the shares of another size. */
  #measureIn(usableCpus: number): void {
    const before = this.#usableCpus;
    this.#usableCpus = usableCpus;
    if (before === null || before === usableCpus || usableCpus <= 0) return;
    for (const ring of [this.#host.fine, this.#host.day]) ring.scaleCpu(before / usableCpus);
  }

  /** Of the workers that are gone only the latest are kept. */
  #bury(apps: readonly AppNow[]): void {
    const now = new Map(apps.map(({ name, workers }) => [name, new Set(workers.map(({ id }) => id))]));
    for (const [app, before] of this.#living) {
      const gone = [...before].filter((id) => this.#workers.has(id) && now.get(app)?.has(id) !== true);
      if (gone.length === 0) continue;
      const dead = [...(this.#dead.get(app) ?? []), ...gone];
      for (const id of dead.splice(0, dead.length - deadKept)) this.#workers.delete(id);
      this.#dead.set(app, dead);
    }
    this.#living.clear();
    for (const [app, ids] of now) this.#living.set(app, ids);
  }

  #forgetGone(nowMs: number): void {
    const oldest = minuteOf(nowMs) - dayMinutes;
    const newestOf = (rings: Rings): number => rings.day.newestTick ?? 0;
    const gone = [...this.#apps].filter(([name]) => !this.#living.has(name));
    const byAge = gone.sort(([, a], [, b]) => newestOf(b) - newestOf(a));
    for (const [at, [name, rings]] of byAge.entries()) {
      if (at < goneAppsKept && newestOf(rings) > oldest) continue;
      this.#apps.delete(name);
      for (const id of this.#dead.get(name) ?? []) this.#workers.delete(id);
      this.#dead.delete(name);
    }
  }
}

function ringsOf(holds: 'all' | 'withStaff'): Rings {
  return { fine: new HistoryRing(finePoints, holds), day: new HistoryRing(dayMinutes, holds) };
}

function ringsIn(map: Map<string, Rings>, name: string, holds: 'all' | 'withStaff'): Rings {
  let rings = map.get(name);
  if (rings === undefined) map.set(name, (rings = ringsOf(holds)));
  return rings;
}

function dayOf({ day }: Rings, nowMs: number): HistoryPoint[] {
  return day.points(minuteOf(nowMs) - dayMinutes + 1, (minute) => minute * minuteMs);
}

/** What lies ahead of us is left out; what is older than a day is never asked for. */
function restoreInto({ day }: Rings, points: readonly HistoryPoint[], nowMs: number): void {
  const newest = minuteOf(nowMs);
  for (const point of points) {
    const minute = minuteOf(point.atMs);
    if (minute <= newest) day.restore(minute, point);
  }
}

function hostReading({ cpuUtilisation, memoryBytes, memoryUtilisation }: HostSample): Reading {
  return {
    cpuPercent: cpuUtilisation === null ? null : cpuUtilisation * 100,
    memoryBytes: memoryUtilisation === null ? null : memoryUtilisation * memoryBytes,
    ...{ queue: null, ready: null, goal: null },
  };
}

function workerReading({ sample, queue }: WorkerNow): Reading {
  return {
    cpuPercent: sample?.cpuPercent ?? null,
    memoryBytes: sample?.memoryBytes ?? null,
    ...{ queue, ready: null, goal: null },
  };
}

/** An app without workers uses nothing; of one with workers that were not sampled yet nothing is known. */
function appReading({ ready, goal, queue, workers }: AppNow): Reading {
  const samples = workers.flatMap(({ sample }) => sample ?? []);
  const nothing = workers.length === 0 ? 0 : null;
  return {
    cpuPercent: sumOfKnown(samples.map(({ cpuPercent }) => cpuPercent)) ?? nothing,
    memoryBytes: sumOfKnown(samples.map(({ memoryBytes }) => memoryBytes)) ?? nothing,
    ...{ queue, ready, goal },
  };
}
