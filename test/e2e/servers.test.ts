/** Real servers: each serves from all its workers, and the master never takes a connection. */
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { answeredByAll, ask } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { openFiles, socketsAtPath, socketsOnPort, treeOf } from '../helpers/e2e-proc.ts';
import { fixture, python, Site } from '../helpers/e2e-site.ts';

const only = (program: string) => ({ skip: !existsSync(program) && `${program} is not installed` });

/** The sockets of the app's address that the master has open: listeners, and nothing that was accepted. */
function mastersSockets(master: Master, where: number | string): string[] {
  const open = openFiles(master.pid);
  const sockets = typeof where === 'number' ? socketsOnPort(where) : socketsAtPath(where);
  return sockets
    .filter(({ inode }) => open.includes(inode))
    .map(({ listening }) => (listening ? 'listener' : 'connection'));
}

interface Address {
  readonly app?: string;
  readonly port?: number;
  readonly path?: string;
  readonly host?: string;
}

/** Every worker answers, nobody else does, and the master has nothing but its listener all the time. */
async function allServe(
  master: Master,
  count: number,
  { app = 'web', port = 0, path, host = '127.0.0.1' }: Address,
): Promise<void> {
  const pids = await master.pids(app);
  assert.equal(pids.length, count);
  const where = path === undefined ? { host, port } : { socketPath: path };
  const held = new Set<string>();
  await answeredByAll(where, pids.map(treeOf), () =>
    mastersSockets(master, path ?? port).forEach((kind) => held.add(kind)),
  );
  assert.deepEqual([...held], ['listener']);
}

function copyFastApi(site: Site): void {
  cpSync('examples/fastapi', site.dir, { recursive: true });
  rmSync(site.path('notes.db'), { force: true });
}

async function isMigratedOnce(master: Master, port: number): Promise<void> {
  const { hooks } = await master.status();
  assert.deepEqual(
    hooks.map(({ phase, state, attempts, exitCode }) => ({ phase, state, attempts, exitCode })),
    [{ phase: 'pre_start', state: 'succeeded', attempts: 1, exitCode: 0 }],
  );
  assert.equal(master.stdout.match(/Running upgrade {2}-> 0001/g)?.length, 1, master.stdout);
  assert.deepEqual(JSON.parse(await ask(port, '/notes')), []);
}

describe('FastAPI', () => {
  test(
    'under uvicorn --fd {fd} by flags alone: migrated once by alembic, served by 4 workers',
    only('/usr/bin/uvicorn'),
    async (t) => {
      const site = new Site(t);
      copyFastApi(site);
      const port = await site.port();
      const flags = ['-w', '4', '-b', `127.0.0.1:${port}`, '--pre-start', 'alembic upgrade head'];
      const master = await site
        .start(['--name', site.name, ...flags, '--', 'uvicorn', 'main:app', '--fd', '{fd}'])
        .serves();
      await isMigratedOnce(master, port);
      await allServe(master, 4, { app: 'uvicorn', port });
      await master.stop();
    },
  );

  test('by the example config, as it stands', only('/usr/bin/uvicorn'), async (t) => {
    const site = new Site(t);
    copyFastApi(site);
    const port = await site.port();
    const master = await site.start(['--name', site.name, '-w', '2', '-b', `127.0.0.1:${port}`]).serves();
    await isMigratedOnce(master, port);
    await allServe(master, 2, { port });
    await master.stop();
  });

  test('under gunicorn --bind fd://3 with its uvicorn worker class', only('/usr/bin/gunicorn'), async (t) => {
    const site = new Site(t);
    copyFastApi(site);
    const port = await site.port();
    site.config({
      hooks: { pre_start: ['alembic upgrade head'] },
      apps: {
        web: {
          command: 'gunicorn --bind fd://3 --worker-class uvicorn.workers.UvicornWorker main:app',
          workers: 2,
          listen: [`127.0.0.1:${port}`],
        },
      },
    });
    const master = await site.start().serves();
    await isMigratedOnce(master, port);
    await allServe(master, 2, { port });
    await master.stop();
  });
});

describe('a server', () => {
  interface Server {
    readonly app: (port: number) => Record<string, unknown>;
    readonly prepare?: (t: TestContext) => void;
    readonly program?: string;
  }
  const goBinary = resolve('build/test/accepting-go');
  const servers: Record<string, Server> = {
    'gunicorn with a WSGI app': {
      program: '/usr/bin/gunicorn',
      app: () => ({ command: 'gunicorn --bind fd://3 wsgi:app', cwd: resolve('test/fixtures/e2e') }),
    },
    'gunicorn whose config file names the socket': {
      program: '/usr/bin/gunicorn',
      app: () => ({ command: ['gunicorn', '-c', fixture('gunicorn_fd.py'), 'wsgi:app'], cwd: fixture('.') }),
    },
    'gunicorn that is told of no address': {
      program: '/usr/bin/gunicorn',
      app: () => ({ command: 'gunicorn wsgi:app', cwd: fixture('.') }),
    },
    'gunicorn that is told the address, not the socket': {
      program: '/usr/bin/gunicorn',
      app: (port) => ({ command: `gunicorn --bind 127.0.0.1:${port} wsgi:app`, cwd: fixture('.') }),
    },
    'an unmodified Node script in ESM': {
      app: (port) => ({ script: resolve('examples/node-app/server.mjs'), env: { PORT: port } }),
    },
    'an unmodified Node script in CommonJS': {
      app: (port) => ({ script: [resolve('test/fixtures/spawn/server.cjs'), String(port)] }),
    },
    'a Python server that only accepts, blocking': { app: () => ({ command: [python, fixture('only-accepts.py')] }) },
    'a Go server': { program: '/usr/bin/go', app: () => ({ command: [goBinary] }), prepare: () => buildGo(goBinary) },
  };
  for (const [what, { app, prepare, program = process.execPath }] of Object.entries(servers)) {
    test(`${what} is served by all its workers`, only(program), async (t) => {
      const site = new Site(t);
      const port = await site.port();
      prepare?.(t);
      site.config({ apps: { web: { ...app(port), workers: 3, listen: [`127.0.0.1:${port}`] } } });
      const master = await site.start().serves();
      await allServe(master, 3, { port });
      await master.stop();
    });
  }

  test('that is a Node script without `listen` runs under node:cluster on a port of its own choice', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({
      apps: { web: { script: resolve('test/fixtures/spawn/cluster.mjs'), workers: 3, env: { SERVE_PORT: port } } },
    });
    const master = await site.start().serves();
    await allServe(master, 3, { port });
    await master.stop();
  });
});

describe('`balance: round-robin`', () => {
  const cluster = (port: number, more: Record<string, unknown> = {}) => ({
    script: resolve('test/fixtures/spawn/cluster.mjs'),
    workers: 3,
    env: { SERVE_PORT: port },
    ...more,
  });

  test('has the master hand out the connections of a script, in turn', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ apps: { web: cluster(port, { balance: 'round-robin' }) } });
    const master = await site.start().serves();
    const answers: string[] = [];
    for (let count = 0; count < 9; count++) answers.push(await ask(port));
    assert.deepEqual(
      (await master.pids()).map((pid) => answers.filter((answer) => answer === String(pid)).length),
      [3, 3, 3],
    );
    await master.stop();
  });

  test('is not taken back by a reload, which says what to do; another app may still be reloaded', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const api = { command: [python, fixture('only-accepts.py')], listen: [`127.0.0.1:${await site.port()}`] };
    site.config({ apps: { web: cluster(port, { balance: 'round-robin' }), api } });
    const master = await site.start().serves();
    const before = await master.pids();
    site.config({ apps: { web: cluster(port), api } });
    const { code, stderr } = await site.run(['reload']);
    assert.equal(code, 1);
    assert.match(stderr, /app web: expected scripts with balance: round-robin, .*, found one without/);
    assert.match(stderr, /one policy per process: restart the master/);
    assert.deepEqual(await master.pids(), before);
    await site.ok('reload', 'api');
    await master.stop();
  });
});

describe('an address', () => {
  const accepts = { command: [python, fixture('only-accepts.py')], workers: 2 };

  for (const [program, app] of Object.entries({
    'a server that only accepts': () => accepts,
    'a Node script': (path: string) => ({ script: [resolve('test/fixtures/spawn/server.cjs'), path], workers: 2 }),
  })) {
    test(`that is a unix socket is served by ${program}, and gone after a stop`, async (t) => {
      const site = new Site(t);
      const path = site.path('web.sock');
      site.config({ apps: { web: { ...app(path), listen: ['unix:web.sock'] } } });
      const master = await site.start().serves();
      await allServe(master, 2, { path });
      assert.equal((statSync(path).mode & 0o777).toString(8), '666');
      await master.stop();
      assert.ok(!existsSync(path), 'the socket is still there');
    });
  }

  test('in IPv6 is served', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ apps: { web: { ...accepts, listen: [`[::1]:${port}`] } } });
    const master = await site.start().serves();
    await allServe(master, 2, { port, host: '::1' });
    await assert.rejects(ask(port), { code: 'ECONNREFUSED' });
    await master.stop();
  });

  test('without a host is served in IPv6 and in IPv4', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ apps: { web: { ...accepts, listen: [`:${port}`] } } });
    const master = await site.start().serves();
    await allServe(master, 2, { port });
    await allServe(master, 2, { port, host: '::1' });
    await master.stop();
  });
});

test('of two workers of which one never accepts only the other becomes ready', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  const choose = `case $SUPERVISE_SLOT in 1) exec ${python} ${resolve('test/fixtures/accepting/never_accepts.py')} ;; esac; exec ${python} ${fixture('only-accepts.py')}`;
  site.config({
    apps: {
      web: {
        command: ['/bin/sh', '-c', choose],
        workers: 2,
        listen: [`127.0.0.1:${port}`],
        ready_timeout: '4s',
        stop: { timeout: '2s' },
      },
    },
  });
  const master = site.start();
  const { pid } = await master.event('worker.ready');
  await sleep(1000);
  assert.deepEqual(
    (await master.workers()).map(({ slot, state }) => ({ slot, state })),
    [
      { slot: 0, state: 'ready' },
      { slot: 1, state: 'starting' },
    ],
  );
  await answeredByAll(port, [[pid!]]);
  const given = await master.event('worker.exited');
  assert.deepEqual({ slot: given.slot, cause: given.cause }, { slot: 1, cause: 'start-timeout' });
  assert.deepEqual(await master.pids(), [pid]);
  await answeredByAll(port, [[pid!]]);
  assert.ok(master.eventsOf('worker.ready').every(({ slot }) => slot === 0));
  await master.stop();
});

function buildGo(binary: string): void {
  if (existsSync(binary)) return;
  const { status, stderr } = spawnSync(
    '/usr/bin/go',
    ['build', '-o', binary, resolve('test/fixtures/accepting/accepting.go')],
    {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: process.env.HOME, GOFLAGS: '-p=1', CGO_ENABLED: '0' },
    },
  );
  assert.equal(status, 0, stderr);
}
