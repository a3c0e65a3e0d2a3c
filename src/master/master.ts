/**
 * The master: owns the state, decides nothing that core/ can decide. One door (`handle`), one stream (`subscribe`).
 *
 *   new -> pre_start -> booting -> post_start -> running -> pre_stop -> stopping -> post_stop -> ended
 *            |             |           |                                  ^
 *            '- fails -----+-- fails --+----------------------------------'   (the error decides the exit code)
 *
 * Every phase ends by a callback; nothing here waits.
 */
import { ExitCode, SuperviseError } from '../core/errors.ts';
import { capacityOf, type CapacityReport } from '../core/capacity.ts';
import { hostTarget, type History, type HistorySpan } from '../core/history.ts';
import type { Command, Event, EventBody, MasterState, Reply, Snapshot, Target } from '../core/protocol.ts';
import type { Why } from '../core/record.ts';
import type { Spec } from '../core/spec.ts';
import type { Cancel, Ports } from '../ports.ts';
import type { StopHow } from './app.ts';
import { Budget } from './budget.ts';
import { capacityFacts } from './capacity.ts';
import { Commands } from './commands.ts';
import { Fleet, isStopped } from './fleet.ts';
import { Histories } from './history.ts';
import { Hooks, type HooksOutcome } from './hooks.ts';
import { Operations, type Progress } from './operations.ts';
import { ExitRecorder } from './records.ts';
import { Reloads } from './reloads.ts';
import { repeat } from './repeat.ts';
import { Sampling, type Looked } from './sampling.ts';
import { EventStream, isoTime } from './stream.ts';

export interface MasterOptions {
  readonly version: string;
  readonly pid: number;
  /** Called once, when nothing is left to supervise. `error`: what made it fail; null after a requested stop. */
  readonly ended: (exitCode: ExitCode, error: SuperviseError | null) => void;
}

type Phase =
  | 'new'
  | 'pre_start'
  | 'booting'
  | 'post_start'
  | 'running'
  | 'pre_stop'
  | 'stopping'
  | 'post_stop'
  | 'ended';

const tickMs = 1_000;

export class Master {
  readonly #ports: Ports;
  readonly #options: MasterOptions;
  readonly #stream: EventStream;
  readonly #hooks: Hooks;
  readonly #operations: Operations;
  readonly #fleet: Fleet;
  readonly #commands: Commands;
  readonly #reloads: Reloads;
  readonly #exits: ExitRecorder;
  readonly #histories: Histories;
  readonly #startedMs: number;
  #spec: Spec;
  #phase: Phase = 'new';
  #reported: MasterState | null = null;
  #how: StopHow = 'graceful';
  #exit: { readonly code: ExitCode; readonly error: SuperviseError | null } = { code: ExitCode.ok, error: null };
  readonly #sampling: Sampling;
  readonly #budget: Budget;
  #cancelTick: Cancel | null = null;

  constructor(spec: Spec, ports: Ports, options: MasterOptions) {
    this.#spec = spec;
    this.#ports = ports;
    this.#options = options;
    this.#startedMs = ports.clock.now();
    this.#stream = new EventStream(ports.clock);
    const emit = this.#stream.emit.bind(this.#stream);
    this.#exits = new ExitRecorder(ports.records);
    this.#histories = new Histories(ports.history);
    this.#stream.subscribe((event) => this.#exits.take(event));
    this.#hooks = new Hooks(spec, { clock: ports.clock, spawner: ports.spawner, ledger: ports.ledger, emit });
    this.#operations = new Operations(emit);
    this.#fleet = new Fleet(spec, {
      ports,
      emit,
      operations: this.#operations,
      changed: () => this.#review(),
      failedToStart: (error) => this.#phase === 'booting' && this.#fail(error),
      sampleNow: () => this.#sampling.now(),
      useSpec: (next) => {
        this.#spec = next;
        this.#hooks.useSpec(next);
      },
    });
    const changed = () => this.#review();
    this.#commands = new Commands({ fleet: this.#fleet, operations: this.#operations, changed });
    this.#reloads = new Reloads({
      clock: ports.clock,
      fleet: this.#fleet,
      hooks: this.#hooks,
      operations: this.#operations,
      spec: () => this.#spec,
      changed,
    });
    this.#budget = new Budget({
      nowMs: () => ports.clock.now(),
      spec: () => this.#spec.memoryBudget,
      apps: () => this.#fleet.apps,
      emit,
    });
    this.#sampling = new Sampling({
      ports,
      everyMs: () => this.#spec.sampleEveryMs,
      leaders: () => this.#fleet.apps.flatMap((app) => app.view.leaders()),
      sampled: (looked) => this.#sampled(looked),
      toBeCounted: () => this.#fleet.apps.flatMap((app) => app.toBeCounted ?? []),
      counted: (apps) => this.#fleet.takeConnections(apps),
    });
  }

  // -------------------------------------------------------------- the door and the stream

  subscribe(listener: (event: Event) => void): Cancel {
    return this.#stream.subscribe(listener);
  }

  recentEvents(): readonly Event[] {
    return this.#stream.recent();
  }

  /** Puts something that happened outside of the master into the stream: a warning, lost log lines. */
  report(body: EventBody): void {
    this.#stream.emit(body);
  }

  handle(command: Command): Reply {
    try {
      if (command.type === 'stop') return this.#handleStop(command.how);
      this.#mustServe(command.type);
      switch (command.type) {
        case 'reload':
          return this.#reloads.begin(command);
        case 'restart':
          return this.#commands.restart(command.target);
        case 'scale':
          return this.#commands.scale(command);
        case 'retry':
          return this.#commands.retry(command.target);
        case 'signal':
          return this.#commands.signal(command);
      }
    } catch (error) {
      if (error instanceof SuperviseError) return { ok: false, error };
      throw error;
    }
  }

  /** What runs, or is being rolled out; no apps before the pre_start hooks are over. */
  get spec(): Spec {
    return this.#fleet.spec;
  }

  /** What is wrong with an app or a worker, why it was started, and how its last processes ended. @throws SuperviseError unknown-target */
  why(target: Target, n: number): Why {
    return this.#exits.why(target, n, this.snapshot());
  }

  /** CPU and memory of the host, an app or a worker: of the last minutes, or of the day. @throws SuperviseError unknown-target */
  history(target: string, span: HistorySpan): History {
    const nowMs = this.#ports.clock.now();
    const known = this.#histories.of(target, span, nowMs);
    if (known !== null) return known;
    const { apps } = this.#fleet;
    if (apps.some(({ name, view }) => name === target || view.has(target)))
      return { target, stepMs: this.#histories.stepMs(span), points: [] };
    throw new SuperviseError('unknown-target', `there is no app or worker ${target}, and no history of one`, {
      hint: `known here: ${[hostTarget, ...apps.map(({ name }) => name)].join(', ')}`,
    });
  }

  /** How the host was used in the last `spanMs`, and what follows. */
  capacity(spanMs: number): CapacityReport {
    const nowMs = this.#ports.clock.now();
    const { spec } = this;
    const facts = capacityFacts({
      ...{
        nowMs,
        spanMs,
        spec,
        host: this.#sampling.host,
        budget: this.#budget.snapshot,
        apps: this.#fleet.snapshots(),
      },
      history: (target, span) => this.history(target, span),
      exits: (target, n) => this.#ports.records.recent(target, n),
    });
    return capacityOf(facts, isoTime(nowMs));
  }

  snapshot(): Snapshot {
    const now = this.#ports.clock.now();
    return {
      name: this.#spec.name,
      version: this.#options.version,
      pid: this.#options.pid,
      state: this.#state,
      startedAt: isoTime(this.#startedMs),
      uptimeMs: Math.round(now - this.#startedMs),
      configFile: this.#spec.file,
      hooks: this.#hooks.results(),
      host: this.#sampling.host,
      budget: this.#budget.snapshot,
      apps: this.#fleet.snapshots(),
    };
  }

  // -------------------------------------------------------------- starting

  /** Binds the sockets, then goes on by itself. @throws SuperviseError when a socket cannot be bound: nothing was started. */
  start(): void {
    this.#ports.sockets.bind(this.#spec.apps.flatMap((app) => app.listen));
    this.#enter('pre_start');
    this.#hooks.run('pre_start', (outcome) => this.#after(outcome, () => this.#boot()));
  }

  #boot(): void {
    this.#ports.sockets.listen();
    try {
      this.#fleet.assemble();
    } catch (error) {
      return this.#fail(error);
    }
    this.#enter('booting');
    this.#fleet.start();
    const settle = () => this.#fleet.apps.forEach((app) => app.settle());
    this.#cancelTick = repeat(this.#ports.clock, () => tickMs, settle);
    this.#sampling.start();
  }

  #reviewStart(): void {
    if (!this.#fleet.startIsOver || this.#failures().length > 0) return;
    this.#enter('post_start');
    this.#hooks.run('post_start', (outcome) => this.#after(outcome, () => this.#enter('running')));
  }

  /** A phase's hooks are over: go on, or end. A stop that came meanwhile is already on its way. */
  #after(outcome: HooksOutcome, next: () => void): void {
    if (outcome.type === 'failed') this.#fail(outcome.error);
    else if (outcome.type === 'cancelled' || this.#isStopping) this.#stopApps();
    else next();
  }

  #fail(error: unknown): void {
    if (!(error instanceof SuperviseError)) throw error;
    this.#begin('graceful', { code: error.exitCode, error });
  }

  // -------------------------------------------------------------- stopping

  get #isStopping(): boolean {
    return (
      this.#phase === 'pre_stop' || this.#phase === 'stopping' || this.#phase === 'post_stop' || this.#phase === 'ended'
    );
  }

  #handleStop(how: StopHow): Reply {
    const names = { graceful: 'stopping', quick: 'stopping quickly', now: 'killing everything' } as const;
    const operation = this.#operations.begin('stop', names[how], () => this.#stopProgress());
    this.#begin(how, { code: ExitCode.ok, error: null });
    return { ok: true, operation, message: names[how] };
  }

  /** Begins to stop, or makes a stop that is under way faster. The first reason stays the reason. */
  #begin(how: StopHow, exit: { readonly code: ExitCode; readonly error: SuperviseError | null }): void {
    const faster = rank[how] > rank[this.#how];
    if (faster) this.#how = how;
    if (this.#isStopping) {
      if (faster) this.#hurry();
      return;
    }
    this.#exit = exit;
    const before = this.#phase;
    this.#operations.abandon('the master stops', 'stop');
    this.#reloads.abandon();
    if (
      before === 'new' ||
      before === 'pre_start' ||
      before === 'post_start' ||
      how !== 'graceful' ||
      before === 'booting'
    ) {
      this.#enter('stopping');
      this.#hooks.cancel(how === 'now' ? 'now' : 'graceful');
      this.#stopApps();
      return;
    }
    this.#enter('pre_stop');
    // Those of a reload: pre_stop follows when they are gone.
    if (this.#hooks.isRunning) this.#hooks.cancel('graceful');
    else this.#preStop();
  }

  #preStop(): void {
    this.#hooks.run('pre_stop', () => this.#stopApps());
  }

  /** Nothing is waited for any more, a pre_stop hook included. */
  #hurry(): void {
    this.#hooks.cancel(this.#how === 'now' ? 'now' : 'graceful');
    if (this.#phase === 'pre_stop' || this.#phase === 'stopping') this.#stopApps();
  }

  /** In reverse order, one app after the other; all at once when it has to be fast. */
  #stopApps(): void {
    if (this.#phase === 'post_stop' || this.#phase === 'ended') return;
    this.#enter('stopping');
    for (const app of [...this.#fleet.apps].reverse()) {
      app.stop(this.#how);
      if (this.#how === 'graceful' && !isStopped(app)) return;
    }
    // What stopped just now may have led here again, and further.
    if (this.#phase === 'stopping' && this.#fleet.apps.every(isStopped) && !this.#hooks.isRunning) this.#afterApps();
  }

  #afterApps(): void {
    if (this.#how === 'now' || this.#fleet.apps.length === 0) return this.#finish();
    this.#enter('post_stop');
    this.#hooks.run('post_stop', () => this.#finish());
  }

  #finish(): void {
    this.#cancelTick?.();
    this.#sampling.stop();
    this.#ports.sockets.retain([]);
    this.#phase = 'ended';
    this.#histories.store(this.#ports.clock.now());
    this.#operations.review();
    const { code, error } = this.#exit;
    this.#stream.emit({ type: 'master.stopped', exitCode: code });
    this.#options.ended(code, error);
  }

  #stopProgress(): Progress {
    if (this.#phase === 'ended') return { type: 'done', ok: true, message: 'stopped' };
    const going = this.#fleet.apps.filter((app) => !isStopped(app));
    const workers = going.reduce((sum, app) => sum + app.view.leaders().length, 0);
    const hooks = this.#hooks.isRunning ? 'hooks run' : '';
    const left =
      going.length > 0
        ? `${workers} ${workers === 1 ? 'worker' : 'workers'} of ${going.map((app) => app.name).join(', ')} left`
        : '';
    return { type: 'going', message: [hooks, left].filter(Boolean).join('; ') || 'stopping' };
  }

  // -------------------------------------------------------------- after every change

  #review(): void {
    if (this.#phase === 'booting') this.#reviewStart();
    if (this.#phase === 'pre_stop' && !this.#hooks.isRunning) this.#preStop();
    if (this.#phase === 'stopping') this.#stopApps();
    this.#operations.review();
    this.#fleet.tidy();
    if (!this.#isStopping) this.#fleet.advance();
    this.#reportState();
    this.#reviewEnd();
  }

  /** When nothing can run any more there is nothing to supervise. */
  #reviewEnd(): void {
    if (this.#phase !== 'booting' && this.#phase !== 'running') return;
    if (this.#fleet.apps.length === 0 || !this.#fleet.isOver) return;
    const failures = this.#failures();
    const [first] = failures;
    if (!first) return this.#begin('graceful', { code: ExitCode.ok, error: null });
    const message = `nothing can run any more: ${failures.map((failure) => failure.message).join('; ')}`;
    this.#fail(
      failures.length === 1
        ? first
        : new SuperviseError('operation-failed', message, { hint: first.hint ?? '', lastLines: first.lastLines }),
    );
  }

  /** Why nothing can run any more, an error per failed app; none when something can. */
  #failures(): SuperviseError[] {
    const { apps, isOver } = this.#fleet;
    return isOver ? apps.flatMap((app) => app.view.failure ?? []) : [];
  }

  get #state(): MasterState {
    if (this.#isStopping) return 'stopping';
    if (this.#phase !== 'running') return 'starting';
    return this.#operations.isGoing('reload') ? 'reloading' : 'running';
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#reportState();
  }

  #reportState(): void {
    const state = this.#state;
    if (state === this.#reported || this.#phase === 'ended') return;
    this.#reported = state;
    this.#stream.emit({ type: `master.${state}`, pid: this.#options.pid });
  }

  #sampled(looked: Looked): void {
    const { why, atMs, leaders, trees, host } = looked;
    for (const app of this.#fleet.apps)
      for (const [id, tree] of trees) app.takeSample(id, leaders.get(id) ?? 0, tree, atMs);
    const nowMs = this.#ports.clock.now();
    this.#exits.takeSamples(leaders, trees, nowMs);
    const apps = this.#fleet.apps.map((app) => app.view.now());
    if (why === 'on time') this.#histories.take(nowMs, this.#spec.sampleEveryMs, host, apps);
    if (!this.#isStopping) this.#budget.take(looked);
  }

  /** A reload waits for the end of the start; the other commands need only workers. */
  #mustServe(what: Command['type']): void {
    const serves =
      this.#phase === 'running' || (what !== 'reload' && (this.#phase === 'booting' || this.#phase === 'post_start'));
    if (serves) return;
    const hint = 'try again when `supervise status` says running';
    throw new SuperviseError('operation-failed', `cannot ${what}: the master is ${this.#state}`, { hint });
  }
}

const rank: Readonly<Record<StopHow, number>> = { graceful: 0, quick: 1, now: 2 };
