/** Reloads: no request is lost, a bad revision or config changes nothing, and a config's differences are carried out. */
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { answeredByAll, ask, Load } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { commandLine, isAlive } from '../helpers/e2e-proc.ts';
import { fixture, python, Site } from '../helpers/e2e-site.ts';
import { strengthOf } from '../helpers/e2e-strength.ts';

const reload = { canary: '300ms' };
const sleeps = { command: 'sleep 1000', ready: { delay: '50ms' }, reload };

interface Reloads {
  readonly port: number;
  readonly times: number;
  readonly workers: number;
}

/** Reloads under load: each time every worker is replaced, and no request fails. */
async function rollsWithoutLoss(
  t: TestContext,
  master: Master,
  site: Site,
  { port, times, workers }: Reloads,
): Promise<void> {
  const load = new Load(t, port, { clients: 4, pauseMs: 20, path: '/40' });
  for (let time = 1; time <= times; time++) {
    const before = await master.pids();
    assert.equal(before.length, workers);
    await site.ok('reload');
    const { revision, ready, state } = await master.app();
    assert.deepEqual({ revision, ready, state }, { revision: 1 + time, ready: workers, state: 'running' });
    const after = await master.pids();
    assert.deepEqual(
      after.filter((pid) => before.includes(pid)),
      [],
    );
    // The last of them may still have a request in hand.
    await master.until('the old workers are gone', () => !before.some(isAlive));
  }
  await load.end();
  assert.deepEqual(load.failures, []);
  assert.ok(load.answered > 20, `${load.answered} answers only`);
  const { fewestReady, mostProcesses } = strengthOf(master.events, workers);
  assert.deepEqual({ fewestReady, mostProcesses }, { fewestReady: workers, mostProcesses: workers + 1 });
}

describe('a rolling reload under load loses no request', () => {
  test('of a Node script', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({
      apps: {
        web: {
          script: fixture('slow-answers.mjs'),
          env: { PORT: port },
          workers: 3,
          listen: [`127.0.0.1:${port}`],
          reload,
        },
      },
    });
    const master = await site.start().serves();
    await rollsWithoutLoss(t, master, site, { port, times: 4, workers: 3 });
    await master.stop();
  });

  test('of uvicorn', { skip: !existsSync('/usr/bin/uvicorn') && 'uvicorn is not installed' }, async (t) => {
    const site = new Site(t);
    const port = await site.port();
    copyFileSync(fixture('asgi.py'), site.path('asgi.py'));
    site.config({
      apps: {
        web: {
          command: 'uvicorn asgi:app --fd {fd} --log-level warning',
          workers: 2,
          listen: [`127.0.0.1:${port}`],
          reload,
        },
      },
    });
    const master = await site.start().serves();
    await rollsWithoutLoss(t, master, site, { port, times: 3, workers: 2 });
    await master.stop();
  });
});

describe('a reload to a revision that is broken', () => {
  test(
    'exits 1 with its last lines, and the old one serves at full strength',
    { skip: !existsSync('/usr/bin/uvicorn') && 'uvicorn is not installed' },
    async (t) => {
      const site = new Site(t);
      const port = await site.port();
      copyFileSync(fixture('asgi.py'), site.path('asgi.py'));
      site.config({
        apps: {
          web: {
            command: 'uvicorn asgi:app --fd {fd} --log-level warning',
            workers: 2,
            listen: [`127.0.0.1:${port}`],
            reload,
          },
        },
      });
      const master = await site.start().serves();
      const pids = await master.pids();
      const load = new Load(t, port, { path: '/20' });

      site.write('asgi.py', 'raise RuntimeError("the settings are missing")\n');
      const { code, stderr } = await site.run(['reload']);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /RuntimeError: the settings are missing/);
      assert.match(stderr, /rolled back/);

      const { state, ready, revision, workers } = await master.app();
      assert.deepEqual({ state, ready, revision }, { state: 'running', ready: 2, revision: 1 });
      assert.deepEqual(
        workers.map(({ pid }) => pid),
        pids,
      );
      await load.end();
      assert.deepEqual(load.failures, []);
      assert.deepEqual(
        [...load.pids].filter((pid) => !pids.includes(pid)),
        [],
      );
      assert.equal((await master.event('rollout.rolled_back')).to, 2);

      copyFileSync(fixture('asgi.py'), site.path('asgi.py'));
      await site.ok('reload');
      assert.equal((await master.app()).revision, 3);
      await master.stop();
    },
  );

  test('in its second worker only rolls all slots back', async (t) => {
    const site = new Site(t);
    // The third process of revision 2, counted from 1, is the second worker that it gets after its canary.
    const counts =
      'test $SUPERVISE_REVISION = 1 || { echo x >> starts; test $(wc -l < starts) != 3 || { echo no more >&2; exit 9; }; }; exec sleep 1000';
    site.config({ apps: { web: { ...sleeps, command: ['/bin/sh', '-c', counts], workers: 4 } } });
    const master = await site.start().serves();
    const { code, stderr } = await site.run(['reload']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^ {2}no more$/m);
    const { state, ready, workers } = await master.app();
    assert.deepEqual({ state, ready }, { state: 'running', ready: 4 });
    assert.deepEqual(
      workers.map((worker) => worker.revision),
      [1, 1, 1, 1],
    );
    assert.ok(master.eventsOf('worker.stopping').some(({ cause }) => cause === 'rollback'));
    await master.stop();
  });

  test('by its program leaves the old program for later crashes too', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { ...sleeps, command: 'sleep 1001', workers: 2 } } });
    const master = await site.start().serves();
    const pids = await master.pids();
    site.config({ apps: { web: { ...sleeps, command: 'no-such-program', workers: 2 } } });
    const { code, stderr } = await site.run(['reload']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /no-such-program/);
    assert.deepEqual(await master.pids(), pids);
    process.kill(pids[0]!, 'SIGKILL');
    await master.until('it is ready again', () => master.eventsOf('worker.ready').length === 3);
    const [fresh] = await master.pids();
    assert.match(commandLine(fresh!), /\bsleep 1001$/);
    await master.stop();
  });
});

function isRefused(port: number): Promise<boolean> {
  return ask(port).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
  );
}

describe('a reload with a config', () => {
  test('that is invalid exits 78 with file:line:column and touches nothing', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { ...sleeps, workers: 2 } } });
    const master = await site.start().serves();
    const pids = await master.pids();
    const eventsBefore = master.events.length;
    site.write('supervise.yaml', `name: ${site.name}\napps:\n  web:\n    command: sleep 1000\n    wrokers: 3\n`);
    const { code, stderr } = await site.run(['reload']);
    assert.equal(code, 78, stderr);
    assert.match(stderr, /supervise\.yaml:5:5: .*wrokers/);
    assert.match(stderr, /workers/);
    const { revision, workers } = await master.app();
    assert.deepEqual({ revision, pids: workers.map(({ pid }) => pid) }, { revision: 1, pids });
    assert.deepEqual(
      master.events.slice(eventsBefore).filter(({ type }) => /^(worker|rollout|app)\./.test(type)),
      [],
    );
    await master.stop();
  });

  test('that adds, removes and rescales apps does all of it, and runs no pre-start hook', async (t) => {
    const site = new Site(t);
    const [kept, left, come] = [await site.port(), await site.port(), await site.port()];
    const server = (port: number, more = {}) => ({
      command: [python, fixture('only-accepts.py')],
      listen: [`127.0.0.1:${port}`],
      reload,
      ...more,
    });
    const hooks = { pre_start: [{ name: 'migrate', command: 'echo ran >> hook.log', shell: true }] };
    site.config({ hooks, apps: { web: server(kept), old: server(left) } });
    const master = await site.start().serves();
    site.config({ hooks, apps: { web: server(kept, { workers: 3 }), fresh: server(come, { workers: 2 }) } });
    await site.ok('reload');

    const { apps } = await master.status();
    assert.deepEqual(
      apps.map(({ name, state, ready, goal }) => ({ name, state, ready, goal })),
      [
        { name: 'web', state: 'running', ready: 3, goal: 3 },
        { name: 'fresh', state: 'running', ready: 2, goal: 2 },
      ],
    );
    const { added, removed, rescaled, changed } = await master.event('config.changed');
    assert.deepEqual(
      { added, removed, rescaled, changed },
      { added: ['fresh'], removed: ['old'], rescaled: ['web'], changed: [] },
    );
    await answeredByAll(
      kept,
      (await master.pids()).map((pid) => [pid]),
    );
    await answeredByAll(
      come,
      (await master.pids('fresh')).map((pid) => [pid]),
    );
    await master.until('the old port is closed', () => isRefused(left));
    assert.equal(readFileSync(site.path('hook.log'), 'utf8'), 'ran\n');
    await master.stop();
  });

  test('that moves an app to another port opens the new one and closes the old one', async (t) => {
    const site = new Site(t);
    const [from, to] = [await site.port(), await site.port()];
    const on = (port: number) =>
      site.config({
        apps: {
          web: { command: [python, fixture('only-accepts.py')], workers: 2, listen: [`127.0.0.1:${port}`], reload },
        },
      });
    on(from);
    const master = await site.start().serves();
    on(to);
    await site.ok('reload');
    await answeredByAll(
      to,
      (await master.pids()).map((pid) => [pid]),
    );
    await master.until('the old port is closed', () => isRefused(from));
    await master.stop();
  });

  test('that moves an app to a port in use changes nothing', async (t) => {
    const [site, other] = [new Site(t), new Site(t)];
    const [from, taken] = [await site.port(), await other.port()];
    const on = (place: Site, port: number) =>
      place.config({
        apps: {
          web: { command: [python, fixture('only-accepts.py')], workers: 2, listen: [`127.0.0.1:${port}`], reload },
        },
      });
    on(site, from);
    on(other, taken);
    const [master, holder] = await Promise.all([site.start().serves(), other.start().serves()]);
    const pids = await master.pids();
    on(site, taken);
    const { code, stderr } = await site.run(['reload']);
    assert.equal(code, 73, stderr);
    assert.match(stderr, new RegExp(`${taken}\\b.*pid ${holder.pid}\\b`));
    assert.deepEqual(await master.pids(), pids);
    await answeredByAll(
      from,
      pids.map((pid) => [pid]),
    );
    await holder.stop();
    on(site, from);
    await master.stop();
  });
});

test('reload APP replaces the workers of that app only', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: { ...sleeps, workers: 2 }, queue: { ...sleeps, workers: 2 } } });
  const master = await site.start().serves();
  const [web, queue] = [await master.pids(), await master.pids('queue')];
  await site.ok('reload', 'queue');
  assert.deepEqual(await master.pids(), web);
  assert.deepEqual(
    (await master.pids('queue')).filter((pid) => queue.includes(pid)),
    [],
  );
  await master.stop();
});

test('an app that binds a port of its own is replaced in place, with a warning that names `listen` and {fd}', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  site.config({
    apps: {
      web: {
        command: [python, '-m', 'http.server', String(port), '--bind', '127.0.0.1'],
        ready: { tcp: port },
        reload,
      },
    },
  });
  const master = await site.start().serves();
  const [before] = await master.pids();
  await site.ok('reload');
  const [after] = await master.pids();
  assert.notEqual(after, before);
  const { message } = await master.event('app.warning');
  for (const words of [/listen/, /\{fd\}/]) assert.match(message, words);
  await master.stop();
});
