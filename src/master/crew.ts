/**
 * The workers of one app, and what can be said of them together: who is up, who serves, whether anything is on its
 * way. It looks and decides nothing; a worker that leaves is `up` no more, but holds its slot until it is forgotten.
 */
import type { LiveWorker } from '../core/reconcile.ts';
import { isAvailable, type Rollout, type RolloutWorker } from '../core/rollout.ts';
import { hasProcess, isOver } from '../core/worker-machine.ts';
import { howItFailed } from './describe.ts';
import type { WorkerRunner } from './worker-runner.ts';

/** A worker that could not do its work, and how it ended. */
export interface Trouble {
  readonly id: string;
  readonly reason: string;
  readonly lastLines: readonly string[];
}

export class Crew {
  readonly #runners = new Map<string, WorkerRunner>();

  add(runner: WorkerRunner): void {
    this.#runners.set(runner.id, runner);
  }

  /** Takes those out that have stopped for good. */
  forgetStopped(): WorkerRunner[] {
    const stopped = this.all().filter(({ life }) => life.state === 'stopped');
    for (const { id } of stopped) this.#runners.delete(id);
    return stopped;
  }

  get(id: string): WorkerRunner | undefined {
    return this.#runners.get(id);
  }

  get size(): number {
    return this.#runners.size;
  }

  all(): WorkerRunner[] {
    return [...this.#runners.values()];
  }

  /** Those that are not leaving. */
  up(): WorkerRunner[] {
    return this.all().filter((runner) => runner.leaving === 'no');
  }

  /** The one of this id, or all that are up. */
  chosen(id: string | null): WorkerRunner[] {
    if (id === null) return this.up();
    const runner = this.#runners.get(id);
    return runner ? [runner] : [];
  }

  /** Those that are ready, spares among them. */
  ready(): WorkerRunner[] {
    return this.up().filter(({ state }) => state === 'ready');
  }

  /** Those that are ready and in the rotation. */
  serving(): WorkerRunner[] {
    return this.up().filter((runner) => runner.isAdmitted);
  }

  /** Whether some are of another revision than this. */
  isMixed(revision: number): boolean {
    return this.all().some(({ pinned }) => pinned.revision !== revision);
  }

  /** As many as wanted, spares among them, and nobody leaving. */
  isWhole(wanted: number): boolean {
    const up = this.up().length;
    return up >= wanted && up === this.#runners.size;
  }

  /** Whether all that were made after worker number `since` serve. Older ones are not looked at. */
  serveSince(since: number): boolean {
    return this.up()
      .filter((runner) => runner.number > since)
      .every(({ state }) => state === 'ready' || state === 'completed');
  }

  /** Whether none is on its way: each serves, has completed, or waits for its next start. */
  isStill(): boolean {
    return this.up().every(({ life, state }) => !hasProcess(life) || state === 'ready');
  }

  /** Whether each has ended for good. */
  isOver(): boolean {
    return this.all().every(({ life }) => isOver(life));
  }

  /** One of this revision, made after worker number `since`, that crashed or never got ready, and does not serve again. */
  troubleSince(since: number, revision: number): Trouble | null {
    const bad = this.up().find(
      (runner) => runner.number > since && runner.pinned.revision === revision && isInTrouble(runner),
    );
    return bad?.life.lastExit
      ? { id: bad.id, reason: howItFailed(bad), lastLines: bad.life.lastExit.exit.lastLines }
      : null;
  }

  /** Id and pid of each process. */
  leaders(): [string, number][] {
    return this.all().flatMap(({ id, pid }) => (pid === null ? [] : [[id, pid] as [string, number]]));
  }

  /** As the judge of a rollout sees them. `isIll`: whether a running one is as bad as a crashed one. */
  seenByJudge(isIll: (worker: string) => boolean = () => false): RolloutWorker[] {
    return this.all().map(({ id, number, pinned, life, state, leaving }) => {
      const failedOnce =
        life.row.crashes > 0 || life.state === 'failed' || life.ending?.cause === 'start-timeout' || isIll(id);
      return {
        id,
        number,
        revision: pinned.revision,
        state,
        leaving: leaving !== 'no',
        readyMs: life.readyMs,
        failedOnce,
      };
    });
  }

  /** As `reconcile` sees them. `doomed`: who is to be replaced whatever its revision. */
  seenByReconcile(rollout: Rollout | null, nowMs: number, doomed?: string): LiveWorker[] {
    const judged = rollout === null ? null : this.seenByJudge();
    return this.all().map((runner, index) => {
      const { state } = runner;
      const serves = state === 'ready' || state === 'completed';
      const available = judged === null ? serves : isAvailable(judged[index]!, rollout, judged, nowMs);
      return {
        id: runner.id,
        slot: runner.slot,
        revision: runner.pinned.revision,
        state,
        leaving: runner.leaving,
        available,
        admitted: runner.isAdmitted,
        sharesListener: runner.sharesListener,
        doomed: runner.id === doomed,
      };
    });
  }
}

function isInTrouble({ life }: WorkerRunner): boolean {
  return life.state === 'failed' || (life.row.crashes > 0 && life.state !== 'ready' && life.state !== 'completed');
}
