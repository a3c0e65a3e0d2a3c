/**
 * Runs the hooks of a phase in order, one process at a time, and remembers how each went. Only the master calls this:
 * workers never run hooks, so a respawn, a scale-up or a reload cannot run one again.
 *
 * One hook:  locked -> running --exit 0--> succeeded
 *                        |  ^--retry_delay--.
 *                        '--exit, timeout---'--no retries left--> failed | timed-out
 *
 * A hook that is out of time, or cancelled, is asked to end (SIGTERM) and its whole tree is killed after a grace period.
 */
import { SuperviseError } from '../core/errors.ts';
import type { EventBody, Exit, HookResult, HookState } from '../core/protocol.ts';
import { describeExit } from '../core/reasons.ts';
import type { HookPhase, HookSpec, Spec } from '../core/spec.ts';
import { formatDuration } from '../core/units.ts';
import type { Cancel, Clock, HookLedger, RunningProcess, Spawner } from '../ports.ts';
import { isoTime } from './stream.ts';

export interface HooksHost {
  readonly clock: Clock;
  readonly spawner: Spawner;
  readonly ledger: HookLedger;
  emit(body: EventBody): void;
}

export type HooksOutcome =
  | { readonly type: 'succeeded' }
  | { readonly type: 'failed'; readonly error: SuperviseError }
  | { readonly type: 'cancelled' };

/** How long a hook's tree has to end by itself before it is killed. */
const graceMs = 5_000;

interface Run {
  readonly hook: HookSpec;
  readonly queue: readonly HookSpec[];
  /** What they start from. */
  readonly env: Spec['env'];
  readonly done: (outcome: HooksOutcome) => void;
  readonly startedMs: number;
  readonly attempt: number;
  /** Why it is being ended; null: it may run. */
  readonly ending: 'timed-out' | 'cancelled' | null;
  readonly process: RunningProcess | null;
  /** Why it was cancelled. */
  readonly why?: string;
}

const masterStopped = 'the master was stopped';

export class Hooks {
  readonly #host: HooksHost;
  #spec: Spec;
  /** By phase and name: a config that is read again brings the same hooks as new objects. */
  readonly #results = new Map<string, HookResult>();
  #run: Run | null = null;
  #timer: Cancel | null = null;
  #unlock: Cancel | null = null;

  constructor(spec: Spec, host: HooksHost) {
    this.#spec = spec;
    this.#host = host;
  }

  /** Later phases take their hooks from this spec. */
  useSpec(spec: Spec): void {
    this.#spec = spec;
  }

  /** How each hook of each phase went so far. */
  results(): HookResult[] {
    const all = Object.values(this.#spec.hooks).flat();
    const known = new Set(all.map(keyOf));
    const earlier = [...this.#results].filter(([key]) => !known.has(key)).map(([, result]) => result);
    return [...earlier, ...all.map((hook) => this.#results.get(keyOf(hook)) ?? nothingYet(hook))];
  }

  isEmpty(phase: HookPhase): boolean {
    return this.#spec.hooks[phase].length === 0;
  }

  /** Runs a phase; `done` is called once, also for an empty phase, and at once then. `spec`: whose hooks. */
  run(phase: HookPhase, done: (outcome: HooksOutcome) => void, spec: Spec = this.#spec): void {
    const { env } = spec;
    const queue = spec.hooks[phase];
    if (queue.length === 0) return done({ type: 'succeeded' });
    if (phase !== 'pre_start') return this.#next({ queue, env, done });
    let finished = false;
    const finish = (outcome: HooksOutcome) => {
      finished = true;
      this.#unlock?.();
      this.#unlock = null;
      done(outcome);
    };
    const first = queue[0]!;
    const waiting = (holder: string) => this.#note(first, 'pending', `waits for ${holder}, which runs hooks now`);
    this.#run = {
      hook: first,
      queue,
      env,
      done: finish,
      startedMs: this.#host.clock.now(),
      attempt: 0,
      ending: null,
      process: null,
    };
    const unlock = this.#host.ledger.lock(waiting, () => this.#next({ queue, env, done: finish }));
    if (finished) unlock();
    else this.#unlock = unlock;
  }

  get isRunning(): boolean {
    return this.#run !== null;
  }

  /** Ends what runs now; its phase ends as cancelled once the tree is gone. Without a running phase: nothing. */
  cancel(how: 'graceful' | 'now', why = masterStopped): void {
    const run = this.#run;
    if (!run) return;
    if (run.process?.pid != null) {
      if (how === 'graceful' && run.ending === null) return this.#end({ ...run, why }, 'cancelled');
      this.#run = { ...run, ending: 'cancelled', why };
      if (how === 'now') this.#kill(run.process);
      return;
    }
    this.#clearTimer();
    this.#finish(run, 'cancelled', why, null);
  }

  // -------------------------------------------------------------- one hook after the other

  #next({ queue, env, done }: Pick<Run, 'queue' | 'env' | 'done'>): void {
    const [hook, ...rest] = queue;
    this.#run = null;
    if (!hook) return done({ type: 'succeeded' });
    const succeeded = hook.oncePer === '' ? null : this.#host.ledger.succeededAt(hook.name, hook.oncePer);
    const startedMs = this.#host.clock.now();
    this.#run = { hook, queue: rest, env, done, startedMs, attempt: 0, ending: null, process: null };
    if (succeeded === null) return this.#attempt(this.#run);
    this.#note(hook, 'skipped', `succeeded for ${hook.oncePer} at ${succeeded}`);
    this.#next({ queue: rest, env, done });
  }

  #attempt(before: Run): void {
    const { clock, spawner } = this.#host;
    const { hook } = before;
    const attempt = before.attempt + 1;
    this.#run = { ...before, attempt, ending: null, process: null };
    this.#note(hook, 'running', '');
    const process = spawner.runHook(hook, before.env, {
      ready: () => undefined,
      exited: (exit) => this.#run?.process === process && this.#exited(this.#run, exit),
      warning: (message) => this.#host.emit({ type: 'master.warning', message: `hook ${hook.name}: ${message}` }),
    });
    this.#run = { ...this.#run, process };
    this.#timer = clock.schedule(hook.timeoutMs, () => this.#run && this.#end(this.#run, 'timed-out'));
  }

  /** Asks the tree to end, and kills it when it has not done so after the grace period. */
  #end(run: Run, ending: 'timed-out' | 'cancelled'): void {
    const { process } = run;
    if (!process) return;
    this.#clearTimer();
    this.#run = { ...run, ending };
    process.terminate('SIGTERM');
    this.#timer = this.#host.clock.schedule(graceMs, () => this.#kill(process));
  }

  /** Kills its tree, and again as long as something of it is left. */
  #kill(process: RunningProcess): void {
    this.#clearTimer();
    process.kill();
    this.#timer = this.#host.clock.schedule(graceMs, () => this.#kill(process));
  }

  #exited(run: Run, exit: Exit): void {
    this.#clearTimer();
    const { hook } = run;
    if (run.ending === 'cancelled') return this.#finish(run, 'cancelled', run.why ?? masterStopped, exit);
    if (run.ending === null && exit.code === 0) {
      if (hook.oncePer !== '') this.#host.ledger.record(hook.name, hook.oncePer, isoTime(this.#host.clock.now()));
      return this.#finish(run, 'succeeded', '', exit);
    }
    const timedOut = run.ending === 'timed-out';
    const why = timedOut
      ? `not done within ${formatDuration(hook.timeoutMs)}; its processes were ended`
      : describeExit(exit);
    if (run.attempt <= hook.retries) {
      const wait = formatDuration(hook.retryDelayMs);
      this.#note(
        hook,
        timedOut ? 'timed-out' : 'failed',
        `${why}; attempt ${run.attempt + 1} of ${hook.retries + 1} in ${wait}`,
        exit,
      );
      this.#run = { ...run, process: null };
      this.#timer = this.#host.clock.schedule(hook.retryDelayMs, () => this.#run && this.#attempt(this.#run));
      return;
    }
    this.#finish(run, timedOut ? 'timed-out' : 'failed', why, exit);
  }

  #finish(run: Run, state: HookState, why: string, exit: Exit | null): void {
    const { hook, done } = run;
    this.#note(hook, state, why, exit);
    this.#run = null;
    if (state === 'cancelled') return done({ type: 'cancelled' });
    if (state === 'succeeded' || hook.onFailure === 'continue') return this.#next(run);
    const attempts = run.attempt === 1 ? '' : ` after ${run.attempt} attempts`;
    const message = `${hook.phase} hook ${hook.name} failed${attempts}: ${why}`;
    const hint = `command: ${hook.argv.join(' ')}; cwd: ${hook.cwd}. What follows it was not started`;
    done({
      type: 'failed',
      error: new SuperviseError('hook-failed', message, { hint, lastLines: exit?.lastLines ?? [] }),
    });
  }

  #note(hook: HookSpec, state: HookState, message: string, exit: Exit | null = null): void {
    const run = this.#run;
    const attempts = run?.attempt ?? 0;
    const over = state !== 'running' && state !== 'pending' && state !== 'skipped';
    const durationMs = over && run ? Math.round(this.#host.clock.now() - run.startedMs) : null;
    const exitCode = exit?.code ?? null;
    const signal = exit?.signal ?? null;
    this.#results.set(keyOf(hook), {
      phase: hook.phase,
      name: hook.name,
      state,
      attempts,
      durationMs,
      exitCode,
      signal,
      reason: message || null,
    });
    this.#host.emit({
      type: `hook.${state}`,
      phase: hook.phase,
      hook: hook.name,
      attempt: attempts,
      message,
      durationMs,
      exitCode,
      signal,
      lastLines: exit?.lastLines ?? [],
    });
  }

  #clearTimer(): void {
    this.#timer?.();
    this.#timer = null;
  }
}

function nothingYet(hook: HookSpec): HookResult {
  return {
    phase: hook.phase,
    name: hook.name,
    state: 'pending',
    attempts: 0,
    durationMs: null,
    exitCode: null,
    signal: null,
    reason: null,
  };
}

function keyOf({ phase, name }: Pick<HookSpec, 'phase' | 'name'>): string {
  return `${phase} ${name}`;
}
