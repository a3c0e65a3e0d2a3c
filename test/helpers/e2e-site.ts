/**
 * A place where a master of the built program can live: a folder of its own for config, RUNTIME and STATE, a unique name,
 * free ports. Everything that runs there carries the site's mark in its environment, so that a test can ask what is left;
 * what is still there when the test ends is killed by its pid.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Master } from './e2e-master.ts';
import { allPids, commandLine, environmentOf, isAlive } from './e2e-proc.ts';

export const bin = resolve('bin/supervise.js');

/** A path below test/fixtures/e2e. */
export function fixture(name: string): string {
  return resolve('test/fixtures/e2e', name);
}

/** Debian's Python: the one that has uvicorn, fastapi and gunicorn. */
export const python = '/usr/bin/python3';

export const isRoot = process.getuid?.() === 0;

/** Runs the words behind it without the right to bpf(2): what waits at a listener cannot be moved. Only root has it at all. */
export const withoutBpf: readonly string[] = isRoot ? ['setpriv', '--bounding-set', '-bpf,-sys_admin'] : [];

/** How a run of the program ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A run of the program under way, and what it has written so far. */
export interface Run {
  readonly seen: { readonly stdout: string; readonly stderr: string };
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Waits until `condition` holds. Bounded, and generous: it is a hang that fails, not a slow machine. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  withinMs = 60_000,
): Promise<NonNullable<T>> {
  for (const deadline = Date.now() + withinMs; ; await sleep(20)) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < deadline, `waited ${withinMs / 1000} s for ${what}`);
  }
}

export class Site {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), 'supervise-e2e-')));
  readonly name = basename(this.dir);
  readonly runtime = join(this.dir, 'run');
  readonly state = join(this.dir, 'state');
  readonly #mark = `E2E_SITE=${this.dir}`;
  readonly #masters: number[] = [];
  readonly #ports: number[] = [];

  constructor(t: TestContext) {
    // Workers of other users pass through here.
    chmodSync(this.dir, 0o755);
    t.after(async () => {
      await this.#clear();
      rmSync(this.dir, { recursive: true, force: true });
    });
  }

  get env(): Record<string, string> {
    const { PATH = '/usr/bin:/bin', HOME = '/' } = process.env;
    return { PATH, HOME, E2E_SITE: this.dir, RUNTIME_DIRECTORY: this.runtime, STATE_DIRECTORY: this.state };
  }

  /** The absolute path of a file of this site. */
  path(file: string): string {
    return join(this.dir, file);
  }

  write(file: string, text: string, mode = 0o644): string {
    const path = this.path(file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode });
    return path;
  }

  /** Writes supervise.yaml (JSON is YAML), named after this site. */
  config(content: { apps?: Record<string, unknown>; [key: string]: unknown }): string {
    return this.write('supervise.yaml', JSON.stringify({ name: this.name, ...content }, null, 2));
  }

  /** Free, and outside of the range that the kernel takes for outgoing connections. */
  async port(): Promise<number> {
    for (;;) {
      const port = randomInt(10_000, 32_000);
      if (this.#ports.includes(port) || !(await isFree(port))) continue;
      this.#ports.push(port);
      return port;
    }
  }

  /** `supervise start ARGS` in the foreground. `under`: a command that runs the words behind it, in its own process. */
  start(
    args: readonly string[] = [],
    more: { env?: Record<string, string>; bin?: string; under?: readonly string[] } = {},
  ): Master {
    const [file = '', ...words] = [...(more.under ?? []), process.execPath, more.bin ?? bin, 'start', ...args];
    const child = spawn(file, words, {
      cwd: this.dir,
      env: { ...this.env, ...more.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    assert.ok(child.pid !== undefined);
    this.#masters.push(child.pid);
    return new Master(this, child, child.pid);
  }

  /** A master that something else has started is one of this site too. */
  adopt(pid: number): void {
    this.#masters.push(pid);
  }

  /** Runs `supervise ARGS`. */
  launch(args: readonly string[], more: { env?: Record<string, string>; cwd?: string } = {}): Run {
    const child = spawn(process.execPath, [bin, ...args], {
      cwd: more.cwd ?? this.dir,
      env: { ...this.env, ...more.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
    });
    const seen = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].setEncoding('utf8').on('data', (text: string) => (seen[stream] += text));
    return { seen, child, ended: once(child, 'close').then(() => ({ code: child.exitCode, ...seen })) };
  }

  /** Runs `supervise ARGS` to its end. */
  run(args: readonly string[], more: { env?: Record<string, string>; cwd?: string } = {}): Promise<Ended> {
    return this.launch(args, more).ended;
  }

  /** Runs `supervise ARGS`, which has to succeed. @returns its stdout */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    assert.equal(code, 0, `supervise ${args.join(' ')}: exit code ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** All live processes of this site: masters, workers, hooks, whatever they started, and guards. */
  processes(): number[] {
    return allPids().filter((pid) => isAlive(pid) && (this.#isOurs(pid) || this.#isGuard(pid)));
  }

  guards(): number[] {
    return allPids().filter((pid) => isAlive(pid) && this.#isGuard(pid));
  }

  #isOurs(pid: number): boolean {
    const environment = environmentOf(pid);
    return (
      environment.includes(this.#mark) ||
      environment.includes(`SUPERVISE_NAME=${this.name}`) ||
      commandLine(pid).includes(`${this.dir}/`)
    );
  }

  #isGuard(pid: number): boolean {
    const instance = /worker-guard (\d+)-\d+$/.exec(commandLine(pid))?.[1];
    return instance !== undefined && this.#masters.includes(Number(instance));
  }

  /** Fails unless no process of this site lives and its ports can be bound. `withinMs`: how long they may take. */
  async nothingIsLeft(withinMs = 0): Promise<void> {
    const deadline = Date.now() + withinMs;
    while (Date.now() < deadline && this.processes().length > 0) await sleep(50);
    assert.deepEqual(
      this.processes().map((pid) => `${pid} ${commandLine(pid)}`),
      [],
    );
    for (const port of this.#ports) assert.ok(await isFree(port), `port ${port} is still held`);
  }

  async #clear(): Promise<void> {
    for (let round = 0; round < 100; round++) {
      const left = this.processes();
      if (left.length === 0) return;
      for (const pid of left) killQuietly(pid);
      await sleep(50);
    }
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const bound = new Promise<boolean>((done) => {
    server.once('error', () => done(false));
    server.listen(port, () => done(true));
  });
  const free = await bound;
  if (free) await new Promise((done) => server.close(done));
  return free;
}

/** A copy of the program in a folder from which koffi cannot be found. */
export function withoutKoffi(site: Site): string {
  const root = dirname(dirname(bin));
  for (const part of ['bin', 'dist', 'package.json'])
    cpSync(join(root, part), site.path(`package/${part}`), { recursive: true });
  return site.path('package/bin/supervise.js');
}
