/** Signals to the master. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Snapshot } from '../../src/core/protocol.ts';
import { ask } from '../helpers/e2e-load.ts';
import { commandLine, isAlive, sessionOf } from '../helpers/e2e-proc.ts';
import { fixture, Site, until } from '../helpers/e2e-site.ts';

const sleeps = { command: 'sleep 1000', ready: { delay: '50ms' }, reload: { canary: '100ms' } };
/** Nothing but a kill ends it: a test that waits for its stop timeout never ends. */
const stubborn = {
  command: ['/bin/sh', fixture('ignores-term.sh')],
  ready: { delay: '100ms' },
  stop: { timeout: '10m' },
};

describe('TERM and INT', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} stops gracefully: the request in hand is finished, exit 0`, async (t) => {
      const site = new Site(t);
      const port = await site.port();
      site.config({
        apps: { web: { script: fixture('slow-answers.mjs'), env: { PORT: port }, listen: [`127.0.0.1:${port}`] } },
      });
      const master = await site.start().serves();
      const [pid] = await master.pids();
      const answer = ask(port, '/1000');
      await ask(port, '/1');
      await master.stop(signal);
      assert.equal(Number(await answer), pid);
      assert.deepEqual(master.eventsOf('worker.killing'), []);
    });

    test(`a second ${signal} kills what ignores the first, exit 0`, async (t) => {
      const site = new Site(t);
      site.config({ apps: { web: { ...stubborn, workers: 2 } } });
      const master = await site.start().serves();
      master.signal(signal);
      await master.until('both are asked', () => master.eventsOf('worker.stopping').length === 2);
      assert.deepEqual(master.eventsOf('worker.killing'), []);
      await master.stop(signal);
      assert.equal(master.eventsOf('worker.killing').length, 2);
    });
  }
});

test('QUIT gives the workers 2 s and kills the rest, exit 0', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: { ...stubborn }, polite: sleeps } });
  const master = await site.start().serves();
  await master.stop('SIGQUIT');
  assert.deepEqual(
    master.eventsOf('worker.killing').map(({ app }) => app),
    ['web'],
  );
});

test('what is left after stop.timeout is killed, and the exit code is still 0', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: { ...stubborn, stop: { timeout: '500ms' } } } });
  const master = await site.start().serves();
  await master.stop();
  assert.equal(master.eventsOf('worker.killing').length, 1);
});

test('apps are stopped in reverse order, each after the one that it was started before', async (t) => {
  const site = new Site(t);
  const app = { ...sleeps, command: ['/bin/sh', '-c', 'trap "sleep 0.3; exit 0" TERM; while :; do sleep 0.1; done'] };
  site.config({ apps: { one: app, two: app, three: app } });
  const master = await site.start().serves();
  await master.stop();
  const order = master
    .eventsOf('worker.starting', 'worker.stopping', 'worker.exited')
    .map(({ type, app }) => `${type} ${app}`);
  const started = ['one', 'two', 'three'].map((name) => `worker.starting ${name}`);
  const stopped = ['three', 'two', 'one'].flatMap((name) => [`worker.stopping ${name}`, `worker.exited ${name}`]);
  assert.deepEqual(order, [...started, ...stopped]);
});

describe('HUP', () => {
  test('reloads: the config is read again and every worker is replaced', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { ...sleeps, workers: 2 } } });
    const master = await site.start().serves();
    const pids = await master.pids();
    site.config({ apps: { web: { ...sleeps, workers: 3 } } });
    master.signal('SIGHUP');
    await master.event('rollout.succeeded');
    await master.serves();
    assert.equal((await master.pids()).length, 3);
    await master.until('the old workers are gone', () => !pids.some(isAlive));
    await master.stop();
  });

  test('with a config that is invalid touches nothing and says why', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { ...sleeps, workers: 2 } } });
    const master = await site.start().serves();
    const pids = await master.pids();
    site.write('supervise.yaml', 'apps: [nonsense\n');
    master.signal('SIGHUP');
    const { message } = await master.event('master.warning');
    assert.match(message, /nothing was reloaded.*supervise\.yaml:\d+:\d+/s);
    assert.deepEqual(await master.pids(), pids);
    await master.stop();
  });
});

test('TTIN and TTOU change the first app by one worker, never below 1', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: sleeps, other: { ...sleeps, workers: 2 } } });
  const master = await site.start().serves();
  const goals = ({ apps }: Snapshot) => apps.map(({ goal, ready }) => `${ready}/${goal}`).join(' ');
  const becomes = (wanted: string) => master.untilStatus(wanted, (snapshot) => goals(snapshot) === wanted);
  await becomes('1/1 2/2');
  master.signal('SIGTTIN');
  await becomes('2/2 2/2');
  master.signal('SIGTTIN');
  await becomes('3/3 2/2');
  for (let time = 0; time < 2; time++) {
    master.signal('SIGTTOU');
    await becomes(`${2 - time}/${2 - time} 2/2`);
  }
  master.signal('SIGTTOU');
  await master.until('it was taken', () => master.eventsOf('operation.finished').length >= 5);
  assert.equal(goals(await master.status()), '1/1 2/2');
  await master.stop();
});

test('WINCH is ignored, USR2 says "not supported yet": both change nothing', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: { ...sleeps, workers: 2 } } });
  const master = await site.start().serves();
  const pids = await master.pids();
  master.signal('SIGWINCH');
  master.signal('SIGUSR2');
  assert.match((await master.event('master.warning')).message, /not supported yet/);
  await master.until('it is logged', () => /SIGUSR2.*not supported yet/.test(master.stderr));
  assert.deepEqual(await master.pids(), pids);
  await master.stop();
});

test('USR1 opens the log of a detached master again after it was moved away', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: { ...sleeps, command: ['/bin/sh', '-c', 'echo hello; exec sleep 1000'] } } });
  await site.ok('start', '-d');
  const { pid } = JSON.parse(await site.ok('status', '--json')) as Snapshot;
  site.adopt(pid);
  const log = site.path('state/master.log');
  await until('the worker has said hello', () => readFileSync(log, 'utf8').includes('hello'));
  renameSync(log, `${log}.1`);
  process.kill(pid, 'SIGUSR1');
  await until('there is a new log', () => existsSync(log));
  const moved = readFileSync(`${log}.1`, 'utf8');
  await site.ok('restart', 'web');
  await until('the next worker says hello there', () => readFileSync(log, 'utf8').includes('hello'));
  assert.equal(readFileSync(`${log}.1`, 'utf8'), moved);
  await site.ok('stop');
  await site.nothingIsLeft();
});

test('Ctrl-C reaches the master alone: every worker leads a session of its own', async (t) => {
  const site = new Site(t);
  const [port, own] = [await site.port(), await site.port()];
  site.config({
    apps: {
      command: sleeps,
      listening: { script: fixture('slow-answers.mjs'), env: { PORT: port }, listen: [`127.0.0.1:${port}`] },
      cluster: { script: resolve('test/fixtures/spawn/cluster.mjs'), env: { SERVE_PORT: own } },
    },
  });
  const master = await site.start().serves();
  for (const name of ['command', 'listening', 'cluster']) {
    const [pid] = await master.pids(name);
    assert.equal(sessionOf(pid!), pid, commandLine(pid!));
  }
  await master.stop();
});
