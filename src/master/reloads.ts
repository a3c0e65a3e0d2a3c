/**
 * What a reload goes through: pre_reload hooks, then the fleet walks to the new revisions, then post_reload hooks.
 *
 *   waiting -> pre_reload -> rolling -> post_reload -> over
 *      |           |            |            |          ^
 *      '-superseded+- fails ----+- fails ----+- fails --'
 *
 * Rules
 * - A pre_reload hook that fails, and may not, leaves everything as it was; its hooks are those of the new config.
 * - One reload at a time is in its hooks. A later one waits for them; whoever waited before it is superseded.
 * - What is not done when its time is over is rolled back.
 */
import { SuperviseError } from '../core/errors.ts';
import type { Reply, ReloadCommand } from '../core/protocol.ts';
import type { Spec } from '../core/spec.ts';
import { formatDuration } from '../core/units.ts';
import type { Cancel, Clock } from '../ports.ts';
import type { Fleet } from './fleet.ts';
import type { Hooks, HooksOutcome } from './hooks.ts';
import type { Operations, Progress } from './operations.ts';
import { giveUp, reloadProgress, type RunningReload } from './reload.ts';

export interface ReloadsHost {
  readonly clock: Clock;
  readonly fleet: Fleet;
  readonly hooks: Hooks;
  readonly operations: Operations;
  /** The spec that runs now. */
  spec(): Spec;
  /** Something about a reload changed. */
  changed(): void;
}

type Stage =
  | { readonly type: 'waiting' }
  | { readonly type: 'pre_reload' }
  | { readonly type: 'post_reload' }
  | { readonly type: 'rolling'; readonly parts: readonly RunningReload[] }
  | { readonly type: 'over'; readonly end: Extract<Progress, { type: 'done' }> };

interface Run {
  readonly command: ReloadCommand;
  stage: Stage;
  cancelTimeout: Cancel;
  /** Its time was over while its hooks ran. */
  late: boolean;
}

export class Reloads {
  readonly #host: ReloadsHost;
  /** Those whose time runs. */
  readonly #timed = new Set<Run>();
  /** Whose hooks run. */
  #inHooks: Run | null = null;
  /** Who comes when they are done. */
  #next: Run | null = null;

  constructor(host: ReloadsHost) {
    this.#host = host;
  }

  /** @throws SuperviseError, and then nothing has changed */
  begin(command: ReloadCommand): Reply {
    const { fleet, operations } = this.#host;
    const message = `${command.reason === undefined ? '' : `${command.reason}: `}${fleet.describeReload(command)}`;
    const run: Run = { command, stage: { type: 'waiting' }, cancelTimeout: () => undefined, late: false };
    const hasHooks = (command.spec ?? this.#host.spec()).hooks.pre_reload.length > 0;
    // Without hooks before it, what it needs is found out now: whoever asked gets the error at once.
    const roll = hasHooks || this.#inHooks !== null ? null : fleet.prepareReload(command);
    const operation = operations.begin('reload', message, () => this.#progress(run, message));
    if (command.timeoutMs !== undefined) {
      run.cancelTimeout = this.#host.clock.schedule(command.timeoutMs, () => this.#timeIsOver(run));
      this.#timed.add(run);
    }
    if (roll === null) this.#queue(run);
    else run.stage = { type: 'rolling', parts: roll() };
    this.#host.changed();
    return { ok: true, operation, message };
  }

  /** The master stops: what waits will not come. */
  abandon(): void {
    this.#next = null;
    for (const run of this.#timed) this.#cancelTimeout(run);
  }

  #cancelTimeout(run: Run): void {
    run.cancelTimeout();
    this.#timed.delete(run);
  }

  #progress(run: Run, message: string): Progress {
    const { stage } = run;
    if (stage.type === 'waiting') {
      const waits = this.#next === run ? ': waits for the hooks of an earlier one' : '';
      return { type: 'going', message: `${message}${waits}` };
    }
    if (stage.type === 'pre_reload' || stage.type === 'post_reload')
      return { type: 'going', message: `${stage.type} hooks run` };
    if (stage.type === 'over') return stage.end;
    const progress = reloadProgress(stage.parts);
    if (progress.type === 'going') return progress;
    const { hooks } = this.#host;
    if (!progress.ok || hooks.isEmpty('post_reload')) return this.#end(run, progress);
    if (hooks.isRunning)
      return { type: 'going', message: `${progress.message}; post_reload hooks wait for other hooks` };
    this.#cancelTimeout(run);
    run.stage = { type: 'post_reload' };
    this.#inHooks = run;
    hooks.run('post_reload', (outcome) => this.#afterPostReload(run, outcome, progress));
    return this.#progress(run, message);
  }

  #end(run: Run, end: Extract<Progress, { type: 'done' }>): Progress {
    this.#cancelTimeout(run);
    run.stage = { type: 'over', end };
    return end;
  }

  // -------------------------------------------------------------- hooks

  #queue(run: Run): void {
    if (this.#inHooks === null) return this.#runHooks(run);
    if (this.#next) this.#fail(this.#next, 'superseded by a later reload before it began');
    this.#next = run;
  }

  #runHooks(run: Run): void {
    this.#inHooks = run;
    run.stage = { type: 'pre_reload' };
    const { hooks, spec } = this.#host;
    hooks.run('pre_reload', (outcome) => this.#afterPreReload(run, outcome), run.command.spec ?? spec());
  }

  #afterPreReload(run: Run, outcome: HooksOutcome): void {
    const next = this.#hooksAreOver();
    if (outcome.type === 'failed') this.#fail(run, `${outcome.error.message}; nothing was reloaded`, outcome.error);
    else if (run.late) this.#fail(run, `${lateness(run)}; nothing was reloaded`);
    else if (outcome.type === 'cancelled') this.#fail(run, 'the master stops');
    else if (next) this.#fail(run, 'superseded by a later reload');
    else this.#roll(run);
    if (next) this.#runHooks(next);
    this.#host.changed();
  }

  #afterPostReload(run: Run, outcome: HooksOutcome, rolled: Extract<Progress, { type: 'done' }>): void {
    const next = this.#hooksAreOver();
    if (outcome.type === 'failed') this.#fail(run, `${rolled.message}; but ${outcome.error.message}`, outcome.error);
    else this.#end(run, rolled);
    if (next) this.#runHooks(next);
    this.#host.changed();
  }

  /** @returns who has waited for that */
  #hooksAreOver(): Run | null {
    const next = this.#next;
    this.#inHooks = null;
    this.#next = null;
    return next;
  }

  #roll(run: Run): void {
    try {
      run.stage = { type: 'rolling', parts: this.#host.fleet.prepareReload(run.command)() };
    } catch (error) {
      if (!(error instanceof SuperviseError)) throw error;
      this.#fail(run, `${error.message}; nothing was reloaded`, error);
    }
  }

  #fail(run: Run, message: string, error?: SuperviseError): void {
    this.#end(run, { type: 'done', ok: false, message, lastLines: error?.lastLines ?? [] });
  }

  // -------------------------------------------------------------- out of time

  #timeIsOver(run: Run): void {
    const { stage } = run;
    if (stage.type === 'rolling') giveUp(stage.parts, lateness(run));
    else if (stage.type === 'waiting') {
      if (this.#next === run) this.#next = null;
      this.#fail(run, `${lateness(run)}; nothing was reloaded`);
    } else if (stage.type === 'pre_reload') {
      run.late = true;
      this.#host.hooks.cancel('graceful', 'the reload is out of time');
    }
    this.#host.changed();
  }
}

function lateness({ command }: Run): string {
  return `not done within ${formatDuration(command.timeoutMs ?? 0)}`;
}
