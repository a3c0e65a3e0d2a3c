/**
 * `balance: round-robin`: the master accepts, and hands connections to the scripts in turn. A file of its own, because
 * node:cluster has one policy per process.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { SuperviseError } from '../../src/core/errors.ts';
import type { AppSpec } from '../../src/core/spec.ts';
import { readText } from '../../src/system/procfs.ts';
import {
  appSpec,
  ask,
  fixture,
  freePort,
  lives,
  pidIn,
  plainEnv,
  Spawning,
  until,
  type Tried,
} from '../helpers/spawning.ts';

const world = new Spawning();
after(() => world.close());

function scriptOn(port: number, wanted: Partial<AppSpec> & { argv?: readonly string[] } = {}) {
  return {
    kind: 'script' as const,
    balance: 'round-robin' as const,
    argv: [fixture('cluster.mjs')],
    env: { SERVE_PORT: String(port) },
    ...wanted,
  };
}

async function serving(port: number, count: number, wanted: Partial<AppSpec> = {}): Promise<Tried[]> {
  const workers = Array.from({ length: count }, () => world.start(scriptOn(port, wanted)));
  await Promise.all(workers.map((one) => one.ready));
  return workers;
}

/** A connection that stays, after its first answer, and who has answered. */
async function keep(port: number): Promise<{ socket: Socket; pid: number }> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => (text += String(chunk))).on('error', () => undefined);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const pid = await until(() => Number(/\r\n\r\n(\d+)$/.exec(text)?.[1] ?? 0) || null);
  return { socket, pid };
}

test('connections go to the workers in turn', async () => {
  const port = await freePort();
  const workers = await serving(port, 2);
  const kept: { socket: Socket; pid: number }[] = [];
  for (let count = 0; count < 8; count++) kept.push(await keep(port));
  assert.deepEqual(
    workers.map(({ pid }) => kept.filter((one) => one.pid === pid).length),
    [4, 4],
  );
  for (const { socket } of kept) socket.destroy();
});

describe('a worker that is asked to end', () => {
  test('is out of the rotation before its signal: what is on its way to it is answered by another one', async () => {
    const port = await freePort();
    const quick = { argv: [fixture('quits.mjs')] };
    let workers = await serving(port, 2, quick);
    const answers: string[] = [];
    let state: 'runs' | 'ends' = 'runs';
    const clients = Array.from({ length: 16 }, async () => {
      while (state === 'runs') answers.push(await ask(port));
    });
    for (let time = 0; time < 6; time++) {
      const successors = await serving(port, 2, quick);
      for (const one of workers) {
        one.process.terminate('SIGTERM');
        assert.equal((await one.exited).code, 0);
      }
      workers = successors;
    }
    state = 'ends';
    // One that is lost is never closed: it would be waited for in vain.
    await Promise.all(clients);
    assert.ok(!answers.includes(''), 'a connection was closed without an answer');
    const last = await Promise.all(Array.from({ length: 20 }, () => ask(port)));
    assert.deepEqual(new Set(last), new Set(workers.map(({ pid }) => String(pid))));
  });

  test('finds its server as it was in a handler of its own', async () => {
    const port = await freePort();
    const own = { argv: [fixture('../drain/own-handler.mjs')] };
    const [leaving, staying] = await serving(port, 2, own);
    leaving!.process.terminate('SIGTERM');
    await leaving!.line(/own handler/);
    for (let count = 0; count < 20; count++) assert.equal(await ask(port), String(staying!.pid));
    assert.ok(lives(leaving!.pid), 'nothing kept it alive any more');
    process.kill(leaving!.pid, 'SIGUSR2');
    await leaving!.line(/closed, no error/);
    assert.equal((await leaving!.exited).code, 7);
  });

  test('and does not answer gets its signal all the same', async () => {
    const port = await freePort();
    const [leaving] = await serving(port, 1, { stop: { signal: 'SIGTERM', timeoutMs: 200 } });
    process.kill(leaving!.pid, 'SIGSTOP');
    leaving!.process.terminate('SIGTERM');
    // SIGCONT before the signal would let it answer: it is waited for until that is pending.
    const isPending = (): boolean =>
      (Number.parseInt(/^ShdPnd:\t(\w+)/m.exec(readText(`/proc/${leaving!.pid}/status`) ?? '')?.[1] ?? '0', 16) &
        0x4000) !==
      0;
    await until(isPending);
    process.kill(leaving!.pid, 'SIGCONT');
    assert.equal((await leaving!.exited).code, 0);
  });

  test('before it has listened gets it at once', async () => {
    const file = join(world.directory, 'sleeper');
    const stop = { signal: 'SIGTERM', timeoutMs: 600_000 } as const;
    const tried = world.start(scriptOn(0, { argv: [fixture('sleeper.mjs'), file], stop }));
    await pidIn(file);
    tried.process.terminate('SIGTERM');
    assert.equal((await tried.exited).code, 0);
  });
});

test('what is on its way to a worker that is killed is answered by another one', async () => {
  const port = await freePort();
  const workers = await serving(port, 2);
  for (let time = 0; time < 8; time++) {
    process.kill(workers.shift()!.pid, 'SIGKILL');
    // The master does not know of it yet. One that is lost is never closed, and would be waited for in vain.
    const answers = await Promise.all(Array.from({ length: 6 }, () => ask(port)));
    assert.deepEqual(new Set(answers), new Set([String(workers[0]!.pid)]));
    workers.push(...(await serving(port, 1)));
  }
});

/** How many connections to this port somebody has accepted. */
function accepted(port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = (readText('/proc/net/tcp') ?? '').split('\n').map((row) => row.trim().split(/\s+/));
  return rows.filter((row) => row[1]?.endsWith(local) && row[3] === '01' && row[9] !== '0').length;
}

/** Without an answer. What has not been read makes it a reset. */
async function isClosed(port: number): Promise<void> {
  await assert.rejects(ask(port), { code: 'ECONNRESET' });
}

describe('what is on its way to the last worker, as nobody else could answer it, is closed', () => {
  test('when that is killed', async () => {
    const port = await freePort();
    const [last] = await serving(port, 1);
    process.kill(last!.pid, 'SIGSTOP');
    const answers = Promise.all(Array.from({ length: 3 }, () => isClosed(port)));
    await until(() => accepted(port) === 3);
    process.kill(last!.pid, 'SIGKILL');
    await answers;
    await until(() => accepted(port) === 0);
  });

  test('when that leaves', async () => {
    const port = await freePort();
    const [last] = await serving(port, 1, { stop: { signal: 'SIGTERM', timeoutMs: 600_000 } });
    process.kill(last!.pid, 'SIGSTOP');
    last!.process.terminate('SIGTERM');
    // Behind the request to leave: it is refused.
    const answers = Promise.all(Array.from({ length: 3 }, () => isClosed(port)));
    await until(() => accepted(port) === 3);
    process.kill(last!.pid, 'SIGCONT');
    await answers;
    assert.equal((await last!.exited).code, 0);
    await until(() => accepted(port) === 0);
  });

  test('when that is killed, and one at another port of the app serves on', async () => {
    const [port, other] = [await freePort(), await freePort()];
    const [last] = await serving(port, 1);
    const [staying] = await serving(other, 1);
    process.kill(last!.pid, 'SIGSTOP');
    const answer = isClosed(port);
    await until(() => accepted(port) === 1);
    process.kill(last!.pid, 'SIGKILL');
    await answer;
    assert.equal(await ask(other), String(staying!.pid));
  });
});

test('a script that wants another policy is refused, and says why', async () => {
  const port = await freePort();
  const [one] = await serving(port, 1);
  assert.ok(one !== undefined);
  const other = appSpec(scriptOn(port, { name: 'api', balance: 'auto' }));
  assert.throws(
    () => world.spawner.pin(other, 2, plainEnv),
    (error: SuperviseError) => {
      assert.equal(error.code, 'launch-failed');
      assert.match(error.message, /^app api: expected scripts with balance: round-robin, .*, found one without$/);
      assert.match(error.hint ?? '', /restart the master/);
      return true;
    },
  );
  const listening = appSpec(scriptOn(port, { name: 'api', balance: 'auto', listen: [await world.listen()] }));
  assert.equal(world.spawner.pin(listening, 2, plainEnv).app, listening);
});
