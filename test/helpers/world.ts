/**
 * A master on a fake clock and with fake processes, told as a story:
 *
 *   const world = new World({ apps: [app('web', { workers: 2 })] });
 *   world.start();
 *   world.worker('web', 0).becomesReady();
 *   world.worker('web', 0).exits(1);
 *   world.after(500);
 *   assert.deepEqual(world.timeline('web.1'), ['starting', 'ready', ...]);
 */
import assert from 'node:assert/strict';
import { SuperviseError, type ExitCode } from '../../src/core/errors.ts';
import { appStates, workerStates, type Command, type Event, type Exit, type Reply } from '../../src/core/protocol.ts';
import type { StoredHistory } from '../../src/core/history.ts';
import type { ExitRecord } from '../../src/core/record.ts';
import {
  hookPhases,
  type AppSpec,
  type HealthSpec,
  type HookSpec,
  type ListenSpec,
  type Signal,
  type Spec,
} from '../../src/core/spec.ts';
import { Master } from '../../src/master/master.ts';
import type {
  AppConnections,
  WorkerConnections,
  WorkerListener,
  Cancel,
  Clock,
  CountedApp,
  HookLedger,
  Launch,
  Pinned,
  Ports,
  ProcessListener,
  RunningProcess,
  Sampler,
  Sockets,
  Spawner,
  TreeSample,
  Usable,
} from '../../src/ports.ts';
import { usualApp, usualHook } from './specs.ts';

export class FakeClock implements Clock {
  #now = Date.parse('2026-01-01T00:00:00.000Z');
  #timers: { atMs: number; order: number; fn: () => void }[] = [];
  #order = 0;
  randomValue = 0;

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.randomValue;
  }

  schedule(delayMs: number, fn: () => void): Cancel {
    assert.ok(Number.isFinite(delayMs) && delayMs >= 0, `a timer of ${delayMs} ms`);
    const timer = { atMs: this.#now + delayMs, order: this.#order++, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass: timers fire in order, each at its own moment. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = this.#timers
        .filter((timer) => timer.atMs <= until)
        .sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#now = Math.max(this.#now, due.atMs);
      due.fn();
    }
    this.#now = until;
  }

  get pending(): number {
    return this.#timers.length;
  }
}

/** A process that does what the story says. Every effect on it is recorded. */
export class FakeProcess implements RunningProcess {
  readonly pid: number | null;
  readonly name: string;
  readonly launch: Launch | null;
  readonly #listener: ProcessListener & Partial<WorkerListener>;
  readonly effects: string[] = [];
  alive = true;
  ownPort = false;
  /** New connections may come to it. */
  admitted = false;
  sharesListener = false;

  constructor(
    pid: number | null,
    name: string,
    launch: Launch | null,
    listener: ProcessListener & Partial<WorkerListener>,
  ) {
    this.pid = pid;
    this.name = name;
    this.launch = launch;
    this.#listener = listener;
  }

  admit(): void {
    assert.ok(this.alive, `${this.name}: let in, but it is gone`);
    assert.ok(!this.admitted, `${this.name}: let in twice`);
    this.admitted = true;
  }

  terminate(signal: Signal): void {
    assert.ok(this.alive, `${this.name}: ${signal} sent to a process that is gone`);
    this.effects.push(signal);
  }

  kill(): void {
    assert.ok(this.alive, `${this.name}: kill of a process that is gone`);
    this.effects.push('SIGKILL');
  }

  signal(signal: Signal): void {
    assert.ok(this.alive, `${this.name}: ${signal} sent to a process that is gone`);
    this.effects.push(`signal ${signal}`);
  }

  /** The probe that waits for an answer; null: none does. */
  probing: ((failure: string | null) => void) | null = null;

  probe(_health: HealthSpec, done: (failure: string | null) => void): Cancel {
    assert.equal(this.probing, null, `${this.name}: probed twice at once`);
    this.probing = done;
    return () => (this.probing = null);
  }

  /** Answers the probe that is under way. */
  answers(failure: string | null = null): void {
    const done = this.probing;
    assert.ok(done, `${this.name} is not being probed`);
    this.probing = null;
    done(failure);
  }

  stalls(reason: string | null = 'it waits'): void {
    this.#listener.stalled?.(reason);
  }

  bindsOwnPort(): boolean {
    return this.ownPort;
  }

  /** What it has written so far. */
  written: readonly string[] = [];

  lastLines(): readonly string[] {
    return this.written;
  }

  becomesReady(): void {
    this.#listener.ready();
  }

  /** Its leader has exited; `exits` says that all of it has. */
  isGone(): void {
    this.#listener.gone?.();
  }

  exits(code: number | null, more: Partial<Exit> = {}): void {
    assert.ok(this.alive, `${this.name} ends twice`);
    this.alive = false;
    this.#listener.exited({ code, signal: null, error: null, lastLines: [], ...more });
  }

  dies(signal: Signal): void {
    this.exits(null, { signal });
  }

  warns(message: string): void {
    this.#listener.warning(message);
  }
}

type EventOf<T extends Event['type']> = Event extends infer E
  ? E extends { readonly type: infer U }
    ? T extends U
      ? E
      : never
    : never
  : never;

export class World {
  readonly clock = new FakeClock();
  readonly events: Event[] = [];
  readonly processes: FakeProcess[] = [];
  readonly bound: string[] = [];
  readonly listening: string[] = [];
  readonly recorded: string[] = [];
  /** The records of exits, newest first. */
  readonly exitRecords: ExitRecord[] = [];
  /** What was stored of the day; set it for what an earlier master has left. */
  storedHistory: StoredHistory | null = null;
  readonly succeeded = new Map<string, string>();
  readonly master: Master;
  /** The config it was started with. */
  readonly spec: Spec;
  ended: { exitCode: ExitCode; error: SuperviseError | null } | null = null;
  /** Set to make the next pin or bind fail. */
  pinError: SuperviseError | null = null;
  /** Set to an app whose program cannot be found. */
  pinErrorFor: string | null = null;
  bindError: SuperviseError | null = null;
  #nextPid = 1000;
  hookLockHolder: string | null = null;
  hookLockHeld = false;
  #grantLock: (() => void) | null = null;
  /** What may be used of the host. */
  usable: Usable = {
    cpus: 2,
    cpuSource: '2 CPUs online',
    memoryBytes: 8 * 2 ** 30,
    memorySource: 'memory of the host',
  };
  /** How much of that memory is in use, 0..1. */
  memoryUtilisation: number | null = 0.5;
  samples = new Map<string, TreeSample>();
  /** Set to answer samples later, by calling what is in here. */
  slowSamples: (() => void)[] | null = null;
  /** How many connections each worker has; who is missing has none. */
  readonly connections = new Map<string, number | null>();
  /** What waits at the listener of each; a worker that is missing shares one with others. */
  /** Connections at listeners that no worker has. */
  stranded = 0;
  readonly queues = new Map<string, number>();
  /** Set to answer counts later, by calling what is in here. */
  slowCounts: (() => void)[] | null = null;
  /** Everything that was pinned, in order. */
  readonly pins: Pinned[] = [];
  /** Which workers the sampler was asked about, each time. */
  readonly sampled: string[][] = [];

  constructor(parts: SpecParts) {
    this.spec = spec(parts);
    this.master = new Master(this.spec, this.#ports(), {
      version: '0.0.0',
      pid: 1,
      ended: (exitCode, error) => {
        assert.equal(this.ended, null, 'the master ended twice');
        this.ended = { exitCode, error };
      },
    });
    this.master.subscribe((event) => this.events.push(event));
  }

  start(): this {
    this.master.start();
    return this;
  }

  after(ms: number): this {
    this.clock.advance(ms);
    return this;
  }

  handle(command: Command): Reply {
    return this.master.handle(command);
  }

  /** The live process in this slot of the app. */
  worker(app: string, slot: number): FakeProcess {
    const found = this.live().find(
      (process) => process.launch?.pinned.app.name === app && process.launch.slot === slot,
    );
    assert.ok(
      found,
      `no live process of ${app} in slot ${slot}; live: ${this.live()
        .map((process) => process.name)
        .join(', ')}`,
    );
    return found;
  }

  workersOf(app: string): FakeProcess[] {
    return this.live().filter((process) => process.launch?.pinned.app.name === app);
  }

  hook(name: string): FakeProcess {
    const found = this.live().find((process) => process.name === `hook.${name}`);
    assert.ok(found, `hook ${name} is not running`);
    return found;
  }

  live(): FakeProcess[] {
    return this.processes.filter((process) => process.alive);
  }

  /** The names of the live processes, in the order of their start: `['web.1', 'hook.migrate']`. */
  names(): string[] {
    return this.live().map((process) => process.name);
  }

  /** All live workers become ready, also those that come while this goes on. */
  allReady(): this {
    for (const process of this.processes) if (process.alive && process.launch) process.becomesReady();
    return this;
  }

  /** Every process that was asked to end does so, one after the other, also those that are asked meanwhile. */
  asked(code = 0): this {
    for (let next = this.#asked(); next; next = this.#asked()) next.exits(code);
    return this;
  }

  #asked(): FakeProcess | undefined {
    return this.live().find((process) => process.effects.some((effect) => !effect.startsWith('signal')));
  }

  /** `1 r2` per live worker of the app, by slot: its slot and its revision. */
  places(app: string): string[] {
    return this.workersOf(app)
      .map(({ launch }) => `${launch?.slot} r${launch?.pinned.revision}`)
      .toSorted();
  }

  eventsOf<T extends Event['type']>(type: T): EventOf<T>[] {
    return this.events.filter((event) => event.type === type) as EventOf<T>[];
  }

  appState(name: string): string | undefined {
    return this.master.snapshot().apps.find((one) => one.name === name)?.state;
  }

  expectNotEnded(): void {
    assert.equal(this.ended, null, `the master has ended: ${String(this.ended?.error)}`);
  }

  /** The master has ended with this code, and nothing is left of it: no process, no timer, no socket. */
  expectEnded(exitCode: ExitCode): void {
    assert.equal(this.ended?.exitCode, exitCode, this.ended ? String(this.ended.error) : 'the master has not ended');
    assert.deepEqual(this.names(), []);
    assert.equal(this.clock.pending, 0, 'timers are left');
    assert.deepEqual(this.bound, []);
    assert.equal(this.timeline('master').at(-1), 'stopped');
  }

  /** The states a worker, an app or the master went through: `web.1`, `web`, `master`. */
  timeline(who: string): string[] {
    return this.events.flatMap((event) => {
      const [kind, state] = event.type.split('.') as [string, string];
      if (kind === 'worker' && 'worker' in event && event.worker === who && isOneOf(state, workerStates))
        return [state];
      if (kind === 'app' && 'app' in event && event.app === who && isOneOf(state, appStates)) return [state];
      return kind === 'master' && who === 'master' && state !== 'warning' ? [state] : [];
    });
  }

  types(): string[] {
    return this.events.map((event) => event.type);
  }

  /** The operation's end. */
  finished(reply: Reply): Extract<Event, { type: 'operation.finished' }> | null {
    assert.ok(reply.ok, reply.ok ? '' : reply.error.message);
    const found = this.events.find(
      (event) => event.type === 'operation.finished' && event.operation === reply.operation,
    );
    return (found as Extract<Event, { type: 'operation.finished' }> | undefined) ?? null;
  }

  releaseHooksLock(): void {
    this.hookLockHolder = null;
    this.#grantLock?.();
  }

  #ports(): Ports {
    return {
      clock: this.clock,
      host: { usable: () => this.usable },
      sockets: this.#sockets(),
      spawner: this.#spawner(),
      sampler: this.#sampler(),
      connections: {
        count: (apps, done) => {
          const counted = new Map(apps.map((app) => [app.name, this.#count(app)]));
          if (this.slowCounts) this.slowCounts.push(() => done(counted));
          else done(counted);
        },
      },
      ledger: this.#ledger(),
      records: {
        append: (make) => void this.exitRecords.unshift(make()),
        recent: ({ app, worker }, n) =>
          this.exitRecords.filter((one) => one.app === app && (worker === null || one.worker === worker)).slice(0, n),
        apps: () => [...new Set(this.exitRecords.map((one) => one.app))],
      },
      history: {
        load: () => this.storedHistory,
        save: (make) => void (this.storedHistory = make()),
      },
    };
  }

  #sockets(): Sockets {
    const keep = (list: string[], urls: readonly string[]) =>
      list.splice(0, list.length, ...list.filter((url) => urls.includes(url)));
    const fresh = (wanted: readonly ListenSpec[]) => wanted.filter(({ url }) => !this.bound.includes(url));
    return {
      bind: (wanted: readonly ListenSpec[]) => {
        if (this.bindError) throw this.bindError;
        this.bound.push(...new Set(fresh(wanted).map(({ url }) => url)));
      },
      listen: () => {
        for (const url of this.bound) if (!this.listening.includes(url)) this.listening.push(url);
      },
      retain: (urls) => {
        keep(this.bound, urls);
        keep(this.listening, urls);
      },
    };
  }

  #spawner(): Spawner {
    const add = (name: string, launch: Launch | null, listener: ProcessListener) => {
      const process = new FakeProcess(this.#nextPid++, name, launch, listener);
      this.processes.push(process);
      return process;
    };
    return {
      pin: (app, revision, env): Pinned => {
        if (this.pinError) throw this.pinError;
        if (app.name === this.pinErrorFor)
          throw new SuperviseError('program-cannot-run', `${app.name}: no such program`);
        const pinned: Pinned = { app, revision, argv: app.argv, env: { ...env, ...app.env }, cwd: app.cwd };
        this.pins.push(pinned);
        return pinned;
      },
      spawn: (launch, listener) => {
        for (const { url } of launch.pinned.app.listen)
          assert.ok(this.listening.includes(url), `${launch.worker} starts, but ${url} is not listening`);
        return add(launch.worker, launch, listener);
      },
      runHook: (hook, _env, listener) => add(`hook.${hook.name}`, null, listener),
    };
  }

  #sampler(): Sampler {
    return {
      sample: (leaders, done) => {
        this.sampled.push([...leaders.keys()]);
        const answer = () =>
          done(this.samples, {
            ...this.usable,
            cpus: Math.ceil(this.usable.cpus),
            usableCpus: this.usable.cpus,
            cpuUtilisation: 0.5,
            memoryUtilisation: this.memoryUtilisation,
          });
        if (this.slowSamples) this.slowSamples.push(answer);
        else answer();
      },
    };
  }

  #count({ workers }: CountedApp): AppConnections {
    const each = [...workers].map(([id, pid]): [string, WorkerConnections] => {
      const connections = this.connections.get(id);
      return [
        id,
        { pid, connections: connections === undefined ? 0 : connections, queue: this.queues.get(id) ?? null },
      ];
    });
    const queue = [...this.queues.values()].reduce((sum, one) => sum + one, this.stranded);
    return { queue, stranded: this.stranded, workers: new Map(each) };
  }

  #ledger(): HookLedger {
    return {
      succeededAt: (hook, key) => this.succeeded.get(`${hook} ${key}`) ?? null,
      record: (hook, key, at) => {
        this.recorded.push(`${hook} ${key}`);
        this.succeeded.set(`${hook} ${key}`, at);
      },
      lock: (waiting, granted) => {
        const grant = () => {
          this.hookLockHeld = true;
          granted();
        };
        if (this.hookLockHolder === null) grant();
        else {
          waiting(this.hookLockHolder);
          this.#grantLock = grant;
        }
        return () => {
          this.hookLockHeld = false;
          this.#grantLock = null;
        };
      },
    };
  }
}

function isOneOf(word: string, words: readonly string[]): boolean {
  return words.includes(word);
}

export type SpecParts = Omit<Partial<Spec>, 'hooks'> & {
  readonly apps: readonly AppSpec[];
  readonly hooks?: Partial<Spec['hooks']>;
};

export function spec(parts: SpecParts): Spec {
  const hooks = Object.fromEntries(hookPhases.map((phase) => [phase, []])) as unknown as Spec['hooks'];
  return {
    name: 'test',
    file: null,
    dir: '/srv',
    env: {},
    sampleEveryMs: 2_000,
    memoryBudget: { kind: 'share', share: 0.8 },
    targetUtilisation: 0.7,
    controlSocket: null,
    controlHttp: null,
    ...parts,
    hooks: { ...hooks, ...parts.hooks },
  };
}

export function app(name: string, parts: Partial<AppSpec> = {}): AppSpec {
  return { ...usualApp, name, argv: ['/bin/server'], cwd: '/srv', ...parts };
}

export function tcp(port: number): ListenSpec {
  return { kind: 'tcp', host: '127.0.0.1', port, url: `tcp://127.0.0.1:${port}` };
}

export function hook(name: string, parts: Partial<HookSpec> = {}): HookSpec {
  return { ...usualHook, name, argv: ['/bin/migrate'], cwd: '/srv', ...parts };
}
