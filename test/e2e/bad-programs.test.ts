/** Programs that cannot do their work: loud at the first start, patient later, never a hot loop. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Event } from '../../src/core/protocol.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { isAlive } from '../helpers/e2e-proc.ts';
import { python, Site } from '../helpers/e2e-site.ts';

/** Its log, as JSON lines. */
function logged(master: Master, event: Event['type']): Record<string, unknown>[] {
  return master.stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['event'] === event);
}

describe('at the first start', () => {
  interface Bad {
    readonly app: Record<string, unknown>;
    readonly listens?: boolean;
    readonly says: readonly RegExp[];
  }
  const counted: Record<string, Bad> = {
    'exits 0 at once': {
      app: { command: ['/bin/sh', '-c', 'echo nothing to do'] },
      says: [/exit code 0/, /^ {2}nothing to do$/m],
    },
    'exits 1 at once': {
      app: { command: ['/bin/sh', '-c', 'echo cannot read settings >&2; exit 1'] },
      says: [/exit code 1/, /^ {2}cannot read settings$/m],
    },
    'is killed at once': { app: { command: ['/bin/sh', '-c', 'kill -SEGV $$$$'] }, says: [/SIGSEGV/] },
    'hangs before it accepts': {
      app: {
        command: [
          '/bin/sh',
          '-c',
          `echo loading >&2; exec ${python} ${resolve('test/fixtures/accepting/never_accepts.py')}`,
        ],
        ready_timeout: '700ms',
        stop: { timeout: '2s' },
      },
      listens: true,
      says: [/not ready/, /^ {2}loading$/m],
    },
  };
  for (const [what, { app, listens, says }] of Object.entries(counted)) {
    test(`a program that ${what} is tried 3 times, with delays between, and then exit 1 says why`, async (t) => {
      const site = new Site(t);
      const listen = listens ? { listen: [`127.0.0.1:${await site.port()}`] } : {};
      site.config({ apps: { web: { ...app, ...listen, backoff: { initial: '100ms', max: '1s' } } } });
      const master = site.start();
      await master.ends(1);
      const delays = logged(master, 'worker.backoff').map(({ crashes, delayMs }) => ({
        crashes,
        delayMs: Number(delayMs),
      }));
      assert.deepEqual(
        delays.slice(0, 2).map(({ crashes }) => crashes),
        [1, 2],
      );
      // In (base/2, base], told as whole milliseconds.
      assert.ok(delays[0]!.delayMs >= 50 && delays[0]!.delayMs <= 100, `${delays[0]!.delayMs}`);
      assert.ok(delays[1]!.delayMs >= 100 && delays[1]!.delayMs <= 200, `${delays[1]!.delayMs}`);
      assert.equal(logged(master, 'worker.exited').length, 3);
      for (const words of [...says, /^supervise: web: .*3 attempts/m, /PATH/, /user/, /\/bin\/sh/])
        assert.match(master.stderr, words);
    });
  }

  test('a script that never listens: exit 1 says what to do about it', async (t) => {
    const site = new Site(t);
    site.write('queue.mjs', 'setInterval(() => {}, 1000);');
    site.config({ apps: { web: { script: 'queue.mjs', ready_timeout: '1s', backoff: { initial: '50ms' } } } });
    const master = site.start();
    await master.ends(1);
    for (const words of [/never listened/, /ready: spawned/, /queue\.mjs/]) assert.match(master.stderr, words);
  });

  test('four workers that crash are tried 3 times all together, not each', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { command: ['/bin/sh', '-c', 'exit 1'], workers: 4 } } });
    const master = site.start();
    await master.ends(1);
    assert.ok(logged(master, 'worker.exited').length <= 4);
  });

  const impossible: Record<string, { prepare?: (site: Site) => void; says: RegExp }> = {
    'is missing': { says: /not found|no such|does not exist|no file/i },
    'is not executable': {
      prepare: (site) => site.write('program', '#!/bin/sh\nsleep 1000\n'),
      says: /not executable|permission|execute/i,
    },
    'has an interpreter that is missing': {
      prepare: (site) => site.write('program', '#!/no/such/shell\n', 0o755),
      says: /\/no\/such\/shell/,
    },
    'is a directory': { prepare: (site) => mkdirSync(site.path('program')), says: /directory/ },
  };
  for (const [what, { prepare, says }] of Object.entries(impossible)) {
    test(`a program that ${what} is not tried again: exit 1 names it`, async (t) => {
      const site = new Site(t);
      prepare?.(site);
      const port = await site.port();
      site.config({ apps: { web: { command: ['./program', '--serve'], workers: 2, listen: [`127.0.0.1:${port}`] } } });
      const master = site.start();
      await master.ends(1);
      for (const words of [says, /^supervise: /m, /\/program\b/]) assert.match(master.stderr, words);
      assert.equal(logged(master, 'worker.backoff').length, 0);
    });
  }

  test('a program that is in no folder of PATH: exit 1 shows the PATH', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { command: 'no-such-server --port 1' } } });
    const master = site.start([], { env: { PATH: '/usr/bin:/no/where' } });
    await master.ends(1);
    for (const words of [/no-such-server/, /\/usr\/bin:\/no\/where/]) assert.match(master.stderr, words);
  });
});

/** `broken`: every start fails from now on. */
const breakable = ['/bin/sh', '-c', 'test ! -e broken || exit 4; exec sleep 1000'];

describe('once it has served', () => {
  test('a worker that crashes is `failed` after max_crashes, gets slow trials, and `retry` starts it; its sibling is never touched', async (t) => {
    const site = new Site(t);
    const backoff = {
      initial: '60ms',
      max: '100ms',
      factor: 2,
      jitter: 0.5,
      max_crashes: 3,
      retry_failed_every: '700ms',
    };
    site.config({ apps: { web: { command: breakable, workers: 2, ready: { delay: '100ms' }, backoff } } });
    const master = await site.start().serves();
    const [bad, sibling] = await master.pids();
    site.write('broken', '');
    process.kill(bad!, 'SIGKILL');
    await master.event('worker.failed');

    const life = master.events.flatMap((event) => ('worker' in event && event.worker === 'web.1' ? [event.type] : []));
    const expected = [
      'starting',
      'ready',
      'exited',
      'starting',
      'exited',
      'backoff',
      'starting',
      'exited',
      'backoff',
      'starting',
      'exited',
      'failed',
    ];
    assert.deepEqual(
      life.slice(0, expected.length),
      expected.map((state) => `worker.${state}`),
    );
    const [first, second] = master.eventsOf('worker.backoff').map(({ delayMs }) => delayMs);
    assert.ok(first! >= 30 && first! <= 60, `${first}`);
    assert.ok(second! >= 50 && second! <= 100, `${second}`);
    const [failed] = master.eventsOf('worker.failed');
    assert.deepEqual({ crashes: failed!.crashes, delayMs: failed!.delayMs }, { crashes: 4, delayMs: 700 });

    await master.until('two slow trials', () => master.eventsOf('worker.failed').length >= 3);
    const { state, ready, workers } = await master.app();
    assert.deepEqual({ state, ready }, { state: 'degraded', ready: 1 });
    assert.equal(workers[1]?.pid, sibling);
    assert.equal((await master.status()).state, 'running');

    rmSync(site.path('broken'));
    await site.ok('retry', 'web.1');
    await master.serves();
    assert.equal((await master.pids())[1], sibling);
    await master.stop();
  });

  test('an app whose workers all fail is `failed`, and the master never gives it up', async (t) => {
    const site = new Site(t);
    const backoff = { initial: '20ms', max: '20ms', max_crashes: 2, retry_failed_every: '500ms' };
    site.config({ apps: { web: { command: breakable, workers: 2, ready: { delay: '100ms' }, backoff } } });
    const master = await site.start().serves();
    const pids = await master.pids();
    site.write('broken', '');
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await master.event('app.failed');
    rmSync(site.path('broken'));
    await master.serves();
    assert.deepEqual(pids.filter(isAlive), []);
    await master.stop();
  });

  test('a worker that ends with 0 too soon is counted as crashed: no hot loop', async (t) => {
    const site = new Site(t);
    site.config({
      apps: {
        web: {
          command: ['/bin/sh', '-c', 'sleep 0.3'],
          ready: { delay: '50ms' },
          backoff: { initial: '400ms', factor: 2, jitter: 0, max_crashes: 3, retry_failed_every: '1m' },
        },
      },
    });
    const master = site.start();
    await master.event('worker.failed');
    const exits = master.eventsOf('worker.exited');
    assert.deepEqual(
      exits.map(({ code }) => code),
      [0, 0, 0, 0],
    );
    assert.deepEqual(
      master.eventsOf('worker.backoff').map(({ delayMs }) => delayMs),
      [400, 800],
    );
    assert.equal(master.eventsOf('worker.starting').length, 4);
    await master.stop();
  });

  test('a worker that ends with 0 after a second of readiness is started again and not counted', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: { command: ['/bin/sh', '-c', 'sleep 1.5'], ready: { delay: '50ms' } } } });
    const master = site.start();
    await master.until('a third process is ready', () => master.eventsOf('worker.ready').length === 3);
    assert.deepEqual(master.eventsOf('worker.backoff', 'worker.failed'), []);
    assert.ok(master.eventsOf('worker.exited').every(({ cause, code }) => cause === 'exit' && code === 0));
    await master.stop();
  });
});

describe('with a restart policy', () => {
  const cases = [
    { restart: 'never', code: 0, exit: 0, state: 'completed' },
    { restart: 'never', code: 5, exit: 1, state: 'failed' },
    { restart: 'on-failure', code: 0, exit: 0, state: 'completed' },
  ];
  for (const { restart, code, exit, state } of cases) {
    test(`${restart}, a worker that ends with ${code} is ${state}, and the master ends with ${exit}`, async (t) => {
      const site = new Site(t);
      site.config({
        apps: {
          web: {
            command: ['/bin/sh', '-c', `sleep 0.4; echo done; exit ${code}`],
            ready: { delay: '50ms' },
            restart,
            workers: 2,
          },
        },
      });
      const master = site.start();
      await master.ends(exit);
      assert.equal(logged(master, state === 'completed' ? 'worker.completed' : 'worker.failed').length, 2);
      assert.equal(logged(master, 'worker.backoff').length, 0);
    });
  }
});
