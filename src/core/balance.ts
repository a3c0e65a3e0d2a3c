/**
 * Whether the connections of an app pile up on one of its workers, from what was counted at every reading.
 *
 * Rules
 * - Unbalanced: with two or more ready workers and a mean of at least 4 connections, the busiest has at least twice the mean (of two
 *   workers: all), and has more than chance gives it: the mean and 5 standard deviations of connections that are spread at random. With 4
 *   connections for each, and so it is worst, 1 time in 10,000 one of 8 workers has so many, 1 in 250 one of 64.
 * - It is said when 6 readings in a row were so, with the same workers. So a worker that has just become ready, and has none yet, accuses
 *   nobody, and a reload is no reason to say anything. It is over when 6 in a row were not so.
 * - What is not known of one worker is not judged.
 */

export interface Share {
  readonly worker: string;
  /** null: not known. */
  readonly connections: number | null;
}

/** What was seen in one reading. */
export interface Imbalance {
  readonly worker: string;
  readonly connections: number;
  /** Of all ready workers together. */
  readonly total: number;
  readonly workers: number;
}

export interface BalanceWatch {
  readonly state: 'balanced' | 'unbalanced';
  /** How many readings in a row speak against the state. */
  readonly against: number;
  /** The ready workers of the last reading. */
  readonly workers: string;
  /** As it was seen in the last reading. */
  readonly seen: Imbalance | null;
}

export const readingsInARow = 6;
const leastMean = 4;
const timesTheMean = 2;
const deviations = 5;

export const unwatched: BalanceWatch = { state: 'balanced', against: 0, workers: '', seen: null };

/** The watch after one more reading of the ready workers. */
export function watchBalance(before: BalanceWatch, shares: readonly Share[]): BalanceWatch {
  const seen = imbalanceOf(shares);
  const workers = shares
    .map(({ worker }) => worker)
    .toSorted()
    .join();
  const isAgainst = (seen !== null) !== (before.state === 'unbalanced');
  const inARow = workers === before.workers ? before.against : 0;
  const against = isAgainst ? inARow + 1 : 0;
  if (against < readingsInARow) return { state: before.state, against, workers, seen };
  return { state: seen === null ? 'balanced' : 'unbalanced', against: 0, workers, seen };
}

/** null: none, or not to be known. */
export function imbalanceOf(shares: readonly Share[]): Imbalance | null {
  let total = 0;
  let busiest: { readonly worker: string; readonly connections: number } | null = null;
  for (const { worker, connections } of shares) {
    if (connections === null) return null;
    total += connections;
    if (busiest === null || connections > busiest.connections) busiest = { worker, connections };
  }
  const mean = total / shares.length;
  if (busiest === null || shares.length < 2 || mean < leastMean) return null;
  const deviation = Math.sqrt(mean * (1 - 1 / shares.length));
  const limit = Math.max(timesTheMean * mean, mean + deviations * deviation);
  return busiest.connections >= limit ? { ...busiest, total, workers: shares.length } : null;
}

/**
 * "web.3 has 31 of 40 connections (4 workers, mean 10): ...", and what to do.
 * @param listeners `shared`: workers accept from one socket; `own`: each has a listener
 */
export function describeImbalance(
  { worker, connections, total, workers }: Imbalance,
  listeners: 'shared' | 'own',
): string {
  const mean = Math.round((total / workers) * 10) / 10;
  return `${worker} has ${connections} of ${total} connections (${workers} workers, mean ${mean}): ${advice[listeners]}`;
}

const advice = {
  shared:
    'kept connections pile up on one worker of a shared socket; a listener for each spreads them (`balance: steered`, on a TCP address)',
  own: 'a kept connection stays with the worker that accepted it; new ones are spread evenly, so this passes as clients connect again',
} as const;
