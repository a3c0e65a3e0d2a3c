/** A running master, seen from outside: its process, its output, its event stream, its snapshot. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../../src/control/client.ts';
import type { AppSnapshot, Event, EventType, Snapshot, WorkerSnapshot } from '../../src/core/protocol.ts';
import type { Site } from './e2e-site.ts';

/** One row of the union may stand for several types. */
type EventOf<T extends EventType> = Event extends infer One
  ? One extends { type: infer Types }
    ? T extends Types
      ? One
      : never
    : never
  : never;

export interface MasterEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const patienceMs = 60_000;

export class Master {
  readonly pid: number;
  readonly client: ControlClient;
  /** All events since the start, as the control socket tells them. */
  readonly events: Event[] = [];
  readonly ended: Promise<MasterEnd>;
  readonly child: ChildProcess;
  readonly #site: Site;
  #end: MasterEnd | null = null;
  #stdout = '';
  #stderr = '';

  constructor(site: Site, child: ChildProcess, pid: number) {
    this.#site = site;
    this.pid = pid;
    this.child = child;
    this.client = new ControlClient(join(site.runtime, 'control.sock'));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.ended = new Promise((done) => {
      child.once('close', () => {
        this.#end = { code: child.exitCode, signal: child.signalCode };
        done(this.#end);
      });
    });
    void this.#follow();
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Fails with the master's own words when it ends meanwhile. */
  async until<T>(what: string, condition: () => T | Promise<T>, withinMs = patienceMs): Promise<NonNullable<T>> {
    for (const deadline = Date.now() + withinMs; ; await sleep(20)) {
      const value = await condition();
      if (value) return value;
      const heading = this.#end ? `the master ended (${JSON.stringify(this.#end)})` : `waited ${withinMs / 1000} s`;
      assert.ok(!this.#end && Date.now() < deadline, `${heading} before ${what}\n${this.#report()}`);
    }
  }

  status(): Promise<Snapshot> {
    return this.client.status();
  }

  async app(name = 'web'): Promise<AppSnapshot> {
    const found = (await this.status()).apps.find((app) => app.name === name);
    assert.ok(found, `there is no app ${name}`);
    return found;
  }

  async workers(name = 'web'): Promise<readonly WorkerSnapshot[]> {
    return (await this.app(name)).workers;
  }

  /** The pids of the ready workers, by slot. */
  async pids(name = 'web'): Promise<number[]> {
    return (await this.workers(name)).flatMap((worker) =>
      worker.state === 'ready' && worker.pid !== null ? [worker.pid] : [],
    );
  }

  /** The snapshot from which on the condition holds. */
  untilStatus(what: string, condition: (snapshot: Snapshot) => boolean, withinMs = patienceMs): Promise<Snapshot> {
    return this.until(
      what,
      async () => {
        const snapshot = await this.client.status().catch(() => null);
        return snapshot !== null && condition(snapshot) ? snapshot : null;
      },
      withinMs,
    );
  }

  /** Every app serves with all its workers. */
  async serves(): Promise<this> {
    await this.untilStatus(
      'every app serves',
      ({ state, apps }) => state === 'running' && apps.every((app) => app.state === 'running'),
    );
    return this;
  }

  eventsOf<T extends EventType>(...types: T[]): EventOf<T>[] {
    return this.events.filter((event): event is EventOf<T> => (types as string[]).includes(event.type));
  }

  /** The first event of this type that fits. */
  event<T extends EventType>(type: T, fits: (event: EventOf<T>) => boolean = () => true): Promise<EventOf<T>> {
    return this.until(`event ${type}`, () => this.eventsOf(type).find(fits));
  }

  /** Nobody reads its stdout and stderr from now on. */
  closeOutput(): void {
    this.child.stdout?.destroy();
    this.child.stderr?.destroy();
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** TERM: it has to end with 0, and nothing may be left behind. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.signal(signal);
    await this.ends(0);
  }

  /** Waits for its end, which has to have this exit code and to leave nothing behind. */
  async ends(code: number): Promise<void> {
    await Promise.race([this.ended, sleep(patienceMs, undefined, { ref: false })]);
    assert.deepEqual(this.#end, { code, signal: null }, this.#report());
    await this.#site.nothingIsLeft();
  }

  async #follow(): Promise<void> {
    while (this.#end === null) {
      try {
        for await (const event of this.client.events({ since: this.events.at(-1)?.seq ?? 0, follow: true }))
          this.events.push(event);
      } catch {
        // It does not listen yet, or no more.
      }
      await sleep(20, undefined, { ref: false });
    }
  }

  #report(): string {
    return `--- stdout\n${this.#stdout.slice(-4000)}\n--- stderr\n${this.#stderr.slice(-6000)}`;
  }
}
