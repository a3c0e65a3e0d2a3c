import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ControlClient, resultOf } from '../../src/control/client.ts';
import type { OperationLine } from '../../src/control/face.ts';
import type { SuperviseError } from '../../src/core/errors.ts';
import type { Reply } from '../../src/core/protocol.ts';
import { eventually, openRoom } from './fake-master.ts';

const accepted = (operation: number): Reply => ({ ok: true, operation, message: 'begun' });

async function all<T>(lines: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const line of lines) read.push(line);
  return read;
}

/** The types of the lines, in order. */
async function types(lines: AsyncIterable<OperationLine>): Promise<string[]> {
  return (await all(lines)).map((line) => line.type);
}

test('an operation streams its own progress and ends with its result; other operations and workers are not in it', async (t) => {
  const { master, socketPath } = await openRoom(t);
  master.answer = () => accepted(7);
  const read = all(new ControlClient(socketPath).scale('web', { to: 4 }));
  await eventually('the command arrives', () => master.commands.length === 1);
  master.emit({ type: 'operation.progress', operation: 8, name: 'scale', message: 'of another' });
  master.emit({ type: 'operation.progress', operation: 7, name: 'scale', message: '3 of 4' });
  master.emit({ type: 'worker.stopped', app: 'web', worker: 'web.1', slot: 0 });
  master.emit({
    type: 'operation.finished',
    operation: 8,
    name: 'scale',
    ok: false,
    message: 'of another',
    lastLines: [],
  });
  master.emit({
    type: 'operation.finished',
    operation: 7,
    name: 'scale',
    ok: true,
    message: 'web has 4 workers',
    lastLines: [],
  });
  const [progress, result, ...more] = await read;
  assert.deepEqual(progress, {
    seq: 2,
    at: '2026-01-01T00:00:00.000Z',
    type: 'operation.progress',
    operation: 7,
    name: 'scale',
    message: '3 of 4',
  });
  assert.deepEqual(result, { type: 'result', ok: true, exitCode: 0, message: 'web has 4 workers', lastLines: [] });
  assert.deepEqual(more, []);
  assert.equal(master.listeners.size, 1);
});

test('an operation that is over before the master has answered has its result', async (t) => {
  const { master, socketPath } = await openRoom(t);
  master.answer = () => {
    master.emit({ type: 'operation.started', operation: 1, name: 'scale', message: 'begun' });
    master.emit({
      type: 'operation.finished',
      operation: 1,
      name: 'scale',
      ok: true,
      message: 'nothing to do',
      lastLines: [],
    });
    return accepted(1);
  };
  assert.deepEqual(await types(new ControlClient(socketPath).scale('web', { to: 1 })), ['operation.started', 'result']);
});

test('a reload carries the rollout of its apps, and a rollback is exit 1 with the last lines', async (t) => {
  const { master, socketPath } = await openRoom(t);
  master.answer = () => accepted(1);
  const seen: string[] = [];
  const result = resultOf(new ControlClient(socketPath).reload({ apps: ['web'] }), (event) => seen.push(event.type));
  await eventually('the command arrives', () => master.commands.length === 1);
  master.emit({ type: 'rollout.started', app: 'web', from: 1, to: 2 });
  master.emit({ type: 'rollout.started', app: 'api', from: 1, to: 2 });
  master.emit({
    type: 'rollout.rolled_back',
    app: 'web',
    from: 1,
    to: 2,
    worker: 'web.9',
    reason: 'it exited with 1',
    lastLines: ['boom'],
  });
  master.emit({
    type: 'operation.finished',
    operation: 1,
    name: 'reload',
    ok: false,
    message: 'web was rolled back',
    lastLines: [],
  });
  assert.deepEqual(await result, {
    type: 'result',
    ok: false,
    exitCode: 1,
    message: 'web was rolled back',
    lastLines: ['boom'],
  });
  assert.deepEqual(seen, ['rollout.started', 'rollout.rolled_back']);
});

test('a client that leaves ends its wait only: the operation is not asked to end, and no subscription is left', async (t) => {
  const { master, socketPath } = await openRoom(t);
  master.answer = () => accepted(1);
  const controller = new AbortController();
  const wait = resultOf(new ControlClient(socketPath).reload({ apps: null }, { signal: controller.signal }), () => {});
  await eventually('the command arrives', () => master.commands.length === 1);
  controller.abort();
  await assert.rejects(wait, (error: SuperviseError) => error.code === 'operation-failed');
  await eventually('the subscription ends', () => master.listeners.size === 1);
  assert.equal(master.commands.length, 1);
});

test('a stop ends well when the master ends well; anything else that the end cuts short has failed', async (t) => {
  const { master, socketPath } = await openRoom(t);
  const client = new ControlClient(socketPath);
  master.answer = (command) => accepted(command.type === 'stop' ? 1 : 2);
  const stop = resultOf(client.stop('graceful'), () => {});
  const scale = resultOf(client.scale('web', { to: 2 }), () => {});
  await eventually('both arrive', () => master.commands.length === 2);
  master.emit({ type: 'master.stopped', exitCode: 0 });
  assert.deepEqual(await stop, { type: 'result', ok: true, exitCode: 0, message: 'the master ended', lastLines: [] });
  assert.deepEqual(await scale, {
    type: 'result',
    ok: false,
    exitCode: 1,
    message: 'the master ended before this was done',
    lastLines: [],
  });
});

test('a server that closes ends the streams; the client says that there was no result', async (t) => {
  const { master, socketPath, server } = await openRoom(t);
  master.answer = () => accepted(1);
  const client = new ControlClient(socketPath);
  const wait = resultOf(client.restart('web'), () => {});
  const follow = all(client.events({ since: 0, follow: true }));
  await eventually('both are open', () => master.listeners.size === 3);
  server.close();
  await assert.rejects(wait, /ended before it reported a result/);
  assert.deepEqual(await follow, []);
  await assert.rejects(client.status(), (error: SuperviseError) => error.code === 'no-master' && error.exitCode === 3);
  server.close();
});

test('events: since, recent, and what comes, without a gap or a double', async (t) => {
  const { master, socketPath } = await openRoom(t);
  const client = new ControlClient(socketPath);
  for (let i = 0; i < 5; i++) master.emit({ type: 'master.warning', message: String(i) });
  assert.deepEqual(
    (await all(client.events({ since: 3, follow: false }))).map(({ seq }) => seq),
    [4, 5],
  );
  const controller = new AbortController();
  const seqs: number[] = [];
  const follow = (async () => {
    for await (const { seq } of client.events({ since: 4, follow: true }, { signal: controller.signal }))
      seqs.push(seq);
  })();
  await eventually('it follows', () => master.listeners.size === 2);
  for (let i = 0; i < 50; i++) master.emit({ type: 'master.warning', message: 'later' });
  await eventually('all are there', () => seqs.length === 51);
  assert.deepEqual(
    seqs,
    Array.from({ length: 51 }, (_, i) => i + 5),
  );
  controller.abort();
  await assert.rejects(follow);
});

test('logs: by app, worker and hook, the last n, then what comes', async (t) => {
  const { logs, socketPath } = await openRoom(t);
  const client = new ControlClient(socketPath);
  for (const [source, line] of [
    ['web.1', 'a'],
    ['web.2', 'b'],
    ['hook.migrate', 'c'],
    ['web.1', 'd'],
  ] as const)
    logs.add(source, line);
  const read = async (target: string | null, n = 100) =>
    (await all(client.logs({ target, n, follow: false }))).map(({ line }) => line);
  assert.deepEqual(await read(null), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await read('web'), ['a', 'b', 'd']);
  assert.deepEqual(await read('web.1'), ['a', 'd']);
  assert.deepEqual(await read('web.1', 1), ['d']);
  assert.deepEqual(await read('hook.migrate'), ['c']);
  assert.deepEqual(await read('web.99'), [], 'a worker that has said nothing');
  await assert.rejects(
    read('wep'),
    (error: SuperviseError) =>
      error.code === 'unknown-target' && error.exitCode === 64 && /web, hook\.migrate/.test(error.hint ?? ''),
  );
  const lines: string[] = [];
  const controller = new AbortController();
  const follow = (async () => {
    for await (const { line } of client.logs({ target: 'web.1', n: 1, follow: true }, { signal: controller.signal }))
      lines.push(line);
  })();
  await eventually('it follows', () => logs.listeners.size === 1);
  logs.add('web.2', 'not this');
  logs.add('web.1', 'ünïcödé \u2028 line');
  await eventually('it came', () => lines.length === 2);
  assert.deepEqual(lines, ['d', 'ünïcödé \u2028 line']);
  controller.abort();
  await assert.rejects(follow);
});
