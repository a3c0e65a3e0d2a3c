/**
 * One app: its goal, its revisions and its workers. It changes the goal or takes an event, and then settles:
 * judge the rollout -> reconcile -> perform. There is no procedure for scaling, reloading or rolling back anywhere.
 */
import type { Illness } from '../core/ailments.ts';
import type { SuperviseError } from '../core/errors.ts';
import type { AppSnapshot, AppState, Cause, EventBody } from '../core/protocol.ts';
import { reconcile, type Change, type Goal } from '../core/reconcile.ts';
import { appStateOf, startIsOver, type AppPhase } from '../core/status.ts';
import { hasProcess, type WorkerEvent } from '../core/worker-machine.ts';
import type { AppSpec, Signal } from '../core/spec.ts';
import type { AppConnections, Cancel, CountedApp, Pinned, Ports, TreeSample } from '../ports.ts';
import { Connections, uncounted } from './connections.ts';
import { Crew, type Trouble } from './crew.ts';
import { givenUp, neverReady, rolloutFailure, rolloutStep, workerSnapshot } from './describe.ts';
import { Revisions, type RolloutEnd, type RunningRollout } from './revisions.ts';
import { Ward } from './ward.ts';
import { WorkerRunner, type RunnerHost } from './worker-runner.ts';

/** What an app needs of the master. */
export interface AppHost {
  readonly ports: Pick<Ports, 'clock' | 'spawner'>;
  emit(body: EventBody): void;
  /** Something about it changed: state, workers, rollout. */
  changed(app: App): void;
  /** It has never served, and it has failed often enough (or in a way that trying again cannot mend). */
  failedToStart(app: App, error: SuperviseError): void;
}

/** Each is faster than the one before: ask; ask, and kill after 2 s; kill. */
const stopHows = ['graceful', 'quick', 'now'] as const;
export type StopHow = (typeof stopHows)[number];

const quickStopMs = 2_000;
/** One that hangs can hardly end by itself: so long it may take to leave a dump of its stacks. */
const stalledStopMs = 5_000;

/** Several changes follow from one event; more rounds than this would be a bug, so it stops instead of spinning. */
const maxRounds = 1_000;

export class App {
  readonly name: string;
  readonly #host: AppHost;
  readonly #runnerHost: RunnerHost;
  readonly #crew = new Crew();
  readonly #samples = new Map<string, TreeSample>();
  readonly #connections: Connections;
  /** What an operator should know -> the worker that it is about; it goes with the worker. */
  readonly #warnings = new Map<string, string>();
  readonly #revisions: Revisions;
  readonly #ward: Ward;
  #replicas: number;
  #phase: AppPhase = 'waiting';
  /** How it is being stopped; null: it is not. */
  #stopping: StopHow | null = null;
  /** Two of its workers cannot hold the same port: an old one has to go before its successor comes. */
  #inPlace: boolean;
  #reported: AppState | null = null;
  #reportedStep = '';
  #lastNumber: number;
  #servedAtMs: number | null = null;
  #failedBoots = 0;
  #cancelWake: Cancel | null = null;
  #settling: 'no' | 'yes' | 'again' = 'no';

  /**
   * @param pinned its first revision, pinned already: a program that cannot run is known before anything starts.
   * @param lastNumber the last worker's number of an earlier app of this name: ids are never used again.
   */
  constructor(pinned: Pinned, host: AppHost, lastNumber = 0) {
    this.name = pinned.app.name;
    this.#host = host;
    this.#revisions = new Revisions(pinned, (body) => host.emit(body));
    this.#replicas = pinned.app.workers;
    this.#inPlace = pinned.app.port !== null;
    this.#lastNumber = lastNumber;
    this.#connections = new Connections(this.name, (body) => host.emit(body));
    this.#ward = new Ward({
      clock: host.ports.clock,
      emit: (body) => host.emit(body),
      changed: () => this.settle(),
      // Who hangs serves nobody: his successor takes his place at the sockets, and what waits there.
      replacing: (runner, ailment) => (this.#inPlace = ailment === 'stall' || this.#mustRollInPlace(runner.pinned)),
    });
    this.#runnerHost = {
      clock: host.ports.clock,
      spawner: host.ports.spawner,
      emit: (body) => host.emit(body),
      served: () => this.#served(),
      changed: (runner, after) => this.#workerChanged(runner, after),
      stalled: (runner, reason) => this.#ward.takeStall(runner.id, reason),
      warn: (worker, message) => this.#warn(worker, `${worker}: ${message}`),
    };
  }

  // -------------------------------------------------------------- commands

  start(): void {
    this.#phase = 'active';
    this.settle();
  }

  takeRevision(): number {
    return this.#revisions.takeNumber();
  }

  /** Starts to replace all workers by those of a new revision. An unfinished rollout is superseded. */
  roll(next: Pinned): void {
    const rescaled = this.#revisions.goal.app.workers !== next.app.workers;
    this.#inPlace = this.#mustRollInPlace(next);
    this.#revisions.begin(next, { inPlace: this.#inPlace, replicasBefore: this.#replicas });
    if (rescaled) this.#setReplicas(next.app.workers);
    this.settle();
  }

  /** Rolls back the rollout of this revision, if it is still under way. */
  giveUp(revision: number, why: string): void {
    const { rollout } = this.#revisions;
    if (!rollout || !this.#revisions.giveUp(revision, why)) return;
    this.#setReplicas(rollout.replicasBefore);
    this.settle();
  }

  /** Changes the number of workers, as the config wants it. The workers that run are not replaced. */
  rescaleTo(app: AppSpec): void {
    this.#revisions.rescaled(app);
    this.#setReplicas(app.workers);
    this.settle();
  }

  /** Changes the number of workers by hand. It holds until the config's `workers` changes, also when a rollout fails. */
  rescale(replicas: number): void {
    this.#revisions.keepReplicas(replicas);
    this.#setReplicas(replicas);
    this.settle();
  }

  #setReplicas(replicas: number): void {
    if (replicas === this.#replicas) return;
    this.#emit({ type: 'app.scaled', app: this.name, from: this.#replicas, to: replicas });
    this.#replicas = replicas;
  }

  /** Stops these workers (null: all); each successor takes the slot of its predecessor. */
  restart(worker: string | null): readonly string[] {
    const chosen = this.#crew.chosen(worker);
    for (const runner of chosen) runner.send({ type: 'stop', cause: 'restart' });
    this.settle();
    return chosen.map((runner) => runner.id);
  }

  /** Ends the wait of these workers (null: all). @returns how many were waiting */
  retry(worker: string | null): number {
    const waiting = this.#crew.chosen(worker).filter(({ life }) => life.state === 'backoff' || life.state === 'failed');
    for (const runner of waiting) runner.send({ type: 'retry' });
    return waiting.length;
  }

  /** @returns how many processes were signalled */
  signal(worker: string | null, signal: Signal): number {
    const running = this.#crew.chosen(worker).filter(({ life }) => hasProcess(life));
    for (const runner of running) runner.signal(signal);
    return running.length;
  }

  /** Retires every worker. Asked again, it can only become faster. */
  stop(how: StopHow, cause: Cause = 'stop'): void {
    if (this.#stopping !== null && stopHows.indexOf(how) <= stopHows.indexOf(this.#stopping)) return;
    this.#stopping = how;
    if (this.#phase === 'stopped') return;
    this.#phase = 'stopping';
    this.#revisions.drop();
    this.#cancelWake?.();
    for (const runner of this.#crew.all()) {
      if (how === 'now') runner.send({ type: 'kill', cause });
      else runner.send({ type: 'stop', cause, ...(how === 'quick' && { timeoutMs: quickStopMs }) });
    }
    this.settle();
  }

  /** `pid`: whose tree was sampled; a sample of an earlier process is of no use. */
  takeSample(id: string, pid: number, sample: TreeSample): void {
    if (this.#crew.get(id)?.pid !== pid) return;
    this.#samples.set(id, sample);
    this.#ward.takeSample(id, sample.memoryBytes);
  }

  /** Whose connections are to be counted; null: it has no sockets. */
  get toBeCounted(): CountedApp | null {
    const urls = this.listenUrls;
    return urls.length === 0 ? null : { name: this.name, urls: [...new Set(urls)], workers: new Map(this.leaders()) };
  }

  takeConnections(counted: AppConnections): void {
    const serving = this.#crew.up().filter(({ life }) => life.state === 'ready');
    const ready = new Map(serving.map(({ id, pid }) => [id, pid]));
    this.#connections.take(counted, ready, this.#host.ports.clock.now());
  }

  // -------------------------------------------------------------- what others ask

  get replicas(): number {
    return this.#replicas;
  }

  get spec(): AppSpec {
    return this.#revisions.goal.app;
  }

  /** The listeners that its running and its coming workers need. */
  get listenUrls(): readonly string[] {
    const pins = [this.#revisions.good, this.#revisions.goal, ...this.#crew.all().map((runner) => runner.pinned)];
    return pins.flatMap((pinned) => pinned.app.listen.map((listen) => listen.url));
  }

  get state(): AppState {
    const states = this.#crew.up().map(({ life }) => life.state);
    return appStateOf({ phase: this.#phase, served: this.#served(), goal: this.#replicas, states });
  }

  get ready(): number {
    return this.#crew.up().filter(({ life }) => life.state === 'ready').length;
  }

  /** The number of the worker that was made last. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** The highest revision number that was taken. */
  get lastRevision(): number {
    return this.#revisions.last;
  }

  /**
   * As many workers as wanted, nobody leaving, and all that were made after worker number `since` serve. Older ones
   * are not looked at: one bad worker does not hold up what is done to its siblings.
   */
  isQuietSince(since: number): boolean {
    return this.#crew.isWhole(this.#replicas) && this.#crew.serveSince(since);
  }

  /** Its workers listen on ports that nobody else can have meanwhile. */
  get holdsPorts(): boolean {
    return this.spec.port !== null || this.#crew.up().some((runner) => runner.bindsOwnPort());
  }

  /** As many workers as wanted, and none on its way: each serves, has completed, or waits for its next start. */
  get isStill(): boolean {
    return this.#crew.isWhole(this.#replicas) && this.#crew.isStill();
  }

  /** It is being stopped for good, or has been. */
  get isGoing(): boolean {
    return this.#phase === 'stopping' || this.#phase === 'stopped';
  }

  /** Workers of another revision than the wanted one are still there. */
  get isMixed(): boolean {
    return this.#crew.all().some((runner) => runner.pinned.revision !== this.revision);
  }

  get startIsOver(): boolean {
    if (this.ended !== null) return true;
    const firstBoots = this.#crew.up().filter(({ life }) => life.state === 'starting' && life.restarts === 0).length;
    return startIsOver(this.state, this.#served(), firstBoots);
  }

  /** Every worker has ended for good; `failed`: one of them badly. null: something can still run. */
  get ended(): 'completed' | 'failed' | null {
    if (this.#phase !== 'active' || this.#replicas === 0 || this.#crew.size < this.#replicas || !this.#crew.isOver())
      return null;
    return this.#crew.all().some(({ life }) => life.state === 'failed') ? 'failed' : 'completed';
  }

  get revision(): number {
    return this.#revisions.goal.revision;
  }

  /** How the rollout of this revision ended; null: it has not. */
  rolloutEnd(revision: number): RolloutEnd | null {
    return this.#revisions.end(revision);
  }

  /** "2 of 4 replaced; web.7 starts"; null without a rollout. */
  get rolloutStep(): string | null {
    return this.#revisions.rollout && this.#reportedStep;
  }

  /** A worker made after worker number `since` that crashed or never got ready, and does not serve again. Rolled back ones do not count. */
  troubleSince(since: number): Trouble | null {
    return this.#crew.troubleSince(since, this.revision);
  }

  /** Why nothing of it can run any more; null when something can, or when all of it has completed. */
  get failure(): SuperviseError | null {
    const runner = this.#crew.up().find(({ life }) => life.state === 'failed');
    if (this.ended !== 'failed' || !runner) return null;
    return this.#served() ? givenUp(runner) : neverReady(runner, this.#failedBoots);
  }

  has(worker: string): boolean {
    return this.#crew.get(worker) !== undefined;
  }

  leaders(): [string, number][] {
    return this.#crew.leaders();
  }

  snapshot(): AppSnapshot {
    const workers = this.#crew.all().sort((a, b) => a.slot - b.slot || a.number - b.number);
    const { goal, rollout } = this.#revisions;
    const { app, revision } = goal;
    const now = this.#host.ports.clock.now();
    const notes = [
      rollout && `reload: revision ${rollout.from} -> ${rollout.to}`,
      this.#ward.note(this.ready),
      this.#connections.note,
      ...this.#warnings.keys(),
    ].filter((note) => note !== null);
    return {
      name: this.name,
      kind: app.kind,
      state: this.state,
      goal: this.#replicas,
      ready: this.ready,
      revision,
      listen: app.listen.map((listen) => listen.url),
      ...(app.listen.length > 0 ? this.#connections.figures : uncounted),
      notes,
      workers: workers.map((runner) => {
        const illness = this.#ward.illnessOf(runner.id);
        const sample = this.#samples.get(runner.id);
        const counted = this.#connections.of(runner.id, runner.pid);
        return workerSnapshot(runner, { sample, illness, counted }, now);
      }),
    };
  }

  // -------------------------------------------------------------- settling

  /** Walks towards the goal. Called after every change and once a second: a missed call heals itself. */
  settle(): void {
    if (this.#settling !== 'no') {
      this.#settling = 'again';
      return;
    }
    try {
      this.#settleRounds();
    } finally {
      this.#settling = 'no';
    }
    if (this.#phase === 'stopping' && this.#crew.size === 0) this.#phase = 'stopped';
    this.#report();
    this.#host.changed(this);
  }

  #settleRounds(): void {
    for (let round = 0; round < maxRounds; round++) {
      this.#settling = 'yes';
      const vacated = this.#forgetStopped();
      const changed = this.#phase === 'active' && this.#walk(vacated);
      if (!changed && (this.#settling as string) !== 'again') return;
    }
  }

  #walk(vacated: readonly number[]): boolean {
    this.#judgeRollout();
    // A rollout, and the way back from one, replaces workers anyway.
    const doomed = this.#revisions.rollout || this.isMixed ? null : this.#ward.choose(this.ready);
    const live = this.#crew.seenByReconcile(this.#revisions.rollout, this.#host.ports.clock.now(), doomed?.worker);
    const changes = reconcile(this.#goalNow(), live, vacated);
    for (const change of changes) this.#perform(change, doomed);
    return changes.length > 0;
  }

  #goalNow(): Goal {
    const { goal, rollout } = this.#revisions;
    const { maxSurge, maxUnavailable } = goal.app.reload;
    const surge = this.#inPlace ? 0 : maxSurge;
    const unavailable = this.#inPlace ? Math.max(1, maxUnavailable) : maxUnavailable;
    const inFlight = rollout ? Math.max(1, surge, unavailable) : Infinity;
    return {
      replicas: this.#replicas,
      revision: goal.revision,
      maxSurge: surge,
      maxUnavailable: unavailable,
      inFlight,
    };
  }

  #perform(change: Change, doomed: Illness | null): void {
    if (change.type === 'add') {
      const runner = new WorkerRunner(
        { pinned: this.#revisions.goal, number: ++this.#lastNumber, slot: change.slot },
        this.#runnerHost,
      );
      this.#crew.add(runner);
      return runner.begin(this.#ward.inheritance());
    }
    const cause = this.#causeOf(change, doomed);
    this.#crew.get(change.id)?.send({ type: 'stop', cause, ...(cause === 'stall' && { timeoutMs: stalledStopMs }) });
  }

  #causeOf({ id, why }: Extract<Change, { type: 'stop' }>, doomed: Illness | null): Cause {
    if (why === 'scale-down') return 'scale-down';
    if (id === doomed?.worker) return doomed.ailment;
    return this.#revisions.rollout === null ? 'rollback' : 'reload';
  }

  #judgeRollout(): void {
    const { rollout } = this.#revisions;
    if (!rollout) return;
    const { clock } = this.#host.ports;
    const verdict = this.#revisions.judge(
      this.#crew.seenByJudge((worker) => this.#ward.crashLike(worker) !== null),
      { replicas: this.#replicas, ms: clock.now() },
      (worker) => rolloutFailure(this.#crew.get(worker), this.#ward.crashLike(worker)),
    );
    this.#cancelWake?.();
    this.#cancelWake = null;
    if (verdict?.type === 'failed') this.#setReplicas(rollout.replicasBefore);
    if (verdict?.type !== 'rolling' || verdict.againMs === null) return;
    this.#cancelWake = clock.schedule(Math.max(0, verdict.againMs - clock.now()), () => this.settle());
  }

  #mustRollInPlace(next: Pinned): boolean {
    if (next.app.port !== null || this.#revisions.good.app.port !== null) return true;
    const owner = this.#crew.up().find((runner) => runner.bindsOwnPort());
    if (!owner) return false;
    this.#warn(
      owner.id,
      `${owner.id} listens on a port of its own, so it has to be stopped before its successor starts; ` +
        'with `listen` in the config and {fd} in the command no request would be lost',
    );
    return true;
  }

  /** @returns the slots that were left for a successor in the same place */
  #forgetStopped(): number[] {
    const stopped = this.#crew.forgetStopped();
    for (const { id } of stopped) {
      this.#samples.delete(id);
      for (const [message, about] of this.#warnings) if (about === id) this.#warnings.delete(message);
    }
    return stopped.filter((runner) => runner.leaving === 'restarting').map(({ slot }) => slot);
  }

  // -------------------------------------------------------------- events of its workers

  #workerChanged(runner: WorkerRunner, after: WorkerEvent['type'] | 'begin'): void {
    if (after === 'ready' && runner.life.state === 'ready') {
      this.#servedAtMs ??= this.#host.ports.clock.now();
      this.#ward.admit(runner);
    }
    if (runner.life.state !== 'ready') this.#ward.discharge(runner.id);
    if (after === 'exited') {
      this.#samples.delete(runner.id);
      if (!this.#served()) this.#countFailedBoot(runner);
    }
    this.settle();
  }

  /** First failure is loud: an app that has never served is not tried for ever. */
  #countFailedBoot(runner: WorkerRunner): void {
    const { life } = runner;
    if (this.#phase !== 'active' || !life.lastExit || (life.state !== 'backoff' && life.state !== 'failed')) return;
    this.#failedBoots++;
    const { cause, exit } = life.lastExit;
    const mayWork = cause !== 'spawn-failed' || exit.transient === true;
    if (this.#failedBoots < runner.pinned.app.startAttempts && mayWork) return;
    this.#host.failedToStart(this, neverReady(runner, this.#failedBoots));
  }

  #served(): boolean {
    return this.#servedAtMs !== null;
  }

  #warn(worker: string, message: string): void {
    if (this.#warnings.has(message)) return;
    this.#warnings.set(message, worker);
    this.#emit({ type: 'app.warning', app: this.name, message });
  }

  #emit(body: EventBody): void {
    this.#host.emit(body);
  }

  /** Says what is new: the app's state, and how far a rollout is. */
  #report(): void {
    const { state } = this;
    if (state !== this.#reported) {
      this.#reported = state;
      this.#emit({ type: `app.${state}`, app: this.name, ready: this.ready, goal: this.#replicas });
    }
    if (this.#revisions.rollout) this.#reportRollout(this.#revisions.rollout);
  }

  #reportRollout(rollout: RunningRollout): void {
    const fresh = this.#crew.up().filter(({ pinned }) => pinned.revision === rollout.to);
    const ready = fresh.filter(({ life }) => life.state === 'ready' || life.state === 'completed').length;
    const step = rolloutStep(rollout, fresh);
    const line = `${ready} of ${this.#replicas} replaced; ${step}`;
    if (line === this.#reportedStep) return;
    this.#reportedStep = line;
    this.#emit({
      type: 'rollout.progress',
      app: this.name,
      to: rollout.to,
      replaced: ready,
      total: this.#replicas,
      step,
    });
  }
}
