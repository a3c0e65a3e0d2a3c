/** Commands as workers: what they are given, when they are ready, and what is said when they cannot be started. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { IdentitySpec } from '../../src/core/spec.ts';
import { appSpec, fixture, lives, openFds, plainEnv, Spawning, until, type Tried } from '../helpers/spawning.ts';

const rootOnly = { skip: process.getuid?.() !== 0 && 'needs root' };
const world = new Spawning();
after(() => world.close());

const node = process.execPath;
const show = [node, fixture('show.mjs')];
const path = (name: string): string => join(world.directory, name);
const identity = (wanted: Partial<IdentitySpec>): IdentitySpec => ({
  user: null,
  group: null,
  umask: null,
  nice: null,
  ...wanted,
});

interface Shown {
  readonly pid: number;
  readonly group: number;
  readonly session: number;
  readonly args: string[];
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly fds: Record<string, string>;
  readonly uid: number;
  readonly gid: number;
  readonly groups: number[];
  readonly umask: number;
  readonly nice: number;
}

async function shown(tried: Tried): Promise<Shown> {
  return JSON.parse(await tried.line(/^\{/)) as Shown;
}

describe('what a worker is given', () => {
  test('its inherited sockets from fd 3 on, stdin from /dev/null, pipes, and nothing else of the master', async () => {
    const [one, other] = [
      await world.listen(),
      { kind: 'unix', path: path('web.sock'), mode: 0o666, group: null, url: `unix:${path('web.sock')}` } as const,
    ];
    world.listenOn([other]);
    const tried = world.start(
      {
        argv: [...show, '{fd}', '{fd1}', '{fd2}', 'a{slot}b', '{app}', '{port}', '{other}'],
        listen: [one, other],
        ready: { kind: 'spawned' },
      },
      { slot: 4 },
    );
    const { pid, fds, env, args } = await shown(tried);
    assert.equal(pid, tried.pid);
    assert.deepEqual(
      [fds[0], fds[3], fds[4]],
      ['/dev/null', world.sockets.inodeOf(one.url), world.sockets.inodeOf(other.url)],
    );
    const inherited = [world.sockets.inodeOf(one.url), world.sockets.inodeOf(other.url)];
    assert.deepEqual(Object.values(fds).filter((link) => inherited.includes(link)).length, 2);
    assert.deepEqual([env.LISTEN_FDS, env.LISTEN_FDNAMES, env.LISTEN_PID], ['2', 'web:web', String(pid)]);
    assert.deepEqual(args, ['3', '4', '{fd2}', 'a4b', 'web', '{port}', '{other}']);
  });

  test('a session and group of its own, its cwd, and its names', async () => {
    const tried = world.start(
      { argv: show, cwd: world.directory, port: 9000, env: { A: '{app}-{slot}-{port}' } },
      { slot: 2, env: { ...plainEnv, B: '{app}' } },
    );
    const { pid, group, session, cwd, env } = await shown(tried);
    assert.deepEqual([group, session, cwd], [pid, pid, world.directory]);
    assert.deepEqual(
      [env.SUPERVISE_NAME, env.SUPERVISE_APP, env.SUPERVISE_SLOT, env.SUPERVISE_REVISION, env.PORT],
      ['shop', 'web', '2', '1', '9002'],
    );
    assert.match(env.SUPERVISE_WORKER ?? '', /^web\.\d+$/);
    assert.deepEqual([env.A, env.B, env.LISTEN_FDS], ['web-2-9002', '{app}', undefined]);
  });

  test('umask and niceness', async () => {
    const { umask, nice } = await shown(world.start({ argv: show, identity: identity({ umask: 0o27, nice: 7 }) }));
    assert.deepEqual([umask, nice], [0o27, 7]);
  });

  test(
    'its user with the supplementary groups, and its parent-death signal survives the change',
    rootOnly,
    async () => {
      const tried = world.start({
        argv: show,
        identity: identity({ user: 'nobody', umask: 0o77, nice: -2 }),
        stop: { signal: 'SIGQUIT', timeoutMs: 1000 },
      });
      const { uid, gid, groups, umask, nice, env } = await shown(tried);
      assert.deepEqual(
        [uid, gid, groups, umask, nice, env.USER, env.HOME],
        [65534, 65534, [65534], 0o77, -2, 'nobody', '/nonexistent'],
      );
    },
  );

  test('a user by number without an account has no groups; a group alone keeps the user', rootOnly, async () => {
    const [byNumber, byGroup] = await Promise.all([
      shown(world.start({ argv: show, identity: identity({ user: '4321' }) })),
      shown(world.start({ argv: show, identity: identity({ group: 'nogroup' }) })),
    ]);
    assert.deepEqual([byNumber.uid, byNumber.gid, byNumber.groups], [4321, 4321, [4321]]);
    assert.deepEqual([byGroup.uid, byGroup.gid], [0, 65534]);
  });
});

describe('ready', () => {
  test('fd: at the newline on NOTIFY_FD, which comes after the sockets', async () => {
    const listen = await world.listen();
    const tried = world.start({ argv: [fixture('notify.sh'), path('go')], listen: [listen], ready: { kind: 'fd' } });
    assert.equal(await tried.line(/waiting/), 'waiting on fd 4');
    assert.deepEqual(tried.reports, []);
    writeFileSync(path('go'), '');
    await tried.ready;
    assert.deepEqual(tried.reports, ['ready']);
  });

  test('log: a line of either stream', async () => {
    const argv = ['/bin/sh', '-c', 'echo not yet; echo "ready on 80" >&2; exec sleep 600'];
    const tried = world.start({ argv, ready: { kind: 'log', pattern: '^ready on \\d+$' } });
    await tried.ready;
    assert.deepEqual(tried.lines().toSorted(), ['not yet', 'ready on 80']);
  });

  test('ipc: a command that says so through wrappers', async () => {
    await world.start({ argv: ['/bin/sh', '-c', `"${node}" ${fixture('ready.mjs')}; true`], ready: { kind: 'ipc' } })
      .ready;
  });

  test('auto: a command without listen once it has lived for a second; not when it ends before', async () => {
    const [alive, dead] = [world.start({ argv: ['sleep', '600'] }), world.start({ argv: ['sleep', '0.2'] })];
    assert.deepEqual(await dead.exited, { code: 0, signal: null, error: null, lastLines: [] });
    await alive.ready;
    assert.deepEqual([alive.reports, dead.reports], [['ready'], ['exited']]);
  });

  test('auto: a command with listen once it accepts, seen through its wrapper', async () => {
    const listen = await world.listen();
    const serve = `require('node:http').createServer((_, r) => r.end('hello')).listen({ fd: Number(process.argv[1]) })`;
    const tried = world.start({ argv: ['/bin/sh', '-c', `"${node}" -e "${serve}" {fd}; true`], listen: [listen] });
    await tried.ready;
    const answer = await fetch(`http://127.0.0.1:${listen.port}/`);
    assert.equal(await answer.text(), 'hello');
  });

  test('is not reported any more once it was asked to end', async () => {
    const tried = world.start({
      argv: ['/bin/sh', '-c', 'trap "echo ready; exit 3" TERM; echo up; while :; do sleep 0.05; done'],
      ready: { kind: 'log', pattern: 'ready' },
    });
    await tried.line(/up/);
    tried.process.terminate('SIGTERM');
    assert.equal((await tried.exited).code, 3);
    assert.deepEqual(tried.reports, ['exited']);
  });
});

describe('what ends', () => {
  test('code and last lines; stderr before stdout', async () => {
    const exit = await world.start({ argv: ['/bin/sh', '-c', 'echo out; echo bad >&2; echo worse >&2; exit 9'] })
      .exited;
    assert.deepEqual(exit, { code: 9, signal: null, error: null, lastLines: ['bad', 'worse'] });
    const quiet = await world.start({ argv: ['/bin/sh', '-c', 'echo out; kill -USR2 $$'] }).exited;
    assert.deepEqual(quiet, { code: null, signal: 'SIGUSR2', error: null, lastLines: ['out'] });
  });

  test('the last lines of one that still runs', async () => {
    const tried = world.start({ argv: ['/bin/sh', '-c', 'echo waits >&2; exec sleep 60'] });
    await tried.line(/waits/);
    assert.deepEqual(tried.process.lastLines(), ['waits']);
  });

  test('an unfinished last line, and all of a long output, is there at the exit', async () => {
    const lines: string[] = [];
    const stop = world.output.subscribe(({ line }) => line.startsWith('row ') && lines.push(line));
    await world.start({
      argv: ['/bin/sh', '-c', 'i=0; while [ $i -lt 5000 ]; do echo row $i; i=$((i+1)); done; printf "row end"'],
    }).exited;
    stop();
    assert.equal(lines.length, 5001);
    assert.equal(lines.at(-1), 'row end');
  });
});

describe('what cannot be started', () => {
  const pinnedIn = (name: string) => {
    const directory = path(name);
    mkdirSync(directory);
    writeFileSync(join(directory, 'run'), '#!/bin/sh\nexec sleep 600\n');
    chmodSync(join(directory, 'run'), 0o755);
    return { directory, pinned: world.spawner.pin(appSpec({ argv: ['./run'], cwd: directory }), 3, plainEnv) };
  };

  test('a program or cwd that is gone since the revision was pinned: says so, and starts nothing else', async () => {
    const one = pinnedIn('release-1');
    rmSync(join(one.directory, 'run'));
    const noProgram = world.startPinned(one.pinned);
    assert.equal(noProgram.process.pid, null);
    assert.deepEqual(noProgram.reports, []);
    assert.match(
      (await noProgram.exited).error ?? '',
      /release-1\/run does not exist any more: .*reload to run what is there now/,
    );
    rmSync(one.directory, { recursive: true });
    assert.match(
      (await world.startPinned(one.pinned).exited).error ?? '',
      /the working directory .*release-1 does not exist any more/,
    );
  });

  test('a program that may not be executed any more, and an interpreter that is gone: said with a wrapper and without', async () => {
    const { directory, pinned } = pinnedIn('release-2');
    const listen = [await world.listen()];
    const withShell = { ...pinned, app: { ...pinned.app, listen } };
    chmodSync(join(directory, 'run'), 0o644);
    const plain = await world.startPinned(pinned).exited;
    const wrapped = await world.startPinned(withShell).exited;
    assert.match(plain.error ?? '', /run cannot be started: permission denied.* \(EACCES\)/);
    assert.match(wrapped.error ?? '', /the program cannot be executed: .*Permission denied/);
    assert.deepEqual([plain.code, wrapped.code], [null, 126]);
    symlinkSync('/no/where', join(directory, 'sh'));
    writeFileSync(join(directory, 'run'), `#!${directory}/sh\n`);
    chmodSync(join(directory, 'run'), 0o755);
    assert.match(
      (await world.startPinned(pinned).exited).error ?? '',
      /the interpreter that its first line names, does not exist/,
    );
    assert.match(
      (await world.startPinned(withShell).exited).error ?? '',
      /the program cannot be executed: .*(No such file|not found)/,
    );
  });

  test('arguments that are too long', async () => {
    const { pinned } = pinnedIn('release-3');
    const exit = await world.startPinned({ ...pinned, argv: [...pinned.argv, 'x'.repeat(3_000_000)] }).exited;
    assert.match(
      exit.error ?? '',
      /release-3\/run cannot be started: its arguments and environment are too long \(E2BIG\)/,
    );
    assert.equal(exit.transient, undefined);
  });

  for (const kind of ['command', 'script'] as const) {
    test(`a master without descriptors: every one that fails is told why (${kind})`, async () => {
      const spec = appSpec({ kind, argv: [kind === 'script' ? fixture('deaf.mjs') : 'sleep', '600'] });
      const child = spawn(
        '/bin/sh',
        ['-c', 'ulimit -n 60; exec "$@"', 'sh', node, fixture('exhausted.mjs'), JSON.stringify(spec)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let text = '';
      child.stdout.on('data', (data) => (text += String(data)));
      assert.deepEqual(await once(child, 'close'), [0, null]);
      const lines = text.trim().split('\n');
      assert.ok(
        lines.length > 3 &&
          lines.every((line) =>
            /cannot be started: the master has no more file descriptors .* \(EMFILE\) may work again$/.test(line),
          ),
        text,
      );
    });
  }

  test('a program that ends with 127 by itself has no error', async () => {
    const exit = await world.start({ argv: ['/bin/sh', '-c', 'no-such-command'] }).exited;
    assert.deepEqual([exit.code, exit.error], [127, null]);
  });
});

test('50 spawns leave no descriptor, no process and no report open', async () => {
  const listen = await world.listen();
  const once = () => world.start({ argv: ['true'], listen: [listen], ready: { kind: 'fd' } });
  const tenAtOnce = () => Array.from({ length: 10 }, once);
  // Each of those who live at the same time gets a listener, which is kept.
  await Promise.all(tenAtOnce().map((one) => one.exited));
  const before = openFds();
  for (let round = 0; round < 5; round++) {
    const tried = tenAtOnce();
    await Promise.all(tried.map((one) => one.exited));
    for (const one of tried) {
      assert.deepEqual(one.reports, ['exited']);
      assert.ok(!lives(one.pid));
    }
  }
  const left = await until(() => openFds() <= before && 'none', 'descriptors');
  assert.equal(left, 'none');
  assert.ok(existsSync(world.directory));
});
