/**
 * Seeded chance for tests that try thousands of histories. The same seed gives the same history on every machine.
 *
 * - A failure names its seed; SUPERVISE_SEED=N starts with that seed, so the failing history comes first.
 * - SUPERVISE_RANDOM=F runs F times as many histories as the fast suite does.
 */

/** A small generator of 32 bits (mulberry32): not for secrets. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** Whether something of this probability (0..1) happens now. */
  happens(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error('there is nothing to pick from');
    return list[this.between(0, list.length - 1)] as T;
  }

  /** One of the keys, each as probable as its weight says. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      left -= weight;
      if (left < 0) return key;
    }
    return entries[0]![0];
  }
}

const factor = Number(process.env['SUPERVISE_RANDOM'] ?? 1);
const firstSeed = Number(process.env['SUPERVISE_SEED'] ?? 1);

/** Notes what happened; it is put into words only when the history has failed. */
export type Log = (...parts: readonly unknown[]) => void;

/** Runs `history` for `count` seeds (times SUPERVISE_RANDOM). A failure is reported with its seed and what led to it. */
export function forSeeds(count: number, history: (chance: Chance, log: Log) => void): void {
  for (let seed = firstSeed; seed < firstSeed + Math.ceil(count * factor); seed++) {
    const notes: (readonly unknown[])[] = [];
    try {
      history(new Chance(seed), (...parts) => notes.push(parts));
    } catch (error) {
      const told = notes.slice(process.env['SUPERVISE_SEED'] ? 0 : -80).map((parts) => parts.map(inWords).join(' '));
      throw new Error(
        `seed ${seed} (run again with SUPERVISE_SEED=${seed}): ${String(error)}\n  ${told.join('\n  ')}`,
        { cause: error },
      );
    }
  }
}

function inWords(part: unknown): string {
  return typeof part === 'string' ? part : JSON.stringify(part);
}
