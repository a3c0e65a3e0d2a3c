/**
 * What follows from the figures of `capacity.ts`: verdicts with their numbers, the most pressing first.
 *
 * Rules
 * - CPUs needed: p95 at the target, and p99 at the upper end of the band. A single minute of the day decides nothing.
 * - Memory needed: p95 at the target, and the peak at the upper end of the band: memory cannot be late, it fails.
 * - A leak is named. More memory is not advised for it, and nothing smaller either.
 * - More workers only where they find CPUs and memory; all apps share what is left.
 * - Nothing is advised of fewer than ten points, and nothing less of less than an hour: what was busy was busy, but what idled may have waited for its clients.
 */
import type { Bound, CapacityFigures } from './capacity.ts';
import type { Growth } from './capacity-series.ts';
import { hourMs } from './capacity-series.ts';
import { inWords } from './capacity-words.ts';
import { fewerWorkers, hotWorker, leakOf, maxTooHigh, moreWorkers, reloadRoom, waiting } from './capacity-workers.ts';

export type Resource = 'cpu' | 'memory';

export interface Change {
  readonly from: number;
  readonly to: number;
}

export type Verdict =
  | { readonly kind: 'no-history' }
  /** For the first points nothing can be said, and for the first hour not that less would do. */
  | { readonly kind: 'too-early'; readonly coveredMs: number; readonly neededMs: number }
  /** The server and the number of workers are right. */
  | { readonly kind: 'fits' }
  /** For a short time only it was above the band. */
  | { readonly kind: 'spike'; readonly resource: Resource; readonly aboveMs: number; readonly peak: number }
  | { readonly kind: 'oom'; readonly app: string; readonly kills: number }
  /** `growth`: null where it was only seen that its workers had to be replaced. `fullInMs`: until the host's memory is full. */
  | {
      readonly kind: 'leak';
      readonly app: string;
      readonly growth: Growth | null;
      readonly recycled: number;
      readonly fullInMs: number | null;
    }
  /** A bigger server, or `servers` of this size. `atLimit`: how much was really wanted could not be seen. */
  | { readonly kind: 'more-cpus'; readonly cpus: Change; readonly servers: number; readonly atLimit: boolean }
  | { readonly kind: 'more-memory'; readonly bytes: Change }
  /** null: as many as now. */
  | { readonly kind: 'smaller-server'; readonly cpus: Change | null; readonly bytes: Change | null }
  /** `max`: of an app that is scaled between two bounds. */
  | {
      readonly kind: 'more-workers';
      readonly app: string;
      readonly what: 'workers' | 'max';
      readonly workers: Change;
      /** As many as the load asks for; `to` is less where CPUs or memory do not allow it. */
      readonly wanted: number;
      readonly limitedBy: Resource | null;
    }
  | {
      readonly kind: 'no-room-for-worker';
      readonly app: string;
      readonly needBytes: number;
      readonly freeBytes: number;
    }
  /** cpus: there are more than CPUs. memory: it is short. */
  | {
      readonly kind: 'fewer-workers';
      readonly app: string;
      readonly workers: Change;
      readonly because: 'cpus' | 'memory';
      readonly savedBytes: number | null;
    }
  | { readonly kind: 'max-too-high'; readonly app: string; readonly workers: Change; readonly needBytes: number }
  | {
      readonly kind: 'hot-worker';
      readonly app: string;
      readonly worker: string;
      readonly cpus: number;
      readonly othersCpus: number;
    }
  /** Connections wait while the workers do. `queue`: the median. */
  | { readonly kind: 'waiting'; readonly app: string; readonly queue: number; readonly cpusPerWorker: number }
  | {
      readonly kind: 'reload-does-not-fit';
      readonly app: string;
      readonly needBytes: number;
      readonly freeBytes: number;
    };

/** `text`: the verdict with its whole arithmetic, in words. */
export type Advice = Verdict & { readonly text: string };

const gib = 2 ** 30;
const epsilon = 1e-9;
/** With fewer looks than these a moment would be taken for a state. */
const fewPoints = 10;
/** From here on a share of the CPUs is all of them: what was wanted beyond it was not seen. */
const allBusy = 0.97;

/** What binds, and what to do. */
export function advise(figures: CapacityFigures): { readonly bound: Bound; readonly advice: readonly Advice[] } {
  const verdicts = verdictsOn(figures);
  return {
    bound: boundBy(figures, verdicts),
    advice: verdicts.map((verdict) => ({ ...verdict, text: inWords(verdict, figures) })),
  };
}

function verdictsOn(figures: CapacityFigures): readonly Verdict[] {
  const { observed, cpu, memory, apps } = figures;
  if (cpu.usage === null && memory.usage === null) return [{ kind: 'no-history' }];
  if (observed.points < fewPoints) {
    const { coveredMs, stepMs } = observed;
    return [{ kind: 'too-early', coveredMs, neededMs: fewPoints * stepMs }];
  }
  const leaks = apps.flatMap((app) => leakOf(app, figures));
  const more = [
    ...apps.flatMap(({ name, oomKills }) =>
      oomKills === 0 ? [] : [{ kind: 'oom' as const, app: name, kills: oomKills }],
    ),
    ...leaks,
    ...(leaks.length > 0 ? [] : moreMemory(figures)),
    ...moreCpus(figures),
    ...moreWorkers(figures),
    ...apps.flatMap((app) => [...hotWorker(app), ...waiting(app, figures), ...reloadRoom(app, figures)]),
  ];
  const isEarly = observed.coverage === 'minutes';
  const memoryIsShort = (memory.usage?.p95 ?? 0) > figures.band.high;
  // What a leak takes is no reason to do with fewer workers: each of them would take it later.
  const fewer =
    (isEarly && !memoryIsShort) || leaks.length > 0 ? [] : apps.flatMap((app) => fewerWorkers(app, figures));
  const lowerMax = apps.flatMap((app) => maxTooHigh(app, figures));
  const smaller = isEarly || more.length > 0 ? [] : smallerServer(figures);
  const found: readonly Verdict[] = [...more, ...fewer, ...lowerMax, ...smaller];
  return [
    ...(found.length > 0 || (isEarly && isIdle(figures)) ? found : [{ kind: 'fits' as const }]),
    ...spikes(figures),
    ...(isEarly ? [{ kind: 'too-early' as const, coveredMs: observed.coveredMs, neededMs: hourMs }] : []),
  ];
}

function isIdle({ cpu, memory, band }: CapacityFigures): boolean {
  return (cpu.usage?.p95 ?? 1) < band.low && (memory.usage?.p95 ?? 1) < band.low;
}

function boundBy({ observed, cpu, memory, band }: CapacityFigures, verdicts: readonly Verdict[]): Bound {
  const has = (kind: Verdict['kind']) => verdicts.some((verdict) => verdict.kind === kind);
  if (has('no-history') || observed.points < fewPoints) return { by: 'unknown' };
  if (has('oom') || (memory.usage?.p95 ?? 0) > band.high) return { by: 'memory' };
  if ((cpu.usage?.p95 ?? 0) > band.high) return { by: 'cpu' };
  for (const verdict of verdicts) {
    if (verdict.kind === 'more-workers' || verdict.kind === 'no-room-for-worker')
      return { by: 'workers', app: verdict.app };
    if (verdict.kind === 'waiting') return { by: 'queue', app: verdict.app };
  }
  return { by: cpu.usage === null ? 'unknown' : 'nothing' };
}

// ---------------------------------------------------------------- the server

/** Whole CPUs of a server; tenths of a quota. */
function cpuStep(usable: number): number {
  return Number.isInteger(usable) ? 1 : 0.1;
}

function roundedUp(cpus: number, step: number): number {
  return Number((Math.max(1, Math.ceil(cpus / step - epsilon)) * step).toFixed(1));
}

/** CPUs at which p95 is at the target, and p99 within the band. */
function cpusNeeded({ cpu, target, band }: CapacityFigures): number {
  const { usage, usable } = cpu;
  if (usage === null) return usable;
  const needed = Math.max(usage.p95 / target, usage.p99 / band.high) * usable;
  return roundedUp(needed, cpuStep(usable));
}

/** As memory is sold: doubled from 512 MB on; a little of it is never usable. */
function bytesNeeded({ memory, target, band }: CapacityFigures): number {
  const { usage, usableBytes } = memory;
  if (usage === null) return usableBytes;
  const needed = Math.max(usage.p95 / target, usage.peak / band.high) * usableBytes;
  let size = gib / 2;
  while (size * 0.95 < needed) size *= 2;
  return size;
}

function moreCpus(figures: CapacityFigures): readonly Verdict[] {
  const { usage, usable } = figures.cpu;
  if (usage === null || usage.p95 <= figures.band.high) return [];
  const servers = Math.max(2, Math.ceil(usage.p95 / figures.target - epsilon));
  const to = Math.max(cpusNeeded(figures), roundedUp(usable + cpuStep(usable), cpuStep(usable)));
  // More than all of them were busy when there were more.
  const atLimit = usage.p95 >= allBusy && usage.p95 <= 1;
  return [{ kind: 'more-cpus', cpus: { from: usable, to }, servers, atLimit }];
}

function moreMemory(figures: CapacityFigures): readonly Verdict[] {
  const { usage, usableBytes } = figures.memory;
  if (usage === null || usage.p95 <= figures.band.high) return [];
  return [{ kind: 'more-memory', bytes: { from: usableBytes, to: bytesNeeded(figures) } }];
}

function smallerServer(figures: CapacityFigures): readonly Verdict[] {
  const { cpu, memory, band } = figures;
  const toCpus = cpusNeeded(figures);
  const toBytes = bytesNeeded(figures);
  const lessCpu = cpu.usage !== null && cpu.usage.p95 < band.low && toCpus < cpu.usable;
  const lessMemory = memory.usage !== null && memory.usage.p95 < band.low && toBytes < 0.75 * memory.usableBytes;
  if (!lessCpu && !lessMemory) return [];
  return [
    {
      kind: 'smaller-server',
      cpus: lessCpu ? { from: cpu.usable, to: toCpus } : null,
      bytes: lessMemory ? { from: memory.usableBytes, to: toBytes } : null,
    },
  ];
}

function spikes({ cpu, memory, band }: CapacityFigures): readonly Verdict[] {
  const of = (resource: Resource, usage: CapacityFigures['cpu']['usage']): readonly Verdict[] =>
    usage === null || usage.above === 0 || usage.p95 > band.high
      ? []
      : [{ kind: 'spike', resource, aboveMs: usage.aboveMs, peak: usage.peak }];
  return [...of('cpu', cpu.usage), ...of('memory', memory.usage)];
}
