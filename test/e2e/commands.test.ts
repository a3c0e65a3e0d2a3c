/** The commands around a master: start in all its forms, hooks run, and clients. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import type { HookResult, Snapshot } from '../../src/core/protocol.ts';
import { answeredByAll } from '../helpers/e2e-load.ts';
import { isAlive } from '../helpers/e2e-proc.ts';
import { fixture, python, Site, until } from '../helpers/e2e-site.ts';

const sleeps = { command: 'sleep 1000', ready: { delay: '50ms' }, reload: { canary: '100ms' } };
const server = (port: number) => ({ command: [python, fixture('only-accepts.py')], listen: [`127.0.0.1:${port}`] });

async function detachedStatus(site: Site): Promise<Snapshot> {
  const snapshot = JSON.parse(await site.ok('status', '--json')) as Snapshot;
  site.adopt(snapshot.pid);
  return snapshot;
}

describe('start -d', () => {
  test('returns when every app serves, and the log is STATE/master.log', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({ apps: { web: { ...server(port), workers: 2 }, other: sleeps } });
    assert.match(await site.ok('start', '-d'), new RegExp(site.name));
    const { apps, pid } = await detachedStatus(site);
    assert.deepEqual(
      apps.map(({ name, state, ready }) => ({ name, state, ready })),
      [
        { name: 'web', state: 'running', ready: 2 },
        { name: 'other', state: 'running', ready: 1 },
      ],
    );
    await answeredByAll(
      port,
      apps[0]!.workers.map((worker) => [worker.pid!]),
    );
    assert.match(readFileSync(site.path('state/master.log'), 'utf8'), /web is running/);
    await site.ok('stop');
    assert.ok(!isAlive(pid));
    await site.nothingIsLeft();
  });

  interface Failure {
    readonly config: Record<string, unknown>;
    readonly code: number;
    readonly says: RegExp;
  }
  const failures: Record<string, Failure> = {
    'an app that never gets ready': {
      config: {
        apps: { web: { command: ['/bin/sh', '-c', 'echo no settings >&2; exit 1'], backoff: { initial: '50ms' } } },
      },
      code: 1,
      says: /3 attempts[\s\S]*no settings/,
    },
    'a failed hook': {
      config: { hooks: { pre_start: ['sh -c "echo locked >&2; exit 2"'] }, apps: { web: sleeps } },
      code: 1,
      says: /exit code 2[\s\S]*locked/,
    },
    'a program that is missing': {
      config: { apps: { web: { command: 'no-such-server' } } },
      code: 1,
      says: /no-such-server/,
    },
    'a config that is invalid': {
      config: { apps: { web: { ...sleeps, wrokers: 1 } } },
      code: 78,
      says: /supervise\.yaml:\d+:\d+: .*wrokers/,
    },
  };
  for (const [what, { config, code, says }] of Object.entries(failures)) {
    test(`with ${what} has the exit code and the words of a start in the foreground`, async (t) => {
      const site = new Site(t);
      site.config(config);
      const [detached, foreground] = [await site.run(['start', '-d']), await site.run(['start'])];
      assert.deepEqual([detached.code, foreground.code], [code, code], detached.stderr);
      for (const { stderr } of [detached, foreground]) assert.match(stderr, says);
      await site.nothingIsLeft();
    });
  }

  test('with an app that has failed for good, and one that waits for it: exits 1, and the others serve', async (t) => {
    const site = new Site(t);
    const seed = { command: 'false', restart: 'never' };
    site.config({ apps: { cache: sleeps, seed, web: { ...sleeps, depends_on: ['seed'] } } });
    const { code, stderr } = await site.run(['start', '-d']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /not all of it: seed failed; web waiting, waits for seed \(failed\)\n/);
    const { apps, state } = await detachedStatus(site);
    assert.deepEqual([state, ...apps.map((app) => app.state)], ['running', 'running', 'failed', 'waiting']);
    await site.ok('stop');
  });

  test('beside a running master exits 75', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: sleeps } });
    const master = await site.start().serves();
    const { code, stderr } = await site.run(['start', '-d']);
    assert.equal(code, 75, stderr);
    assert.match(stderr, new RegExp(`pid ${master.pid}\\b`));
    await master.stop();
  });
});

test('start --dry-run shows hooks, sockets, workers and where each value comes from, and does nothing', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  site.config({
    hooks: { pre_start: [{ name: 'migrate', command: 'touch migrated' }] },
    apps: { web: { ...server(port), workers: '${COUNT:-3}' } },
  });
  const master = await site.start().serves();
  rmSync(site.path('migrated'));
  const shown = await site.ok('start', '--dry-run');
  for (const words of [/migrate/, new RegExp(`127\\.0\\.0\\.1:${port}`), /workers/, /\b3\b/, /default/, /file/])
    assert.match(shown, words);
  const fromFlag = await site.ok('start', '--dry-run', '-w', '7');
  assert.match(fromFlag, /7.*flag|flag.*7/);
  assert.ok(!existsSync(site.path('migrated')));
  await master.stop();
});

test('check says 0 or 78, with the place, what was found and the nearest key', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: sleeps } });
  await site.ok('check');
  site.write('supervise.yaml', 'apps:\n  web:\n    command: sleep 1\n    lisen: [":8000"]\n');
  const { code, stderr } = await site.run(['check']);
  assert.equal(code, 78);
  assert.match(stderr, /supervise\.yaml:4:5: .*lisen/);
  assert.match(stderr, /listen/);
});

describe('a port in use', () => {
  test('is exit 73 that names the holder, before any hook runs', async (t) => {
    const [site, other] = [new Site(t), new Site(t)];
    const port = await other.port();
    other.config({ apps: { web: server(port) } });
    const holder = await other.start().serves();
    site.config({ hooks: { pre_start: ['touch migrated'] }, apps: { web: server(port) } });
    const { code, stderr } = await site.run(['start']);
    assert.equal(code, 73, stderr);
    assert.match(stderr, new RegExp(`${port}\\b.*pid ${holder.pid}\\b`));
    assert.ok(!existsSync(site.path('migrated')));
    await site.nothingIsLeft();
    await holder.stop();
  });

  test('by a master that still runs its hooks, so does not listen yet, is exit 73 too', async (t) => {
    const [site, other] = [new Site(t), new Site(t)];
    const port = await other.port();
    other.config({
      hooks: { pre_start: [{ name: 'migrate', command: 'touch begun; exec sleep 1000', shell: true }] },
      apps: { web: server(port) },
    });
    const holder = other.start();
    await until('the hook runs', () => existsSync(other.path('begun')));
    site.config({ apps: { web: server(port) } });
    const { code, stderr } = await site.run(['start']);
    assert.equal(code, 73, stderr);
    assert.match(stderr, new RegExp(`pid ${holder.pid}\\b`));
    await holder.stop();
  });
});

describe('hooks run', () => {
  test('runs the pre-start hooks alone; once_per skips what has succeeded for that key', async (t) => {
    const site = new Site(t);
    const hook = { name: 'migrate', command: 'echo ran >> hook.log', shell: true, once_per: '${RELEASE:-}' };
    site.config({ hooks: { pre_start: [hook] }, apps: { web: sleeps } });
    const runs = () => readFileSync(site.path('hook.log'), 'utf8').trim().split('\n').length;
    const release = (name: string) => ({ env: { RELEASE: name } });
    assert.equal((await site.run(['hooks', 'run'], release('r1'))).code, 0);
    assert.equal(runs(), 1);
    const again = await site.run(['hooks', 'run'], release('r1'));
    assert.equal(again.code, 0);
    assert.match(again.stderr, /succeeded for r1 at \d{4}-\d\d-\d\dT/);
    assert.equal(runs(), 1);
    assert.equal((await site.run(['hooks', 'run'], release('r2'))).code, 0);
    assert.equal(runs(), 2);

    const master = await site.start([], release('r2')).serves();
    const [result] = (JSON.parse(await site.ok('hooks', '--json')) as { hooks: HookResult[] }).hooks;
    assert.equal(result?.state, 'skipped');
    assert.match(result?.reason ?? '', /succeeded for r2 at /);
    assert.equal(runs(), 2);
    await master.stop();
    await site.nothingIsLeft();
  });

  test('records a failed hook for no key: it runs again', async (t) => {
    const site = new Site(t);
    site.config({
      hooks: {
        pre_start: [{ name: 'migrate', command: 'echo ran >> hook.log; test -e fixed', shell: true, once_per: 'r1' }],
      },
      apps: { web: sleeps },
    });
    const failed = await site.run(['hooks', 'run']);
    assert.equal(failed.code, 1, failed.stderr);
    site.write('fixed', '');
    await site.ok('hooks', 'run');
    await site.ok('hooks', 'run');
    assert.equal(readFileSync(site.path('hook.log'), 'utf8'), 'ran\nran\n');
  });

  test('beside a start that runs hooks waits for its turn and says for whom', async (t) => {
    const site = new Site(t);
    site.config({
      hooks: {
        pre_start: [
          {
            name: 'migrate',
            command: 'echo begin >> hook.log; while [ ! -e go ]; do sleep 0.05; done; echo end >> hook.log',
            shell: true,
          },
        ],
      },
      apps: { web: sleeps },
    });
    const master = site.start();
    await until('the hook runs', () => existsSync(site.path('hook.log')));
    const second = site.launch(['hooks', 'run']);
    await until('the second says that it waits', () =>
      new RegExp(`waits for .*\\b${master.pid}\\b`).test(second.seen.stderr),
    );
    assert.equal(readFileSync(site.path('hook.log'), 'utf8'), 'begin\n');
    site.write('go', '');
    const { code, stderr } = await second.ended;
    assert.equal(code, 0, stderr);
    assert.equal(readFileSync(site.path('hook.log'), 'utf8'), 'begin\nend\nbegin\nend\n');
    await master.serves();
    await master.stop();
  });
});

describe('clients', () => {
  test('without a master: stop is 0, status is 3', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: sleeps } });
    await site.ok('stop');
    for (const args of [['status'], ['reload'], ['scale', 'web', '2'], ['events'], ['logs']]) {
      const { code, stderr } = await site.run(args);
      assert.equal(code, 3, `${args.join(' ')}: ${stderr}`);
    }
  });

  test('work while the config is broken', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: sleeps } });
    const master = await site.start().serves();
    site.write('supervise.yaml', `name: ${site.name}\napps: {web: {command: [}}\nnonsense: true\n`);
    assert.match(await site.ok('status'), /web\.1/);
    await site.ok('scale', 'web', '2');
    await site.ok('restart', 'web.1');
    await site.ok('logs');
    await site.ok('stop');
    await master.ends(0);
  });

  test('answer --json with documents that parse', async (t) => {
    const site = new Site(t);
    site.config({
      hooks: { pre_start: ['echo migrated'] },
      apps: { web: { ...sleeps, command: ['/bin/sh', '-c', 'echo hello; exec sleep 1000'] } },
    });
    const master = await site.start().serves();
    const one = async (...args: string[]) => JSON.parse(await site.ok(...args, '--json')) as Record<string, unknown>;
    const lines = async (...args: string[]) =>
      (await site.ok(...args, '--json'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);

    const snapshot = await one('status');
    assert.deepEqual(
      Object.keys(snapshot).filter((key) =>
        ['name', 'version', 'pid', 'state', 'startedAt', 'uptimeMs', 'hooks', 'host', 'apps'].includes(key),
      ).length,
      9,
    );
    assert.equal(((await one('hooks'))['hooks'] as unknown[]).length, 1);
    await one('check');
    assert.ok(
      (await lines('events')).every(
        ({ seq, at, type }) => Number.isInteger(seq) && typeof at === 'string' && typeof type === 'string',
      ),
    );
    await until('its line has come', async () => (await lines('logs', 'web')).some(({ line }) => line === 'hello'));
    assert.equal((await one('scale', 'web', '2'))['ok'], true);
    assert.equal((await one('reload'))['ok'], true);

    const failed = await site.run(['scale', 'nobody', '2', '--json']);
    assert.equal(failed.code, 64);
    assert.equal((JSON.parse(failed.stdout) as { error: { exitCode: number } }).error.exitCode, 64);
    assert.equal(failed.stderr, '');
    assert.equal((await one('stop'))['ok'], true);
    await master.ends(0);
    const gone = await site.run(['status', '--json']);
    assert.equal(gone.code, 3);
    assert.equal((JSON.parse(gone.stdout) as { error: { code: string } }).error.code, 'no-master');
  });

  test('with several masters and no name: exit 64 that lists them', async (t) => {
    const [one, two, elsewhere] = [new Site(t), new Site(t), new Site(t)];
    // Not RUNTIME_DIRECTORY, which would tell them apart: the directories that masters have by their names.
    const env = { RUNTIME_DIRECTORY: '', STATE_DIRECTORY: '' };
    for (const site of [one, two]) {
      site.config({ apps: { web: sleeps } });
      const { code, stderr } = await site.run(['start', '-d'], { env });
      assert.equal(code, 0, stderr);
      t.after(() => {
        for (const parent of ['/run/supervise', '/var/lib/supervise'])
          rmSync(`${parent}/${site.name}`, { recursive: true, force: true });
      });
    }
    const { code, stderr } = await elsewhere.run(['status'], { env });
    assert.equal(code, 64, stderr);
    for (const { name } of [one, two]) assert.ok(stderr.includes(name), stderr);
    for (const site of [one, two]) {
      const stopped = await elsewhere.run(['stop', '--name', site.name], { env });
      assert.equal(stopped.code, 0, stopped.stderr);
      await site.nothingIsLeft();
    }
  });

  test('scale to 0 and back, restart and signal: ids are new, slots are kept, nothing counts as a crash', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { ...sleeps, workers: 2 } } });
    const master = await site.start().serves();
    const shown = async () => (await master.workers()).map(({ id, slot }) => `${id} in ${slot}`);
    assert.deepEqual(await shown(), ['web.1 in 0', 'web.2 in 1']);
    await site.ok('restart', 'web.1');
    assert.deepEqual(await shown(), ['web.3 in 0', 'web.2 in 1']);
    const [pid] = await master.pids();
    await site.ok('signal', 'web.3', 'TERM');
    await master.until(
      'it is ready again',
      async () => (await master.workers())[0]?.state === 'ready' && (await master.pids())[0] !== pid,
    );
    assert.deepEqual(await shown(), ['web.3 in 0', 'web.2 in 1']);
    await site.ok('scale', 'web', '0');
    const { state, goal } = await master.app();
    assert.deepEqual({ state, goal, workers: await shown() }, { state: 'running', goal: 0, workers: [] });
    await site.ok('scale', 'web', '+2');
    assert.deepEqual(await shown(), ['web.4 in 0', 'web.5 in 1']);
    assert.deepEqual(master.eventsOf('worker.backoff', 'worker.failed'), []);
    assert.deepEqual(
      master.eventsOf('worker.exited').map(({ cause }) => cause),
      ['restart', 'asked', 'scale-down', 'scale-down'],
    );
    await master.stop();
  });
});
