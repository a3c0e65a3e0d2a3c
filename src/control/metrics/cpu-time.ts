/**
 * CPU seconds of apps, as a counter, from the history of their samples: a gauge of the last sample would miss what happened between two
 * scrapes, and the sum over an app's workers would drop whenever one of them ends.
 *
 * - A point of the history counts once there is a later one: until then its mean may still change.
 * - It stands for the time to the next point. Over a gap (the host was suspended) that is two steps at most.
 * - What lies further back than the history reaches, because nobody has scraped for so long, is not counted.
 */
import type { History } from '../../core/history.ts';

export class CpuTime {
  readonly #seconds = new Map<string, number>();
  readonly #countedMs = new Map<string, number>();

  /** Counts what is new in this history. @returns the CPU seconds of its target so far; null: nothing is known yet */
  secondsOf({ target, stepMs, points }: History): number | null {
    const countedMs = this.#countedMs.get(target) ?? -Infinity;
    for (const [index, point] of points.entries()) {
      const next = points[index + 1];
      if (next === undefined || point.atMs <= countedMs) continue;
      this.#countedMs.set(target, point.atMs);
      if (point.cpuPercent === null) continue;
      const spanMs = Math.min(next.atMs - point.atMs, 2 * stepMs);
      this.#seconds.set(target, (this.#seconds.get(target) ?? 0) + ((point.cpuPercent / 100) * spanMs) / 1000);
    }
    return this.#seconds.get(target) ?? null;
  }

  /** Forgets all but these targets. */
  keep(targets: readonly string[]): void {
    for (const target of [...this.#countedMs.keys()]) {
      if (targets.includes(target)) continue;
      this.#countedMs.delete(target);
      this.#seconds.delete(target);
    }
  }
}
