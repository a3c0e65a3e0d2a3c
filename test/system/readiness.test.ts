/**
 * Readiness, seen from outside, with real servers. Each is one of two workers on one listening socket, of which the
 * other never accepts: only the right one may become ready, and not before it can serve (the file MARKER is the last
 * thing that a fixture does before it waits for connections).
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, describe, test } from 'node:test';
import type { ReadySpec } from '../../src/core/spec.ts';
import { unseenWay } from '../../src/system/accepting.ts';
import { ownReader, viewProcess } from '../../src/system/process-view.ts';
import { childrenOf, socketInode, statOf } from '../../src/system/procfs.ts';
import { acceptingPid, watchReadiness, type ReadinessTarget } from '../../src/system/readiness.ts';

const python = '/usr/bin/python3';
const fixtures = resolve('test/fixtures/accepting');
const scratch = mkdtempSync(join(tmpdir(), 'supervise-readiness-'));
chmodSync(scratch, 0o755);
const running = new Set<ChildProcess>();

after(() => {
  for (const child of running) killTree(child.pid ?? 0);
  rmSync(scratch, { recursive: true, force: true });
});

function killTree(pid: number): void {
  for (const child of childrenOf(pid)) killTree(child);
  if (statOf(pid) !== null) process.kill(pid, 'SIGKILL');
}

// ---------------------------------------------------------------- a listening socket, and workers on it

interface Listener {
  readonly fd: number;
  readonly inode: string;
  readonly port: number;
  close(): void;
}

/** A socket that listens and that nobody here accepts from. */
function listen(): Listener {
  const create = (net as unknown as { _createServerHandle(...args: unknown[]): ServerHandle })._createServerHandle;
  const handle = create('127.0.0.1', 0, 4, undefined, 0);
  const listening = spawnSync('perl', ['-e', 'open S, "<&=3" or die; listen S, 511 or die'], { stdio: ['ignore', 'ignore', 'inherit', handle.fd] });
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

interface Worker {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly marker: string;
}

let workers = 0;

function start(argv: readonly string[], listener: Listener | null, more: { uid?: number; gid?: number } = {}): Worker {
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

function stop(...ended: readonly Worker[]): void {
  for (const worker of ended) killTree(worker.pid);
}

/** What a watch was told, and promises of it. */
class Watched {
  readonly told: string[] = [];
  waiting: number | null = null;
  readonly cancel: () => void;
  readonly ready: Promise<void>;

  constructor(worker: Worker, ready: ReadySpec, more: Partial<ReadinessTarget> = {}, onReady: () => void = () => {}) {
    let became = (): void => {};
    this.ready = new Promise((done) => (became = done));
    const target = { pid: worker.pid, ready, listeners: [], port: null, kind: 'command' as const, ...more };
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

async function answer(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
  return response.text();
}

// ---------------------------------------------------------------- accepting

const servers: Record<string, readonly string[]> = {
  'uvicorn --fd 3': ['/usr/bin/uvicorn', '--app-dir', fixtures, 'asgi_app:app', '--fd', '3'],
  'gunicorn --bind fd://3, whose worker is a child blocked in pselect6': ['/usr/bin/gunicorn', '--chdir', fixtures, 'wsgi_app:app', '--bind', 'fd://3'],
  'gunicorn with two threaded workers': ['/usr/bin/gunicorn', '--chdir', fixtures, 'wsgi_app:app', '--bind', 'fd://3', '-k', 'gthread', '-w', '2'],
  'a Node server on {fd: 3}': [process.execPath, join(fixtures, 'node-server.mjs')],
  'a Node server behind sh -c': ['/bin/sh', '-c', `${process.execPath} ${join(fixtures, 'node-server.mjs')}; true`],
  'a Python thread blocked in accept': [python, join(fixtures, 'blocked_in_accept.py')],
  'a Python poll server': [python, join(fixtures, 'selecting.py'), 'PollSelector'],
  'a Python select server': [python, join(fixtures, 'selecting.py'), 'SelectSelector'],
  'a Python epoll server': [python, join(fixtures, 'selecting.py'), 'EpollSelector'],
};

describe('of two workers on one socket only the one that accepts becomes ready', { concurrency: 3 }, () => {
  for (const [name, argv] of Object.entries(servers)) {
    test(name, async () => {
      const listener = listen();
      const idle = start([python, join(fixtures, 'never_accepts.py')], listener);
      const server = start(argv, listener);
      const inherited = { listeners: ['socket:[1]', listener.inode] };
      let markerAtReady = false;
      const never = new Watched(idle, { kind: 'auto' }, inherited);
      const watched = new Watched(server, { kind: 'auto' }, inherited, () => (markerAtReady = existsSync(server.marker)));
      await watched.ready;
      assert.ok(markerAtReady, 'it was called ready before it could serve');
      const servedBy = Number(await answer(listener.port));
      assert.ok(isInTree(servedBy, server.pid), `process ${servedBy} has answered`);
      assert.ok(isInTree(watched.waiting ?? 0, server.pid));
      assert.ok(isInTree(acceptingPid(server.pid, inherited.listeners) ?? 0, server.pid));
      await sleep(400);
      assert.equal(acceptingPid(idle.pid, inherited.listeners), null);
      assert.deepEqual([watched.told, never.told], [['ready'], []]);
      never.cancel();
      stop(idle, server);
      listener.close();
    });
  }

  test('a Go server', { skip: !existsSync('/usr/bin/go') && 'no Go here' }, async () => {
    const binary = join(scratch, 'accepting-go');
    const env = { PATH: process.env['PATH'], GOCACHE: join(scratch, 'go-cache'), GOPATH: join(scratch, 'go'), GOFLAGS: '-p=1', CGO_ENABLED: '0' };
    const built = spawn('/usr/bin/go', ['build', '-o', binary, join(fixtures, 'accepting.go')], { env, stdio: 'inherit' });
    assert.equal(await new Promise((done) => built.once('exit', done)), 0);
    const listener = listen();
    const idle = start([python, join(fixtures, 'never_accepts.py')], listener);
    const server = start([binary], listener);
    const never = new Watched(idle, { kind: 'auto' }, { listeners: [listener.inode] });
    const watched = new Watched(server, { kind: 'auto' }, { listeners: [listener.inode] });
    await watched.ready;
    assert.equal(Number(await answer(listener.port)), server.pid);
    assert.deepEqual(never.told, []);
    never.cancel();
    stop(idle, server);
    listener.close();
  });
});

function isInTree(pid: number, leader: number): boolean {
  return pid === leader || childrenOf(leader).some((child) => isInTree(pid, child));
}

test('a stopped and continued poll server is still seen to wait', async () => {
  const listener = listen();
  const server = start([python, join(fixtures, 'selecting.py'), 'PollSelector'], listener);
  await new Watched(server, { kind: 'accepting' }, { listeners: [listener.inode] }).ready;
  process.kill(server.pid, 'SIGSTOP');
  while (statOf(server.pid)?.state !== 'T') await sleep(5);
  process.kill(server.pid, 'SIGCONT');
  while (statOf(server.pid)?.state !== 'S') await sleep(5);
  assert.equal(acceptingPid(server.pid, [listener.inode]), server.pid);
  stop(server);
  listener.close();
});

test('an io_uring beside the listener is a reason not to know, and not ready', async (t) => {
  const listener = listen();
  const worker = start([python, join(fixtures, 'io_uring.py')], listener);
  const fd = await new Promise<number>((done) => worker.child.stdout?.once('data', (text) => done(Number(text))));
  if (fd < 0) return t.skip('io_uring is turned off here');
  const view = viewProcess(ownReader, process.arch, worker.pid, [listener.inode]);
  assert.match(unseenWay(view, [listener.inode]) ?? '', /io_uring/);
  assert.equal(unseenWay(view, ['socket:[1]']), null);
  assert.equal(acceptingPid(worker.pid, [listener.inode]), null);
  stop(worker);
  listener.close();
});

// ---------------------------------------------------------------- /proc of another uid is closed

const nobody = { uid: 65534, gid: 65534 };
const rootOnly = { skip: process.getuid?.() !== 0 && 'needs root, to become another uid' };

/** Runs the watch in a process without these capabilities; answers with its first line and what it says when cancelled. */
async function watchWithout(capabilities: string, target: ReadinessTarget, lines: number): Promise<readonly string[]> {
  const readiness = new URL('../../src/system/readiness.js', import.meta.url).href;
  const dropped = ['--bounding-set', capabilities, '--inh-caps', capabilities];
  const argv = [...dropped, process.execPath, join(fixtures, 'watch.mjs'), readiness, JSON.stringify(target)];
  const child = spawn('setpriv', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  running.add(child);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
    if (said.split('\n').length > lines) child.stdin.end();
  });
  await new Promise((done) => child.once('exit', done));
  return said.trim().split('\n');
}

describe('a worker whose /proc is closed to the master', rootOnly, () => {
  const code = (name: string): string[] => [python, '-c', readFileSync(join(fixtures, name), 'utf8')];

  for (const [name, argv] of Object.entries({ 'in epoll': [...code('selecting.py'), 'EpollSelector'], 'in poll': [...code('selecting.py'), 'PollSelector'], 'in accept': code('blocked_in_accept.py') })) {
    test(`is seen ${name} by a reader under its uid`, async () => {
      chmodSync(scratch, 0o777);
      const listener = listen();
      const server = start(argv, listener, nobody);
      const target = { pid: server.pid, ready: { kind: 'auto' } as const, listeners: [listener.inode], port: null, kind: 'command' as const };
      const said = await watchWithout('-sys_ptrace', target, 1);
      assert.ok(existsSync(server.marker));
      assert.deepEqual(said, [`ready ${server.pid}`, 'cancelled 0']);
      stop(server);
      listener.close();
    });
  }

  test('never becomes ready when it does not accept', async () => {
    const listener = listen();
    const idle = start(code('never_accepts.py'), listener, nobody);
    const target = { pid: idle.pid, ready: { kind: 'auto' } as const, listeners: [listener.inode], port: null, kind: 'command' as const };
    const ended = watchWithout('-sys_ptrace', target, 1);
    await sleep(2500);
    stop(idle);
    for (const child of running) child.stdin?.end();
    assert.deepEqual(await ended, ['cancelled 0']);
    listener.close();
  });

  test('counts as ready when alive, with a warning, where the uid cannot be changed', async () => {
    const listener = listen();
    const idle = start(code('never_accepts.py'), listener, nobody);
    const target = { pid: idle.pid, ready: { kind: 'auto' } as const, listeners: [listener.inode], port: null, kind: 'command' as const };
    const said = await watchWithout('-sys_ptrace,-setuid,-setgid', target, 2);
    assert.match(said[0] ?? '', /^warning cannot see whether process \d+ accepts connections: .*uid 65534.*CAP_SYS_PTRACE.*alive 1 s.*ready: \{log/);
    assert.deepEqual(said.slice(1), ['ready null', 'cancelled 0']);
    stop(idle);
    listener.close();
  });
});

// ---------------------------------------------------------------- the other kinds

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

describe('kinds', { concurrency: 3 }, () => {
  test('auto of a command without listeners, and spawned: alive for a second', async () => {
    const [auto, spawned] = [start(['/bin/sleep', '60'], null), start(['/bin/sleep', '60'], null)];
    const watches = [new Watched(auto, { kind: 'auto' }), new Watched(spawned, { kind: 'spawned' })];
    await Promise.all(watches.map((watch) => watch.ready));
    assert.deepEqual(watches.map((watch) => watch.told), [['ready'], ['ready']]);
    stop(auto, spawned);
  });

  test('spawned and delay: a process that has ended is never ready', async () => {
    const quick = start(['/bin/true'], null);
    const slow = start(['/bin/sleep', '60'], null);
    const dead = [new Watched(quick, { kind: 'spawned' }), new Watched(quick, { kind: 'delay', delayMs: 1000 })];
    const alive = new Watched(slow, { kind: 'delay', delayMs: 1100 });
    await alive.ready;
    assert.deepEqual(dead.map((watch) => watch.told), [[], []]);
    stop(slow);
  });

  test('a zombie is not alive', async () => {
    // Its parent never waits for it: perl forks, prints the pid of the child, and sleeps.
    const parent = start(['perl', '-e', '$| = 1; if ($pid = fork) { print "$pid\\n"; sleep 60 } else { exit 0 }'], null);
    const pid = await new Promise<number>((done) => parent.child.stdout?.once('data', (text) => done(Number(text))));
    while (statOf(pid)?.state !== 'Z') await sleep(5);
    const zombie = new Watched({ ...parent, pid }, { kind: 'delay', delayMs: 20 });
    const alive = new Watched(parent, { kind: 'delay', delayMs: 40 });
    await alive.ready;
    assert.deepEqual(zombie.told, []);
    stop(parent);
  });

  test('auto and listening of a script, fd, ipc and log are left to the adapter', async () => {
    const worker = start(['/bin/sleep', '60'], null);
    const kinds: ReadySpec[] = [{ kind: 'auto' }, { kind: 'listening' }, { kind: 'fd' }, { kind: 'ipc' }, { kind: 'log', pattern: 'x' }];
    const watches = kinds.map((ready) => new Watched(worker, ready, { kind: 'script' }));
    await new Watched(worker, { kind: 'delay', delayMs: 1200 }).ready;
    assert.deepEqual(watches.flatMap((watch) => watch.told), []);
    stop(worker);
  });

  for (const kind of ['listening', 'accepting'] as const) {
    test(`${kind}: a port of its own`, async () => {
      const port = await freePort();
      const idle = start([process.execPath, '-e', 'setInterval(() => {}, 1000)'], null);
      const worker = start([process.execPath, join(fixtures, 'own-port.mjs'), String(port)], null);
      const never = new Watched(idle, { kind });
      await new Watched(worker, { kind }).ready;
      assert.match(await answer(port), /^\d$/);
      assert.deepEqual(never.told, []);
      never.cancel();
      stop(worker, idle);
    });
  }

  test('listening: a unix socket of its own', async () => {
    const path = join(scratch, 'own.sock');
    const worker = start([process.execPath, join(fixtures, 'own-port.mjs'), path], null);
    await new Watched(worker, { kind: 'listening' }).ready;
    assert.ok(existsSync(path));
    stop(worker);
  });

  test('listening: an inherited listener counts when it is waited on, not because it listens', async () => {
    const listener = listen();
    const idle = start(['/bin/sleep', '60'], listener);
    const server = start([process.execPath, join(fixtures, 'node-server.mjs')], listener);
    const never = new Watched(idle, { kind: 'listening' }, { listeners: [listener.inode] });
    await new Watched(server, { kind: 'listening' }, { listeners: [listener.inode] }).ready;
    assert.deepEqual(never.told, []);
    never.cancel();
    stop(idle, server);
    listener.close();
  });

  test('http: the first answer with 2xx or 3xx', async () => {
    const port = await freePort();
    const worker = start([process.execPath, join(fixtures, 'own-port.mjs'), String(port)], null);
    const watched = new Watched(worker, { kind: 'http', path: '/ready ?', port: null }, { port });
    await watched.ready;
    // Three were answered with 503, the fourth made it ready.
    assert.equal(await answer(port), '5');
    assert.deepEqual(watched.told, ['ready']);
    stop(worker);
  });

  test('tcp: the first connection, to the port that the probe names', async () => {
    const port = await freePort();
    const worker = start([process.execPath, join(fixtures, 'own-port.mjs'), String(port)], null);
    const watched = new Watched(worker, { kind: 'tcp', port }, { port: 1 });
    await watched.ready;
    assert.equal(await answer(port), '1');
    stop(worker);
  });

  test('http and tcp without any port are a bug of the caller', () => {
    const target = { pid: process.pid, listeners: [], port: null, kind: 'command' as const };
    const on = { ready: () => assert.fail(), warning: () => assert.fail() };
    assert.throws(() => watchReadiness({ ...target, ready: { kind: 'tcp', port: null } }, on), { code: 'bug' });
  });

  test('nothing is told after a cancel, and no timer is left', async () => {
    const port = await freePort();
    const listener = listen();
    const worker = start([process.execPath, join(fixtures, 'own-port.mjs'), String(port)], listener);
    const inherited = { listeners: [listener.inode], port };
    const kinds: ReadySpec[] = [{ kind: 'auto' }, { kind: 'listening' }, { kind: 'spawned' }, { kind: 'delay', delayMs: 1 }, { kind: 'http', path: '/', port: null }, { kind: 'tcp', port: null }];
    const watches = kinds.map((ready) => new Watched(worker, ready, inherited));
    for (const watch of watches) watch.cancel();
    const late = kinds.map((ready) => new Watched(worker, ready.kind === 'delay' ? { kind: 'delay', delayMs: 5000 } : ready, inherited));
    await sleep(300);
    for (const watch of late) watch.cancel();
    await new Watched(worker, { kind: 'delay', delayMs: 1500 }).ready;
    assert.deepEqual([...watches, ...late].flatMap((watch) => watch.told), []);
    stop(worker);
    listener.close();
  });
});
