/**
 * What an app is up to, as far as it explains why a worker of it starts and who takes whose place: rollouts, changes of
 * the number of workers, workers that are to be replaced.
 */
import type { Cause, Event } from '../core/protocol.ts';
import type { ExitRecord, Start } from '../core/record.ts';
import type { Draft, Tracked } from './records.ts';

export class AppStory {
  /** The ids of its workers. */
  readonly workers = new Set<string>();
  /** Exits of workers that are gone; the next event of the app says who follows them. */
  readonly waiting: Draft[] = [];
  #served = false;
  /** The last rollout: since which event, and to which revision. */
  #rollout: { readonly seq: number; readonly to: number; goes: boolean } | null = null;
  #rollback: { readonly seq: number; readonly to: number; goes: boolean } | null = null;
  /** So many workers are yet to be started because of a scale up. */
  #scaledUp = 0;

  take(event: Extract<Event, { readonly app: string }>): void {
    switch (event.type) {
      case 'app.running':
        this.#served = true;
        this.#scaledUp = 0;
        return;
      case 'app.degraded':
        this.#served = true;
        return;
      case 'app.scaled':
        this.#scaledUp = Math.max(0, this.#scaledUp + event.to - event.from);
        return;
      case 'rollout.started':
        this.#rollout = { seq: event.seq, to: event.to, goes: true };
        return;
      case 'rollout.succeeded':
        if (this.#rollout) this.#rollout.goes = false;
        return;
      case 'rollout.rolled_back':
        if (this.#rollout) this.#rollout.goes = false;
        this.#rollback = { seq: event.seq, to: event.from, goes: true };
        return;
      default:
        return;
    }
  }

  /** A command is done: what starts from now on is not its doing. */
  operationEnded(): void {
    if (this.#rollback) this.#rollback.goes = false;
  }

  /** Why a new worker starts. `predecessor`: how the one ended that has just left its place to it. */
  startOf(
    event: Extract<Event, { readonly type: 'worker.starting' }>,
    predecessor: ExitRecord | null,
    all: readonly Tracked[],
  ): Start {
    const start = (why: Start['why'], of: string | null = null, after: string | null = null): Start => {
      return { at: event.at, why, of, after };
    };
    if (predecessor !== null) {
      const { cause, worker, reason } = predecessor;
      if (cause === 'reload' || cause === 'rollback' || cause === 'restart') return start(cause, worker);
      return start('replacement', worker, reason);
    }
    if (this.#rollout?.goes && event.revision === this.#rollout.to) return start('reload');
    if (this.#rollback?.goes && event.revision === this.#rollback.to) return start('rollback');
    if (this.#scaledUp > 0) {
      this.#scaledUp--;
      return start('scale-up');
    }
    const mine = all.filter(({ id }) => this.workers.has(id));
    const marked = mine.find(({ id, markedSeq }) => markedSeq !== null && !mine.some((one) => one.inPlaceOf === id));
    if (marked !== undefined) return start('replacement', marked.id, [...marked.reasons.values()][0] ?? null);
    return start(this.#served ? 'missing' : 'start');
  }

  /** Who was started in place of a worker that is gone; null: nobody yet. */
  successorOf(gone: Tracked, cause: Cause, others: readonly Tracked[]): Tracked | null {
    const chosen = others.find(({ inPlaceOf }) => inPlaceOf === gone.id);
    if (chosen !== undefined) return chosen;
    const since = cause === 'reload' ? this.#rollout?.seq : cause === 'rollback' ? this.#rollback?.seq : gone.markedSeq;
    if (since === undefined || since === null) return null;
    return others.find(({ startSeq, inPlaceOf }) => startSeq > since && inPlaceOf === null) ?? null;
  }
}
