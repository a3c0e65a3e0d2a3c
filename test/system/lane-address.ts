/** An address with the workers of an app, of which only the seats are there: nobody accepts, so what the kernel chose stays to be seen. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, readFileSync } from 'node:fs';
import net from 'node:net';
import { constants as osConstants } from 'node:os';
import type { TestContext } from 'node:test';
import type { Balance, ListenSpec } from '../../src/core/spec.ts';
import { createLocks } from '../../src/system/instance/locks.ts';
import { loadNative, type Native } from '../../src/system/native.ts';
import type { Seat } from '../../src/system/sockets/seat.ts';
import { createSockets, type BoundSockets } from '../../src/system/sockets/sockets.ts';
import { fixture, start } from './processes.ts';

const native = loadNative();
assert.ok(native !== null, 'koffi is not installed');
export const calls = native.sockets;

/** How the kernel is told: by a program that moves what waits, or by one that cannot; `none`: not at all, without koffi. */
export type Way = 'moving' | 'staying' | 'none';

/** Why nothing can be moved on this host; false: it can. */
export const cannotMove = whyNotMoving();

function whyNotMoving(): string | false {
  const why = native!.bpf.whyNot();
  if (why !== null) return why;
  const map = native!.bpf.socketMap(1);
  if (map < 0) return 'needs CAP_BPF and Linux 5.14';
  calls.close(map);
  return false;
}

/** Those that this host has. */
export const ways: readonly Way[] = cannotMove === false ? ['moving', 'staying'] : ['staying'];

/** What a process without CAP_BPF gets. */
const refused = { ...native.bpf, socketMap: () => -osConstants.errno.EPERM };

export function nativeFor(way: Way): Native | null {
  if (way === 'none') return null;
  return way === 'moving' ? native : Object.create(native, { bpf: { value: refused } });
}

export class Address {
  readonly sockets: BoundSockets;
  readonly spec: ListenSpec;
  readonly warnings: string[] = [];
  spares = 0;
  readonly #t: TestContext;
  readonly #clients: net.Socket[] = [];

  constructor(t: TestContext, { host = '127.0.0.1', way = 'staying' }: { host?: string; way?: Way } = {}) {
    this.#t = t;
    this.sockets = createSockets(createLocks(), undefined, () => nativeFor(way));
    this.spec = { kind: 'tcp', host, port: 0, url: `tcp://${host.includes(':') ? `[${host}]` : host}:0` };
    this.sockets.bind([this.spec]);
    this.sockets.listen();
    t.after(() => {
      for (const client of this.#clients) client.destroy();
      this.sockets.retain([]);
    });
  }

  get port(): number {
    return this.sockets.portOf(this.spec.url) ?? 0;
  }

  get fds(): readonly number[] {
    return this.sockets.lanesOf(this.spec.url);
  }

  seat(balance: Balance = 'auto'): Seat {
    const app = { listen: [this.spec], balance, spares: this.spares };
    return this.sockets.seat(app, 'web.1', (message) => this.warnings.push(message));
  }

  /** Ends it with the test. */
  keep(client: net.Socket): void {
    this.#clients.push(client);
  }

  seats(count: number): Seat[] {
    return Array.from({ length: count }, () => this.seat());
  }

  /** How many wait at each listener. */
  queues(): number[] {
    return this.fds.map((fd) => calls.waiting(fd) ?? -1);
  }

  /** Connects so often. @returns how many of these each listener got */
  async connect(count: number, host = '127.0.0.1'): Promise<number[]> {
    const before = this.queues();
    const fresh = Array.from({ length: count }, () => net.connect(this.port, host));
    this.#clients.push(...fresh);
    await Promise.all(fresh.map((client) => once(client, 'connect')));
    return this.queues().map((length, index) => length - (before[index] ?? 0));
  }

  /** Connects from the address that reaches this seat. @returns which listeners got it */
  async reach(seat: Seat): Promise<number[]> {
    const { localAddress } = seat.reach(0) ?? assert.fail('it cannot be reached');
    return this.from(localAddress);
  }

  /** Connects from this address, or from any. @returns which listeners got it */
  async from(localAddress?: string): Promise<number[]> {
    const before = this.queues();
    const client = net.connect({
      port: this.port,
      host: '127.0.0.1',
      ...(localAddress !== undefined && { localAddress }),
    });
    this.keep(client);
    await once(client, 'connect');
    return this.queues().flatMap((length, index) => (length > (before[index] ?? 0) ? [index] : []));
  }

  /** Which listeners get connections, by index. So many are made that each that is chosen gets one. */
  async chosen(count = 100, host?: string): Promise<number[]> {
    const got = await this.connect(count, host);
    return got.flatMap((length, index) => (length > 0 ? [index] : []));
  }

  /** A program that serves from this seat. */
  serve(seat: Seat, program = [`python3`, fixture('blocking-accept.py')]): ReturnType<typeof start> {
    return start(this.#t, program, { stdio: ['ignore', 'pipe', 'ignore', ...seat.fds] });
  }

  async say(): Promise<string> {
    const client = net.connect(this.port, '127.0.0.1');
    let text = '';
    client.on('data', (chunk) => (text += String(chunk)));
    await once(client, 'close');
    return text;
  }
}

/** O_NONBLOCK, which all who have the socket share. */
export function isNonBlocking(fd: number): boolean {
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  return (parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}
