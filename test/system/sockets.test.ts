/** The listening sockets against the real kernel, with servers in other processes that only accept. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, test } from 'node:test';
import { SuperviseError } from '../../src/core/errors.ts';
import type { ListenSpec } from '../../src/core/spec.ts';
import type { ListenWay } from '../../src/system/sockets/listening.ts';
import { createLocks } from '../../src/system/instance/locks.ts';
import type { BoundSockets } from '../../src/system/sockets/sockets.ts';
import { createSockets } from '../../src/system/sockets/sockets.ts';
import { fixture, isAlive, killed, linesOf, start, systemFolder, temporaryDirectory, until } from './processes.ts';

function tcp(host: string, port: number): ListenSpec {
  return { kind: 'tcp', host, port, url: `tcp://${host.includes(':') ? `[${host}]` : host}:${port}` };
}

function unix(path: string, mode = 0o666, group: string | null = null): ListenSpec {
  return { kind: 'unix', path, mode, group, url: `unix:${path}` };
}

function socketsFor(t: TestContext, ways?: readonly ListenWay[]): BoundSockets {
  const sockets = createSockets(createLocks(), ways);
  t.after(() => sockets.retain([]));
  return sockets;
}

/** A port that was free a moment ago. */
async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = net.createServer().listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** All that the server says, or the code of the error. */
async function say(options: net.NetConnectOpts): Promise<string> {
  const socket = net.connect(options);
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  return new Promise((done) => {
    socket.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'));
    socket.on('close', () => done(text));
  });
}

function startAcceptor(t: TestContext, fd: number) {
  return start(t, ['python3', fixture('blocking-accept.py')], { stdio: ['ignore', 'ignore', 'ignore', fd] });
}

function refusal(act: () => void): SuperviseError {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof SuperviseError, String(error));
    return error;
  }
  return assert.fail('expected an error, found none');
}

/** O_NONBLOCK of the open file description. */
function isNonBlocking(fd: number): boolean {
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  return (parseInt(flags, 8) & 0o4000) !== 0;
}

describe('from bound to served', () => {
  test('a bound socket refuses clients until it listens; then they wait for a worker', async (t) => {
    const sockets = socketsFor(t);
    const spec = tcp('127.0.0.1', 0);
    sockets.bind([spec]);
    const port = sockets.portOf(spec.url) ?? 0;
    assert.equal(await say({ port, host: '127.0.0.1' }), 'ECONNREFUSED');

    sockets.listen();
    const waiting = [1, 2, 3, 4, 5].map(() => say({ port, host: '127.0.0.1' }));
    const first = startAcceptor(t, sockets.fdOf(spec.url));
    for (const answer of await Promise.all(waiting)) assert.equal(answer, `nodelay=1 pid=${first.pid}\n`);

    await killed(first);
    const queued = [1, 2, 3, 4, 5].map(() => say({ port, host: '127.0.0.1' }));
    const second = startAcceptor(t, sockets.fdOf(spec.url));
    for (const answer of await Promise.all(queued)) assert.equal(answer, `nodelay=1 pid=${second.pid}\n`);
  });

  for (const way of ['perl', 'koffi', 'node'] as const) {
    test(`a program that only accepts, blocking, is served: listen() by ${way}`, async (t) => {
      const directory = temporaryDirectory(t);
      const sockets = socketsFor(t, [way]);
      const specs = [tcp('127.0.0.1', 0), unix(join(directory, 'web.sock'))];
      sockets.bind(specs);
      sockets.listen();
      for (const spec of specs) {
        assert.equal(isNonBlocking(sockets.fdOf(spec.url)), false, `${spec.url} is still non-blocking`);
        const acceptor = startAcceptor(t, sockets.fdOf(spec.url));
        const port = sockets.portOf(spec.url);
        const answer = await say(port === null ? { path: join(directory, 'web.sock') } : { port, host: '127.0.0.1' });
        assert.match(answer, new RegExp(`pid=${acceptor.pid}\n$`));
      }
    });
  }

  for (const way of ['perl', 'koffi', 'node'] as const) {
    test(`another program that began to listen meanwhile is named: listen() by ${way}`, async (t) => {
      const sockets = socketsFor(t, [way]);
      const spec = tcp('127.0.0.1', 0);
      sockets.bind([tcp('127.0.0.2', 0), spec]);
      const other = start(t, [
        process.execPath,
        '-e',
        `require('net').createServer().listen(${sockets.portOf(spec.url)}, '127.0.0.1', () => console.log('up'))`,
      ]);
      assert.equal(await linesOf(other)(), 'up');
      const error = refusal(() => sockets.listen());
      assert.equal(error.code, 'socket-in-use');
      assert.match(
        error.message,
        new RegExp(`cannot listen on ${spec.url}: port ${sockets.portOf(spec.url)} is in use by pid ${other.pid} `),
      );
    });
  }

  test('without any way to call listen() it says what to install', (t) => {
    const sockets = socketsFor(t, []);
    sockets.bind([tcp('127.0.0.1', 0)]);
    const error = refusal(() => sockets.listen());
    assert.equal(error.code, 'socket-cannot-bind');
    assert.match(error.hint ?? '', /perl/);
  });

  test('the backlog is what listening.ts says', async (t) => {
    const sockets = socketsFor(t);
    const spec = tcp('127.0.0.1', 0);
    sockets.bind([spec]);
    sockets.listen();
    const { stdout } = spawnSync('ss', ['-ltnH', `sport = :${sockets.portOf(spec.url)}`], { encoding: 'utf8' });
    if (stdout === null) return t.skip('no ss on this host');
    assert.equal(stdout.trim().split(/\s+/)[2], '2048');
  });

  test('sockets added later are made to listen; those that workers share keep their flags', async (t) => {
    const sockets = socketsFor(t);
    const [first, second] = [tcp('127.0.0.1', 0), tcp('127.0.0.2', 0)];
    sockets.bind([first]);
    sockets.listen();
    const worker = start(
      t,
      [process.execPath, '-e', `require('net').createServer().listen({ fd: 3 }, () => console.log('up'))`],
      { stdio: ['ignore', 'pipe', 'ignore', sockets.fdOf(first.url)] },
    );
    assert.equal(await linesOf(worker)(), 'up');
    assert.equal(isNonBlocking(sockets.fdOf(first.url)), true, 'libuv of the worker has made it non-blocking');

    sockets.bind([first, second]);
    sockets.listen();
    assert.equal(isNonBlocking(sockets.fdOf(first.url)), true);
    assert.equal(isNonBlocking(sockets.fdOf(second.url)), false);

    const port = sockets.portOf(first.url) ?? 0;
    sockets.retain([second.url]);
    assert.throws(() => sockets.fdOf(first.url), /expected tcp:\/\/127.0.0.1:0 to be bound/);
    await killed(worker);
    assert.equal(await say({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
  });

  test('a child to which no socket is handed has none', (t) => {
    const directory = temporaryDirectory(t);
    const sockets = socketsFor(t);
    const specs = [tcp('127.0.0.1', 0), unix(join(directory, 'web.sock'))];
    sockets.bind(specs);
    sockets.listen();
    const { stdout } = spawnSync('/bin/sh', ['-c', 'ls -l /proc/self/fd'], { encoding: 'utf8' });
    assert.match(stdout, / 0 -> /);
    for (const spec of specs) {
      assert.equal(readlinkSync(`/proc/self/fd/${sockets.fdOf(spec.url)}`), sockets.inodeOf(spec.url));
      assert.ok(!stdout.includes(sockets.inodeOf(spec.url)), `${spec.url} has leaked:\n${stdout}`);
    }
  });
});

describe('addresses', () => {
  test(':PORT serves IPv6 and IPv4', async (t) => {
    const sockets = socketsFor(t);
    const spec = tcp('', 0);
    sockets.bind([spec]);
    sockets.listen();
    startAcceptor(t, sockets.fdOf(spec.url));
    const port = sockets.portOf(spec.url) ?? 0;
    assert.match(await say({ port, host: '127.0.0.1' }), /^nodelay=1/);
    assert.match(await say({ port, host: '::1' }), /^nodelay=1/);
  });

  test('[::]:PORT is IPv6 only and stands beside 0.0.0.0:PORT', async (t) => {
    const sockets = socketsFor(t);
    const port = await freePort();
    const specs = [tcp('::', port), tcp('0.0.0.0', port)];
    sockets.bind(specs);
    sockets.listen();
    const [six, four] = specs.map((spec) => startAcceptor(t, sockets.fdOf(spec.url)));
    assert.match(await say({ port, host: '127.0.0.1' }), new RegExp(`pid=${four?.pid}\n`));
    assert.match(await say({ port, host: '::1' }), new RegExp(`pid=${six?.pid}\n`));
  });

  test('[::1]:PORT serves', async (t) => {
    const sockets = socketsFor(t);
    const spec = tcp('::1', 0);
    sockets.bind([spec]);
    sockets.listen();
    startAcceptor(t, sockets.fdOf(spec.url));
    assert.match(await say({ port: sockets.portOf(spec.url) ?? 0, host: '::1' }), /^nodelay=1/);
  });

  test('an address that this host does not have, and a name, are refused with a hint', (t) => {
    const sockets = socketsFor(t);
    const foreign = refusal(() => sockets.bind([tcp('192.0.2.1', 8000)]));
    assert.equal(foreign.code, 'socket-cannot-bind');
    assert.match(`${foreign.message} ${foreign.hint}`, /EADDRNOTAVAIL.*no interface/);
    const named = refusal(() => sockets.bind([tcp('example', 8000)]));
    assert.match(named.message, /expected an IP address, found "example"/);
  });

  test(
    'a privileged port is refused with a hint',
    { skip: process.getuid?.() !== 0 && 'needs root, to become somebody else' },
    (t) => {
      const lowest = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
      if (lowest <= 1) return t.skip('this host has no privileged ports');
      const program = `
      import { createSockets } from '${systemFolder}/sockets/sockets.js';
      import { createLocks } from '${systemFolder}/instance/locks.js';
      try { createSockets(createLocks()).bind([${JSON.stringify(tcp('127.0.0.1', 1))}]); } catch (error) { console.log(error.code, error.message, error.hint); }`;
      const words = [
        '--reuid',
        '65534',
        '--clear-groups',
        '--inh-caps=-all',
        '--bounding-set=-all',
        process.execPath,
        '--input-type=module',
        '-e',
        program,
      ];
      const { stdout, stderr } = spawnSync('setpriv', words, { encoding: 'utf8' });
      assert.match(stdout, /^socket-cannot-bind .*EACCES .*CAP_NET_BIND_SERVICE/, stderr);
    },
  );
});

describe('in use', () => {
  test('a listener of another process is named with pid and command', async (t) => {
    const port = await freePort();
    const other = start(t, [
      process.execPath,
      '-e',
      `require('net').createServer().listen(${port}, '127.0.0.1', () => console.log('up'))`,
    ]);
    await linesOf(other)();
    for (const host of ['127.0.0.1', '0.0.0.0', '']) {
      const error = refusal(() => socketsFor(t).bind([tcp(host, port)]));
      assert.equal(error.code, 'socket-in-use');
      assert.equal(error.exitCode, 73);
      assert.match(error.message, new RegExp(`port ${port} is in use by pid ${other.pid} \\(node -e require`), host);
    }
  });

  test('of a listener that a tree shares, the outermost process is named', async (t) => {
    const sockets = socketsFor(t);
    const spec = tcp('127.0.0.1', 0);
    sockets.bind([spec]);
    sockets.listen();
    const shell = start(t, ['/bin/sh', '-c', `python3 ${fixture('blocking-accept.py')}; true`], {
      stdio: ['ignore', 'ignore', 'ignore', sockets.fdOf(spec.url)],
      detached: true,
    });
    t.after(() => process.kill(-shell.pid, 'SIGKILL'));
    const port = sockets.portOf(spec.url) ?? 0;
    await say({ port, host: '127.0.0.1' });
    const error = refusal(() => socketsFor(t).bind([tcp('127.0.0.1', port)]));
    assert.match(error.message, new RegExp(`in use by pid ${process.pid} `));
  });

  test('a socket of another supervise that does not listen yet is found by its lock', async (t) => {
    const port = await freePort();
    const other = start(t, [
      process.execPath,
      fixture('bind-and-hold.mjs'),
      systemFolder,
      JSON.stringify(tcp('127.0.0.1', port)),
    ]);
    assert.equal(await linesOf(other)(), 'bound');
    const sockets = socketsFor(t);
    for (const host of ['127.0.0.1', '0.0.0.0', '']) {
      const error = refusal(() => sockets.bind([tcp(host, port)]));
      assert.equal(error.code, 'socket-in-use');
      assert.match(
        error.message,
        new RegExp(`another supervise has it: pid ${other.pid} \\(node .*bind-and-hold`),
        host,
      );
    }
    sockets.bind([tcp('127.0.0.2', port)]);

    await killed(other);
    sockets.bind([tcp('127.0.0.1', port)]);
  });

  test('all or nothing: what was bound before the failure is given back', async (t) => {
    const port = await freePort();
    const taken = net.createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    t.after(() => taken.close());
    const sockets = socketsFor(t);
    const kept = tcp('127.0.0.1', 0);
    sockets.bind([kept]);
    const before = readdirSync('/proc/self/fd').length;
    const error = refusal(() =>
      sockets.bind([kept, tcp('127.0.0.1', port), tcp('127.0.0.1', (taken.address() as net.AddressInfo).port)]),
    );
    assert.equal(error.code, 'socket-in-use');
    assert.throws(() => sockets.fdOf(tcp('127.0.0.1', port).url));
    assert.ok(sockets.fdOf(kept.url) > 0);
    await until(() => readdirSync('/proc/self/fd').length === before, 'the fds to be closed');
    socketsFor(t).bind([tcp('127.0.0.1', port)]);
  });
});

describe('unix sockets', () => {
  test('mode and group are set, also anew at a later bind; the path goes with the socket', async (t) => {
    const path = join(temporaryDirectory(t), 'web.sock');
    const sockets = socketsFor(t);
    sockets.bind([unix(path)]);
    assert.equal(statSync(path).mode & 0o777, 0o666);
    sockets.bind([unix(path, 0o660, String(process.getgid?.()))]);
    assert.equal(statSync(path).mode & 0o777, 0o660);
    assert.equal(statSync(path).gid, process.getgid?.());
    sockets.retain([]);
    assert.equal(existsSync(path), false);
  });

  test(
    'a group is found by its name; an unknown one is refused',
    { skip: process.getuid?.() !== 0 && 'needs root, to give a file to a group' },
    (t) => {
      const path = join(temporaryDirectory(t), 'web.sock');
      const [name, , gid] = readFileSync('/etc/group', 'utf8').split('\n')[1]?.split(':') ?? [];
      socketsFor(t).bind([unix(path, 0o660, name)]);
      assert.equal(statSync(path).gid, Number(gid));
      const error = refusal(() => socketsFor(t).bind([unix(`${path}2`, 0o660, 'no-such-group')]));
      assert.match(error.message, /found "no-such-group"/);
      assert.equal(existsSync(`${path}2`), false);
    },
  );

  test('a path that a killed process has left is taken over; a live one is 73 with its holder', async (t) => {
    const path = join(temporaryDirectory(t), 'web.sock');
    const other = start(t, [
      process.execPath,
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
    ]);
    await linesOf(other)();
    const error = refusal(() => socketsFor(t).bind([unix(path)]));
    assert.equal(error.code, 'socket-in-use');
    assert.match(error.message, new RegExp(`in use by pid ${other.pid} `));
    assert.ok(isAlive(other.pid));
    assert.equal(
      await Promise.race([say({ path }), new Promise((done) => setTimeout(done, 100, 'accepted'))]),
      'accepted',
      'it still serves',
    );

    await killed(other);
    assert.ok(existsSync(path), 'it was left over');
    const sockets = socketsFor(t);
    sockets.bind([unix(path)]);
    sockets.listen();
    const acceptor = startAcceptor(t, sockets.fdOf(`unix:${path}`));
    assert.match(await say({ path }), new RegExp(`pid=${acceptor.pid}\n`));
  });

  test('two supervises exclude each other on one path, before either listens', async (t) => {
    const path = join(temporaryDirectory(t), 'web.sock');
    const other = start(t, [process.execPath, fixture('bind-and-hold.mjs'), systemFolder, JSON.stringify(unix(path))]);
    await linesOf(other)();
    const error = refusal(() => socketsFor(t).bind([unix(path)]));
    assert.match(error.message, new RegExp(`another supervise has it: pid ${other.pid} `));
    assert.ok(existsSync(path));
  });

  test('what is no socket is never touched', (t) => {
    const path = join(temporaryDirectory(t), 'precious');
    writeFileSync(path, 'data');
    const error = refusal(() => socketsFor(t).bind([unix(path)]));
    assert.equal(error.code, 'socket-cannot-bind');
    assert.match(error.message, /found a file/);
    assert.equal(readFileSync(path, 'utf8'), 'data');
  });

  test('on close, a socket that somebody else has put at our path stays', async (t) => {
    const path = join(temporaryDirectory(t), 'web.sock');
    const sockets = socketsFor(t);
    sockets.bind([unix(path)]);
    unlinkSync(path);
    const other = net.createServer((socket) => socket.end('other')).listen(path);
    await once(other, 'listening');
    t.after(() => other.close());
    sockets.retain([]);
    assert.equal(await say({ path }), 'other');
  });

  test('a missing directory and a path that is too long are explained', (t) => {
    const directory = temporaryDirectory(t);
    const missing = refusal(() => socketsFor(t).bind([unix(join(directory, 'none', 'web.sock'))]));
    assert.match(missing.message, /expected a directory .*none, found none/);
    const long = refusal(() => socketsFor(t).bind([unix(join(directory, 'x'.repeat(110)))]));
    assert.match(long.message, /at most 107 bytes/);
  });
});
