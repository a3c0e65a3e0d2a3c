/** One probe of a worker's health: what counts as healthy, what is said when it is not, and that nothing of it is left. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { AppSpec, HealthProbe } from '../../src/core/spec.ts';
import { fixture, freePort, lives, openFds, pidIn, Spawning, until, type Tried } from '../helpers/spawning.ts';

const rootOnly = { skip: process.getuid?.() !== 0 && 'needs root' };
const world = new Spawning();
const open: (Server | HttpServer)[] = [];
after(async () => {
  for (const server of open) server.close();
  await world.close();
});

const node = process.execPath;
const path = (name: string): string => join(world.directory, name);

function worker(more: Partial<AppSpec> = {}, slot = 0): Tried {
  return world.start({ argv: ['sleep', '600'], cwd: world.directory, ...more }, { slot });
}

function probe(tried: Tried, how: HealthProbe, timeoutMs = 20_000): Promise<string | null> {
  return new Promise(
    (done) => void tried.process.probe({ probe: how, intervalMs: 1000, timeoutMs, failures: 3 }, done),
  );
}

const exec = (...argv: string[]): HealthProbe => ({ kind: 'exec', argv, shell: false });
const sh = (script: string): HealthProbe => ({ kind: 'exec', argv: [script], shell: true });

/** A server of this process; it answers /N with status N, and never answers /silent. */
async function http(): Promise<number> {
  const server = createHttpServer((request, response) => {
    const status = Number(request.url?.slice(1));
    if (!Number.isNaN(status)) response.writeHead(status, { location: '/' }).end('x');
  });
  return listening(server);
}

async function listening(server: Server | HttpServer): Promise<number> {
  open.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

describe('http', () => {
  test("2xx and 3xx on the worker's own port are healthy, everything else is told", async () => {
    const port = await http();
    const tried = worker({ port: port - 3 }, 3);
    const get = (status: number | string) => probe(tried, { kind: 'http', path: `/${status}`, port: null });
    assert.deepEqual([await get(200), await get(204), await get(302)], [null, null, null]);
    assert.equal(await get(503), `GET http://127.0.0.1:${port}/503 answered 503`);
    assert.equal(await get(404), `GET http://127.0.0.1:${port}/404 answered 404`);
  });

  test('a port of the probe is that of slot 0; placeholders in the path', async () => {
    const port = await http();
    const tried = worker({ port: 9000 }, 2);
    assert.equal(await probe(tried, { kind: 'http', path: '/20{slot}', port: port - 2 }), null);
    assert.match(
      (await probe(tried, { kind: 'http', path: '/50{slot}', port: port - 2 })) ?? '',
      /\/502 answered 502$/,
    );
  });

  test('no answer in time, nobody there, a connection that is closed, no port at all', async () => {
    const port = await http();
    const tried = worker({ port });
    assert.equal(
      await probe(tried, { kind: 'http', path: '/silent', port: null }, 100),
      `GET http://127.0.0.1:${port}/silent: no answer within 100ms`,
    );
    const nobody = await freePort();
    assert.equal(
      await probe(tried, { kind: 'http', path: '/', port: nobody }),
      `GET http://127.0.0.1:${nobody}/: nothing listens there (ECONNREFUSED)`,
    );
    const rude = await listening(createServer((socket) => socket.destroy()));
    assert.equal(
      await probe(tried, { kind: 'http', path: '/', port: rude }),
      `GET http://127.0.0.1:${rude}/: it closed the connection without an answer (ECONNRESET)`,
    );
    assert.match(
      (await probe(worker(), { kind: 'http', path: '/', port: null })) ?? '',
      /needs a port of the worker's own/,
    );
  });

  test('half a surrogate pair in the path is asked for all the same', async () => {
    const port = await http();
    const failure = await probe(worker({ port }), { kind: 'http', path: '/404\ud800', port: null }, 100);
    assert.equal(failure, `GET http://127.0.0.1:${port}/404%EF%BF%BD: no answer within 100ms`);
  });

  test('a port that does not exist is a failure, of http and of tcp', async () => {
    const tried = worker({ port: 65_534 }, 2);
    const failure = 'slot 2 would need port 65536, and 65535 is the last: lower the port, or have fewer workers';
    assert.equal(await probe(tried, { kind: 'http', path: '/', port: null }), failure);
    assert.equal(await probe(tried, { kind: 'tcp', port: null }), failure);
  });

  test('a probe that cannot be made at all is a failure', async () => {
    const failure = await probe(worker(), { kind: 'tcp', port: -1 });
    assert.match(failure ?? '', /^it cannot be probed: RangeError .*ERR_SOCKET_BAD_PORT/);
  });
});

describe('tcp', () => {
  test('a connection that is accepted is healthy; one that is refused is told', async () => {
    const port = await listening(createServer((socket) => socket.on('error', () => undefined)));
    assert.equal(await probe(worker({ port }), { kind: 'tcp', port: null }), null);
    const nobody = await freePort();
    const failure = await probe(worker({ port: nobody }), { kind: 'tcp', port: null });
    assert.equal(failure, `127.0.0.1:${nobody}: nothing listens there (ECONNREFUSED)`);
  });

  test('the server sees the end of the connection and no error, also one that greets, and one that closes late', async () => {
    const errors: unknown[] = [];
    const ends: string[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.write('220 hello\r\n');
      socket.on('error', (error) => errors.push(error));
      socket.on('end', () => {
        ends.push('end');
        // More than one segment, so that a connection that is gone answers with a reset.
        socket.write('x'.repeat(100_000), () => socket.end('bye'));
      });
      socket.on('close', () => ends.push('close')).resume();
    });
    const tried = worker({ port: await listening(server) });
    for (let round = 0; round < 3; round++) assert.equal(await probe(tried, { kind: 'tcp', port: null }), null);
    await until(() => ends.length === 6, 'the connections end');
    assert.deepEqual([ends.filter((how) => how === 'end').length, errors], [3, []]);
  });

  test('of a server that never closes no connection stays open', async () => {
    const theirs: Socket[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => void theirs.push(socket.resume()));
    const tried = worker({ port: await listening(server) });
    const before = openFds();
    for (let round = 0; round < 3; round++) assert.equal(await probe(tried, { kind: 'tcp', port: null }), null);
    await until(() => theirs.length === 3 && openFds() <= before + 3, 'ours are closed');
    assert.ok(theirs.every((socket) => !socket.destroyed));
    for (const socket of theirs) socket.destroy();
  });
});

describe('exec', () => {
  test('0 is healthy; a code, a signal and a program that is missing are told, with the last line', async () => {
    const tried = worker();
    assert.equal(await probe(tried, exec('true')), null);
    assert.equal(await probe(tried, exec('false')), 'exit code 1');
    assert.equal(
      await probe(tried, sh('echo one; echo queue is full >&2; echo; exit 3')),
      'exit code 3: queue is full',
    );
    assert.equal(await probe(tried, sh('kill -SEGV $$')), 'ended by SIGSEGV');
    assert.match((await probe(tried, exec('no-such-check'))) ?? '', /no-such-check/);
  });

  test('what it writes is not in the log, however much', async () => {
    const tried = worker();
    const loud = sh(`${node} -e 'console.log("x".repeat(5e6)); console.log("last words")'; exit 1`);
    assert.equal(await probe(tried, loud), 'exit code 1: last words');
    assert.deepEqual(
      world.output.recent({}, 1000).filter(({ line }) => line.includes('last words')),
      [],
    );
  });

  test("has the worker's environment and cwd, no socket, no stdin, and a session of its own", async () => {
    const listen = await world.listen();
    const tried = worker({ listen: [listen], port: null, env: { A: '{slot}' } }, 4);
    const check = `${node} ${fixture('show.mjs')} {slot} {fd} > shown & until grep -qs '}$' shown; do sleep 0.05; done; exit 1`;
    assert.match((await probe(tried, sh(check))) ?? '', /^exit code 1$/);
    const shown = JSON.parse(readFileSync(path('shown'), 'utf8')) as {
      args: string[];
      cwd: string;
      env: Record<string, string>;
      fds: Record<string, string>;
      session: number;
    };
    assert.deepEqual([shown.args, shown.cwd, shown.fds[0]], [['4', '{fd}'], world.directory, '/dev/null']);
    assert.ok(!Object.values(shown.fds).includes(world.sockets.inodeOf(listen.url)));
    const { env } = shown;
    assert.deepEqual([env.A, env.SUPERVISE_WORKER, env.SUPERVISE_SLOT], ['4', tried.source, '4']);
    assert.deepEqual([env.LISTEN_FDS, env.LISTEN_FDNAMES, env.LISTEN_PID, env.NOTIFY_FD], Array(4).fill(undefined));
    assert.ok(shown.session !== tried.pid && shown.session !== process.pid);
  });

  test("runs as the worker's user", rootOnly, async () => {
    const tried = worker({ identity: { user: 'nobody', group: null, umask: null, nice: null }, cwd: '/' });
    assert.equal(await probe(tried, sh('id -un; exit 1')), 'exit code 1: nobody');
  });

  const family = (file: string): string =>
    `setsid sleep 600 & echo $! > ${file}.part; mv ${file}.part ${file}; echo busy;`;

  test('is killed with its tree when its time is over', async () => {
    const tried = worker();
    assert.equal(await probe(tried, sh(`${family('late')} sleep 600`), 500), 'it did not end within 500ms: busy');
    assert.ok(!lives(await pidIn(path('late'))));
    assert.ok(lives(tried.pid));
  });

  test('what it leaves behind is killed; the worker is not', async () => {
    const tried = worker();
    assert.equal(await probe(tried, sh(`${family('left')} exit 0`)), null);
    assert.ok(!lives(await pidIn(path('left'))));
    assert.ok(lives(tried.pid));
  });

  for (const how of ['cancelled', 'asked to end', 'killed', 'gone'] as const) {
    test(`nothing of it is left, and nothing is answered, when it is cancelled or the worker ends: ${how}`, async () => {
      const tried = worker();
      const file = how.replaceAll(' ', '-');
      const answers: unknown[] = [];
      const health = { probe: sh(`${family(file)} sleep 600`), intervalMs: 1000, timeoutMs: 60_000, failures: 3 };
      const cancel = tried.process.probe(health, (failure) => answers.push(failure));
      const child = await pidIn(path(file));
      if (how === 'cancelled') cancel();
      else if (how === 'asked to end') tried.process.terminate('SIGTERM');
      else if (how === 'killed') tried.process.kill();
      else process.kill(tried.pid, 'SIGKILL');
      await until(() => !lives(child), 'its child ends');
      if (how === 'cancelled') assert.ok(lives(tried.pid));
      else await tried.exited;
      assert.deepEqual(answers, []);
      cancel();
    });
  }

  test('50 probes leave no descriptor open', async () => {
    const tried = worker();
    await probe(tried, exec('true'));
    const before = openFds();
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 10 }, () => probe(tried, exec('true'))));
    }
    await until(() => openFds() <= before, 'descriptors');
    assert.ok(existsSync(world.directory));
  });
});

test('one that is asked to end before it was ready: what its last probe has found is told', async () => {
  let asked = 0;
  const server = createHttpServer((_request, response) => void (asked++, response.writeHead(503).end()));
  const port = await listening(server);
  const tried = worker({ port, ready: { kind: 'http', path: '/ready', port: null } });
  // The answer to the first has been read before the second is sent.
  await until(() => asked >= 2, 'it is probed');
  tried.process.terminate('SIGTERM');
  await tried.exited;
  const found = `GET http://127.0.0.1:${port}/ready answered 503`;
  assert.deepEqual(tried.warnings, [`it had to end before it was ready; its last probe: ${found}`]);
});

test('a worker that has ended is not probed', async () => {
  const tried = worker({ argv: ['true'] });
  await tried.exited;
  tried.process.probe({ probe: exec('touch', 'probed'), intervalMs: 1000, timeoutMs: 1000, failures: 3 }, () =>
    assert.fail('it was answered'),
  );
  await probe(worker(), exec('true'));
  assert.ok(!existsSync(path('probed')));
});
