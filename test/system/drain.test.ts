/** What a script does at its stop signal: real servers, real connections, seen from their clients. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectH2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { AppSpec } from '../../src/core/spec.ts';
import { ask, fixtures, freePort, Spawning, until, type Tried } from '../helpers/spawning.ts';

const world = new Spawning();
after(() => world.close());

const fixture = (name: string): string => join(fixtures, '../drain', name);
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

/** A client's connection, and all that has come on it. */
class Connection {
  readonly socket: Socket;
  text = '';
  bytes = 0;
  /** null: still open. */
  end: 'closed' | 'reset' | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (this.bytes < 10_000) this.text += String(chunk);
    });
    socket.on('error', () => (this.end = 'reset'));
    socket.on('end', () => (this.end ??= 'closed'));
  }

  static async to(port: number, request = '', host = '127.0.0.1'): Promise<Connection> {
    const socket = connect(port, host);
    await once(socket, 'connect');
    const connection = new Connection(socket);
    if (request !== '') connection.send(request);
    return connection;
  }

  send(text: string): void {
    this.socket.write(text);
  }

  /** Waits until this has come. */
  async has(pattern: RegExp): Promise<void> {
    await until(() => pattern.test(this.text) || (this.end !== null && assert.fail(`${this.end}: ${this.text}`)));
  }

  async ends(): Promise<void> {
    await until(() => this.end !== null);
    assert.equal(this.end, 'closed');
  }
}

async function start(name: string, words: readonly string[] = [], wanted: Partial<AppSpec> = {}) {
  const listen = await world.listen();
  const begin = (): Tried =>
    world.start({
      kind: 'script',
      argv: [fixture(name), ...words],
      listen: [listen],
      env: { SERVE_PORT: String(listen.port) },
      ...wanted,
    });
  const tried = begin();
  await tried.ready;
  return { tried, port: listen.port, begin, release: () => process.kill(tried.pid, 'SIGUSR2') };
}

/** A kept-alive connection on which one request was answered; it is idle now. */
async function idleConnection(port: number, host?: string): Promise<Connection> {
  const connection = await Connection.to(port, get('/'), host);
  await connection.has(/keep-alive[\s\S]*\r\n\r\n\d+$/);
  return connection;
}

/** Another worker answers from now on, and this one no more. */
async function isReplaced(tried: Tried, begin: () => Tried, port: number): Promise<void> {
  const other = begin();
  await other.ready;
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask(port)));
  assert.deepEqual(new Set(answers), new Set([String(other.pid)]));
  assert.deepEqual(tried.reports, ['ready']);
}

/** Asks again and again on one connection, until it is told to close. */
async function asksUntilClosed(connection: Connection): Promise<number> {
  for (let asked = 1; ; asked++) {
    connection.text = '';
    connection.send(get('/'));
    await connection.has(/\r\n\r\n\d+$/);
    if (/^Connection: close/im.test(connection.text)) return asked;
  }
}

describe('an unmodified server at its stop signal', () => {
  test('finishes what is in hand, closes what is idle, and accepts nothing more', async () => {
    const { tried, port, begin, release } = await start('held.mjs');
    const idle = await idleConnection(port);
    const [busy, stream, half, unused, often] = await Promise.all([
      Connection.to(port, get('/held')),
      Connection.to(port, get('/stream')),
      Connection.to(port, 'GET / HTTP/1.1\r\nHost'),
      Connection.to(port),
      idleConnection(port),
    ]);
    await stream.has(/first,/);
    // A request of each kind has to be known to the server: they came before this one.
    await idleConnection(port);
    const oftenAsked = asksUntilClosed(often);
    tried.process.terminate('SIGTERM');
    await idle.ends();
    assert.ok((await oftenAsked) > 0);
    unused.send(get('/'));
    half.send(': x\r\n\r\n');
    for (const late of [unused, half]) {
      await late.has(/Connection: close[\s\S]*\r\n\r\n\d+$/);
      await late.ends();
    }
    await isReplaced(tried, begin, port);
    assert.deepEqual([busy.end, stream.end], [null, null]);
    release();
    await busy.has(new RegExp(`Connection: close[\\s\\S]*\\r\\n\\r\\n${tried.pid}$`));
    await Promise.all([busy.ends(), stream.ends()]);
    assert.match(stream.text, new RegExp(`first,[\\s\\S]*${tried.pid}\\r\\n0\\r\\n\\r\\n$`));
    const { code, signal } = await tried.exited;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
  });

  test('an answer that the client reads slowly arrives in full', async () => {
    const { tried, port } = await start('held.mjs');
    const slow = await Connection.to(port);
    slow.socket.pause();
    slow.send(get('/large'));
    const idle = await idleConnection(port);
    tried.process.terminate('SIGTERM');
    await idle.ends();
    slow.socket.resume();
    await slow.ends();
    assert.ok(slow.bytes > 20_000_000, `${slow.bytes} bytes`);
    assert.equal((await tried.exited).code, 0);
  });

  test('a connection that never brings a byte does not hold it up', async () => {
    const { tried, port } = await start('held.mjs');
    const unused = await Connection.to(port);
    await idleConnection(port);
    tried.process.terminate('SIGTERM');
    await unused.ends();
    assert.equal((await tried.exited).code, 0);
  });

  test('an upgraded connection goes on until it ends; a second signal changes nothing', async () => {
    const { tried, port } = await start('held.mjs');
    const upgraded = await Connection.to(
      port,
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n',
    );
    await upgraded.has(/101 Up/);
    const idle = await idleConnection(port);
    tried.process.terminate('SIGTERM');
    await idle.ends();
    tried.process.terminate('SIGTERM');
    upgraded.send('still there');
    await upgraded.has(/still there/);
    upgraded.socket.end();
    assert.equal((await tried.exited).code, 0);
  });

  test('so does a connection of another protocol', async () => {
    const { tried, port, begin } = await start('line-server.mjs');
    const line = await Connection.to(port);
    await line.has(/hello/);
    tried.process.terminate('SIGTERM');
    const other = begin();
    await other.ready;
    line.send('abc\n');
    await line.has(/ABC/);
    line.socket.end();
    assert.equal((await tried.exited).code, 0);
  });

  test('HTTPS: what is in hand is answered, what is idle is closed', async () => {
    const { tried, port, release } = await start('tls.mjs');
    const secure = async (path: string) => {
      const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const connection = new Connection(socket);
      connection.send(get(path));
      return connection;
    };
    const [idle, busy, noHandshake] = await Promise.all([secure('/'), secure('/held'), Connection.to(port)]);
    await idle.has(/\d+$/);
    tried.process.terminate('SIGTERM');
    await Promise.all([idle.ends(), noHandshake.ends()]);
    assert.equal(busy.end, null);
    release();
    await busy.has(/Connection: close[\s\S]*\r\n\r\n\d+$/);
    assert.equal((await tried.exited).code, 0);
  });

  test('HTTP/2: GOAWAY, and the streams in hand are finished', async () => {
    const { tried, port, release } = await start('tls.mjs', ['h2']);
    const session = connectH2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    const stream = session.request({ ':path': '/held' });
    let body = '';
    stream.setEncoding('utf8').on('data', (text: string) => (body += text));
    const quick = session.request({ ':path': '/' });
    await once(quick.resume(), 'end');
    const goaway = once(session, 'goaway');
    tried.process.terminate('SIGTERM');
    const [code] = (await goaway) as [number];
    assert.deepEqual([code, body], [0, '']);
    release();
    await once(stream, 'end');
    assert.equal(body, String(tried.pid));
    assert.equal((await tried.exited).code, 0);
  });

  test('under node:cluster', async () => {
    const port = await freePort();
    const begin = () => world.start({ kind: 'script', argv: [fixture('held.mjs')], env: { SERVE_PORT: String(port) } });
    const tried = begin();
    await tried.ready;
    const [idle, busy] = [await idleConnection(port), await Connection.to(port, get('/held'))];
    await idleConnection(port);
    const other = begin();
    await other.ready;
    tried.process.terminate('SIGTERM');
    await idle.ends();
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(port)));
    assert.deepEqual(new Set(answers), new Set([String(other.pid)]));
    process.kill(tried.pid, 'SIGUSR2');
    await busy.has(new RegExp(`Connection: close[\\s\\S]*\\r\\n\\r\\n${tried.pid}$`));
    const { code, signal } = await tried.exited;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
  });

  test('on two sockets of one port', async () => {
    const first = await world.listen();
    const second = { ...first, host: '127.0.0.2', url: `tcp://127.0.0.2:${first.port}` };
    world.listenOn([second]);
    const env = { SERVE_PORT: String(first.port) };
    const tried = world.start({ kind: 'script', argv: [fixture('held.mjs')], listen: [first, second], env });
    await tried.ready;
    const [idle, busy] = await Promise.all([
      idleConnection(first.port, second.host),
      Connection.to(first.port, get('/stream'), second.host),
    ]);
    await busy.has(/first,/);
    tried.process.terminate('SIGTERM');
    await idle.ends();
    process.kill(tried.pid, 'SIGUSR2');
    await busy.has(new RegExp(`first,[\\s\\S]*${tried.pid}\\r\\n0\\r\\n\\r\\n$`));
    assert.equal((await tried.exited).code, 0);
  });

  test('the configured signal counts, and no other', async () => {
    const { tried } = await start('held.mjs', [], { stop: { signal: 'SIGINT', timeoutMs: 5_000 } });
    tried.process.terminate('SIGINT');
    assert.equal((await tried.exited).code, 0);
    const { tried: other } = await start('held.mjs', [], { stop: { signal: 'SIGINT', timeoutMs: 5_000 } });
    other.process.terminate('SIGTERM');
    assert.equal((await other.exited).signal, 'SIGTERM');
  });

  test('a script without a server ends by the signal, as ever', async () => {
    const tried = world.start({ kind: 'script', argv: [join(fixtures, 'ready.mjs')] });
    await tried.ready;
    tried.process.terminate('SIGTERM');
    assert.equal((await tried.exited).signal, 'SIGTERM');
  });
});

describe('a handler of its own', () => {
  test('decides: it accepts until it closes, only its answers say close; its close() has no error', async () => {
    const { tried, port, release } = await start('own-handler.mjs');
    const kept = await idleConnection(port);
    tried.process.terminate('SIGTERM');
    await tried.line(/^own handler$/);
    assert.equal(await ask(port), String(tried.pid));
    assert.equal(kept.end, null);
    kept.text = '';
    kept.send(get('/'));
    await kept.has(/Connection: close[\s\S]*\r\n\r\n\d+$/);
    release();
    await tried.line(/^closed, no error$/);
    assert.equal((await tried.exited).code, 7);
  });

  test('that raises the signal again ends it after the drain', async () => {
    const { tried } = await start('raises-again.mjs');
    tried.process.terminate('SIGTERM');
    const { code, signal } = await tried.exited;
    assert.deepEqual({ code, signal, lines: tried.lines() }, { code: 0, signal: null, lines: ['cleaned up'] });
  });

  test('that relies on the end by the signal (signal-exit) is none', async () => {
    const { tried, port, release } = await start('cleaner.mjs');
    const busy = await Connection.to(port, get('/'));
    await busy.has(/first,/);
    tried.process.terminate('SIGTERM');
    await tried.line(/^handler$/);
    release();
    await busy.has(new RegExp(`${tried.pid}\\r\\n0\\r\\n`));
    assert.equal((await tried.exited).code, 0);
  });
});

describe('supervise/worker', () => {
  test('onShutdown runs after the servers are closed, the last added first', async () => {
    const { tried, port } = await start('shutdown.mjs', [], { ready: { kind: 'ipc' } });
    const idle = await Connection.to(port, get('/'));
    await idle.has(/last/);
    tried.process.terminate('SIGTERM');
    await idle.ends();
    assert.equal((await tried.exited).code, 0);
    assert.deepEqual(tried.lines(), ['second added', 'first added, listening: false']);
  });

  test('one that fails is told, the others run, and the exit code is 1', async () => {
    const { tried } = await start('shutdown.mjs', ['failing']);
    tried.process.terminate('SIGTERM');
    const { code } = await tried.exited;
    assert.equal(code, 1);
    assert.ok(tried.lines().some((line) => line.includes('no farewell')));
    assert.deepEqual(tried.lines().slice(-2), ['second added', 'first added, listening: false']);
  });

  test('an answer without end is cut off in time for it', async () => {
    const { tried, port } = await start('shutdown.mjs', [], { stop: { signal: 'SIGTERM', timeoutMs: 2_000 } });
    const stream = await Connection.to(port, get('/stream'));
    await stream.has(/first,/);
    tried.process.terminate('SIGTERM');
    assert.equal((await tried.exited).code, 0);
    assert.deepEqual(tried.lines(), ['second added', 'first added, listening: false']);
  });

  test('one that does not end is ended before the master would', async () => {
    const { tried } = await start('shutdown.mjs', ['endless'], { stop: { signal: 'SIGTERM', timeoutMs: 2_000 } });
    tried.process.terminate('SIGTERM');
    const { code, signal, lastLines } = await tried.exited;
    assert.deepEqual({ code, signal }, { code: 1, signal: null });
    assert.match(lastLines.at(-1) ?? '', /^onShutdown: not done in time/);
  });

  test('works without a supervisor and without a server', async () => {
    const child = spawn(process.execPath, [fixture('shutdown.mjs')], { stdio: ['ignore', 'pipe', 'inherit'], env: {} });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    await until(() => output === 'waits\n');
    child.kill();
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
    assert.equal(output, 'waits\nsecond added\nfirst added, listening: false\n');
  });
});
