/**
 * What a reload goes through: pre_reload hooks, then the fleet walks to the new revisions, then post_reload hooks.
 *
 *   waiting -> pre_reload -> rolling -> post_reload -> over
 *      |           |            |            |          ^
 *      '-superseded+- fails ----+- fails ----+- fails --'
 *
 * Rules
 * - A pre_reload hook that fails, and may not, leaves everything as it was; its hooks are those of the new config.
 * - One reload at a time is in its hooks. Later ones wait for them, each for its turn.
 * - A reload that has not begun to roll is superseded by a later one that does all that it would have done. One of other
 *   apps, or of fewer, or without its new config, does not.
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
  /** Who comes when they are done, in this order. */
  #waiting: readonly Run[] = [];

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
    this.#waiting = [];
    for (const run of this.#timed) this.#cancelTimeout(run);
  }

  #cancelTimeout(run: Run): void {
    run.cancelTimeout();
    this.#timed.delete(run);
  }

  #progress(run: Run, message: string): Progress {
    const { stage } = run;
    if (stage.type === 'waiting') {
      const isQueued = this.#waiting.includes(run);
      return { type: 'going', message: isQueued ? `${message}: waits for the hooks of an earlier one` : message };
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
    const superseded = this.#waiting.filter((one) => covers(run.command, one.command));
    for (const one of superseded) this.#fail(one, 'superseded by a later reload before it began');
    this.#waiting = [...this.#waiting.filter((one) => !superseded.includes(one)), run];
    this.#next();
  }

  /** Whose turn it is runs its hooks, if nobody else is in theirs. */
  #next(): void {
    const [run, ...later] = this.#waiting;
    if (this.#inHooks !== null || run === undefined) return;
    this.#waiting = later;
    this.#inHooks = run;
    run.stage = { type: 'pre_reload' };
    const { hooks, spec } = this.#host;
    hooks.run('pre_reload', (outcome) => this.#afterPreReload(run, outcome), run.command.spec ?? spec());
  }

  #afterPreReload(run: Run, outcome: HooksOutcome): void {
    this.#inHooks = null;
    if (outcome.type === 'failed') this.#fail(run, `${outcome.error.message}; nothing was reloaded`, outcome.error);
    else if (run.late) this.#fail(run, `${lateness(run)}; nothing was reloaded`);
    else if (outcome.type === 'cancelled') this.#fail(run, 'the master stops');
    else if (this.#waiting.some((later) => covers(later.command, run.command)))
      this.#fail(run, 'superseded by a later reload');
    else this.#roll(run);
    this.#next();
    this.#host.changed();
  }

  #afterPostReload(run: Run, outcome: HooksOutcome, rolled: Extract<Progress, { type: 'done' }>): void {
    this.#inHooks = null;
    if (outcome.type === 'failed') this.#fail(run, `${rolled.message}; but ${outcome.error.message}`, outcome.error);
    else this.#end(run, rolled);
    this.#next();
    this.#host.changed();
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
      this.#waiting = this.#waiting.filter((one) => one !== run);
      this.#fail(run, `${lateness(run)}; nothing was reloaded`);
    } else if (stage.type === 'pre_reload') {
      run.late = true;
      this.#host.hooks.cancel('graceful', 'the reload is out of time');
    }
    this.#host.changed();
  }
}

/** Whether the later reload does all that the one before would have done, so that nothing of it is lost. */
function covers(later: ReloadCommand, before: ReloadCommand): boolean {
  const isOfAll = later.apps === null || before.apps?.every((app) => later.apps?.includes(app));
  const isOfChanges = later.changedOnly === true && before.changedOnly !== true;
  const isOfOlderConfig = later.spec === null && before.spec !== null;
  return isOfAll === true && !isOfChanges && !isOfOlderConfig;
}

function lateness({ command }: Run): string {
  return `not done within ${formatDuration(command.timeoutMs ?? 0)}`;
}
