/**
 * States that are derived and never stored: what an app is, from its workers; whether a start is over; whether
 * anything can still run.
 */
import type { AppState, WorkerState } from './protocol.ts';

/** What the app's owner wants of it. */
export type AppPhase = 'waiting' | 'active' | 'stopping' | 'stopped';

export interface AppCondition {
  readonly phase: AppPhase;
  /** It has had a ready worker since the master started. */
  readonly served: boolean;
  /** How many should serve, and how many should stand by. */
  readonly goal: number;
  readonly spares: number;
  /** The states of its workers that are not leaving. */
  readonly states: readonly WorkerState[];
}

/** The state of an app as product users see it. */
export function appStateOf({ phase, served, goal, spares, states }: AppCondition): AppState {
  if (phase !== 'active') return phase;
  const count = (state: WorkerState) => states.filter((one) => one === state).length;
  const ready = count('ready');
  const completed = count('completed');
  if (goal > 0 && completed >= goal + spares) return 'completed';
  if (goal > 0 && states.length >= goal && count('failed') === states.length) return 'failed';
  // Nobody stands by as long as a place is free: enough that are ready are enough that serve.
  if (ready + completed >= goal) return 'running';
  return served || completed > 0 ? 'degraded' : 'starting';
}

/**
 * Whether the app's start is over: it serves, and each worker has had its first chance (a worker that keeps failing
 * does not hold up the others for ever). `firstBoots`: how many workers are still in the first boot of their life.
 */
export function startIsOver(state: AppState, served: boolean, firstBoots: number): boolean {
  if (state === 'running' || state === 'completed') return true;
  return served && firstBoots === 0;
}
