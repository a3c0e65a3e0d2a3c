/**
 * Lets workers of one app into the rotation, as core/rotation.ts decides, and says so where one had stood by as a spare:
 * `worker.promoted`, with the worker whose place it takes.
 */
import type { EventBody } from '../core/protocol.ts';
import type { Goal, LiveWorker } from '../core/reconcile.ts';
import { toAdmit } from '../core/rotation.ts';
import type { Crew } from './crew.ts';

export class Rotation {
  readonly #crew: Crew;
  readonly #emit: (body: EventBody) => void;
  /** Who was in it, and who stood by, when it was looked at last. */
  #inside: ReadonlySet<string> = new Set();
  #standby: ReadonlySet<string> = new Set();
  /** Who has left a place that nobody has taken yet, first come first. */
  #left: readonly string[] = [];

  constructor(crew: Crew, emit: (body: EventBody) => void) {
    this.#crew = crew;
    this.#emit = emit;
  }

  /** Fills the places that are free with those who are ready. */
  fill(goal: Goal, live: readonly LiveWorker[]): void {
    const admitted = toAdmit(goal, live);
    // Without spares there is nothing to tell, and with a thousand workers no time for it.
    if (goal.spares === 0 && this.#standby.size === 0) {
      for (const id of admitted) this.#crew.get(id)?.admit();
      return;
    }
    const inside = new Set(live.filter(isInside).map(({ id }) => id));
    this.#left = [...this.#left, ...this.#inside].filter((id) => !inside.has(id));
    for (const id of admitted) {
      this.#admit(id);
      inside.add(id);
    }
    this.#inside = inside;
    this.#standby = new Set(live.filter((worker) => isReady(worker) && !inside.has(worker.id)).map(({ id }) => id));
    // What is left of a scale-down or a reload is nobody's place.
    if (inside.size >= goal.replicas) this.#left = [];
  }

  #admit(id: string): void {
    const runner = this.#crew.get(id);
    if (runner === undefined) return;
    runner.admit();
    const of = this.#left.includes(id) ? id : (this.#left[0] ?? null);
    this.#left = this.#left.filter((other) => other !== of);
    if (this.#standby.has(id)) this.#emit({ type: 'worker.promoted', ...runner.ref, pid: runner.pid, of });
  }
}

function isReady({ state, leaving }: LiveWorker): boolean {
  return state === 'ready' && leaving === 'no';
}

/** One that is to be replaced serves still, but its place is free. */
function isInside(worker: LiveWorker): boolean {
  return isReady(worker) && worker.admitted && !worker.doomed;
}
