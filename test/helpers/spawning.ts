/**
 * A spawner with the real parts around it (sockets, guard, output into a file), and what tests ask of it: a worker whose
 * reports can be awaited. Everything that it starts is ended by `close`.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Exit } from '../../src/core/protocol.ts';
import type { AppSpec, HookSpec, ListenSpec } from '../../src/core/spec.ts';
import type { Launch, Pinned, RunningProcess, Spawner } from '../../src/ports.ts';
import { loadNative, type Native } from '../../src/system/native.ts';
import { startGuard, type Guard } from '../../src/system/instance/guard.ts';
import { createLocks } from '../../src/system/instance/locks.ts';
import { Output } from '../../src/system/output/output.ts';
import { allPids, readText, statOf } from '../../src/system/procfs.ts';
import { Sink } from '../../src/system/output/sink.ts';
import { openFileTarget } from '../../src/system/output/sink-target.ts';
import { createSockets, type BoundSockets } from '../../src/system/sockets/sockets.ts';
import { createSpawner } from '../../src/system/processes/spawner.ts';
import { usualApp, usualHook } from './specs.ts';

export const fixtures = resolve('test/fixtures/spawn');
export const fixture = (name: string): string => join(fixtures, name);

/** The environment that tests start from: the PATH and nothing of the test runner. */
export const plainEnv = { PATH: process.env.PATH ?? '/usr/bin:/bin' };

/** What the test wants, else the defaults; nothing waits for as long as it would in production. */
export function appSpec(wanted: Partial<AppSpec> & Pick<AppSpec, 'argv'>): AppSpec {
  return {
    ...usualApp,
    name: 'web',
    cwd: process.cwd(),
    stop: { signal: 'SIGTERM', timeoutMs: 5_000 },
    ...wanted,
  };
}

export function hookSpec(wanted: Partial<HookSpec> & Pick<HookSpec, 'argv'>): HookSpec {
  return { ...usualHook, name: 'migrate', cwd: process.cwd(), timeoutMs: 60_000, retryDelayMs: 0, ...wanted };
}

/** One process and what it has reported. */
export interface Tried {
  /** The worker's id, or hook.NAME. */
  readonly source: string;
  readonly process: RunningProcess;
  readonly pid: number;
  readonly reports: string[];
  readonly warnings: string[];
  /** Settles when it is ready; fails when it exits first. */
  readonly ready: Promise<void>;
  /** Settles when its leader has exited; for a hook never. */
  readonly gone: Promise<void>;
  readonly exited: Promise<Exit>;
  /** Its lines so far. */
  lines(): string[];
  /** Waits for a line that matches, and answers with it. */
  line(pattern: RegExp): Promise<string>;
}

export class Spawning {
  readonly directory = mkdtempSync(join(tmpdir(), 'supervise-spawn-'));
  readonly sockets: BoundSockets;
  readonly guard: Guard = startGuard(join(this.directory, 'record'));
  readonly output: Output;
  readonly spawner: Spawner;
  readonly #sink: Sink;
  readonly #tried: Tried[] = [];
  #workers = 0;

  /** @param native the calls of libc that the sockets have; tests pass one without any */
  constructor(masterName = 'shop', native: () => Native | null = loadNative) {
    this.sockets = createSockets(createLocks(), undefined, native);
    this.#sink = new Sink({ name: 'test', target: openFileTarget(join(this.directory, 'output')) });
    this.output = new Output({ sink: this.#sink, colors: false });
    this.spawner = createSpawner({ sockets: this.sockets, guard: this.guard, output: this.output, masterName });
  }

  start(
    wanted: Partial<AppSpec> & Pick<AppSpec, 'argv'>,
    more: { env?: Record<string, string>; slot?: number; isHeld?: boolean } = {},
  ): Tried {
    const pinned = this.spawner.pin(appSpec(wanted), 1, more.env ?? plainEnv);
    return this.startPinned(pinned, more.slot, more.isHeld);
  }

  /** `isHeld`: it is left to the test to let it into the rotation, else it comes in when it is ready. */
  startPinned(pinned: Pinned, slot = 0, isHeld = false): Tried {
    const launch: Launch = { pinned, worker: `${pinned.app.name}.${++this.#workers}`, slot };
    return this.#try(launch.worker, (listener) => this.spawner.spawn(launch, listener), isHeld);
  }

  hook(wanted: Partial<HookSpec> & Pick<HookSpec, 'argv'>, env: Record<string, string> = plainEnv): Tried {
    const hook = hookSpec(wanted);
    return this.#try(`hook.${hook.name}`, (listener) => this.spawner.runHook(hook, env, listener));
  }

  /** Binds a free TCP port and makes it listen. */
  async listen(): Promise<Extract<ListenSpec, { kind: 'tcp' }>> {
    const port = await freePort();
    const spec = { kind: 'tcp', host: '127.0.0.1', port, url: `tcp://127.0.0.1:${port}` } as const;
    this.listenOn([spec]);
    return spec;
  }

  listenOn(specs: readonly ListenSpec[]): void {
    this.sockets.bind(specs);
    this.sockets.listen();
  }

  /** The processes of this host that carry the names of this worker. */
  marked({ source }: Tried): number[] {
    const marks = [`SUPERVISE_INSTANCE=${this.guard.environment.SUPERVISE_INSTANCE}`, `SUPERVISE_WORKER=${source}`];
    return allPids().filter((pid) => {
      const environment = readText(`/proc/${pid}/environ`)?.split('\0') ?? [];
      return lives(pid) && marks.every((mark) => environment.includes(mark));
    });
  }

  async close(): Promise<void> {
    for (const one of this.#tried) one.process.kill();
    await Promise.all(this.#tried.map((one) => one.exited));
    this.sockets.retain([]);
    await new Promise<void>((done) => this.guard.close(done));
    await new Promise<void>((done) => this.output.close(done));
    rmSync(this.directory, { recursive: true });
  }

  #try(source: string, begin: (listener: Parameters<Spawner['spawn']>[1]) => RunningProcess, isHeld = false): Tried {
    const reports: string[] = [];
    const warnings: string[] = [];
    let isReady!: () => void;
    let isGone!: () => void;
    let isExited!: (exit: Exit) => void;
    let noReady!: (error: Error) => void;
    const ready = new Promise<void>((done, failed) => ([isReady, noReady] = [done, failed]));
    const gone = new Promise<void>((done) => (isGone = done));
    const exited = new Promise<Exit>((done) => (isExited = done));
    ready.catch(() => undefined);
    const process = begin({
      ready: () => {
        reports.push('ready');
        if (!isHeld) process.admit();
        isReady();
      },
      gone: () => isGone(),
      exited: (exit) => {
        reports.push('exited');
        noReady(new Error(`${source} exited before it was ready: ${JSON.stringify(exit)}`));
        isExited(exit);
      },
      warning: (message) => warnings.push(message),
      stalled: (reason) => reports.push(reason === null ? 'goes on' : `stalled: ${reason}`),
    });
    const lines = (): string[] => this.output.recent({ source }, 1000).map((each) => each.line);
    const line = (pattern: RegExp): Promise<string> =>
      until(() => lines().find((each) => pattern.test(each)), `a line like ${pattern}`);
    const tried: Tried = {
      source,
      process,
      pid: process.pid ?? 0,
      reports,
      warnings,
      ready,
      gone,
      exited,
      lines,
      line,
    };
    this.#tried.push(tried);
    return tried;
  }
}

/** Looks every 5 ms until there is an answer. The test runner's time limit ends a wait that is in vain; `what` names it in a debugger. */
export async function until<T>(
  look: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  what = '',
): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    await sleep(5, what);
  }
}

export function lives(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== null && stat.state !== 'Z' && stat.state !== 'X';
}

/** A pid that a fixture has written into a file. */
export async function pidIn(file: string): Promise<number> {
  const text = await until(() => (existsSync(file) && readFileSync(file, 'utf8').trim()) || null, file);
  assert.match(text, /^\d+$/);
  return Number(text);
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

/** What a server answers to a connection of its own, over TCP or a unix socket. */
export function ask(where: number | string): Promise<string> {
  return new Promise((done, failed) => {
    const socket = typeof where === 'number' ? connect(where, '127.0.0.1') : connect(where);
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.on('error', failed);
    socket.on('close', () => done(text.split('\r\n\r\n').at(-1) ?? ''));
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  });
}

export function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}
