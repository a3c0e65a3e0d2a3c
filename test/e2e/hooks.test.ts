/** Pre-start hooks: exactly once, before the first worker, and nothing at all after one that fails. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fixture, Site, until } from '../helpers/e2e-site.ts';

const once = { name: 'migrate', command: 'echo ran >> hook.log', shell: true };
/** Ends at once with 3 when the hook has not run before it. */
const afterHook = ['/bin/sh', '-c', 'test -s hook.log || exit 3; echo $$ >> started; exec sleep 1000'];

describe('pre-start hooks', () => {
  test('run once for 8 workers, across 20 crashes, a scale-up and a refused second start', async (t) => {
    const site = new Site(t);
    site.config({
      hooks: { pre_start: [once] },
      apps: {
        web: {
          command: afterHook,
          workers: 8,
          ready: { delay: '50ms' },
          backoff: { initial: '50ms', max: '100ms', max_crashes: 100 },
        },
      },
    });
    const master = await site.start().serves();

    for (let crash = 0; crash < 20; crash++) {
      const before = master.eventsOf('worker.ready').length;
      const pids = await master.pids();
      process.kill(pids[crash % pids.length]!, 'SIGKILL');
      await master.until('it is ready again', () => master.eventsOf('worker.ready').length > before);
      await master.serves();
    }
    assert.equal(master.eventsOf('worker.exited').length, 20);

    await site.ok('scale', 'web', '+2');
    assert.equal((await master.pids()).length, 10);

    const second = await site.run(['start']);
    assert.equal(second.code, 75, second.stderr);
    assert.match(second.stderr, new RegExp(`pid ${master.pid}\\b`));
    assert.match(second.stderr, new RegExp(`--name ${site.name}\\b`));
    assert.ok(second.stderr.includes(site.path('supervise.yaml')), second.stderr);

    const running = await master.status();
    assert.deepEqual(
      running.apps.map(({ state, ready }) => ({ state, ready })),
      [{ state: 'running', ready: 10 }],
    );
    assert.deepEqual(
      running.hooks.map(({ phase, name, state, attempts, exitCode }) => ({ phase, name, state, attempts, exitCode })),
      [{ phase: 'pre_start', name: 'migrate', state: 'succeeded', attempts: 1, exitCode: 0 }],
    );
    assert.equal(readFileSync(site.path('hook.log'), 'utf8'), 'ran\n');
    assert.equal(readFileSync(site.path('started'), 'utf8').trim().split('\n').length, 8 + 20 + 2);
    await master.stop();
    assert.equal(readFileSync(site.path('hook.log'), 'utf8'), 'ran\n');
  });

  test('run in order, one at a time, and their output is logged under their names', async (t) => {
    const site = new Site(t);
    const step = (name: string) => ({
      name,
      command: `echo ${name} begins >> order; sleep 0.2; echo ${name} ends >> order; echo hello from ${name}`,
      shell: true,
    });
    site.config({
      hooks: { pre_start: [step('one'), step('two'), step('three')] },
      apps: { web: { command: 'sleep 1000', ready: { delay: '50ms' } } },
    });
    const master = await site.start().serves();
    const order = readFileSync(site.path('order'), 'utf8').trim().split('\n');
    assert.deepEqual(
      order,
      ['one', 'two', 'three'].flatMap((name) => [`${name} begins`, `${name} ends`]),
    );
    assert.match(await site.ok('logs', 'hook.two'), /^hook\.two\s*\| hello from two$/m);
    await master.stop();
  });

  interface Failure {
    readonly hook: Record<string, unknown>;
    readonly says: readonly RegExp[];
  }
  const failures: Record<string, Failure> = {
    'that fails': {
      hook: { command: 'echo table is locked >&2; exit 7', shell: true },
      says: [/migrate/, /exit code 7/, /table is locked/],
    },
    'that hangs with a child in a session of its own': {
      hook: { command: ['/bin/sh', fixture('hangs-with-stray.sh')], timeout: '1s' },
      says: [/migrate/, /1s|1 s/, /waits for a lock/],
    },
    'whose program is missing': {
      hook: { command: 'no-such-migration --all' },
      says: [/migrate/, /no-such-migration/, /PATH/],
    },
  };
  for (const [what, { hook, says }] of Object.entries(failures)) {
    test(`a hook ${what}: exit 1, no worker, no process left, the port is free`, async (t) => {
      const site = new Site(t);
      const port = await site.port();
      site.config({
        hooks: {
          pre_start: [
            { name: 'migrate', ...hook },
            { ...once, name: 'next' },
          ],
        },
        apps: {
          web: { command: ['/bin/sh', '-c', 'touch started; sleep 1000'], listen: [`127.0.0.1:${port}`], workers: 2 },
        },
      });
      const master = site.start();
      await master.ends(1);
      for (const words of says) assert.match(master.stderr, words);
      assert.ok(!existsSync(site.path('started')), 'a worker was started');
      assert.ok(!existsSync(site.path('hook.log')), 'the next hook was run');
    });
  }

  test('TERM during a hook ends its tree, starts no worker and exits 0', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.config({
      hooks: { pre_start: [{ name: 'migrate', command: ['/bin/sh', fixture('hangs-with-stray.sh')] }] },
      apps: { web: { command: ['/bin/sh', '-c', 'touch started; sleep 1000'], listen: [`127.0.0.1:${port}`] } },
    });
    const master = site.start();
    await until('the hook waits', () => existsSync(site.path('stray')));
    await master.stop();
    assert.ok(!existsSync(site.path('started')), 'a worker was started');
  });

  test('nothing listens while a hook runs', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const probe = `
      import { connect } from 'node:net';
      connect(${port}, '127.0.0.1').on('connect', () => process.exit(9)).on('error', ({ code }) => process.exit(code === 'ECONNREFUSED' ? 0 : 8));`;
    site.write('probe.mjs', probe);
    site.config({
      hooks: { pre_start: [{ name: 'probe', command: [process.execPath, 'probe.mjs'] }] },
      apps: { web: { command: ['/usr/bin/python3', fixture('only-accepts.py')], listen: [`127.0.0.1:${port}`] } },
    });
    const master = await site.start().serves();
    await master.stop();
  });
});

describe('the other hooks', () => {
  test('run when their time has come: post_start after every app serves, pre_stop before a worker is asked, post_stop after the last is gone', async (t) => {
    const site = new Site(t);
    const note = (name: string) => [{ name, command: `echo ${name} >> order`, shell: true }];
    const worker =
      'trap "echo worker asked >> order; exit 0" TERM; echo worker starts >> order; while :; do sleep 0.05; done';
    site.config({
      hooks: {
        pre_start: note('pre_start'),
        post_start: note('post_start'),
        pre_stop: note('pre_stop'),
        post_stop: note('post_stop'),
      },
      apps: { web: { command: ['/bin/sh', '-c', worker], ready: { delay: '300ms' } } },
    });
    const master = await site.start().serves();
    await master.stop();
    const order = readFileSync(site.path('order'), 'utf8').trim().split('\n');
    assert.deepEqual(order, ['pre_start', 'worker starts', 'post_start', 'pre_stop', 'worker asked', 'post_stop']);
  });

  test('do not end the service when they fail, unless they are told to abort', async (t) => {
    const site = new Site(t);
    site.config({
      hooks: { post_start: ['/bin/false'], pre_stop: ['/bin/false'] },
      apps: { web: { command: 'sleep 1000', ready: { delay: '50ms' } } },
    });
    const master = await site.start().serves();
    assert.equal((await master.event('hook.failed')).phase, 'post_start');
    await master.stop();
  });
});

test('a hook inherits no socket and no other descriptor of the master', async (t) => {
  const site = new Site(t);
  const port = await site.port();
  const look = 'for fd in /proc/$$/fd/*; do echo ${fd##*/}; done > fds';
  site.config({
    hooks: { pre_start: [{ name: 'look', command: look, shell: true }] },
    apps: { web: { command: ['/usr/bin/python3', fixture('only-accepts.py')], listen: [`127.0.0.1:${port}`] } },
  });
  const master = await site.start().serves();
  const found = readFileSync(site.path('fds'), 'utf8');
  // The same program, started from here: what we have inherited ourselves is passed on.
  spawnSync('/bin/sh', ['-c', look], { cwd: site.dir });
  assert.equal(found, readFileSync(site.path('fds'), 'utf8'));
  await master.stop();
});
