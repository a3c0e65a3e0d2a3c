/**
 * Judges a new revision while it replaces the old one. The first workers of it are canaries: they must stay ready
 * for a while before anything else is replaced. Any failure of the new revision, until `canary` after its last
 * worker became ready, is a reason to go back.
 */
import type { WorkerState } from './protocol.ts';

export interface Rollout {
  /** The revision that is known to serve, and the one that is being tried. */
  readonly from: number;
  readonly to: number;
  readonly canaryMs: number;
  /** How many of the first workers are canaries: max_surge, at least 1. */
  readonly canaries: number;
}

export interface RolloutWorker {
  readonly id: string;
  /** The number in the id: workers of an app are numbered in the order in which they were made. */
  readonly number: number;
  readonly revision: number;
  readonly state: WorkerState;
  readonly leaving: boolean;
  readonly readyMs: number | null;
  /** It crashed, never got ready, or could not be started, at least once. */
  readonly failedOnce: boolean;
}

export type Verdict =
  | {
      readonly type: 'rolling';
      /** When to judge again at the latest; null: at the next event. */ readonly againMs: number | null;
    }
  | { readonly type: 'succeeded' }
  | { readonly type: 'failed'; readonly worker: string };

/** What to think of the rollout at `nowMs`. `replicas`: how many workers the app should have, its spares among them. */
export function judge(rollout: Rollout, workers: readonly RolloutWorker[], replicas: number, nowMs: number): Verdict {
  const fresh = workers.filter((worker) => worker.revision === rollout.to && !worker.leaving);
  const broken = fresh.find((worker) => worker.failedOnce);
  if (broken) return { type: 'failed', worker: broken.id };

  const old = workers.filter((worker) => worker.revision !== rollout.to && !worker.leaving);
  const settled = fresh.filter((worker) => worker.state === 'ready' || worker.state === 'completed');
  const heldUntil = fresh.map((worker) => (worker.readyMs ?? 0) + rollout.canaryMs);
  const lastHold = Math.max(0, ...heldUntil);
  if (old.length === 0 && settled.length >= replicas && nowMs >= lastHold) return { type: 'succeeded' };
  const ahead = heldUntil.filter((moment) => moment > nowMs);
  return { type: 'rolling', againMs: ahead.length > 0 ? Math.min(...ahead) : null };
}

/** Whether a worker counts as serving for good: ready, and as a canary of a rollout ready for `canary`. */
export function isAvailable(
  worker: RolloutWorker,
  rollout: Rollout | null,
  workers: readonly RolloutWorker[],
  nowMs: number,
): boolean {
  if (worker.state === 'completed') return true;
  if (worker.state !== 'ready' || worker.readyMs === null) return false;
  if (rollout === null || worker.revision !== rollout.to) return true;
  const earlier = workers.filter((other) => other.revision === rollout.to && other.number < worker.number).length;
  return earlier >= rollout.canaries || nowMs - worker.readyMs >= rollout.canaryMs;
}
