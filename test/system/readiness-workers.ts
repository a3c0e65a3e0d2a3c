/** What the readiness tests share: listening sockets that nobody here accepts from, workers on them, and watches. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after } from 'node:test';
import type { ReadySpec } from '../../src/core/spec.ts';
import { childrenOf, socketInode, statOf } from '../../src/system/procfs.ts';
import { aimAt } from '../../src/system/health/worker-aim.ts';
import { noSeat } from '../../src/system/sockets/seat.ts';
import { watchReadiness, type ReadinessTarget } from '../../src/system/readiness/readiness.ts';

export const python = '/usr/bin/python3';
export const fixtures = resolve('test/fixtures/accepting');
export const scratch = mkdtempSync(join(tmpdir(), 'supervise-readiness-'));
chmodSync(scratch, 0o755);
export const running = new Set<ChildProcess>();

after(() => {
  for (const child of running) killTree(child.pid ?? 0);
  rmSync(scratch, { recursive: true, force: true });
});

function killTree(pid: number): void {
  for (const child of childrenOf(pid)) killTree(child);
  if (statOf(pid) !== null) process.kill(pid, 'SIGKILL');
}

// ---------------------------------------------------------------- a listening socket, and workers on it

export interface Listener {
  readonly fd: number;
  readonly inode: string;
  readonly port: number;
  close(): void;
}

/** A socket that listens and that nobody here accepts from. */
export function listen(): Listener {
  const create = (net as unknown as { _createServerHandle(...args: unknown[]): ServerHandle })._createServerHandle;
  const handle = create('127.0.0.1', 0, 4, undefined, 0);
  const listening = spawnSync('perl', ['-e', 'open S, "<&=3" or die; listen S, 511 or die'], {
    stdio: ['ignore', 'ignore', 'inherit', handle.fd],
  });
  assert.equal(listening.status, 0);
  const name: { port?: number } = {};
  handle.getsockname(name);
  return { fd: handle.fd, inode: socketInode(handle.fd) ?? '', port: name.port ?? 0, close: () => handle.close() };
}

interface ServerHandle {
  readonly fd: number;
  getsockname(into: object): void;
  close(): void;
}

export interface Worker {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly marker: string;
}

let workers = 0;

export function start(
  argv: readonly string[],
  listener: Listener | null,
  more: { uid?: number; gid?: number } = {},
): Worker {
  workers += 1;
  const marker = join(scratch, `marker-${workers}`);
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe', ...(listener === null ? [] : [listener.fd])],
    env: { PATH: process.env['PATH'], MARKER: marker, PYTHONDONTWRITEBYTECODE: '1' },
    detached: true,
    ...more,
  });
  child.stdout?.resume();
  child.stderr?.resume();
  running.add(child);
  return { pid: child.pid ?? assert.fail(`cannot start ${argv.join(' ')}`), child, marker };
}

export function stop(...ended: readonly Worker[]): void {
  for (const worker of ended) killTree(worker.pid);
}

/** What a watch was told, and promises of it. */
export class Watched {
  readonly told: string[] = [];
  waiting: number | null = null;
  readonly cancel: () => void;
  readonly ready: Promise<void>;

  constructor(
    worker: Worker,
    ready: ReadySpec,
    { port = null, ...more }: Partial<ReadinessTarget> & { port?: number | null } = {},
    onReady: () => void = () => {},
  ) {
    let became = (): void => {};
    this.ready = new Promise((done, failed) => {
      const late = setTimeout(
        () => failed(new Error(`not ready after 20 s; it was told: ${this.told.join(', ')}`)),
        20_000,
      ).unref();
      became = () => (clearTimeout(late), done());
    });
    this.ready.catch(() => {});
    const isPort = ready.kind === 'http' || ready.kind === 'tcp';
    const aim = isPort ? aimAt(ready, { listen: [], port }, { slot: 0, seat: noSeat }) : null;
    const target = { pid: worker.pid, ready, listeners: [], aim, kind: 'command' as const, ...more };
    this.cancel = watchReadiness(target, {
      ready: (waiting) => {
        this.told.push('ready');
        this.waiting = waiting;
        onReady();
        became();
      },
      warning: (message) => this.told.push(message),
    });
  }
}

export async function answer(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
  return response.text();
}
