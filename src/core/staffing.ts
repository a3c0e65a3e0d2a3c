/**
 * How many workers `workers: auto` means: one for each usable CPU, lowered to what fits the memory budget.
 *
 *   min(CPUs, (budget - memory of everything else) / memory of one worker - spares), and never below 1
 *
 * Rules
 * - A part of a CPU counts from a half on: with 1.5 CPUs two workers use all that may be used, where one would leave a third of it
 *   idle; for a fifth of a CPU another worker costs more memory than it gains.
 * - Until the memory of one worker is known, the CPUs alone count: the caller starts one, and asks again when it was measured.
 * - A spare takes as much memory as a worker, and no CPU: it serves nobody.
 * - While it runs, only what fits for a whole minute is added, and ten minutes pass after the budget has taken one away. Nothing is
 *   taken away here: that is up to budget.ts.
 */
import { formatBytes } from './units.ts';

/** A worker for so much of a CPU. */
const leastShare = 0.5;

/** What fits must fit for so long before it is added. */
export const growAfterMs = 60_000;

/** The same after the budget has taken a worker away. */
export const growAfterShedMs = 600_000;

export interface AutoFacts {
  /** CPUs that may be used, with fractions, and what sets that number, in words. */
  readonly usableCpus: number;
  readonly cpuSource: string;
  /** null: not known. */
  readonly budgetBytes: number | null;
  /** Memory of one worker, see `memoryOfOne`; null: none was measured yet. */
  readonly workerBytes: number | null;
  /** Memory of the workers of all other apps; of this app nothing. */
  readonly othersBytes: number;
  /** Of this app. */
  readonly spares: number;
  /** No more than these, whatever fits (its ports end there, say); null: no such bound. */
  readonly max: number | null;
}

export interface AutoStaff {
  readonly workers: number;
  /** The arithmetic, in words: "2 workers: min(4 CPUs, (240MB budget - 60MB of others) / 90MB each = 2)". */
  readonly reason: string;
}

export function autoWorkers(facts: AutoFacts): AutoStaff {
  const cpus = Math.max(1, Math.floor(facts.usableCpus + leastShare));
  const fitting = fittingWorkers(facts);
  const least = Math.min(cpus, fitting?.workers ?? cpus, facts.max ?? cpus);
  const workers = Math.max(1, least);
  const terms = [
    cpuWords(facts, cpus),
    ...(fitting === null ? [] : [fitting.words]),
    ...(facts.max === null || facts.max >= cpus ? [] : [`at most ${facts.max}`]),
  ];
  const sum = terms.length > 1 ? `min(${terms.join(', ')})` : terms[0];
  return { workers, reason: `${counted(workers)}: ${sum}${least < 1 ? ', but never fewer than 1' : ''}` };
}

function fittingWorkers(facts: AutoFacts): { readonly workers: number; readonly words: string } | null {
  const { budgetBytes, workerBytes, othersBytes, spares } = facts;
  if (budgetBytes === null || workerBytes === null || workerBytes <= 0) return null;
  const workers = Math.floor(Math.max(0, budgetBytes - othersBytes) / workerBytes) - spares;
  const budget = `${formatBytes(budgetBytes)} budget`;
  const free = othersBytes > 0 ? `(${budget} - ${formatBytes(othersBytes)} of others)` : budget;
  const kept = spares > 0 ? ` - ${spares} ${spares === 1 ? 'spare' : 'spares'}` : '';
  return { workers, words: `${free} / ${formatBytes(workerBytes)} each${kept} = ${workers}` };
}

function cpuWords({ usableCpus, cpuSource }: AutoFacts, cpus: number): string {
  const exact = Math.round(usableCpus * 100) / 100;
  const source = cpuSource === '' ? '' : ` (${cpuSource})`;
  return exact === cpus ? `${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}${source}` : `${exact} CPUs, so ${cpus}${source}`;
}

function counted(workers: number): string {
  return `${workers} ${workers === 1 ? 'worker' : 'workers'}`;
}

/** What one worker of an app needs, from those that were measured while they were ready: the most. null: none was. */
export function memoryOfOne(measuredBytes: readonly (number | null)[]): number | null {
  const known = measuredBytes.filter((bytes) => bytes !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/** Whether more would fit, and since when. */
export interface Growth {
  readonly sinceMs: number | null;
  /** What fitted at every sample since then. */
  readonly workers: number;
  /** When the budget took a worker away; null: never. */
  readonly shedAtMs: number | null;
}

export const noGrowth: Growth = { sinceMs: null, workers: 0, shedAtMs: null };

/** @param now `goal`: wanted workers; `fits`: what autoWorkers says; null: not known, or nothing may be added now */
export function growAuto(
  before: Growth,
  now: { readonly nowMs: number; readonly goal: number; readonly fits: number | null },
): { readonly growth: Growth; readonly workers: number } {
  const { nowMs, goal, fits } = now;
  const { shedAtMs } = before;
  if (fits === null || fits <= goal) return { growth: { ...noGrowth, shedAtMs }, workers: goal };
  const sinceMs = before.sinceMs ?? nowMs;
  const workers = before.sinceMs === null ? fits : Math.min(before.workers, fits);
  const afterMs = shedAtMs !== null && nowMs - shedAtMs < growAfterShedMs ? growAfterShedMs : growAfterMs;
  if (nowMs - sinceMs < afterMs) return { growth: { sinceMs, workers, shedAtMs }, workers: goal };
  return { growth: { ...noGrowth, shedAtMs }, workers };
}
