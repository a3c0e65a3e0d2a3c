/**
 * The revisions of one app: the one that is known to serve, the one to walk to, and how each try ended. A rollout is
 * the time in which the two differ; rolling back is nothing but setting the goal back.
 */
import type { EventBody } from '../core/protocol.ts';
import type { AppSpec } from '../core/spec.ts';
import { judge, type Rollout, type RolloutWorker, type Verdict } from '../core/rollout.ts';
import type { Pinned } from '../ports.ts';
import type { Staffed } from './staffing.ts';

export type RolloutEnd =
  | { readonly type: 'succeeded'; readonly revision: number }
  | { readonly type: 'superseded'; readonly revision: number }
  | {
      readonly type: 'rolled-back';
      readonly revision: number;
      readonly reason: string;
      readonly lastLines: readonly string[];
    };

/** How a worker of a new revision failed, in words. */
export interface RolloutFailure {
  readonly how: string;
  readonly lastLines: readonly string[];
}

/** A rollout in progress, and what it has to give back when it fails. */
export interface RunningRollout extends Rollout {
  readonly staffedBefore: Staffed;
  readonly inPlace: boolean;
}

export class Revisions {
  readonly #app: string;
  readonly #emit: (body: EventBody) => void;
  readonly #ends = new Map<number, RolloutEnd>();
  #good: Pinned;
  #goal: Pinned;
  #last: number;
  #rollout: RunningRollout | null = null;

  constructor(first: Pinned, emit: (body: EventBody) => void) {
    this.#app = first.app.name;
    this.#good = first;
    this.#goal = first;
    this.#last = first.revision;
    this.#emit = emit;
  }

  /** Known to serve: what a failed rollout goes back to. */
  get good(): Pinned {
    return this.#good;
  }

  /** What new workers are made of. */
  get goal(): Pinned {
    return this.#goal;
  }

  get rollout(): RunningRollout | null {
    return this.#rollout;
  }

  /** How the try of a revision ended; null: it has not. */
  end(revision: number): RolloutEnd | null {
    return this.#ends.get(revision) ?? null;
  }

  /** The highest number that was taken. */
  get last(): number {
    return this.#last;
  }

  /** The number for the next revision. Numbers are never used again, whatever becomes of the revision. */
  takeNumber(): number {
    return ++this.#last;
  }

  /** Begins to try a revision. One that was being tried is superseded. */
  begin(next: Pinned, how: { readonly inPlace: boolean; readonly staffedBefore: Staffed }): void {
    // What is given back is what was there before the first of several tries.
    const staffedBefore = this.#rollout?.staffedBefore ?? how.staffedBefore;
    this.#close('superseded');
    const { maxSurge, canaryMs } = next.app.reload;
    const canaries = how.inPlace ? 1 : Math.max(1, maxSurge);
    this.#rollout = {
      from: this.#good.revision,
      to: next.revision,
      canaryMs,
      canaries,
      inPlace: how.inPlace,
      staffedBefore,
    };
    this.#goal = next;
    this.#emit({ type: 'rollout.started', app: this.#app, from: this.#good.revision, to: next.revision });
  }

  /** Judges the rollout, and ends it when it is over. @param failure how a worker failed */
  judge(
    workers: readonly RolloutWorker[],
    now: { readonly wanted: number; readonly ms: number },
    failure: (worker: string) => RolloutFailure,
  ): Verdict | null {
    const rollout = this.#rollout;
    if (!rollout) return null;
    const verdict = judge(rollout, workers, now.wanted, now.ms);
    if (verdict.type === 'failed') this.#rollBack(rollout, verdict.worker, failure(verdict.worker));
    if (verdict.type === 'succeeded') {
      this.#good = this.#goal;
      this.#close('succeeded');
    }
    return verdict;
  }

  /** The config has another number of workers now, and is the same revision else: a rollback keeps the number. */
  rescaled(app: AppSpec): void {
    const { workers, staffing } = app;
    this.#goal = { ...this.#goal, app };
    this.#good = this.#rollout ? { ...this.#good, app: { ...this.#good.app, workers, staffing } } : this.#goal;
  }

  /** The number of workers was changed meanwhile: a rollback keeps it. */
  keepStaffed(now: Staffed): void {
    if (!this.#rollout) return;
    this.#rollout = { ...this.#rollout, staffedBefore: { ...now, app: this.#good.app } };
  }

  /** Ends a rollout without a verdict, and in silence: the app stops. Whoever waits for its end is told. */
  drop(): void {
    if (this.#rollout) this.#ends.set(this.#rollout.to, { type: 'superseded', revision: this.#rollout.to });
    this.#rollout = null;
  }

  /** Rolls back a rollout that takes too long. @returns whether it was under way */
  giveUp(revision: number, how: string): boolean {
    const rollout = this.#rollout;
    if (rollout?.to !== revision) return false;
    this.#rollBack(rollout, null, { how, lastLines: [] });
    return true;
  }

  #rollBack(rollout: RunningRollout, worker: string | null, { how, lastLines }: RolloutFailure): void {
    const reason = worker === null ? how : `${worker} of revision ${rollout.to}: ${how}`;
    this.#rollout = null;
    this.#goal = this.#good;
    this.#ends.set(rollout.to, { type: 'rolled-back', revision: rollout.to, reason, lastLines });
    this.#emit({
      type: 'rollout.rolled_back',
      app: this.#app,
      from: rollout.from,
      to: rollout.to,
      worker,
      reason,
      lastLines,
    });
  }

  #close(how: 'succeeded' | 'superseded'): void {
    const rollout = this.#rollout;
    if (!rollout) return;
    this.#rollout = null;
    this.#ends.set(rollout.to, { type: how, revision: rollout.to });
    this.#emit({ type: `rollout.${how}`, app: this.#app, from: rollout.from, to: rollout.to });
  }
}
