/** Workers and the rotation: when a real process comes in and goes out, and in which order it is asked to stop. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { AppSpec, ListenSpec } from '../../src/core/spec.ts';
import { loadNative } from '../../src/system/native.ts';
import { statOf } from '../../src/system/procfs.ts';
import { socketTelling } from '../../src/system/processes/socket-telling.ts';
import { ask, Spawning, until, type Tried } from '../helpers/spawning.ts';
import { nativeFor, ways } from './lane-address.ts';

let world: Spawning;

const tellsTerm = ['python3', resolve('test/fixtures/tells-term.py')];
type Tcp = Extract<ListenSpec, { kind: 'tcp' }>;

async function startAll(listen: Tcp, count: number, more: Partial<AppSpec> = {}): Promise<Tried[]> {
  const workers = Array.from({ length: count }, () => world.start({ argv: tellsTerm, listen: [listen], ...more }));
  await Promise.all(workers.map((one) => one.ready));
  return workers;
}

/** How many wait at each listener, in the order of the workers. */
function queues(listen: Tcp): number[] {
  return world.sockets.lanesOf(listen.url).map((fd) => loadNative()?.sockets.waiting(fd) ?? -1);
}

async function stopped(worker: Tried): Promise<void> {
  process.kill(worker.pid, 'SIGSTOP');
  await until(() => statOf(worker.pid)?.state === 'T');
}

/** Whether SIGTERM (15) has been sent to it, and waits until it goes on. */
function isAskedToStop(worker: Tried): boolean {
  const pending = /^ShdPnd:\s+(\w+)$/m.exec(readFileSync(`/proc/${worker.pid}/status`, 'utf8'))?.[1];
  return (BigInt(`0x${pending}`) & (1n << 14n)) !== 0n;
}

/** Asks until a request waits at this listener. The answers come later. */
async function askUntilOneWaits(listen: Tcp, index: number): Promise<Promise<string>[]> {
  const answers: Promise<string>[] = [];
  while (queues(listen)[index] === 0) {
    answers.push(ask(listen.port));
    await new Promise(setImmediate);
  }
  return answers;
}

for (const way of ways)
  describe(`where what waits is ${way}`, () => {
    before(() => {
      world = new Spawning('shop', () => nativeFor(way));
    });
    after(() => world.close());

    test('a worker is out of the rotation at once, and asked to stop when it has served what waits for it', async () => {
      const listen = await world.listen();
      const [one, other] = await startAll(listen, 2);
      await stopped(one!);
      const answers = await askUntilOneWaits(listen, 0);
      one!.process.terminate('SIGTERM');
      const late = await Promise.all(Array.from({ length: 40 }, () => ask(listen.port)));
      assert.deepEqual([...new Set(late)], [String(other!.pid)]);
      assert.ok(!isAskedToStop(one!), 'it was asked to stop although a connection waits for it');

      process.kill(one!.pid, 'SIGCONT');
      const early = await Promise.all(answers);
      assert.ok(early.includes(String(one!.pid)));
      assert.equal((await one!.exited).code, 0);
      const said = one!.lines();
      assert.equal(said.at(-1), 'term');
      assert.equal(said.length - 1, early.filter((pid) => pid === String(one!.pid)).length);
    });

    test('of a worker that dies nothing is lost but what it had in hand: what waits for it is served', async () => {
      const listen = await world.listen();
      const [one, other] = await startAll(listen, 2);
      await stopped(one!);
      const answers = await askUntilOneWaits(listen, 0);
      process.kill(one!.pid, 'SIGKILL');
      await one!.exited;
      // Those who are ready serve it; else its successor does.
      const moved = way === 'moving' ? await Promise.all(answers) : null;
      const [successor] = await startAll(listen, 1);
      const pids = await Promise.all(answers);
      assert.ok(moved?.every((pid) => pid === String(other!.pid)) ?? pids.includes(String(successor!.pid)));
    });

    test('a ready worker that is kept out gets no connection until it is let in, not even beside one that is starting', async () => {
      const listen = await world.listen();
      const [one, other] = await startAll(listen, 2);
      const spare = world.start({ argv: tellsTerm, listen: [listen] }, { isHeld: true });
      await spare.ready;
      const answers = async () => new Set(await Promise.all(Array.from({ length: 40 }, () => ask(listen.port))));
      assert.deepEqual(await answers(), new Set([one, other].map((each) => String(each!.pid))));
      assert.equal(spare.process.sharesListener, false);
      process.kill(one!.pid, 'SIGKILL');
      await one!.exited;
      assert.deepEqual(await answers(), new Set([String(other!.pid)]));
      spare.process.admit();
      assert.deepEqual(await answers(), new Set([other, spare].map((each) => String(each!.pid))));
    });

    test('one that is kept out serves when nobody else is there: at once, or when it is let in', async () => {
      const listen = await world.listen();
      const [one] = await startAll(listen, 1);
      const spare = world.start({ argv: tellsTerm, listen: [listen] }, { isHeld: true });
      await spare.ready;
      assert.equal(await ask(listen.port), String(one!.pid));
      process.kill(one!.pid, 'SIGKILL');
      await one!.exited;
      if (way === 'moving') spare.process.admit();
      assert.equal(await ask(listen.port), String(spare.pid));
    });

    test('another signal than that for a stop, for one that hangs, is sent at once', async () => {
      const listen = await world.listen();
      const [one, other] = await startAll(listen, 2, { stop: { signal: 'SIGUSR1', timeoutMs: 600_000 } });
      await stopped(one!);
      const answers = await askUntilOneWaits(listen, 0);
      one!.process.terminate('SIGTERM');
      const late = await Promise.all(Array.from({ length: 40 }, () => ask(listen.port)));
      assert.deepEqual([...new Set(late)], [String(other!.pid)]);
      await one!.exited;
      await startAll(listen, 1);
      await Promise.all(answers);
    });

    test('nothing more is sent to a worker from the moment of its kill', async () => {
      const listen = await world.listen();
      const [one, other] = await startAll(listen, 2);
      one!.process.kill();
      const sent = Array.from({ length: 40 }, () => connect(listen.port, '127.0.0.1'));
      await Promise.all(sent.map((client) => once(client, 'connect')));
      assert.equal(queues(listen)[0], 0);
      for (const client of sent) client.destroy();
      await one!.exited;
      assert.equal(await ask(listen.port), String(other!.pid));
    });

    test('a kill waits for nothing', async () => {
      const listen = await world.listen();
      const [one] = await startAll(listen, 2, { stop: { signal: 'SIGTERM', timeoutMs: 600_000 } });
      await stopped(one!);
      const answers = await askUntilOneWaits(listen, 0);
      one!.process.terminate('SIGTERM');
      one!.process.kill();
      const { signal } = await one!.exited;
      assert.equal(signal, 'SIGKILL');
      await startAll(listen, 1);
      await Promise.all(answers);
    });

    test('when all are stopped, all are asked at once', async () => {
      const listen = await world.listen();
      const workers = await startAll(listen, 3);
      for (const one of workers) await stopped(one);
      const clients: Socket[] = Array.from({ length: 30 }, () => connect(listen.port, '127.0.0.1'));
      await Promise.all(clients.map((client) => once(client, 'connect')));
      for (const one of workers) one.process.terminate('SIGTERM');
      assert.deepEqual(workers.map(isAskedToStop), [true, true, true]);
      for (const one of workers) process.kill(one.pid, 'SIGCONT');
      await Promise.all(workers.map((one) => one.exited));
      for (const client of clients) client.destroy();
    });

    test('a worker that dies while it leaves is over at once, and what it had started is killed', async () => {
      const listen = await world.listen();
      const argv = ['/bin/sh', '-c', `sleep 600 & exec "$@"`, 'sh', ...tellsTerm];
      const [one] = await startAll(listen, 2, { argv, stop: { signal: 'SIGTERM', timeoutMs: 600_000 } });
      one!.process.terminate('SIGTERM');
      process.kill(one!.pid, 'SIGKILL');
      assert.equal((await one!.exited).signal, 'SIGKILL');
      assert.deepEqual(world.marked(one!), []);
    });

    test('workers on a unix socket share it, and are asked to stop at once', async () => {
      const path = `${world.directory}/steering.sock`;
      const unix: ListenSpec = { kind: 'unix', path, mode: 0o666, group: null, url: `unix:${path}` };
      world.listenOn([unix]);
      const workers = [0, 1].map(() => world.start({ argv: tellsTerm, listen: [unix] }));
      await Promise.all(workers.map((one) => one.ready));
      assert.deepEqual(
        workers.map((one) => one.process.sharesListener),
        [true, true],
      );
      await stopped(workers[0]!);
      workers[0]!.process.terminate('SIGTERM');
      assert.ok(isAskedToStop(workers[0]!));
      process.kill(workers[0]!.pid, 'SIGCONT');
      assert.equal((await workers[0]!.exited).code, 0);
      assert.equal(await ask(path), String(workers[1]!.pid));
    });
  });

test('how a program is told its sockets', () => {
  const cases: readonly [words: string, sockets: number, args: string | undefined, told: string][] = [
    ['/srv/app', 0, undefined, 'none'],
    ['/srv/app', 1, undefined, 'set'],
    ['uvicorn main:app --fd 3', 1, undefined, 'set'],
    ['hypercorn -b fd://3 main:app', 1, undefined, 'none'],
    ['gunicorn main:app', 1, undefined, 'none --bind fd://3'],
    ['/usr/bin/python3 -m gunicorn main:app', 2, undefined, 'none --bind fd://3 --bind fd://4'],
    ['gunicorn -c conf.py main:app', 1, '--workers 2', 'none --workers 2 --bind fd://3'],
    ['gunicorn --bind=fd://3 main:app', 1, undefined, 'none'],
    ['gunicorn main:app', 1, '--bind fd://3', 'none'],
    ['gunicorn -b 127.0.0.1:8000 main:app', 1, undefined, 'set'],
    ['gunicorn --bind 127.0.0.1:8000 main:app', 1, undefined, 'set'],
    ['gunicorn --backlog 100 main:app', 1, undefined, 'none --bind fd://3'],
    ['run-gunicorn-tests', 1, undefined, 'set'],
  ];
  for (const [words, sockets, args, told] of cases) {
    const { listenPid, env } = socketTelling(
      words.split(' '),
      sockets,
      args === undefined ? {} : { GUNICORN_CMD_ARGS: args },
    );
    assert.equal([listenPid, ...Object.values(env)].join(' '), told, words);
  }
});
