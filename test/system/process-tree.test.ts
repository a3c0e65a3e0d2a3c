/** Where signals go, and that nothing of a worker is left when it is reported as gone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProcessTree } from '../../src/system/processes/process-tree.ts';
import { statOf, treeOf } from '../../src/system/procfs.ts';
import { Strays } from '../../src/system/processes/strays.ts';
import { wrap } from '../../src/system/processes/wrapping.ts';
import { fixture, freePort, lives, pidIn, Spawning, until, type Tried } from '../helpers/spawning.ts';

const world = new Spawning();
after(() => world.close());

const node = process.execPath;
const path = (name: string): string => join(world.directory, name);
const shell = (script: string): string[] => ['/bin/sh', '-c', script];
const ready = { kind: 'log', pattern: '^(up|deaf|left)$' } as const;

describe('a stop signal', () => {
  test('goes through sh -c to the program, and its end is awaited although the shell is gone at once', async () => {
    const tried = world.start({ argv: shell(`"${node}" ${fixture('sleeper.mjs')} ${path('one')}; true`) });
    const server = await pidIn(path('one'));
    assert.notEqual(server, tried.pid);
    tried.process.terminate('SIGTERM');
    const exit = await tried.exited;
    assert.equal(exit.signal, 'SIGTERM');
    assert.ok(tried.lines().includes('got TERM'), 'the program was asked, not killed');
    assert.ok(!lives(server));
  });

  test('for a dump is handled by a program that is stopped', async () => {
    const script = `$SIG{ABRT} = sub { print "got it\\n"; exit 7 }; $| = 1; print "up\\n"; sleep 1 while 1`;
    const tried = world.start({
      argv: ['perl', '-e', script],
      ready,
      stop: { signal: 'SIGTERM', timeoutMs: 600_000 },
    });
    await tried.ready;
    process.kill(tried.pid, 'SIGSTOP');
    await until(() => statOf(tried.pid)?.state === 'T');
    tried.process.terminate('SIGABRT');
    assert.equal((await tried.exited).code, 7);
    assert.ok(tried.lines().includes('got it'));
  });

  test('that the leader is gone is told before the end of what it leaves behind', async () => {
    const tried = world.start({ argv: shell(`"${node}" ${fixture('deaf.mjs')}; true`) });
    await tried.line(/^deaf$/);
    const rest = world.marked(tried).find((pid) => pid !== tried.pid)!;
    tried.process.terminate('SIGTERM');
    await tried.gone;
    assert.ok(lives(rest) && !tried.reports.includes('exited'));
    tried.process.kill();
    await tried.exited;
    assert.ok(!lives(rest));
  });

  test('goes down a longer chain', async () => {
    const tried = world.start({
      argv: shell(`sh -c 'sh -c "\\"${node}\\" ${fixture('sleeper.mjs')} ${path('two')}; true"; true'; true`),
    });
    await pidIn(path('two'));
    tried.process.terminate('SIGTERM');
    await tried.exited;
    assert.ok(tried.lines().includes('got TERM'));
  });

  test('ends at a process with several children', async () => {
    const argv = shell(
      `trap 'echo top; wait; exit 0' TERM; for i in 1 2; do "${node}" ${fixture('deaf.mjs')} & done; wait`,
    );
    const tried = world.start({ argv, ready });
    await until(() => tried.lines().filter((line) => line === 'deaf').length === 2);
    tried.process.terminate('SIGTERM');
    await tried.line(/^top$/);
    await sleep(100);
    assert.ok(!tried.lines().includes('ignored TERM'));
    tried.process.kill();
    await tried.exited;
  });

  test('ends with the process that waits on the listener, never below it', async () => {
    const listen = await world.listen();
    const program = `
      require('child_process').spawn('${node}', ['${fixture('deaf.mjs')}'], { stdio: 'inherit' });
      process.on('SIGTERM', () => console.log('server asked'));
      require('http').createServer().listen({ fd: 3 });`;
    const tried = world.start({ argv: shell(`"${node}" -e "${program}"; true`), listen: [listen] });
    await Promise.all([tried.ready, tried.line(/^deaf$/)]);
    assert.equal(treeOf(tried.pid).length, 3);
    tried.process.terminate('SIGTERM');
    await tried.line(/^server asked$/);
    await sleep(100);
    assert.ok(!tried.lines().includes('ignored TERM'));
  });

  test('ends with a process that listens on its own port', async () => {
    const program = `
      require('child_process').spawn('${node}', ['${fixture('deaf.mjs')}'], { stdio: 'inherit' });
      process.on('SIGTERM', () => console.log('server asked'));
      require('http').createServer().listen(${await freePort()}, '127.0.0.1', () => console.log('listens'));`;
    const tried = world.start({ argv: shell(`"${node}" -e "${program}"; true`) });
    await Promise.all([tried.line(/^listens$/), tried.line(/^deaf$/)]);
    assert.equal(tried.process.bindsOwnPort(), true);
    tried.process.terminate('SIGTERM');
    await tried.line(/^server asked$/);
    await sleep(100);
    assert.ok(!tried.lines().includes('ignored TERM'));
  });
});

test('bindsOwnPort: an inherited socket is not its own', async () => {
  const listen = await world.listen();
  const tried = world.start({
    argv: [node, '-e', `require('http').createServer().listen({ fd: 3 })`],
    listen: [listen],
  });
  await tried.ready;
  assert.equal(tried.process.bindsOwnPort(), false);
});

test('signal goes to the real program alone', async () => {
  const argv = shell(
    `trap 'echo shell' USR1; "${node}" -e "process.on('SIGUSR1', () => console.log('program')); setInterval(() => {}, 1e3); console.log('up')"; true`,
  );
  const tried = world.start({ argv, ready });
  await tried.ready;
  tried.process.signal('SIGUSR1');
  await tried.line(/^program$/);
  assert.ok(!tried.lines().includes('shell'));
});

describe('kill', () => {
  test('ends a process that ignores TERM, and a stopped one', async () => {
    const tried = world.start({ argv: [node, fixture('deaf.mjs')], ready });
    await tried.ready;
    tried.process.terminate('SIGTERM');
    await tried.line(/ignored/);
    process.kill(tried.pid, 'SIGSTOP');
    tried.process.kill();
    assert.equal((await tried.exited).signal, 'SIGKILL');
  });

  test('ends a child in a session and with an environment of its own, while it is still attached', async () => {
    const tried = world.start({
      argv: shell(
        `env -i setsid sh -c 'echo $$ > ${path('three')}.tmp; mv ${path('three')}.tmp ${path('three')}; exec sleep 600' & wait`,
      ),
    });
    const child = await pidIn(path('three'));
    assert.equal(statOf(child)?.session, child);
    tried.process.kill();
    await tried.exited;
    assert.ok(!lives(child));
  });

  test('ends a child of a cleared environment that was seen while it was attached, after the leader has ended by itself', async () => {
    const script = `env -i setsid sh -c 'echo $$ > ${path('four')}.tmp; mv ${path('four')}.tmp ${path('four')}; exec sleep 600' & echo up; read forever < ${path('fifo')}`;
    await once(spawn('mkfifo', [path('fifo')]), 'exit');
    const tried = world.start({ argv: shell(script), ready: { kind: 'delay', delayMs: 300 } });
    const child = await pidIn(path('four'));
    await tried.ready;
    process.kill(tried.pid, 'SIGKILL');
    await tried.exited;
    assert.ok(!lives(child));
  });

  test('ends a tree that forks while it is killed', async () => {
    const argv = shell('echo up; while :; do (sleep 600 & sleep 600 &) & sleep 0.001; done');
    const tried = world.start({ argv, ready });
    await tried.ready;
    await until(() => world.marked(tried).length > 50);
    tried.process.kill();
    await tried.exited;
    assert.deepEqual(world.marked(tried), []);
  });
});

describe('a leader that exits by itself', () => {
  test('takes the children that it leaves with it, before its exit is reported', async () => {
    const tried = world.start({
      argv: shell(
        `"${node}" ${fixture('sleeper.mjs')} ${path('five')} & while [ ! -e ${path('five')} ]; do sleep 0.02; done; exit 7`,
      ),
    });
    const child = await pidIn(path('five'));
    assert.equal((await tried.exited).code, 7);
    assert.ok(!lives(child));
  });

  for (const stays of ['go', 'stay'] as const) {
    test(`a process that forked twice into a session of its own is ended with it (leader: ${stays})`, async () => {
      const file = path(`six-${stays}`);
      const tried = world.start({ argv: [fixture('stray.py'), file, stays], ready });
      const stray = await pidIn(file);
      await tried.line(/^left$/);
      if (stays === 'stay') tried.process.kill();
      await tried.exited;
      assert.ok(!lives(stray));
    });
  }

  test('the processes of its siblings are left alone', async () => {
    const [one, other] = ['seven', 'eight'].map((name) =>
      world.start({ argv: [fixture('stray.py'), path(name), 'stay'], ready }),
    ) as [Tried, Tried];
    const strays = await Promise.all([pidIn(path('seven')), pidIn(path('eight'))]);
    await Promise.all([one.ready, other.ready]);
    process.kill(one.pid, 'SIGKILL');
    await one.exited;
    assert.deepEqual([...strays, other.pid].map(lives), [false, true, true]);
    process.kill(other.pid, 'SIGKILL');
    await other.exited;
    assert.ok(!lives(strays[1]));
  });

  test('a pipe that an escaped process holds does not hold up the report', async () => {
    // Neither session, group, environment nor descent leads to it, and nobody has seen it before the leader ended.
    const file = path('nine');
    const tried = world.start({
      argv: shell(
        `env -i setsid sh -c 'echo $$ > ${file}.tmp; mv ${file}.tmp ${file}; exec sleep 600' & while [ ! -e ${file} ]; do sleep 0.02; done; echo last; exit 3`,
      ),
    });
    const escaped = await pidIn(file);
    assert.deepEqual(await tried.exited, { code: 3, signal: null, error: null, lastLines: ['last'] });
    assert.ok(lives(escaped));
    process.kill(escaped, 'SIGKILL');
  });
});

test('what was left behind is found also where all of /proc has to be read: pids were given out from the start again', async () => {
  const strays = new Strays();
  const mark = `STRAY_OF=${process.pid}.${path('ten')}`;
  // As if the host had made more processes since than there are pids: init, which takes the stray, is looked at too.
  const birth = { ...strays.announce([mark]), forksBefore: -1e12 };
  const [name, value] = mark.split('=') as [string, string];
  const leader = spawn(fixture('stray.py'), [path('ten'), 'go'], { detached: true, env: { [name]: value } });
  const asked = strays.adopt(birth, leader.pid ?? assert.fail('no leader'));
  await once(leader, 'exit');
  const stray = await pidIn(path('ten'));
  try {
    const rest = await new Promise<readonly { pid: number }[]>((answer) => strays.ask(asked, [], answer));
    assert.deepEqual(
      rest.map(({ pid }) => pid),
      [stray],
    );
  } finally {
    process.kill(stray, 'SIGKILL');
  }
});

test('a pid that is another process by now gets no signal, nor does its group', async () => {
  const stranger = spawn('sleep', ['600'], { detached: true });
  const { pid, startTimeTicks } = statOf(stranger.pid ?? 0) ?? assert.fail('no stranger');
  const strays = new Strays();
  const tree = new ProcessTree(
    { ...strays.announce(['NO=such']), pid, startTimeTicks: startTimeTicks - 1 },
    'chain',
    [],
  );
  tree.terminate('SIGTERM');
  tree.signal('SIGKILL');
  tree.kill();
  tree.killThese([{ pid, startTimeTicks: startTimeTicks + 1 }]);
  await sleep(100);
  assert.ok(lives(pid));
  tree.killThese([{ pid, startTimeTicks }]);
  await once(stranger, 'exit');
});

test('a program in a shell whose master was gone at its spawn is not run at all', async () => {
  const { argv } = wrap(
    {
      argv: ['/bin/echo', 'ran'],
      masterPid: process.pid + 1,
      account: null,
      niceness: null,
      umask: 0,
      listenPid: 'none',
    },
    { setpriv: '/usr/bin/setpriv', nice: null, setsid: null },
  );
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (data) => (text += String(data)));
  assert.deepEqual(await once(child, 'close'), [143, null]);
  assert.equal(text, '');
});

test('200 workers that are killed at once are all reported, once each', async () => {
  const all = Array.from({ length: 200 }, () => world.start({ argv: ['sleep', '600'], ready }));
  await until(() => all.every((one) => statOf(one.pid)?.comm === 'sleep'));
  for (const one of all) process.kill(one.pid, 'SIGKILL');
  const exits = await Promise.all(all.map((one) => one.exited));
  assert.deepEqual([...new Set(exits.map((exit) => exit.signal))], ['SIGKILL']);
  assert.ok(all.every((one) => one.reports.join() === 'exited' && !lives(one.pid)));
});
