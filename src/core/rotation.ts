/**
 * Who gets new connections. A worker of an app with spares is not in the rotation because it is ready: as many as the app
 * should have are, and the others stand by, booted, until a place is free.
 *
 * | a ready worker that is not in the rotation    | comes in while                                  |
 * |-----------------------------------------------|-------------------------------------------------|
 * | of the goal's revision, and well               | fewer than `replicas` of these are in           |
 * | of another revision, or to be replaced         | fewer than `replicas` of all are in             |
 * | whose listener is not its own                  | always: nothing can keep connections from it    |
 *
 * Rules
 * - Those of the goal's revision first (a canary has to get traffic), then the lowest slots.
 * - Who leaves, is not ready or is to be replaced fills no place, so a spare comes in at once, and before the other goes.
 * - Without spares everybody who is ready serves.
 */
import { isCurrent, type Goal, type LiveWorker } from './reconcile.ts';

/** The ids of those who come into the rotation now, in order. */
export function toAdmit(goal: Pick<Goal, 'replicas' | 'spares' | 'revision'>, live: readonly LiveWorker[]): string[] {
  const ready = live.filter(({ leaving, state }) => leaving === 'no' && state === 'ready');
  const outside = ready.filter(({ admitted }) => !admitted);
  if (goal.spares === 0) return outside.map(({ id }) => id);
  const isFresh = (worker: LiveWorker) => isCurrent(goal, worker);
  const inOrder = outside.sort((a, b) => Number(isFresh(b)) - Number(isFresh(a)) || a.slot - b.slot);
  const inside = ready.filter(({ admitted }) => admitted);
  const chosen: string[] = [];
  for (const worker of inOrder) {
    const rivals = isFresh(worker) ? inside.filter(isFresh) : inside;
    if (rivals.length >= goal.replicas && !worker.sharesListener) continue;
    inside.push(worker);
    chosen.push(worker.id);
  }
  return chosen;
}
