/**
 * When to look again. All workers that boot share one schedule, so that hundreds of them cost no more than a bounded
 * share of a core, however long they take.
 *
 * Rules
 * - A look is due 5 ms after the first, and then after an eighth of the age: a worker that needs 400 ms to boot is seen
 *   at most 50 ms late. Never less often than every 200 ms.
 * - What is due is done in the order of its due time, for at most 4 ms; then the schedule rests for nine times what it
 *   has just spent: one tenth of a core at most. With few workers the rest ends before the next look is due.
 * - Nothing due: no timer.
 */
import type { Cancel } from '../../ports.ts';

const sliceMs = 4;
const restPerWork = 9;

/** How long to wait before the next look at something of that age (ms). */
export function delayForAge(ageMs: number): number {
  return Math.min(200, Math.max(5, ageMs / 8));
}

interface Entry {
  readonly dueAtMs: number;
  readonly look: () => void;
}

/** One-shot looks, run with a bounded share of one core. */
export class PollSchedule {
  readonly #entries = new Set<Entry>();
  #timer: NodeJS.Timeout | null = null;
  #wakesAtMs = Infinity;
  #restsUntilMs = 0;

  /** Calls `look` once, `delayMs` from now or somewhat later; the cancel may be called at any time. */
  add(delayMs: number, look: () => void): Cancel {
    const entry = { dueAtMs: performance.now() + delayMs, look };
    this.#entries.add(entry);
    this.#wakeAt(entry.dueAtMs);
    return () => {
      this.#entries.delete(entry);
      if (this.#entries.size === 0) this.#sleep();
    };
  }

  /** How many looks are waiting. */
  get size(): number {
    return this.#entries.size;
  }

  #wakeAt(dueAtMs: number): void {
    const atMs = Math.max(dueAtMs, this.#restsUntilMs);
    if (atMs >= this.#wakesAtMs) return;
    this.#sleep();
    this.#wakesAtMs = atMs;
    this.#timer = setTimeout(() => this.#run(), Math.max(0, atMs - performance.now()));
  }

  #sleep(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#wakesAtMs = Infinity;
  }

  #run(): void {
    this.#sleep();
    const startMs = performance.now();
    const due = [...this.#entries]
      .filter((entry) => entry.dueAtMs <= startMs)
      .toSorted((a, b) => a.dueAtMs - b.dueAtMs);
    // A look may cancel another one, and add new ones: they wait for their own time.
    this.#restsUntilMs = Infinity;
    try {
      for (const entry of due) {
        if (performance.now() - startMs > sliceMs) break;
        if (this.#entries.delete(entry)) entry.look();
      }
    } finally {
      const endMs = performance.now();
      this.#restsUntilMs = endMs + (endMs - startMs) * restPerWork;
      this.#sleep();
      if (this.#entries.size > 0) this.#wakeAt(Math.min(...[...this.#entries].map((entry) => entry.dueAtMs)));
    }
  }
}

/** The one schedule of this process. */
export const polls = new PollSchedule();
