/**
 * What was measured of the workers of one app: the last sample of each process, and the memory that it had when it had just become ready.
 * A sample that was begun before it was ready says nothing of the latter; one without memory is of a process that has ended.
 */
import type { ScaledWorker } from '../core/autoscale.ts';
import type { BudgetWorker } from '../core/budget.ts';
import { memoryOfOne } from '../core/staffing.ts';
import { hasProcess } from '../core/worker-machine.ts';
import type { TreeSample } from '../ports.ts';
import type { Crew } from './crew.ts';
import type { WorkerRunner } from './worker-runner.ts';

export class Measures {
  readonly #crew: Crew;
  readonly #last = new Map<string, TreeSample>();
  readonly #firstBytes = new Map<string, number>();

  constructor(crew: Crew) {
    this.#crew = crew;
  }

  /** The last sample of each worker that has a process. */
  get last(): ReadonlyMap<string, TreeSample> {
    return this.#last;
  }

  /** @param begunAtMs when the sample was begun */
  take({ id, state, life }: WorkerRunner, sample: TreeSample, begunAtMs: number): void {
    this.#last.set(id, sample);
    const isReady = state === 'ready' && life.readyMs !== null && life.readyMs <= begunAtMs;
    if (isReady && sample.memoryBytes > 0 && !this.#firstBytes.has(id)) this.#firstBytes.set(id, sample.memoryBytes);
  }

  /** Of all that have a process. */
  get sumBytes(): number {
    return [...this.#last.values()].reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  }

  /** Its process has ended. */
  forget(worker: string): void {
    this.#last.delete(worker);
    this.#firstBytes.delete(worker);
  }

  /** What one worker needs: the most of those that were measured while they were ready. null: none was. */
  get ofOneBytes(): number | null {
    return memoryOfOne(this.#measured().map(({ id }) => this.#last.get(id)?.memoryBytes ?? null));
  }

  /** Whether some are ready, and none of those was measured while it was. */
  get isMissing(): boolean {
    return this.#crew.ready().length > 0 && this.#measured().length === 0;
  }

  #measured(): readonly WorkerRunner[] {
    return this.#crew.ready().filter(({ id }) => this.#firstBytes.has(id));
  }

  /** All that have a process. */
  forBudget(): readonly BudgetWorker[] {
    return this.#crew
      .all()
      .filter(({ life }) => hasProcess(life))
      .map(({ id, state, leaving }) => ({
        id,
        ready: state === 'ready' && leaving === 'no',
        memoryBytes: this.#last.get(id)?.memoryBytes ?? null,
        memoryKind: this.#last.get(id)?.memoryKind ?? null,
        firstBytes: this.#firstBytes.get(id) ?? null,
      }));
  }

  /** Those that serve, and those that are to: no spares, and nobody who leaves. @param goal how many should serve */
  forScaling(goal: number): readonly ScaledWorker[] {
    const serving = this.#crew.serving().map(({ id }): ScaledWorker => {
      const sample = this.#last.get(id);
      return { ready: true, cpuPercent: sample?.cpuPercent ?? null, memoryBytes: sample?.memoryBytes ?? null };
    });
    const others = this.#crew.up().filter(({ state }) => state !== 'ready' && state !== 'completed').length;
    const coming = Math.max(0, Math.min(others, goal - serving.length));
    const unknown: ScaledWorker = { ready: false, cpuPercent: null, memoryBytes: null };
    return [...serving, ...Array.from({ length: coming }, () => unknown)];
  }
}
