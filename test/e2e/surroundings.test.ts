/** What a worker finds around it: environment, user, umask, niceness, and the release that its cwd led to. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import type { LogLine } from '../../src/core/protocol.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { cwdOf, niceOf, statusLine } from '../helpers/e2e-proc.ts';
import { fixture, Site } from '../helpers/e2e-site.ts';

const reload = { canary: '100ms' };
/** Shows what the test names, one line each, and lives. */
const shows = (...lines: string[]) => [
  '/bin/sh',
  '-c',
  `${lines.map((line) => `echo "${line}"`).join('; ')}; exec sleep 1000`,
];

/** All lines of the app's workers so far, once there are so many. */
async function linesOf(master: Master, site: Site, count: number): Promise<string[]> {
  return master.until(`${count} lines`, async () => {
    const lines = (await site.ok('logs', 'web', '--json')).trim().split('\n').filter(Boolean);
    return lines.length >= count ? lines.map((line) => (JSON.parse(line) as LogLine).line) : null;
  });
}

describe('the environment', () => {
  test('is laid over in order: the master’s, env_file, the app’s env_file, env; ${VAR} and {placeholders} are filled in', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    site.write('top.env', 'TOP=top\nFIRST=top\nSECOND=top\nTHIRD=top\n');
    site.write('app.env', 'SECOND=app\nTHIRD=app\nQUOTED="two words"\n');
    site.config({
      env_file: 'top.env',
      apps: {
        web: {
          command: shows(
            '$$FIRST $$SECOND $$THIRD $$MASTERS $$QUOTED',
            '$$EXPANDED $$DEFAULTED $$PLACED $$PORT',
            '$$SUPERVISE_NAME $$SUPERVISE_APP $$SUPERVISE_WORKER $$SUPERVISE_SLOT $$SUPERVISE_REVISION [$$NOTIFY_SOCKET]',
          ),
          workers: '${COUNT:-1}',
          port,
          ready: { delay: '50ms' },
          env_file: 'app.env',
          env: {
            THIRD: 'env',
            EXPANDED: '${TOP}-${FROM_MASTER}',
            DEFAULTED: '${NOT_SET:-x}',
            PLACED: '{app}:{slot}:{port}',
          },
        },
      },
    });
    const master = await site
      .start([], { env: { FIRST: 'master', MASTERS: 'master', FROM_MASTER: 'm', NOTIFY_SOCKET: '/no/such/socket' } })
      .serves();
    const lines = await linesOf(master, site, 3);
    assert.deepEqual(lines, [
      'top app env master two words',
      `top-m x web:0:${port} ${port}`,
      `${site.name} web web.1 0 1 []`,
    ]);
    await master.stop();
  });

  test('has LISTEN_FDS, LISTEN_PID and the sockets from descriptor 3 on, in order', async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const show = `import os, socket; print([os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"], int(os.environ["LISTEN_PID"]) == os.getpid()], [str(socket.socket(fileno=fd).getsockname()) for fd in (3, 4)], flush=True); import time; time.sleep(1000)`;
    site.config({
      apps: {
        web: {
          command: ['/usr/bin/python3', '-c', show],
          listen: [`127.0.0.1:${port}`, 'unix:web.sock'],
          ready: 'spawned',
        },
      },
    });
    const master = await site.start().serves();
    assert.deepEqual(await linesOf(master, site, 1), [
      `['2', 'web:web', True] ["('127.0.0.1', ${port})", '${site.path('web.sock')}']`,
    ]);
    await master.stop();
  });
});

test(
  'user, umask and nice are those of the config',
  { skip: process.getuid?.() !== 0 && 'only root may become somebody else' },
  async (t) => {
    const site = new Site(t);
    const port = await site.port();
    const identity = { user: 'nobody', umask: '027', nice: 7, ready: { delay: '200ms' } };
    site.config({
      apps: {
        web: { ...identity, command: shows('$$(id -un) $$HOME $$USER $$LOGNAME $$(umask) $$(nice)') },
        script: {
          ...identity,
          script: fixture('slow-answers.mjs'),
          env: { PORT: port },
          listen: [`127.0.0.1:${port}`],
        },
      },
    });
    const master = await site.start().serves();
    assert.deepEqual(await linesOf(master, site, 1), ['nobody /nonexistent nobody nobody 0027 7']);
    for (const pid of [...(await master.pids()), ...(await master.pids('script'))]) {
      assert.deepEqual(new Set(statusLine(pid, 'Uid')?.split('\t')), new Set(['65534']));
      assert.deepEqual(statusLine(pid, 'Umask'), '0027');
      assert.equal(niceOf(pid), 7);
    }
    await master.stop();
  },
);

describe('a cwd that is a symlink', () => {
  /** Two releases, and `current`, which leads to one of them. */
  function release(site: Site, name: string): void {
    mkdirSync(site.path(name));
    site.write(`${name}/program`, `#!/bin/sh\necho ${name}\nexec sleep 1000\n`, 0o755);
  }
  function point(site: Site, name: string): void {
    symlinkSync(name, site.path('current.new'));
    renameSync(site.path('current.new'), site.path('current'));
  }

  test('is resolved when a revision starts: after it moved, a crash runs the old release and a reload the new one', async (t) => {
    const site = new Site(t);
    release(site, 'r1');
    release(site, 'r2');
    point(site, 'r1');
    site.config({ apps: { web: { command: './program', cwd: 'current', ready: { delay: '50ms' }, reload } } });
    const master = await site.start().serves();
    point(site, 'r2');
    const [first] = await master.pids();
    process.kill(first!, 'SIGKILL');
    await master.until('it is ready again', () => master.eventsOf('worker.ready').length === 2);
    assert.equal(cwdOf((await master.pids())[0]!), site.path('r1'));
    assert.deepEqual(await linesOf(master, site, 2), ['r1', 'r1']);
    await site.ok('reload');
    assert.equal(cwdOf((await master.pids())[0]!), site.path('r2'));
    assert.deepEqual(await linesOf(master, site, 3), ['r1', 'r1', 'r2']);
    await master.stop();
  });

  test('whose release is gone starts nothing new in silence: it says so until a reload', async (t) => {
    const site = new Site(t);
    release(site, 'r1');
    release(site, 'r2');
    point(site, 'r1');
    site.config({
      apps: {
        web: { command: './program', cwd: 'current', ready: { delay: '50ms' }, reload, backoff: { initial: '100ms' } },
      },
    });
    const master = await site.start().serves();
    point(site, 'r2');
    rmSync(site.path('r1'), { recursive: true });
    process.kill((await master.pids())[0]!, 'SIGKILL');
    const gone = await master.event('worker.exited', ({ cause }) => cause === 'spawn-failed');
    assert.match(gone.error ?? '', /r1/);
    await master.event('worker.backoff');
    assert.deepEqual(await linesOf(master, site, 1), ['r1']);
    await site.ok('reload');
    assert.equal(cwdOf((await master.pids())[0]!), site.path('r2'));
    await master.serves();
    await master.stop();
  });
});
