/** Connections of real processes, on real sockets: who holds how many, and how many wait, as the kernel and its tables tell it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import type { AppSpec, ListenSpec } from '../../src/core/spec.ts';
import type { AppConnections } from '../../src/ports.ts';
import { loadNative } from '../../src/system/native.ts';
import { statOf } from '../../src/system/procfs.ts';
import { createConnectionCounter } from '../../src/system/sampling/connections.ts';
import { askKernel, readTcpTable } from '../../src/system/sampling/listener-table.ts';
import { freePort, Spawning, until, type Tried } from '../helpers/spawning.ts';
import { nativeFor } from './lane-address.ts';

/** Where it can be moved nothing is ever stranded. */
const world = new Spawning('shop', () => nativeFor('staying'));
const counter = createConnectionCounter(world.sockets);
const clients: Socket[] = [];
after(async () => {
  for (const client of clients) client.destroy();
  await world.close();
});

const keeps = ['python3', resolve('test/fixtures/keeps.py')];

async function tcp(host = '127.0.0.1'): Promise<ListenSpec> {
  const port = await freePort();
  const spec: ListenSpec = { kind: 'tcp', host, port, url: `tcp://${host}:${port}` };
  world.listenOn([spec]);
  return spec;
}

function unix(name: string): ListenSpec {
  const path = join(world.directory, name);
  const spec: ListenSpec = { kind: 'unix', path, mode: 0o600, group: null, url: `unix:${path}` };
  world.listenOn([spec]);
  return spec;
}

async function connected(spec: ListenSpec, count: number, host?: string): Promise<Socket[]> {
  const made = Array.from({ length: count }, () =>
    spec.kind === 'unix' ? createConnection(spec.path) : createConnection(spec.port, host ?? '127.0.0.1'),
  );
  clients.push(...made);
  await Promise.all(made.map((client) => once(client, 'connect')));
  return made;
}

async function started(listen: ListenSpec, count: number, more: Partial<AppSpec> = {}): Promise<Tried[]> {
  const workers = Array.from({ length: count }, () => world.start({ argv: keeps, listen: [listen], ...more }));
  await Promise.all(workers.map((one) => one.ready));
  return workers;
}

function accepted(worker: Tried): number {
  return worker.lines().filter((line) => line === 'accepted').length;
}

async function stopped(worker: Tried): Promise<void> {
  process.kill(worker.pid, 'SIGSTOP');
  await until(() => statOf(worker.pid)?.state === 'T');
}

async function counted(listen: ListenSpec, workers: readonly Tried[]): Promise<AppConnections> {
  const pids = new Map(workers.map(({ source, pid }) => [source, pid]));
  const all = await new Promise<ReadonlyMap<string, AppConnections>>((done) =>
    counter.count([{ name: 'web', urls: [listen.url], workers: pids }], done),
  );
  return all.get('web')!;
}

/** Connections and queue of each worker, in their order, and the app's queue. */
async function figures(
  listen: ListenSpec,
  workers: readonly Tried[],
): Promise<[held: unknown[], queues: unknown[], queue: unknown]> {
  const { queue, workers: each } = await counted(listen, workers);
  const found = workers.map(({ source }) => each.get(source));
  return [found.map((one) => one?.connections), found.map((one) => one?.queue), queue];
}

describe('told of listeners by', () => {
  const ways = { 'the kernel': askKernel, 'the tables': readTcpTable } as const;
  const hosts = [
    ['127.0.0.1', 'ipv4', '127.0.0.1'],
    ['::1', 'ipv6', '::1'],
    ['', 'ipv6', '127.0.0.1'],
    ['', 'ipv6', '::1'],
  ] as const;
  for (const [way, read] of Object.entries(ways)) {
    for (const [host, family, from] of hosts) {
      test(`${way}: ${family} at ${host || 'all addresses'}, from ${from}`, async () => {
        const [listen, other] = [await tcp(host), await tcp(host)];
        const inode = world.sockets.inodeOf(listen.url);
        const told = (): [number | undefined, number] => {
          const table = { waiting: new Map<string, number>(), accepted: new Set<string>() };
          const ports = [listen].flatMap((spec) => (spec.kind === 'tcp' ? [spec.port] : []));
          assert.equal(read(family, ports, table), true);
          assert.deepEqual([...table.waiting.keys()], [inode], 'those of this port, and no others');
          return [table.waiting.get(inode), table.accepted.size];
        };
        await connected(other, 2, from);
        assert.deepEqual(told(), [0, 0]);
        await connected(listen, 3, from);
        await until(() => told()[0] === 3);
        assert.deepEqual(told(), [3, 0], 'nobody has accepted them');
        const [worker] = await started(listen, 1);
        await until(() => accepted(worker!) === 3);
        assert.deepEqual(told(), [0, 3]);
      });
    }
  }

  test('the kernel: of many ports each', async () => {
    const ports = Array.from({ length: 200 }, (_, index) => 20_000 + 3 * index);
    const [one, other] = [await tcp(), await tcp()];
    const own = [one, other].flatMap((spec) => (spec.kind === 'tcp' ? [spec.port] : []));
    const inodes = [one, other].map(({ url }) => world.sockets.inodeOf(url));
    for (const wanted of [
      [...own, ...ports],
      [...ports, ...own],
      [own[0]!, ...ports, own[1]!],
    ]) {
      const table = { waiting: new Map<string, number>(), accepted: new Set<string>() };
      assert.ok(askKernel('ipv4', wanted, table));
      for (const inode of inodes) assert.ok(table.waiting.has(inode));
    }
    const table = { waiting: new Map<string, number>(), accepted: new Set<string>() };
    assert.ok(askKernel('ipv4', [own[0]! + 1, own[0]! - 1], table));
    assert.ok(!table.waiting.has(inodes[0]!), 'neither a greater nor a lesser port');
  });
});

describe('workers', () => {
  test('of one socket: who has how many, and what waits for all of them', async () => {
    const listen = await tcp();
    const workers = await started(listen, 3, { balance: 'shared' });
    const [one, two, three] = workers as [Tried, Tried, Tried];
    await Promise.all([one, three].map(stopped));
    const kept = await connected(listen, 8);
    await until(() => accepted(two) === 8);
    assert.deepEqual(await figures(listen, workers), [[0, 8, 0], [null, null, null], 0]);
    assert.deepEqual(await figures(listen, workers), [[0, 8, 0], [null, null, null], 0], 'nothing has changed');

    await stopped(two);
    await connected(listen, 4);
    await until(async () => (await counted(listen, workers)).queue === 4);
    assert.deepEqual(await figures(listen, workers), [[0, 8, 0], [null, null, null], 4]);

    process.kill(three.pid, 'SIGCONT');
    await until(() => accepted(three) === 4);
    assert.deepEqual(await figures(listen, workers), [[0, 8, 4], [null, null, null], 0]);

    process.kill(two.pid, 'SIGKILL');
    await two.exited;
    assert.deepEqual(await figures(listen, workers), [[0, 0, 4], [null, null, null], 0]);
    assert.equal(kept.length, 8);
  });

  test('with a listener each: who has how many, and what waits for each', async () => {
    const listen = await tcp();
    const workers = await started(listen, 2);
    const [one, two] = workers as [Tried, Tried];
    await connected(listen, 30);
    await until(() => accepted(one) + accepted(two) === 30);
    assert.deepEqual(await figures(listen, workers), [[accepted(one), accepted(two)], [0, 0], 0]);

    const before = accepted(two);
    await stopped(one);
    await connected(listen, 30);
    // The other takes what is sent to it; the rest waits for the one that is stopped.
    const [held, queues, queue] = await until(async () => {
      const found = await figures(listen, workers);
      return found[1][1] === 0 && (found[2] as number) + accepted(two) - before === 30 ? found : null;
    });
    assert.ok((queue as number) > 0);
    assert.deepEqual(
      [held, queues],
      [
        [accepted(one), accepted(two)],
        [queue, 0],
      ],
    );
  });

  test('what waits at a listener that no worker has any more is stranded, until the next one starts', async () => {
    const listen = await tcp();
    const workers = await started(listen, 2);
    const [one, two] = workers as [Tried, Tried];
    await stopped(one);
    await connected(listen, 30);
    const { queue } = await until(async () => {
      const found = await counted(listen, workers);
      const isTaken = found.workers.get(two.source)?.queue === 0;
      return isTaken && (found.queue ?? 0) + accepted(two) === 30 ? found : null;
    });
    assert.deepEqual([(await counted(listen, workers)).stranded, (queue ?? 0) > 0], [0, true]);
    process.kill(one.pid, 'SIGKILL');
    await one.exited;
    assert.deepEqual([(await counted(listen, [two])).stranded, (await counted(listen, [two])).queue], [queue, queue]);
    const [three] = await started(listen, 1);
    await until(() => accepted(three!) === queue);
    assert.deepEqual([(await counted(listen, [two, three!])).stranded, accepted(two) + accepted(three!)], [0, 30]);
  });

  test('of which the leader is a shell: what its child holds is counted', async () => {
    const listen = await tcp();
    const argv = ['sh', '-c', `python3 ${resolve('test/fixtures/keeps.py')}; true`];
    const [worker] = await started(listen, 1, { argv });
    await connected(listen, 5);
    await until(() => accepted(worker!) === 5);
    assert.deepEqual(await figures(listen, [worker!]), [[5], [0], 0]);
  });

  test('on a unix socket, beside a TCP address of another app', async () => {
    const [listen, other] = [unix('s'), await tcp()];
    const [worker] = await started(listen, 1);
    const [elsewhere] = await started(other, 1);
    await connected(listen, 3);
    await connected(other, 2);
    await until(() => accepted(worker!) === 3 && accepted(elsewhere!) === 2);
    assert.deepEqual(await figures(listen, [worker!]), [[3], [0], 0]);
    await stopped(worker!);
    await connected(listen, 2);
    assert.deepEqual(await figures(listen, [worker!]), [[3], [2], 2]);
    const apps = [
      { name: 'unix', urls: [listen.url], workers: new Map([[worker!.source, worker!.pid]]) },
      { name: 'tcp', urls: [other.url], workers: new Map([[elsewhere!.source, elsewhere!.pid]]) },
    ];
    const both = await new Promise<ReadonlyMap<string, AppConnections>>((done) => counter.count(apps, done));
    assert.deepEqual(both.get('unix')?.workers.get(worker!.source)?.connections, 3);
    assert.deepEqual(both.get('tcp')?.workers.get(elsewhere!.source)?.connections, 2);
    assert.deepEqual([both.get('unix')?.queue, both.get('tcp')?.queue], [2, 0]);
  });

  test('a connection that ends is no longer counted, a new one is', async () => {
    const listen = await tcp();
    const [worker] = await started(listen, 1);
    await connected(listen, 4);
    await until(() => accepted(worker!) === 4);
    assert.deepEqual((await figures(listen, [worker!]))[0], [4]);
    await connected(listen, 1);
    await until(() => accepted(worker!) === 5);
    assert.deepEqual((await figures(listen, [worker!]))[0], [5]);
    process.kill(worker!.pid, 'SIGKILL');
    await worker!.exited;
    const [next] = await started(listen, 1);
    await connected(listen, 2);
    await until(() => accepted(next!) === 2);
    assert.deepEqual((await figures(listen, [next!]))[0], [2]);
  });

  test('of nobody, and of an address that is not bound', async () => {
    const answer = await new Promise<ReadonlyMap<string, AppConnections>>((done) =>
      counter.count([{ name: 'web', urls: ['tcp://127.0.0.1:1'], workers: new Map() }], done),
    );
    assert.deepEqual(answer.get('web'), { queue: 0, stranded: 0, workers: new Map() });
  });

  test('one reading at a time: a call in between is left out', async () => {
    const listen = await tcp();
    const [worker] = await started(listen, 1);
    await connected(listen, 1);
    await until(() => accepted(worker!) === 1);
    const answers: string[] = [];
    const app = { name: 'web', urls: [listen.url], workers: new Map([[worker!.source, worker!.pid]]) };
    counter.count([app], () => answers.push('first'));
    counter.count([app], () => answers.push('second'));
    await counter.settled();
    assert.deepEqual(answers, ['first']);
  });
});

test('koffi is there, so both ways have been seen', () => assert.notEqual(loadNative(), null));
