/**
 * The life of one worker. Everything that decides what happens next to a worker is in this file.
 *
 *    starting --ready--> ready --stop--> stopping --timeout--> killing
 *       ^  |               |                |                     |
 *       |  '----exited-----'-----exited-----'-------exited--------'
 *       |                        |  retired? restart policy? crashes in a row?
 *    timeout, retry              v
 *       '------------  backoff | failed  |  completed  |  stopped (retired; final)
 *
 * Rules
 * - A sparse table state -> event -> action. A missing cell is ignored: late messages are normal.
 * - The deadline is part of the state; leaving the state drops it. There is no other timer.
 * - `stop` is final: whoever wants it back makes a new worker with a new id.
 * - Crashes are counted in a row, never in a window of time: a start that hangs for a minute counts as well.
 * - A process that cannot be started is an `exited` with an error: one path for ENOENT, EAGAIN and exit 1.
 */
import { backoffDelayMs } from './backoff.ts';
import type { Cause, Exit, WorkerState } from './protocol.ts';
import type { BackoffSpec, RestartPolicy } from './spec.ts';

export type WorkerEvent =
  | { readonly type: 'ready' }
  | { readonly type: 'exited'; readonly exit: Exit }
  | { readonly type: 'timeout' }
  /** Retire: ask it to end. `timeoutMs` (a quick stop) and a later stop can only make the wait shorter than stop.timeout. */
  | { readonly type: 'stop'; readonly cause: Cause; readonly timeoutMs?: number }
  /** Retire: force it to end. */
  | { readonly type: 'kill'; readonly cause: Cause }
  | { readonly type: 'retry' }
  /** An operator sent it a signal: an exit that follows is not a crash. */
  | { readonly type: 'signalled' };

export type Effect = 'spawn' | 'terminate' | 'kill';

/** Why its process is being ended, and what follows. */
export interface Ending {
  readonly cause: Cause;
  readonly then: 'retire' | 'respawn';
}

/** Crashes in a row, and how many delayed starts they led to. */
export interface Row {
  readonly crashes: number;
  readonly delayed: number;
}

export interface PastExit {
  readonly atMs: number;
  readonly exit: Exit;
  readonly cause: Cause;
}

export interface Life {
  readonly state: WorkerState;
  readonly sinceMs: number;
  /** When `timeout` is due; null: this state may last. */
  readonly deadlineMs: number | null;
  /** When this process was started; null without one. */
  readonly startedMs: number | null;
  /** When this process became ready; null before. */
  readonly readyMs: number | null;
  readonly ending: Ending | null;
  readonly row: Row;
  /** How often a process of this worker followed another one. */
  readonly restarts: number;
  readonly signalledMs: number | null;
  readonly lastExit: PastExit | null;
}

/** What the machine may look at besides the life itself. */
export interface Surroundings {
  readonly nowMs: number;
  /** In [0, 1). */
  readonly random: number;
  /** Whether the app has ever had a ready worker: before that nothing is given up here. */
  readonly served: boolean;
  readonly policy: LifePolicy;
}

export interface LifePolicy {
  readonly restart: RestartPolicy;
  readonly backoff: BackoffSpec;
  readonly readyTimeoutMs: number;
  readonly stopTimeoutMs: number;
}

export interface Step {
  readonly life: Life;
  readonly effects: readonly Effect[];
}

/** A kill that has not worked (a process in uninterruptible sleep) is repeated after this time. */
export const killAgainMs = 5_000;
/**
 * An exit 0 of a worker that has been ready this long is a normal end, a quicker one counts as a crash. A row of crashes
 * lasts at least as long, whatever stable_after says: this is what makes a hot loop impossible.
 */
export const politeExitMs = 1_000;
const noCrashes: Row = { crashes: 0, delayed: 0 };

type Action<E extends WorkerEvent = WorkerEvent> = (life: Life, event: E, around: Surroundings) => Step;
type Row_ = { readonly [T in WorkerEvent['type']]?: Action<Extract<WorkerEvent, { type: T }>> };

const table: { readonly [S in WorkerState]: Row_ } = {
  starting: { ready: becomeReady, timeout: giveUpBoot, exited: settle, stop: terminate, kill, signalled: noteSignal },
  ready: { exited: settle, stop: terminate, kill, signalled: noteSignal },
  stopping: { timeout: killOverdue, exited: settle, stop: hurry, kill },
  killing: { timeout: killOverdue, exited: settle, stop: retireAnyway, kill },
  backoff: { timeout: respawn, retry: respawn, stop: retire, kill: retire },
  failed: { timeout: respawn, retry: respawn, stop: retire, kill: retire },
  completed: { stop: retire, kill: retire },
  stopped: {},
};

/**
 * The life of a new worker: its first process is to be spawned. `inherited`: it takes the place of one that hung or was
 * not healthy, which counts as one more crash in that row; so it may have to wait first.
 */
export function beginLife(around: Surroundings, inherited: Row | null = null): Step {
  const life: Life = {
    state: 'starting',
    sinceMs: around.nowMs,
    deadlineMs: null,
    startedMs: null,
    readyMs: null,
    ending: null,
    row: noCrashes,
    restarts: 0,
    signalledMs: null,
    lastExit: null,
  };
  if (inherited === null) return spawn(life, around);
  return countCrash({ ...life, row: inherited, readyMs: around.nowMs }, around, spawn);
}

/** The row of crashes of a ready worker, as it is when it ends now. */
export function rowOf({ row, readyMs }: Life, around: Surroundings): Row {
  return rowAfter(row, readyMs === null ? null : around.nowMs - readyMs, around);
}

/** What an event does to a life. An event that means nothing in this state changes nothing. */
export function step(life: Life, event: WorkerEvent, around: Surroundings): Step {
  const action = table[life.state][event.type] as Action | undefined;
  return action ? action(life, event, around) : { life, effects: [] };
}

/** Whether this life has a process to signal. */
export function hasProcess(life: Life): boolean {
  return life.state === 'starting' || life.state === 'ready' || life.state === 'stopping' || life.state === 'killing';
}

/** Whether nothing will ever start this worker again by itself. */
export function isOver(life: Life): boolean {
  return (
    life.state === 'completed' || life.state === 'stopped' || (life.state === 'failed' && life.deadlineMs === null)
  );
}

// ---------------------------------------------------------------- actions

function enter(life: Life, state: WorkerState, deadlineMs: number | null, around: Surroundings): Life {
  return { ...life, state, sinceMs: around.nowMs, deadlineMs };
}

function spawn(life: Life, around: Surroundings): Step {
  const fresh: Life = { ...life, startedMs: around.nowMs, readyMs: null, ending: null, signalledMs: null };
  return { life: enter(fresh, 'starting', around.nowMs + around.policy.readyTimeoutMs, around), effects: ['spawn'] };
}

function respawn(life: Life, _event: unknown, around: Surroundings): Step {
  return again(life, around);
}

function again(life: Life, around: Surroundings): Step {
  // One that inherited its wait has had no process yet.
  return spawn({ ...life, restarts: life.restarts + (life.lastExit === null ? 0 : 1) }, around);
}

function becomeReady(life: Life, _event: unknown, around: Surroundings): Step {
  return { life: { ...enter(life, 'ready', null, around), readyMs: around.nowMs }, effects: [] };
}

function noteSignal(life: Life, _event: unknown, around: Surroundings): Step {
  return { life: { ...life, signalledMs: around.nowMs }, effects: [] };
}

function giveUpBoot(life: Life, _event: unknown, around: Surroundings): Step {
  return askToEnd(life, { cause: 'start-timeout', then: 'respawn' }, around.policy.stopTimeoutMs, around);
}

function terminate(life: Life, event: Extract<WorkerEvent, { type: 'stop' }>, around: Surroundings): Step {
  const timeoutMs = Math.min(event.timeoutMs ?? Infinity, around.policy.stopTimeoutMs);
  return askToEnd(life, { cause: event.cause, then: 'retire' }, timeoutMs, around);
}

function askToEnd(life: Life, ending: Ending, timeoutMs: number, around: Surroundings): Step {
  return { life: { ...enter(life, 'stopping', around.nowMs + timeoutMs, around), ending }, effects: ['terminate'] };
}

/** Asked again while it ends: it is retired now, and the wait may only become shorter. */
function hurry(life: Life, event: Extract<WorkerEvent, { type: 'stop' }>, around: Surroundings): Step {
  const wanted = event.timeoutMs === undefined ? Infinity : around.nowMs + event.timeoutMs;
  const deadlineMs = Math.min(life.deadlineMs ?? Infinity, wanted);
  return { life: { ...life, deadlineMs, ending: retired(life, event.cause) }, effects: [] };
}

function retireAnyway(life: Life, event: { readonly cause: Cause }): Step {
  return { life: { ...life, ending: retired(life, event.cause) }, effects: [] };
}

function kill(life: Life, event: { readonly cause: Cause }, around: Surroundings): Step {
  const killing = enter(life, 'killing', around.nowMs + killAgainMs, around);
  return { life: { ...killing, ending: retired(life, event.cause) }, effects: ['kill'] };
}

function killOverdue(life: Life, _event: unknown, around: Surroundings): Step {
  return { life: enter(life, 'killing', around.nowMs + killAgainMs, around), effects: ['kill'] };
}

function retire(life: Life, event: { readonly cause: Cause }, around: Surroundings): Step {
  return { life: { ...enter(life, 'stopped', null, around), ending: retired(life, event.cause) }, effects: [] };
}

/** The first reason for which it was retired stays the reason. */
function retired(life: Life, cause: Cause): Ending {
  return life.ending?.then === 'retire' ? life.ending : { cause, then: 'retire' };
}

/** Its process is gone: what now? */
function settle(life: Life, event: Extract<WorkerEvent, { type: 'exited' }>, around: Surroundings): Step {
  const cause = causeOf(life, event.exit, around);
  const readyForMs = life.readyMs === null ? null : around.nowMs - life.readyMs;
  const gone: Life = {
    ...life,
    startedMs: null,
    row: rowAfter(life.row, readyForMs, around),
    lastExit: { atMs: around.nowMs, exit: event.exit, cause },
  };
  if (life.ending?.then === 'retire') return retire(gone, life.ending, around);

  const succeeded = event.exit.code === 0 && life.ending === null;
  const { restart } = around.policy;
  if (succeeded && restart !== 'always') return { life: enter(gone, 'completed', null, around), effects: [] };
  if (restart === 'never') return { life: enter(gone, 'failed', null, around), effects: [] };

  const polite = succeeded && readyForMs !== null && readyForMs >= politeExitMs;
  if (cause === 'asked' || polite) return respawn(gone, event, around);
  return countCrash(gone, around);
}

/** The row of crashes ends with `stable_after` of readiness, however this process ended. */
function rowAfter(row: Row, readyForMs: number | null, around: Surroundings): Row {
  const stableMs = Math.max(around.policy.backoff.stableAfterMs, politeExitMs);
  return readyForMs !== null && readyForMs >= stableMs ? noCrashes : row;
}

function countCrash(life: Life, around: Surroundings, start: (life: Life, around: Surroundings) => Step = again): Step {
  const { backoff } = around.policy;
  const { delayed } = life.row;
  const crashes = life.row.crashes + 1;
  const counted: Life = { ...life, row: { crashes, delayed } };
  if (around.served && crashes > backoff.maxCrashes) {
    return { life: enter(counted, 'failed', around.nowMs + backoff.retryFailedEveryMs, around), effects: [] };
  }
  if (crashes === 1 && life.readyMs !== null) return start(counted, around);
  const delayMs = backoffDelayMs(backoff, delayed, around.random);
  const waiting: Life = { ...counted, row: { crashes, delayed: delayed + 1 } };
  return { life: enter(waiting, 'backoff', around.nowMs + delayMs, around), effects: [] };
}

function causeOf(life: Life, exit: Exit, around: Surroundings): Cause {
  if (life.ending) return life.ending.cause;
  if (exit.error !== null) return 'spawn-failed';
  // Also after a signal that was asked for: a proof beats a guess.
  if (exit.oom !== undefined) return 'oom';
  // A graceful end takes its time: the signal explains an exit for as long as a stop may take.
  if (life.signalledMs !== null && around.nowMs - life.signalledMs <= around.policy.stopTimeoutMs) return 'asked';
  if (exit.signal !== null) return 'signal';
  return exit.code === 0 ? 'exit' : 'crash';
}
