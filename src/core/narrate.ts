/**
 * Each event as a sentence for the log: what happened and, where something is wrong, what happens next.
 *
 * - Level: `debug` for what was asked for and for steps on the way, `info` for what an operator waits for, `warn` for what
 *   heals itself, `error` for what does not.
 * - `fields` is the event without its number, its type as `event`. Last lines of output stay in where something failed.
 * - One row per event type: a type that is forgotten here is a compile error.
 */
import type { Cause, Event, EventBody, EventType } from './protocol.ts';
import { describeExit } from './reasons.ts';
import { counted, formatBytes, formatDuration } from './units.ts';

export interface Narration {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  /** The event's own fields, with `event` for its type; `at` is when it happened. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The sentence, its level, and the fields for whoever reads the log by machine. */
export function narrate(event: Event): Narration {
  const { seq: _seq, type, ...own } = event;
  const [level, message] = tell(event);
  const fields: Record<string, unknown> = { event: type, ...own };
  if ('message' in own) delete fields['message'];
  if ('lastLines' in own && (own.lastLines.length === 0 || level === 'debug')) delete fields['lastLines'];
  return { level, message, fields };
}

type Told = readonly [Narration['level'], string];
type EventOf<Type extends EventType> = EventBody extends infer Body
  ? Body extends { type: infer Types }
    ? Type extends Types
      ? Body
      : never
    : never
  : never;
type Sentences = { readonly [Type in EventType]: (event: EventOf<Type>) => Told };

const sentences: Sentences = {
  'worker.starting': (e) => [
    'debug',
    `${e.worker} starts${e.pid === null ? '' : ` as pid ${e.pid}`}${e.attempt > 1 ? ` (attempt ${e.attempt})` : ''}`,
  ],
  'worker.ready': (e) => [
    'info',
    `${e.worker} is ready after ${formatDuration(e.bootMs)}${e.pid === null ? '' : ` (pid ${e.pid})`}`,
  ],
  'worker.promoted': (e) => [
    'info',
    `${e.worker}, a spare until now, serves${e.of === null ? '' : ` in place of ${e.of}`}`,
  ],
  'worker.stopping': (e) => [
    e.cause === 'start-timeout' ? 'warn' : 'debug',
    `${e.worker} is asked to end: ${causeInWords[e.cause]}`,
  ],
  'worker.killing': (e) => ['warn', `${e.worker} did not end in time; it is killed now (${causeInWords[e.cause]})`],
  'worker.exited': tellExit,
  'worker.backoff': (e) => [
    'warn',
    `${e.worker} ${crashed(e)}; ${e.inherited ? 'first' : 'next'} start ${e.delayMs === 0 ? 'now' : `in ${formatDuration(e.delayMs)}`}`,
  ],
  'worker.failed': (e) => [
    'error',
    `${e.worker} failed${e.crashes === 0 ? '' : `: it ${crashed(e)}`}; ${e.delayMs === null ? 'it is not started again' : `next trial in ${formatDuration(e.delayMs)}`}`,
  ],
  'worker.completed': (e) => ['info', `${e.worker} has completed its work`],
  'worker.stopped': (e) => ['debug', `${e.worker} has stopped`],
  'worker.signalled': (e) => ['info', `${e.worker} was sent ${e.signal}`],
  'worker.stalled': (e) => ['warn', `${e.worker} hangs: ${e.reason}; ${whatNext(e)}`],
  'worker.unhealthy': (e) => ['warn', `${e.worker} is not healthy: ${e.reason}; ${whatNext(e)}`],
  'worker.over_memory': (e) => ['warn', `${e.worker} is over its memory limit: ${e.reason}; ${whatNext(e)}`],
  'worker.over_budget': (e) => ['warn', `${e.worker}: ${e.reason}; ${whatNext(e)}`],
  'worker.over_lifetime': (e) => ['info', `${e.worker}: ${e.reason}; ${whatNext(e)}`],
  'worker.makes_room': (e) => ['warn', `${e.worker}: ${e.reason}; ${whatNext(e)}`],
  'worker.recovered': (e) => ['info', `${e.worker} ${e.from === 'stall' ? 'goes on again' : 'is healthy again'}`],

  'app.waiting': (e) => ['debug', `${e.app} waits for its turn to start`],
  'app.starting': (e) => ['info', `${e.app} starts ${counted(e.goal, 'worker')}`],
  'app.running': (e) => ['info', `${e.app} is running: ${readyOf(e)}`],
  // What went wrong is said of the worker, as a warning; at a start nothing has.
  'app.degraded': (e) => ['info', `${e.app}: ${readyOf(e)}; the others are being started`],
  'app.failed': (e) => ['error', `${e.app} has failed: none of its ${counted(e.goal, 'worker')} can run`],
  'app.stopping': (e) => ['info', `${e.app} is stopping`],
  'app.stopped': (e) => ['info', `${e.app} has stopped`],
  'app.completed': (e) => ['info', `${e.app} has completed its work`],
  'app.scaled': (e) => [
    'info',
    `${e.app} ${e.from === e.to ? 'stays at' : `is scaled from ${e.from} to`} ${numberAndWhy(counted(e.to, 'worker'), e.reason ?? '')}`,
  ],
  'app.would_scale': (e) => [
    'info',
    `${e.app} would be scaled from ${e.from} to ${counted(e.to, 'worker')}${colon(e.reason ?? '')}`,
  ],
  'app.warning': (e) => ['warn', `${e.app}: ${e.message}`],
  'app.unbalanced': (e) => ['warn', `${e.app}: ${e.message}`],
  'app.balanced': (e) => ['info', `${e.app}: connections no longer pile up on one worker`],

  'budget.ok': (e) => ['info', e.message],
  'budget.near': (e) => ['warn', e.message],
  'budget.over': (e) => ['warn', e.message],

  'master.starting': (e) => ['info', `supervise starts (pid ${e.pid})`],
  'master.running': () => ['info', 'all apps are running'],
  'master.reloading': () => ['info', 'reloading'],
  'master.stopping': () => ['info', 'stopping'],
  'master.stopped': (e) => [e.exitCode === 0 ? 'info' : 'error', `supervise ends with exit code ${e.exitCode}`],
  'master.warning': (e) => ['warn', e.message],

  'control.listening': (e) => ['info', `the control API is at ${e.url}; its token is in ${e.tokenFile}`],

  'hook.pending': (e) => [e.message === '' ? 'debug' : 'info', `${hookName(e)} ${e.message || 'waits for its turn'}`],
  'hook.running': (e) => ['info', `${hookName(e)} runs${e.attempt > 1 ? ` (attempt ${e.attempt})` : ''}`],
  'hook.succeeded': (e) => ['info', `${hookName(e)} succeeded${took(e)}`],
  'hook.failed': (e) => [
    'error',
    `${hookName(e)} failed${took(e)}: ${e.message === '' ? describeExit({ code: e.exitCode, signal: e.signal, error: null }) : e.message}`,
  ],
  'hook.timed-out': (e) => ['error', `${hookName(e)} did not end in time and was killed${took(e)}${colon(e.message)}`],
  'hook.skipped': (e) => ['info', `${hookName(e)} is skipped${colon(e.message)}`],
  'hook.cancelled': (e) => ['warn', `${hookName(e)} was cancelled${took(e)}${colon(e.message)}`],

  'config.changed': (e) => ['info', `the config has changed: ${tellChanges(e)}`],
  'rollout.started': (e) => ['info', `${e.app} is being replaced: revision ${e.from} by ${e.to}`],
  'rollout.progress': (e) => [
    'info',
    `${e.app} revision ${e.to}: ${e.replaced} of ${counted(e.total, 'worker')} replaced${colon(e.step)}`,
  ],
  'rollout.succeeded': (e) => ['info', `${e.app} now runs revision ${e.to}`],
  'rollout.superseded': (e) => ['warn', `${e.app}: the reload to revision ${e.to} was superseded by a later one`],
  'rollout.rolled_back': (e) => ['error', `${e.app} is rolled back from revision ${e.to} to ${e.from}: ${e.reason}`],

  // A reload may have begun because a file changed: its message says so.
  'operation.started': (e) => [e.name === 'reload' ? 'info' : 'debug', `${e.name} has begun${colon(e.message)}`],
  'operation.progress': (e) => ['debug', `${e.name}${colon(e.message)}`],
  'operation.finished': (e) => [e.ok ? 'info' : 'error', `${e.name} ${e.ok ? 'is done' : 'failed'}${colon(e.message)}`],
  'logs.dropped': (e) => [
    'warn',
    `${counted(e.lines, 'line')} (${formatBytes(e.bytes)}) lost on ${e.sink}: ${e.reason}`,
  ],
};

function tell(event: Event): Told {
  return (sentences[event.type] as (event: EventBody) => Told)(event);
}

/** An end that was asked for is a step on the way; any other is worth a warning, but a quiet exit 0. */
function tellExit(e: EventOf<'worker.exited'>): Told {
  const lived = ` after ${formatDuration(e.uptimeMs)}`;
  switch (e.cause) {
    case 'spawn-failed':
      return ['error', `${e.worker} cannot be started: ${describeExit(e)}`];
    case 'start-timeout':
      return ['warn', `${e.worker} was not ready in time and has been ended${lived} (${describeExit(e)})`];
    case 'oom':
      return ['warn', `${e.worker} was killed by the kernel for want of memory${lived}${colon(e.oom ?? '')}`];
    case 'crash':
    case 'signal':
      return ['warn', `${e.worker} ended by itself${lived} (${describeExit(e)})`];
    case 'exit':
      return ['info', `${e.worker} ended by itself${lived} (${describeExit(e)})`];
    default:
      return ['debug', `${e.worker} has ended${lived} (${describeExit(e)}): ${causeInWords[e.cause]}`];
  }
}

const causeInWords: Readonly<Record<Cause, string>> = {
  'crash': 'it crashed',
  'signal': 'a signal from outside',
  'exit': 'it ended by itself',
  'spawn-failed': 'it cannot be started',
  'start-timeout': 'it was not ready in time',
  'oom': 'out of memory',
  'memory-limit': 'over its memory limit',
  'memory-budget': 'over the memory budget, and it had grown most',
  'lifetime': 'it has reached its lifetime',
  'stranded': 'its successor serves connections that wait where no worker is left',
  'health': 'it was not healthy',
  'stall': 'it hung',
  'asked': 'a signal was asked for',
  'stop': 'supervise stops',
  'scale-down': 'scaled down',
  'restart': 'restart',
  'reload': 'reload',
  'rollback': 'rolled back',
};

function whatNext({ action }: { readonly action: 'warn' | 'replace' }): string {
  return action === 'replace' ? 'it is to be replaced' : 'it is left alone';
}

function hookName(e: { readonly phase: string; readonly hook: string }): string {
  return `${e.phase} hook ${e.hook}`;
}

function took(e: { readonly durationMs: number | null }): string {
  return e.durationMs === null ? '' : ` after ${formatDuration(e.durationMs)}`;
}

function readyOf(e: { readonly ready: number; readonly goal: number }): string {
  return `${e.ready} of ${counted(e.goal, 'worker')} ready`;
}

function tellChanges(e: EventOf<'config.changed'>): string {
  const parts = (['added', 'removed', 'rescaled', 'changed'] as const).flatMap((what) =>
    e[what].length === 0 ? [] : [`${what} ${e[what].join(', ')}`],
  );
  return parts.length === 0 ? 'no app differs' : parts.join('; ');
}

function crashed({ crashes, inherited }: EventOf<'worker.backoff' | 'worker.failed'>): string {
  if (inherited) return `takes over ${crashes} ${crashes === 1 ? 'crash' : 'crashes'} in a row`;
  return crashes > 1 ? `crashed ${crashes} times in a row` : 'crashed';
}

/** The arithmetic of `workers: auto` begins with the number itself: it is said once. */
function numberAndWhy(number: string, reason: string): string {
  return reason.startsWith(`${number}:`) ? reason : `${number}${colon(reason)}`;
}

function colon(text: string): string {
  return text === '' ? '' : `: ${text}`;
}
