/**
 * What can be wrong with a worker that runs, and which one is replaced because of it.
 *
 * | ailment        | sign                                                  |
 * |----------------|-------------------------------------------------------|
 * | `stall`        | it hangs: system/ has seen it                         |
 * | `health`       | so many probes in a row have failed                   |
 * | `memory-limit` | so many samples in a row were above limits.memory     |
 * | `lifetime`     | it has reached its lifetime, shortened by its jitter  |
 * | `memory-budget` | all workers together are over the budget, and it has grown most (budget.ts) |
 * | `stranded`     | nothing is wrong with it: its successor is to serve what waits at a listener that no worker has |
 *
 * Rules
 * - One worker of an app at a time, in this order; of one kind the one that has had it longest.
 * - Whose replacement has begun stays the one, for as long as it is ill.
 * - With two or more workers and over half of them not healthy, what they depend on is ill, not they: none is replaced. So
 *   one that is not healthy waits until the others have been probed as well (`notBeforeMs`).
 */
import type { Cause } from './protocol.ts';

export const ailments = [
  'stall',
  'health',
  'memory-limit',
  'memory-budget',
  'stranded',
  'lifetime',
] as const satisfies readonly Cause[];
export type Ailment = (typeof ailments)[number];

export interface Illness {
  readonly worker: string;
  readonly ailment: Ailment;
  /** In words. */
  readonly reason: string;
  readonly sinceMs: number;
  /** Where there are others, it is not replaced before. */
  readonly notBeforeMs: number;
  /** `warn`: it is left alone. */
  readonly action: 'warn' | 'replace';
}

/** Readings in a row in which connections were stranded: a worker that starts may be about to have them. */
export const strandedReadings = 2;

/** Samples above the limit in a row, so that a moment's peak recycles nobody. */
export const memorySamples = 3;

export interface Around {
  /** How many workers are ready. */
  readonly ready: number;
  /** Whose replacement has begun. */
  readonly current: string | null;
  readonly nowMs: number;
}

/** Who is to be replaced now; null: nobody. */
export function chooseReplacement(ill: readonly Illness[], { ready, current, nowMs }: Around): Illness | null {
  const inOrder = ill
    .filter(({ action, ailment }) => action === 'replace' && !(ailment === 'health' && mostAreUnhealthy(ill, ready)))
    .filter(({ worker, notBeforeMs }) => worker === current || ready < 2 || nowMs >= notBeforeMs)
    .sort((a, b) => ailments.indexOf(a.ailment) - ailments.indexOf(b.ailment) || a.sinceMs - b.sinceMs);
  return inOrder.find(({ worker }) => worker === current) ?? inOrder[0] ?? null;
}

/** Whether so many are not healthy that replacing them would not help. */
export function mostAreUnhealthy(ill: readonly Illness[], ready: number): boolean {
  const unhealthy = new Set(ill.filter(({ ailment }) => ailment === 'health').map(({ worker }) => worker)).size;
  return ready >= 2 && unhealthy * 2 > ready;
}

/** When a worker has reached its lifetime: this long after it became ready, in ms. `random` is in [0, 1). */
export function lifetimeMs(lifetimeOfAppMs: number, jitter: number, random: number): number {
  return lifetimeOfAppMs * (1 - jitter * random);
}

/** A count of failed probes, or of samples above a limit, after one more answer. */
export function inARow(count: number, isBad: boolean): number {
  return isBad ? count + 1 : 0;
}

/** Whether an ailment counts as a crash, so that the successor inherits the row of crashes and its delays. */
export function countsAsCrash(ailment: Ailment): boolean {
  return ailment === 'stall' || ailment === 'health';
}
