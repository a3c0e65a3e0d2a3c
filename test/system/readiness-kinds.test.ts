/** The kinds of readiness besides accepting on an inherited socket. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, test } from 'node:test';
import type { ReadySpec } from '../../src/core/spec.ts';
import type { Aiming } from '../../src/system/health/worker-aim.ts';
import { statOf } from '../../src/system/procfs.ts';
import { watchReadiness } from '../../src/system/readiness/readiness.ts';
import { answer, fixtures, listen, scratch, start, stop, Watched } from './readiness-workers.ts';

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
    assert.deepEqual(
      watches.map((watch) => watch.told),
      [['ready'], ['ready']],
    );
    stop(auto, spawned);
  });

  test('spawned and delay: a process that has ended is never ready', async () => {
    const quick = start(['/bin/true'], null);
    const slow = start(['/bin/sleep', '60'], null);
    const dead = [new Watched(quick, { kind: 'spawned' }), new Watched(quick, { kind: 'delay', delayMs: 1000 })];
    const alive = new Watched(slow, { kind: 'delay', delayMs: 1100 });
    await alive.ready;
    assert.deepEqual(
      dead.map((watch) => watch.told),
      [[], []],
    );
    stop(slow);
  });

  test('a zombie is not alive', async () => {
    // Its parent never waits for it: perl forks, prints the pid of the child, and sleeps.
    const parent = start(
      ['perl', '-e', '$| = 1; if ($pid = fork) { print "$pid\\n"; sleep 60 } else { exit 0 }'],
      null,
    );
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
    const kinds: ReadySpec[] = [
      { kind: 'auto' },
      { kind: 'listening' },
      { kind: 'fd' },
      { kind: 'ipc' },
      { kind: 'log', pattern: 'x' },
    ];
    const watches = kinds.map((ready) => new Watched(worker, ready, { kind: 'script' }));
    await new Watched(worker, { kind: 'delay', delayMs: 1200 }).ready;
    assert.deepEqual(
      watches.flatMap((watch) => watch.told),
      [],
    );
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

  test('tries that fail are told, also one that cannot be made', async () => {
    const worker = start(['/bin/sleep', '60'], null);
    const failuresOf = async (aim: Aiming): Promise<string> => {
      let cancel = (): void => {};
      const twice = new Promise<string>((done) => {
        const failures: string[] = [];
        const failed = (why: string) => void (failures.push(why) === 2 && done(failures.join(', ')));
        const target = {
          pid: worker.pid,
          listeners: [],
          aim,
          kind: 'command',
          ready: { kind: 'tcp', port: null },
        } as const;
        cancel = watchReadiness(target, { ready: () => assert.fail(), warning: () => assert.fail(), failed });
      });
      const told = await twice;
      cancel();
      return told;
    };
    assert.equal(await failuresOf(() => ({ failure: 'no such port' })), 'no such port, no such port');
    const broken = await failuresOf(() => ({ host: '127.0.0.1', port: 65_536, listener: 'worker' }));
    assert.match(broken, /^RangeError.*65536.*, RangeError/s);
    stop(worker);
  });

  test('http and tcp without any port are a bug of the caller', () => {
    const target = { pid: process.pid, listeners: [], aim: null, kind: 'command' as const };
    const on = { ready: () => assert.fail(), warning: () => assert.fail() };
    assert.throws(() => watchReadiness({ ...target, ready: { kind: 'tcp', port: null } }, on), { code: 'bug' });
  });

  test('nothing is told after a cancel, and no timer is left', async () => {
    const port = await freePort();
    const listener = listen();
    const worker = start([process.execPath, join(fixtures, 'own-port.mjs'), String(port)], listener);
    const inherited = { listeners: [listener.inode], port };
    const kinds: ReadySpec[] = [
      { kind: 'auto' },
      { kind: 'listening' },
      { kind: 'spawned' },
      { kind: 'delay', delayMs: 1 },
      { kind: 'http', path: '/', port: null },
      { kind: 'tcp', port: null },
    ];
    const watches = kinds.map((ready) => new Watched(worker, ready, inherited));
    for (const watch of watches) watch.cancel();
    const late = kinds.map(
      (ready) => new Watched(worker, ready.kind === 'delay' ? { kind: 'delay', delayMs: 5000 } : ready, inherited),
    );
    await sleep(300);
    for (const watch of late) watch.cancel();
    await new Watched(worker, { kind: 'delay', delayMs: 1500 }).ready;
    assert.deepEqual(
      [...watches, ...late].flatMap((watch) => watch.told),
      [],
    );
    stop(worker);
    listener.close();
  });
});
