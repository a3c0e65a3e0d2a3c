/** Control clients that hang, flood or send garbage: the master and its workers never notice. */
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Load } from '../helpers/e2e-load.ts';
import { openFiles, residentBytes } from '../helpers/e2e-proc.ts';
import { fixture, Site, until } from '../helpers/e2e-site.ts';

/** A connection that sends this, and is closed with the test if nobody else closes it. */
function attack(t: TestContext, path: string, ...pieces: readonly (string | Buffer)[]): Socket {
  const socket = connect({ path });
  socket.on('error', () => undefined);
  for (const piece of pieces) socket.write(piece);
  t.after(() => socket.destroy());
  return socket;
}

/** All of them are closed by the master, or were refused. */
async function cutOff(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) {
    socket.resume();
    await until('the master has closed a hostile connection', () => socket.closed || socket.destroyed);
  }
}

const post = (path: string, length: number) => `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n`;

test('clients that hang, flood and send garbage disturb neither the master nor a worker', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  site.config({
    apps: {
      web: {
        script: fixture('slow-answers.mjs'),
        env: { PORT: port },
        workers: 2,
        listen: [`127.0.0.1:${port}`],
        reload: { canary: '100ms' },
      },
    },
  });
  const master = await site.start().serves();
  const path = master.client.socketPath;
  const pids = await master.pids();
  const before = { files: openFiles(master.pid).length, bytes: residentBytes(master.pid) };
  const load = new Load(t, port, { path: '/5' });

  const hanging = [
    ...Array.from({ length: 15 }, () => attack(t, path)),
    ...Array.from({ length: 5 }, () => attack(t, path, 'GET /v1/status HTT')),
    ...Array.from({ length: 5 }, () => attack(t, path, post('/v1/scale', 50), '{"app":')),
  ];
  // Follows everything, and reads nothing.
  const deaf = Array.from({ length: 5 }, () =>
    attack(t, path, 'GET /v1/events?since=0&follow=1 HTTP/1.1\r\nhost: x\r\n\r\n').pause(),
  );
  assert.match(await site.ok('status'), /web\.1/);

  const garbage = [
    randomBytes(4096),
    '\u0016\u0003\u0001',
    'GET / HTTP/9.9\r\n\r\n',
    `GET /${'a'.repeat(200_000)} HTTP/1.1\r\n\r\n`,
    `${post('/v1/scale', 9)}{"app":1}`,
    `${post('/v1/stop', 4)}null`,
    'DELETE /v1/status HTTP/1.1\r\nhost: x\r\n\r\n',
    `GET /v1/../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n`,
  ];
  await cutOff(garbage.map((bytes) => attack(t, path, bytes)));
  await cutOff([attack(t, path, post('/v1/reload', 10_000_000_000), Buffer.alloc(1024 * 1024))]);
  for (let wave = 0; wave < 5; wave++) {
    const flood = Array.from({ length: 200 }, () =>
      attack(t, path, 'GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(20)),
    );
    await sleep(50);
    for (const socket of flood) socket.destroy();
  }

  // Meanwhile the master does its work.
  process.kill(pids[0]!, 'SIGKILL');
  await master.until('the crashed worker is back', () => master.eventsOf('worker.ready').length === 3);
  master.signal('SIGTTIN');
  await master.until('a third worker is ready', () => master.eventsOf('worker.ready').length === 4);
  await cutOff(hanging);
  for (const socket of deaf) socket.destroy();
  await site.ok('reload');
  assert.equal((await master.pids()).length, 3);

  await load.end();
  // What the killed worker had in hand is all that may be lost.
  assert.ok(load.failures.length <= 4 && load.failures.every((code) => code === 'ECONNRESET'), load.failures.join(' '));
  assert.ok(residentBytes(master.pid) < before.bytes + 150 * 1024 * 1024, `${residentBytes(master.pid)} bytes`);
  await master.until('all hostile connections are closed', () => openFiles(master.pid).length <= before.files + 10);
  assert.deepEqual(master.eventsOf('master.stopping'), []);
  await master.stop();
});

test('a client that is stopped in the middle of `events -f` does not hold up a stop', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: { command: 'sleep 1000', workers: 20, ready: { delay: '50ms' } } } });
  const master = await site.start().serves();
  const { child, seen, ended } = site.launch(['events', '-f', '--json']);
  await until('it follows', () => seen.stdout.includes('app.running'));
  child.kill('SIGSTOP');
  await site.ok('scale', 'web', '40');
  master.signal('SIGTERM');
  const { code } = await master.ended;
  assert.equal(code, 0);
  child.kill('SIGCONT');
  await ended;
  await site.nothingIsLeft();
});

test('without a reader of its output the master goes on, and a stop is still clean', async (t) => {
  const site = new Site(t);
  site.config({
    apps: { web: { command: ['/bin/sh', '-c', 'while :; do echo line; sleep 0.01; done'], ready: { delay: '50ms' } } },
  });
  const master = site.start();
  await master.serves();
  master.closeOutput();
  const [pid] = await master.pids();
  process.kill(pid!, 'SIGKILL');
  await master.until('it is ready again', () => master.eventsOf('worker.ready').length === 2);
  master.signal('SIGTERM');
  await once(master.child, 'exit');
  assert.equal(master.child.exitCode, 0);
  await site.nothingIsLeft();
});
