/** Scripts as workers: unmodified servers on an inherited socket (the preload), and under node:cluster. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { AppSpec, IdentitySpec, ListenSpec } from '../../src/core/spec.ts';
import { childrenOf, linkOf, socketInode, statOf } from '../../src/system/procfs.ts';
import { ask, fixture, freePort, lives, plainEnv, Spawning, until, type Tried } from '../helpers/spawning.ts';

const rootOnly = { skip: process.getuid?.() !== 0 && 'needs root' };
const world = new Spawning();
after(() => world.close());

const identity = (wanted: Partial<IdentitySpec>): IdentitySpec => ({
  user: null,
  group: null,
  umask: null,
  nice: null,
  ...wanted,
});
const script = (name: string, words: readonly string[] = [], wanted: Partial<AppSpec> = {}) => ({
  kind: 'script' as const,
  argv: [fixture(name), ...words],
  ...wanted,
});

/** Asks until each of these pids has answered once. */
async function answersFromAll(where: number | string, pids: readonly number[]): Promise<void> {
  const missing = new Set(pids.map(String));
  while (missing.size > 0)
    for (const answer of await Promise.all(Array.from({ length: 8 }, () => ask(where)))) missing.delete(answer);
}

describe('with listen: the preload on the inherited socket', () => {
  for (const [name, seen] of Object.entries({
    'server.mjs': '"address":"127.0.0.1"',
    'server.cjs': 'main true address {"address":"127.0.0.1"',
  })) {
    test(`two workers of an unmodified server serve on one port: ${name}`, async () => {
      const listen = await world.listen();
      const workers = [0, 1].map(() => world.start(script(name, [String(listen.port)], { listen: [listen] })));
      await Promise.all(workers.map((one) => one.ready));
      const address = await workers[0]!.line(/address/);
      assert.ok(address.includes(seen) && address.includes(`"port":${listen.port}`), address);
      await answersFromAll(
        listen.port,
        workers.map((one) => one.pid),
      );
      assert.ok(workers.every((one) => statOf(one.pid)?.session === one.pid));
      assert.deepEqual(
        workers.map((one) => linkOf(`/proc/${one.pid}/fd/3`)),
        world.sockets.lanesOf(listen.url).map((fd) => socketInode(fd)),
      );
      for (const one of workers) one.process.terminate('SIGTERM');
      assert.deepEqual(
        (await Promise.all(workers.map((one) => one.exited))).map((exit) => exit.code),
        [0, 0],
      );
    });
  }

  test('a unix socket: address() is its path', async () => {
    const path = join(world.directory, 'script.sock');
    const listen: ListenSpec = { kind: 'unix', path, mode: 0o666, group: null, url: `unix:${path}` };
    world.listenOn([listen]);
    const tried = world.start(script('server.cjs', [path], { listen: [listen] }));
    await tried.ready;
    assert.equal(await tried.line(/address/), `main true address ${JSON.stringify(path)}`);
    assert.equal(await ask(path), String(tried.pid));
  });

  test('two sockets of one port: a listen() without a host serves both', async () => {
    const { port, url } = await world.listen();
    const other: ListenSpec = { kind: 'tcp', host: '127.0.0.2', port, url: `tcp://127.0.0.2:${port}` };
    world.listenOn([other]);
    const listen: ListenSpec[] = [{ kind: 'tcp', host: '127.0.0.1', port, url }, other];
    const tried = world.start(script('server.mjs', [String(port)], { listen }));
    await tried.ready;
    const answers = await Promise.all(
      ['127.0.0.1', '127.0.0.2'].map((host) => fetch(`http://${host}:${port}/`).then((response) => response.text())),
    );
    assert.deepEqual(answers, [String(tried.pid), String(tried.pid)]);
    tried.process.terminate('SIGTERM');
    assert.equal((await tried.exited).code, 0);
  });

  test('a port that is tried and closed before, and two servers on it; one too many is EADDRINUSE', async () => {
    const listen = await world.listen();
    const tried = world.start(script('twice.mjs', [String(listen.port)], { listen: [listen] }));
    await tried.line(/^then EADDRINUSE$/);
    assert.equal(await ask(listen.port), 'served');
  });

  test('another port stays its own, and only the configured one makes it ready', async () => {
    const listen = await world.listen();
    const tried = world.start(script('two-ports.mjs', [String(listen.port)], { listen: [listen] }));
    const own = Number((await tried.line(/^own/)).split(' ')[1]);
    assert.deepEqual(tried.reports, []);
    await tried.ready;
    assert.deepEqual(await Promise.all([ask(own), ask(listen.port)]), ['own', 'main']);
  });

  test('a script that listens elsewhere alone is told so; process.send("ready") counts', async () => {
    const listen = await world.listen();
    const tried = world.start(script('elsewhere.mjs', [], { listen: [listen] }));
    await tried.line(/listens/);
    assert.deepEqual(tried.reports, []);
    await tried.ready;
    assert.equal(tried.warnings.length, 1);
    assert.match(
      tried.warnings[0] ?? '',
      new RegExp(`it listens on port \\d+, which is not in "listen" of web \\(${listen.url}\\)`),
    );
  });

  test('the channel does not keep a finished script alive', async () => {
    const exit = await world.start(script('finished.mjs', [], { listen: [await world.listen()] })).exited;
    assert.deepEqual([exit.code, exit.lastLines], [0, ['function']]);
  });

  test('a script that uses node:cluster itself serves from its own workers', async () => {
    const listen = await world.listen();
    const tried = world.start(script('own-cluster.mjs', [String(listen.port)], { listen: [listen] }));
    await tried.ready;
    const children = childrenOf(tried.pid).map((pid) => `child ${pid}`);
    assert.ok(children.includes(await ask(listen.port)));
    tried.process.kill();
    await tried.exited;
  });

  test('a stop signal goes to the script and not to its child', async () => {
    const listen = await world.listen();
    const tried = world.start(
      script('with-child.mjs', [fixture('deaf.mjs'), String(listen.port)], { listen: [listen] }),
    );
    await Promise.all([tried.ready, tried.line(/^deaf$/)]);
    tried.process.terminate('SIGTERM');
    const exit = await tried.exited;
    assert.equal(exit.code, 0);
    assert.ok(!tried.lines().includes('ignored TERM'));
  });
});

describe('without listen: node:cluster', () => {
  const serving = (port: number, wanted: Partial<AppSpec> = {}) =>
    script('cluster.mjs', [], { env: { SERVE_PORT: String(port) }, ...wanted });

  test('two workers serve one port that they chose themselves, each in a session of its own', async () => {
    const port = await freePort();
    const workers = [world.start(serving(port)), world.start(serving(port))];
    await Promise.all(workers.map((one) => one.ready));
    await answersFromAll(
      port,
      workers.map((one) => one.pid),
    );
    for (const { pid } of workers) {
      const { session, pgid, ppid } = statOf(pid) ?? assert.fail('gone');
      assert.deepEqual([session, pgid, ppid], [pid, pid, process.pid]);
    }
    assert.equal(process.execPath, process.argv[0]);
    workers[0]!.process.terminate('SIGTERM');
    assert.equal((await workers[0]!.exited).code, 0);
    assert.equal(await ask(port), String(workers[1]!.pid));
  });

  const shown = async (tried: Tried) =>
    JSON.parse(await tried.line(/^\{/)) as {
      env: Record<string, string>;
      args: string[];
      uid: number;
      groups: number[];
      umask: number;
      nice: number;
      fds: Record<string, string>;
      cwd: string;
    };

  test(
    'the settings of one app do not reach the next: user, umask, nice, cwd, words, environment',
    rootOnly,
    async () => {
      process.env.ONLY_OF_THE_MASTER = 'x';
      const one = world.start(
        script('show.mjs', ['{slot}', '{app}'], {
          identity: identity({ user: 'nobody', umask: 0o77, nice: 5 }),
          cwd: world.directory,
          env: { A: '{slot}' },
        }),
        { slot: 3 },
      );
      const first = await shown(one);
      const second = await shown(world.start(script('show.mjs')));
      delete process.env.ONLY_OF_THE_MASTER;
      assert.deepEqual(
        [first.uid, first.groups, first.umask, first.nice, first.cwd, first.args, first.env.A],
        [65534, [65534], 0o77, 5, world.directory, ['3', 'web'], '3'],
      );
      assert.deepEqual(
        [second.uid, second.umask, second.nice, second.cwd, second.args, second.env.A],
        [0, process.umask(), 0, process.cwd(), [], undefined],
      );
      assert.deepEqual(
        [first.env.ONLY_OF_THE_MASTER, first.env.USER, first.env.SUPERVISE_SLOT, first.fds[0]],
        [undefined, 'nobody', '3', '/dev/null'],
      );
      assert.equal(second.env.PATH, plainEnv.PATH);
    },
  );

  test('process.send("ready") counts, and a script that is finished ends', async () => {
    await world.start(script('ready.mjs')).ready;
    const exit = await world.start(script('finished.mjs')).exited;
    assert.deepEqual([exit.code, exit.error, exit.lastLines], [0, null, ['function']]);
  });

  test('the channel is let go, but not while a listen() waits for its answer', async () => {
    const port = await freePort();
    const tried = world.start(script('late.mjs', [], { env: { SERVE_PORT: String(port) } }));
    await until(() => tried.reports.length > 0);
    assert.deepEqual(tried.reports, ['ready']);
    await until(async () => (await ask(port).catch(() => '')) === 'late');
  });

  test('an error of listen() that nobody handles ends the script', async () => {
    const { port } = await world.listen();
    const exit = await world.start(script('busy-port.mjs', [], { env: { SERVE_PORT: String(port) } })).exited;
    assert.equal(exit.code, 1);
    assert.ok(exit.lastLines.some((line) => line.includes('EADDRINUSE')));
  });

  test('a script that throws: its last lines', async () => {
    const exit = await world.start(script('throws.mjs')).exited;
    assert.equal(exit.code, 1);
    assert.ok(exit.lastLines.some((line) => line.includes('no database')));
  });

  test('what it leaves behind is killed', async () => {
    const tried = world.start(script('with-child.mjs', [fixture('deaf.mjs')]));
    await tried.line(/^deaf$/);
    const [child] = childrenOf(tried.pid);
    process.kill(tried.pid, 'SIGKILL');
    await tried.exited;
    assert.ok(child !== undefined && !lives(child));
    await until(() => world.marked(tried).length === 0);
  });
});
