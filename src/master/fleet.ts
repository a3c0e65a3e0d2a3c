/**
 * All apps of a master: which there are, which come and which go, and what a reload does to them.
 */
import type { SuperviseError } from '../core/errors.ts';
import type { AppSnapshot, EventBody, ReloadCommand } from '../core/protocol.ts';
import type { AppSpec, Spec } from '../core/spec.ts';
import type { AppConnections, Pinned, Ports } from '../ports.ts';
import { App, type AppHost } from './app.ts';
import type { Operations } from './operations.ts';
import { Partings } from './partings.ts';
import { planReload, type ReloadPlan, type RunningReload } from './reload.ts';

/** What the fleet needs of the master. */
export interface FleetHost {
  readonly ports: Ports;
  readonly operations: Operations;
  emit(body: EventBody): void;
  changed(): void;
  /** One of the first apps has never served and is given up. */
  failedToStart(error: SuperviseError): void;
  sampleNow(): void;
  /** Later hooks, and later starts, follow this spec. */
  useSpec(spec: Spec): void;
}

interface Used {
  readonly worker: number;
  readonly revision: number;
}

export class Fleet {
  readonly #host: FleetHost;
  #spec: Spec;
  #apps: App[] = [];
  /** Apps that a reload has added, and why one did not come up. */
  readonly #added = new Map<App, SuperviseError | null>();
  /** Apps that have not started, because another one has to serve first. */
  readonly #waiting = new Set<App>();
  /** Apps that go for good. */
  readonly #going = new Set<App>();
  /** Apps that go when the rest of their reload has succeeded. */
  readonly #partings = new Partings();
  /** What apps that are gone have used up, by name: numbers are never used again. */
  readonly #used = new Map<string, Used>();
  /** A reload may have left listeners that nobody needs any more. */
  #hasSpareSockets = false;

  constructor(spec: Spec, host: FleetHost) {
    this.#spec = spec;
    this.#host = host;
  }

  /** In the order of the config; those that go are still among them. */
  get apps(): readonly App[] {
    return this.#apps;
  }

  /** Those that do not go. */
  get staying(): readonly App[] {
    return this.#apps.filter((app) => !this.#going.has(app));
  }

  /** What runs, or is being rolled out; without the apps that go. */
  get spec(): Spec {
    return { ...this.#spec, apps: this.staying.map((app) => app.spec) };
  }

  /** Pins every app of the spec. @throws SuperviseError for a program that cannot run; nothing was started */
  assemble(): void {
    this.#apps = this.#spec.apps.map((app) => this.#makeApp(this.#pin(app, 1, this.#spec)));
  }

  start(): void {
    for (const app of this.#apps) this.#waiting.add(app);
    this.advance();
  }

  /** Starts the apps whose turn has come: their place is free, and all that they depend on serves. Called after every change. */
  advance(): void {
    for (const app of this.#waiting) {
      if (app.view.isGoing) this.#waiting.delete(app);
      else if (this.#hasItsPlace(app) && app.spec.dependsOn.every((name) => this.#serves(name))) {
        this.#waiting.delete(app);
        app.start();
      }
    }
  }

  /** Whether the app of this name serves, or has done its work; one that is not there holds up nobody. */
  #serves(name: string): boolean {
    const app = this.staying.find((one) => one.name === name);
    return app === undefined || (app.view.startIsOver && app.view.ended !== 'failed');
  }

  /** Whether each app has had its start, or cannot have it. */
  get startIsOver(): boolean {
    return this.#apps.every((app) => app.view.startIsOver || this.#isBlocked(app));
  }

  /** Whether nothing can run any more: each app has ended for good, or waits for one that has. */
  get isOver(): boolean {
    return this.#apps.every((app) => app.view.ended !== null || this.#isBlocked(app));
  }

  snapshots(): AppSnapshot[] {
    return this.#apps.map((app) => {
      const snapshot = app.view.snapshot();
      const waitsFor = this.#waitsFor(app);
      return waitsFor === null ? snapshot : { ...snapshot, notes: [...snapshot.notes, waitsFor] };
    });
  }

  /** "waits for db (failed)"; null: it does not wait for another one. */
  #waitsFor(app: App): string | null {
    const missing = this.#missing(app).map(({ name, view }) => `${name} (${view.state})`);
    return missing.length === 0 ? null : `waits for ${missing.join(' and ')}`;
  }

  /** What it depends on and what does not serve, if that is why it has not started. */
  #missing(app: App): readonly App[] {
    if (!this.#waiting.has(app)) return [];
    const names = app.spec.dependsOn.filter((name) => !this.#serves(name));
    return this.staying.filter((one) => names.includes(one.name));
  }

  /** It waits for one that has failed for good, or that waits for such a one: it starts when an operator mends that. */
  #isBlocked(app: App, waitingFor: readonly App[] = []): boolean {
    if (waitingFor.includes(app)) return true;
    return this.#missing(app).some((one) => one.view.ended === 'failed' || this.#isBlocked(one, [...waitingFor, app]));
  }

  /** "reloading web, api" @throws SuperviseError for an app that is not known */
  describeReload(command: ReloadCommand): string {
    const { rolled, added, rescaled, removed } = this.#plan(command);
    const names = [...rolled, ...added, ...rescaled].map((app) => app.name);
    return `reloading ${[...names, ...removed].join(', ') || 'nothing'}`;
  }

  /** Binds and pins all that it needs. @returns what does it. @throws SuperviseError, and then nothing has changed */
  prepareReload(command: ReloadCommand): () => readonly RunningReload[] {
    const plan = this.#plan(command);
    const prepared = this.#prepare(plan);
    return () => {
      this.#spec = plan.spec;
      this.#host.useSpec(plan.spec);
      if (plan.news) this.#host.emit(plan.news);
      this.#hasSpareSockets = true;
      return this.#perform(plan, prepared);
    };
  }

  #plan(command: ReloadCommand): ReloadPlan {
    const running = this.spec;
    return planReload(running, command.spec ?? running, command);
  }

  /** Binds and pins all that the plan needs. @throws SuperviseError, and then nothing has changed */
  #prepare(plan: ReloadPlan): ReadonlyMap<string, Pinned> {
    try {
      this.#host.ports.sockets.bind([...plan.rolled, ...plan.added].flatMap((app) => app.listen));
      const pins = [...plan.rolled, ...plan.added].map((app) => {
        const running = this.staying.find((one) => one.name === app.name);
        return [
          app.name,
          this.#pin(app, running?.takeRevision() ?? this.#usedBy(app.name).revision + 1, plan.spec),
        ] as const;
      });
      this.#host.ports.sockets.listen();
      return new Map(pins);
    } catch (error) {
      this.#releaseSockets();
      throw error;
    }
  }

  #perform(plan: ReloadPlan, prepared: ReadonlyMap<string, Pinned>): RunningReload[] {
    const running = new Map(this.staying.map((app) => [app.name, app]));
    const added = plan.added.map((app) => this.#makeApp(prepared.get(app.name)!));
    const removed = plan.removed.map((name) => running.get(name)!);
    const order = plan.spec.apps.map((app) => app.name);
    this.#apps = [...this.#apps, ...added].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
    this.#partings.forget([...plan.removed, ...plan.kept]);
    for (const app of added) this.#added.set(app, null);
    for (const app of removed) if (this.#goesAtOnce(app, plan)) this.#remove(app);
    for (const app of added) this.#waiting.add(app);
    this.advance();
    const rolled = plan.rolled.map((app): RunningReload => {
      const pinned = prepared.get(app.name)!;
      const rolling = running.get(app.name)!;
      const since = rolling.lastNumber;
      rolling.roll(pinned);
      return { kind: 'rolled', app: rolling, revision: pinned.revision, since };
    });
    const rescaled = plan.rescaled.map((spec): RunningReload => {
      const app = running.get(spec.name)!;
      const since = app.lastNumber;
      app.rescaleTo(spec);
      return { kind: 'rescaled', app, since, to: spec.staffing.kind === 'fixed' ? spec.workers : null };
    });
    const others = [
      ...rescaled,
      ...added.map((app): RunningReload => ({
        kind: 'added',
        app,
        since: 0,
        error: () => this.#added.get(app) ?? null,
        blocked: () => (this.#isBlocked(app) ? this.#waitsFor(app) : null),
      })),
      ...rolled,
    ];
    this.#partings.add(
      removed.filter((app) => !this.#going.has(app)),
      others,
    );
    const fate = (app: App) => (this.#going.has(app) ? 'goes' : this.#partings.has(app) ? 'waits' : 'stays');
    return [
      ...removed.map((app): RunningReload => ({ kind: 'removed', app, since: 0, fate: () => fate(app) })),
      ...others,
    ];
  }

  /** One that has not come up yet; and one that has taken a port for itself, which what comes may need. */
  #goesAtOnce(app: App, plan: ReloadPlan): boolean {
    return (this.#added.has(app) && !app.view.startIsOver) || (plan.added.length > 0 && app.view.holdsPorts);
  }

  #remove(app: App): void {
    this.#going.add(app);
    app.stop('graceful', 'scale-down');
  }

  /** Removes what was to be removed, where the rest of its reload has succeeded. */
  #part(): void {
    const { go, stay } = this.#partings.take();
    // All of them are going before the first one's stop makes anybody look.
    for (const app of go) this.#going.add(app);
    for (const app of go) app.stop('graceful', 'scale-down');
    if (go.length + stay.length > 0) this.#host.changed();
  }

  /** Forgets the apps that are gone for good, and after a reload the sockets that nobody needs any more. Called after every change. */
  tidy(): void {
    this.#part();
    const gone = this.#apps.filter((app) => this.#going.has(app) && isStopped(app));
    for (const app of gone) {
      this.#used.set(app.name, this.#usedBy(app.name));
      this.#going.delete(app);
    }
    if (gone.length > 0) {
      this.#apps = this.#apps.filter((app) => !gone.includes(app));
    }
    if (!this.#hasSpareSockets || this.#host.operations.isGoing('reload')) return;
    this.#releaseSockets();
    this.#hasSpareSockets = this.#going.size > 0 || this.#apps.some((app) => app.view.isMixed);
  }

  /** An app that comes back while it still leaves waits until it is gone: two of a name would share slots and ports. */
  #hasItsPlace(app: App): boolean {
    return ![...this.#going].some((one) => one !== app && one.name === app.name);
  }

  /** The highest numbers that apps of this name have taken. */
  #usedBy(name: string): Used {
    const before = this.#used.get(name) ?? { worker: 0, revision: 0 };
    const apps = this.#apps.filter((app) => app.name === name);
    return {
      worker: Math.max(before.worker, ...apps.map((app) => app.lastNumber)),
      revision: Math.max(before.revision, ...apps.map((app) => app.lastRevision)),
    };
  }

  /** Closes the listeners that no running and no coming worker needs. */
  #releaseSockets(): void {
    this.#host.ports.sockets.retain(this.#apps.flatMap((app) => app.view.listenUrls));
  }

  /** The counted connections of each app that has some. */
  takeConnections(counted: ReadonlyMap<string, AppConnections>): void {
    for (const app of this.#apps) {
      const one = counted.get(app.name);
      if (one !== undefined) app.takeConnections(one);
    }
  }

  #makeApp(pinned: Pinned): App {
    const host: AppHost = {
      ports: this.#host.ports,
      emit: (body) => this.#host.emit(body),
      changed: () => this.#host.changed(),
      failedToStart: (app, error) => this.#failedToStart(app, error),
      sampleNow: () => this.#host.sampleNow(),
    };
    return new App(pinned, host, this.#usedBy(pinned.app.name).worker);
  }

  #pin(app: AppSpec, revision: number, spec: Spec): Pinned {
    return this.#host.ports.spawner.pin(app, revision, spec.env);
  }

  #failedToStart(app: App, error: SuperviseError): void {
    if (!this.#added.has(app)) return this.#host.failedToStart(error);
    // A reload has added it: it goes again, and what served before still serves.
    this.#added.set(app, error);
    this.#going.add(app);
    app.stop('graceful', 'rollback');
  }
}

export function isStopped(app: App): boolean {
  return app.view.state === 'stopped';
}
