/** Hooks: what they are given, what they must not have, and that nothing of them is left. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { statOf } from '../../src/system/procfs.ts';
import { fixture, lives, pidIn, plainEnv, Spawning } from '../helpers/spawning.ts';

const world = new Spawning();
after(() => world.close());

const path = (name: string): string => join(world.directory, name);
const node = process.execPath;

describe('a hook', () => {
  test('has no socket, no control descriptor, no stdin, and a session of its own', async () => {
    const { url } = await world.listen();
    const tried = world.hook(
      { argv: [node, fixture('show.mjs'), '{fd}'], cwd: world.directory, env: { A: 'hook' } },
      { ...plainEnv, LISTEN_FDS: '1', NOTIFY_SOCKET: '/run/x' },
    );
    const shown = JSON.parse(await tried.line(/^\{/)) as {
      pid: number;
      session: number;
      cwd: string;
      args: string[];
      env: Record<string, string>;
      fds: Record<string, string>;
    };
    assert.deepEqual([shown.session, shown.cwd, shown.args], [shown.pid, world.directory, ['{fd}']]);
    assert.equal(shown.fds[0], '/dev/null');
    assert.ok(!Object.values(shown.fds).includes(world.sockets.inodeOf(url)));
    const { env } = shown;
    assert.deepEqual(
      [env.SUPERVISE_NAME, env.SUPERVISE_HOOK, env.SUPERVISE_PHASE, env.A],
      ['shop', 'migrate', 'pre_start', 'hook'],
    );
    assert.deepEqual([env.LISTEN_FDS, env.NOTIFY_SOCKET, env.SUPERVISE_WORKER], [undefined, undefined, undefined]);
  });

  test('ends with its code and last lines, and is never ready', async () => {
    const tried = world.hook({ argv: ['sh', '-c', 'echo out; exit 4'] });
    assert.deepEqual(await tried.exited, { code: 4, signal: null, error: null, lastLines: ['out'] });
    assert.deepEqual(tried.reports, ['exited']);
  });

  test('shell: one string for /bin/sh; an env_file under env', async () => {
    writeFileSync(path('.env'), 'A=file\nB=file\n');
    const tried = world.hook({
      argv: ['echo "$A $B" && echo done | tr a-z A-Z'],
      shell: true,
      cwd: world.directory,
      envFile: '.env',
      env: { B: 'env' },
    });
    assert.deepEqual((await tried.exited).lastLines, ['file env', 'DONE']);
  });

  test('runs as its user', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
    const tried = world.hook({ argv: ['id -un; echo $HOME'], shell: true, user: 'nobody' });
    assert.deepEqual((await tried.exited).lastLines, ['nobody', '/nonexistent']);
  });

  test('what it leaves behind is ended with it', async () => {
    const tried = world.hook({ argv: [fixture('stray.py'), path('stray'), 'go'] });
    const stray = await pidIn(path('stray'));
    assert.equal((await tried.exited).code, 0);
    assert.ok(!lives(stray));
  });

  test('is asked through its shell, and killed with its tree', async () => {
    const tried = world.hook({ argv: [`"${node}" ${fixture('deaf.mjs')} & wait`], shell: true });
    await tried.line(/^deaf$/);
    tried.process.terminate('SIGTERM');
    await tried.line(/^ignored TERM$/);
    assert.deepEqual(tried.reports, []);
    tried.process.kill();
    await tried.exited;
    assert.equal(statOf(tried.pid), null);
  });
});

describe('a hook that cannot be started', () => {
  test('names the program, the PATH, the cwd and what to do, after runHook has returned', async () => {
    const tried = world.hook({ argv: ['alembic-of-nowhere', 'upgrade'] });
    assert.deepEqual([tried.process.pid, tried.reports], [null, []]);
    const { error } = await tried.exited;
    assert.match(
      error ?? '',
      /hook migrate: the program "alembic-of-nowhere" was not found in PATH \(user uid \d+, as the master; cwd .*; PATH=.*\): install it/,
    );
  });

  test('a missing cwd, env_file or user', async () => {
    mkdirSync(path('empty'));
    const errors = await Promise.all([
      world.hook({ argv: ['sh'], cwd: path('none') }).exited,
      world.hook({ argv: ['sh'], cwd: path('empty'), envFile: '.env' }).exited,
      world.hook({ argv: ['sh'], user: 'no-such-user' }).exited,
    ]);
    for (const [index, pattern] of [
      /working directory .*none does not exist/,
      /env_file .*empty\/\.env: it does not exist/,
      /user "no-such-user"/,
    ].entries()) {
      assert.match(errors[index]?.error ?? '', pattern);
    }
  });
});
