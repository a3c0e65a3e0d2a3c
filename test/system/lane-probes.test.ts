/** Probes at the address that all workers have, against real servers: each reaches its own worker, and nothing piles up in the queue of one that does not answer. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AppSpec, HealthProbe, ListenSpec, ReadySpec } from '../../src/core/spec.ts';
import { loadNative } from '../../src/system/native.ts';
import { statOf } from '../../src/system/procfs.ts';
import { ask, Spawning, until, type Tried } from '../helpers/spawning.ts';

const world = new Spawning();
const bare = new Spawning('bare', () => null);
after(async () => {
  await world.close();
  await bare.close();
});

type Tcp = Extract<ListenSpec, { kind: 'tcp' }>;
type Server = (port: number) => Pick<AppSpec, 'argv'> & Partial<AppSpec>;

const fixtures = resolve('test/fixtures/probed');
const servers: Record<string, { readonly skip: string | false; readonly server: Server }> = {
  'uvicorn': {
    skip: !existsSync('/usr/bin/uvicorn') && 'uvicorn is not installed',
    server: () => ({
      argv: ['/usr/bin/uvicorn', '--app-dir', fixtures, 'asgi:app', '--fd', '{fd}', '--log-level', 'warning'],
      env: { PYTHONDONTWRITEBYTECODE: '1' },
    }),
  },
  'a Node script': {
    skip: false,
    server: (port) => ({ kind: 'script', argv: [join(fixtures, 'server.mjs'), String(port)] }),
  },
  'a Node command': {
    skip: false,
    server: () => ({ argv: [process.execPath, join(fixtures, 'server.mjs'), 'fd'] }),
  },
};
const node = servers['a Node command']!.server;
const takesLate: Server = () => ({ argv: ['python3', join(fixtures, 'takes-late.py')] });

const http = (path: string): HealthProbe & ReadySpec => ({ kind: 'http', path, port: null });
const tcp: HealthProbe & ReadySpec = { kind: 'tcp', port: null };

let folders = 0;

/** Workers of one app, in a folder of their own. */
class Workers {
  readonly cwd: string;
  readonly listen: Tcp;
  readonly #server: Server;
  readonly #where: Spawning;

  private constructor(where: Spawning, listen: Tcp, server: Server) {
    this.#where = where;
    this.listen = listen;
    this.#server = server;
    this.cwd = join(where.directory, `app-${++folders}`);
    mkdirSync(this.cwd);
  }

  static async of(server: Server, where = world): Promise<Workers> {
    return new Workers(where, await where.listen(), server);
  }

  start(more: Partial<AppSpec> = {}): Tried {
    return this.#where.start({ ...this.#server(this.listen.port), cwd: this.cwd, listen: [this.listen], ...more });
  }

  /** What this worker answers to a probe from now on. */
  answers(worker: Tried, path: string, status: number): void {
    writeFileSync(join(this.cwd, `${path}.${worker.source}`), String(status));
  }

  /** How many wait at each listener, in the order of the workers; last, where it is there, at that of connections for nobody yet. */
  get queues(): number[] {
    return this.#where.sockets.lanesOf(this.listen.url).map((fd) => loadNative()?.sockets.waiting(fd) ?? -1);
  }

  /** The ids of those that answer so many clients. */
  async clients(count = 60): Promise<string[]> {
    const answers = await Promise.all(Array.from({ length: count }, () => ask(this.listen.port)));
    return [...new Set(answers.map((answer) => /web\.\d+/.exec(answer)?.[0] ?? answer))].toSorted();
  }
}

function probe(worker: Tried, how: HealthProbe, timeoutMs = 20_000): Promise<string | null> {
  return new Promise(
    (done) => void worker.process.probe({ probe: how, intervalMs: 1000, timeoutMs, failures: 3 }, done),
  );
}

async function stopped(worker: Tried): Promise<void> {
  process.kill(worker.pid, 'SIGSTOP');
  await until(() => statOf(worker.pid)?.state === 'T');
}

describe('health', () => {
  for (const [name, { skip, server }] of Object.entries(servers)) {
    test(`http reaches the worker that is meant: ${name}`, { skip }, async () => {
      const workers = await Workers.of(server);
      const three = [workers.start(), workers.start(), workers.start()];
      await Promise.all(three.map((one) => one.ready));
      workers.answers(three[1]!, 'healthz', 500);
      const { port } = workers.listen;
      for (let round = 0; round < 10; round++) {
        assert.deepEqual(await Promise.all(three.map((one) => probe(one, http('/healthz')))), [
          null,
          `GET http://127.0.0.1:${port}/healthz answered 500`,
          null,
        ]);
      }
      assert.deepEqual(await Promise.all(three.map((one) => probe(one, tcp))), [null, null, null]);
      assert.deepEqual(
        three.flatMap((one) => one.warnings),
        [],
      );
    });
  }

  test('a port of listen names that address', async () => {
    const first = await world.listen();
    const workers = await Workers.of((port) => node(port));
    const argv = [join(fixtures, 'server.mjs'), String(workers.listen.port)];
    const script = { kind: 'script', argv, listen: [first, workers.listen] } as const;
    const two = [workers.start(script), workers.start(script)];
    await Promise.all(two.map((one) => one.ready));
    workers.answers(two[0]!, 'healthz', 503);
    const { port } = workers.listen;
    assert.match((await probe(two[0]!, { kind: 'http', path: '/healthz', port })) ?? '', /answered 503$/);
    assert.equal(await probe(two[1]!, { kind: 'tcp', port }), null);
  });

  for (const how of [http('/healthz'), tcp]) {
    test(`${how.kind}: one that hangs is not healthy, and has one connection of ours in its queue at most`, async () => {
      const workers = await Workers.of(node);
      const [one, other] = [workers.start(), workers.start()];
      await Promise.all([one.ready, other.ready]);
      await stopped(one);
      for (let round = 0; round < 4; round++) {
        assert.match((await probe(one, how, 100)) ?? '', /within 100ms; it has not accepted the connection$/);
        assert.equal(await probe(other, how), null);
      }
      assert.deepEqual(workers.queues, [1, 0]);
      process.kill(one.pid, 'SIGCONT');
      await until(() => workers.queues[0] === 0, 'it is accepted');
      await until(async () => (await probe(one, how, 100)) === null, 'it is healthy again');
    });
  }

  test('the connection to one that hangs is gone when that one ends', async () => {
    const workers = await Workers.of(node);
    const [one, other] = [workers.start(), workers.start()];
    await Promise.all([one.ready, other.ready]);
    await stopped(one);
    assert.notEqual(await probe(one, http('/healthz'), 50), null);
    one.process.kill();
    await one.exited;
    const server = workers.start();
    await server.ready;
    await until(() => workers.queues.every((length) => length === 0), 'its successor has taken what was left');
    assert.equal(await probe(server, http('/healthz')), null);
  });

  test('the only worker of an app needs no steering', async () => {
    const workers = await Workers.of(node, bare);
    const only = workers.start();
    await only.ready;
    workers.answers(only, 'healthz', 500);
    assert.match((await probe(only, http('/healthz'))) ?? '', /answered 500$/);
    assert.deepEqual(only.warnings, []);
  });

  test('where workers accept from one socket none is probed, and that is said', async () => {
    const workers = await Workers.of(node, bare);
    const [one, other] = [workers.start(), workers.start()];
    await Promise.all([one.ready, other.ready]);
    for (const each of [one, other]) workers.answers(each, 'healthz', 500);
    assert.equal(await probe(one, http('/healthz')), null);
    const said = `health of web is not probed as long as several workers accept from one socket at ${workers.listen.url}: a probe cannot choose which of them answers`;
    // By whoever finds it out.
    await until(() => [...one.warnings, ...other.warnings].includes(said), said);
  });
});

describe('readiness', () => {
  for (const [name, { skip, server }] of Object.entries(servers)) {
    test(`http: no client reaches a worker before it says that it is ready: ${name}`, { skip }, async () => {
      const workers = await Workers.of(server);
      const first = workers.start({ ready: http('/ready') });
      await first.ready;
      const next = { source: first.source.replace(/\d+$/, (id) => String(Number(id) + 1)) } as Tried;
      workers.answers(next, 'ready', 503);
      const second = workers.start({ ready: http('/ready') });
      assert.equal(second.source, next.source);
      // It serves, and says no.
      await until(async () => /answered 503/.test((await probe(second, http('/ready'), 500)) ?? ''), 'it answers');
      assert.deepEqual(await workers.clients(), [first.source]);
      assert.deepEqual(second.reports, []);
      workers.answers(second, 'ready', 204);
      await second.ready;
      assert.deepEqual(await workers.clients(), [first.source, second.source]);
      assert.deepEqual([...first.warnings, ...second.warnings], []);
    });
  }

  test('one that waits on its socket and takes nothing yet has one connection in its queue', async () => {
    const workers = await Workers.of(takesLate);
    const all = [http('/'), tcp, http('/'), tcp].map((ready) => workers.start({ ready }));
    await until(() => workers.queues.slice(0, 4).join() === '1,1,1,1', 'all are asked');
    // Longer than two tries.
    await sleep(2_500);
    assert.deepEqual(workers.queues.slice(0, 4), [1, 1, 1, 1]);
    assert.deepEqual(
      all.flatMap((one) => one.reports),
      [],
    );
    writeFileSync(join(workers.cwd, 'take'), '');
    await Promise.all(all.map((one) => one.ready));
  });

  test('one that crashes before it accepts leaves nothing in its queue', async () => {
    const workers = await Workers.of(() => ({ argv: ['/bin/sh', '-c', 'sleep 0.3; exit 1'] }));
    for (let boot = 0; boot < 3; boot++) {
      const two = [workers.start({ ready: http('/') }), workers.start({ ready: http('/') })];
      await Promise.all(two.map((one) => one.exited));
    }
    assert.ok(workers.queues.every((length) => length === 0));
  });

  test('where workers accept from one socket they are ready when they accept, and that is said', async () => {
    const workers = await Workers.of(node, bare);
    const [one, other] = [workers.start({ ready: http('/404') }), workers.start({ ready: http('/404') })];
    for (const each of [one, other]) workers.answers(each, '404', 404);
    await Promise.all([one.ready, other.ready]);
    const said = `instead of when http succeeds, a worker is ready when it accepts, as long as several workers accept from one socket at ${workers.listen.url}: a probe cannot choose which of them answers`;
    // By whoever finds it out.
    await until(() => [...one.warnings, ...other.warnings].includes(said), said);
  });
});

test('the kernel tells whether a connection has been accepted', async () => {
  const workers = await Workers.of(takesLate);
  const one = workers.start();
  await one.line(/waits/);
  const client = connect(workers.listen.port, '127.0.0.1');
  await new Promise((done) => client.once('connect', done));
  const [server, end] = [
    { address: '127.0.0.1', port: workers.listen.port },
    { address: '127.0.0.1', port: client.localPort ?? 0 },
  ];
  const { diag } = loadNative() ?? assert.fail('koffi is not installed');
  assert.equal(diag.isAccepted({ server, client: end }), false);
  writeFileSync(join(workers.cwd, 'take'), '');
  await until(() => diag.isAccepted({ server, client: end }) === true, 'it is accepted');
  client.destroy();
  await until(() => diag.isAccepted({ server, client: end }) === null, 'it is gone');
});
