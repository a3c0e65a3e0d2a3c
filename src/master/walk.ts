/**
 * How one app walks towards its goal: judge the rollout -> fill the rotation -> reconcile -> perform, round by round until
 * nothing is left to do. It decides nothing that core/ can decide, and remembers only how workers are replaced now.
 */
import type { Ailment, Illness } from '../core/ailments.ts';
import type { Cause, EventBody } from '../core/protocol.ts';
import { reconcile, type Change, type Goal, type LiveWorker } from '../core/reconcile.ts';
import type { Cancel, Clock, Pinned } from '../ports.ts';
import type { Crew } from './crew.ts';
import { rolloutFailure } from './describe.ts';
import type { Revisions } from './revisions.ts';
import { Rotation } from './rotation.ts';
import type { Staffed } from './staffing.ts';
import type { Ward } from './ward.ts';
import type { WorkerRunner } from './worker-runner.ts';

/** What it needs of the app. */
export interface WalkHost {
  readonly clock: Clock;
  readonly crew: Crew;
  readonly revisions: Revisions;
  readonly ward: Ward;
  emit(body: EventBody): void;
  /** How many workers are wanted. */
  staff(): Pick<Goal, 'replicas' | 'spares'>;
  /** Whether it is to walk at all. */
  isActive(): boolean;
  /** Starts a new worker of the goal's revision in this slot. */
  add(slot: number): void;
  /** A rollout has failed: as many workers are wanted again as before it. */
  goBackTo(before: Staffed): void;
  /** These are gone for good. */
  forget(workers: readonly WorkerRunner[]): void;
  warn(worker: string, message: string): void;
  /** It has come to rest for now. */
  settled(): void;
}

/** One that hangs can hardly end by itself: so long it may take to leave a dump of its stacks. */
const stalledStopMs = 5_000;

/** Several changes follow from one event; more rounds than this would be a bug, so it stops instead of spinning. */
const maxRounds = 1_000;

export class Walk {
  readonly #host: WalkHost;
  readonly #rotation: Rotation;
  /** Two of its workers cannot hold the same port: an old one has to go before its successor comes. */
  #inPlace: boolean;
  /** Who is to be replaced though it is of the wanted revision. */
  #doomed: Illness | null = null;
  #cancelWake: Cancel | null = null;
  #settling: 'no' | 'yes' | 'again' = 'no';

  constructor(host: WalkHost) {
    this.#host = host;
    this.#rotation = new Rotation(host.crew, (body) => host.emit(body));
    this.#inPlace = host.revisions.goal.app.port !== null;
  }

  /** Walks towards the goal. Called after every change and once a second: a missed call heals itself. */
  settle(): void {
    if (this.#settling !== 'no') {
      this.#settling = 'again';
      return;
    }
    try {
      this.#settleRounds();
    } finally {
      this.#settling = 'no';
    }
    this.#host.settled();
  }

  /** Somebody has left the rotation, and nothing else has been done about it yet: a spare that is ready takes the place. */
  fillRotation(): void {
    if (this.#host.isActive()) this.#rotation.fill(this.#goal(), this.#live());
  }

  /** Settles how a rollout to this revision replaces workers. @returns whether in their places */
  chooseWay(next: Pinned): boolean {
    this.#inPlace = this.#mustRollInPlace(next);
    return this.#inPlace;
  }

  /** The replacement of an ill worker begins. Who hangs serves nobody: his successor takes his place at the sockets, and what waits there. */
  replaces(runner: WorkerRunner, ailment: Ailment): void {
    this.#inPlace = ailment === 'stall' || this.#mustRollInPlace(runner.pinned);
  }

  /** Nothing is to be judged later. */
  end(): void {
    this.#cancelWake?.();
  }

  #settleRounds(): void {
    for (let round = 0; round < maxRounds; round++) {
      this.#settling = 'yes';
      const vacated = this.#forgetStopped();
      const changed = this.#host.isActive() && this.#step(vacated);
      if (!changed && (this.#settling as string) !== 'again') return;
    }
  }

  #step(vacated: readonly number[]): boolean {
    const { crew, revisions, ward } = this.#host;
    this.#judgeRollout();
    // A rollout, and the way back from one, replaces workers anyway.
    const isBusy = revisions.rollout !== null || crew.isMixed(revisions.goal.revision);
    this.#doomed = isBusy ? null : ward.choose(crew.ready().length);
    // Before anybody is stopped: who comes in takes over.
    this.fillRotation();
    const changes = reconcile(this.#goal(), this.#live(), vacated);
    for (const change of changes) this.#perform(change);
    return changes.length > 0;
  }

  #goal(): Goal {
    const { goal, rollout } = this.#host.revisions;
    const { maxSurge, maxUnavailable } = goal.app.reload;
    const surge = this.#inPlace ? 0 : maxSurge;
    const unavailable = this.#inPlace ? Math.max(1, maxUnavailable) : maxUnavailable;
    return {
      ...this.#host.staff(),
      revision: goal.revision,
      maxSurge: surge,
      maxUnavailable: unavailable,
      inFlight: rollout ? Math.max(1, surge, unavailable) : Infinity,
    };
  }

  #live(): LiveWorker[] {
    const { crew, revisions, clock } = this.#host;
    return crew.seenByReconcile(revisions.rollout, clock.now(), this.#doomed?.worker);
  }

  #perform(change: Change): void {
    if (change.type === 'add') return this.#host.add(change.slot);
    const cause = this.#causeOf(change);
    const stop = { type: 'stop', cause, ...(cause === 'stall' && { timeoutMs: stalledStopMs }) } as const;
    this.#host.crew.get(change.id)?.send(stop);
  }

  #causeOf({ id, why }: Extract<Change, { type: 'stop' }>): Cause {
    if (why === 'scale-down') return 'scale-down';
    if (id === this.#doomed?.worker) return this.#doomed.ailment;
    return this.#host.revisions.rollout === null ? 'rollback' : 'reload';
  }

  #judgeRollout(): void {
    const { crew, revisions, ward, clock } = this.#host;
    const { rollout } = revisions;
    if (!rollout) return;
    const { replicas, spares } = this.#host.staff();
    const verdict = revisions.judge(
      crew.seenByJudge((worker) => ward.crashLike(worker) !== null),
      { wanted: replicas + spares, ms: clock.now() },
      (worker) => rolloutFailure(crew.get(worker)!, ward.crashLike(worker)),
    );
    this.#cancelWake?.();
    this.#cancelWake = null;
    if (verdict?.type === 'failed') this.#host.goBackTo(rollout.staffedBefore);
    if (verdict?.type !== 'rolling' || verdict.againMs === null) return;
    this.#cancelWake = clock.schedule(Math.max(0, verdict.againMs - clock.now()), () => this.settle());
  }

  #mustRollInPlace(next: Pinned): boolean {
    const { crew, revisions } = this.#host;
    if (next.app.port !== null || revisions.good.app.port !== null) return true;
    const owner = crew.up().find((runner) => runner.bindsOwnPort());
    if (!owner) return false;
    this.#host.warn(
      owner.id,
      `${owner.id} listens on a port of its own, so it has to be stopped before its successor starts; ` +
        'with `listen` in the config and {fd} in the command no request would be lost',
    );
    return true;
  }

  /** @returns the slots that were left for a successor in the same place */
  #forgetStopped(): number[] {
    const stopped = this.#host.crew.forgetStopped();
    this.#host.forget(stopped);
    return stopped.filter((runner) => runner.leaving === 'restarting').map(({ slot }) => slot);
  }
}
