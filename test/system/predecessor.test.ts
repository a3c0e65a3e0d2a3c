/** Master and guard are both killed; the next start ends what they have left, and nothing else. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openRecord, ownInstance, readRecord } from '../../src/system/instance/guard-record.ts';
import { cleanUpPredecessor } from '../../src/system/instance/predecessor.ts';
import { childrenOf, statOf } from '../../src/system/procfs.ts';
import {
  commandLine,
  fixture,
  isAlive,
  killed,
  linesOf,
  processesWith,
  start,
  systemFolder,
  temporaryDirectory,
  until,
} from './processes.ts';

const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

function ticksOf(pid: number): number {
  return statOf(pid)?.startTimeTicks ?? 0;
}

for (const record of ['workers', 'hooks-run.1']) {
  test(`workers, wrappers, grandchildren and daemons of a killed master are ended (RUNTIME/${record})`, async (t) => {
    const runtime = temporaryDirectory(t);
    const shell = (program: string) => ({ words: ['/bin/sh', '-c', program], timeoutMs: 30_000 });
    const workers = [
      shell('exec sleep 100'),
      shell(`trap '' TERM; sleep 100; true`),
      shell('(setsid sleep 100 &); sleep 100; true'),
    ];
    const master = start(t, [
      process.execPath,
      fixture('guarded-master.mjs'),
      systemFolder,
      join(runtime, record),
      JSON.stringify(workers),
    ]);
    const { environment } = JSON.parse(await linesOf(master)()) as { environment: { SUPERVISE_INSTANCE: string } };
    const living = (): number[] => processesWith(`SUPERVISE_INSTANCE=${environment.SUPERVISE_INSTANCE}`);
    await until(
      () => living().length === 6 && living().every((pid) => !commandLine(pid).startsWith('setsid')),
      'all of them',
    );
    const alive = living();
    assert.deepEqual(cleanUpPredecessor(runtime), { killed: [], left: [], removed: [] }, 'the master lives');
    assert.deepEqual(living(), alive);

    const guard = childrenOf(master.pid).find((pid) => commandLine(pid).includes('worker-guard')) ?? 0;
    process.kill(guard, 'SIGSTOP');
    await killed(master);
    process.kill(guard, 'SIGKILL');
    assert.deepEqual(living(), alive);

    const { killed: ended, left, removed } = cleanUpPredecessor(runtime);
    assert.deepEqual(living(), []);
    assert.deepEqual(
      ended.map(({ pid }) => pid).toSorted((a, b) => a - b),
      alive,
    );
    assert.ok(ended.every(({ command }) => /sleep/.test(command)));
    assert.deepEqual(left, []);
    assert.deepEqual(removed, [join(runtime, record)]);
    assert.deepEqual(cleanUpPredecessor(runtime), { killed: [], left: [], removed: [] });
  });
}

test('strangers live: a pid that was given anew, another boot, a group whose leader is gone and that has no mark', async (t) => {
  const runtime = temporaryDirectory(t);
  const reused = start(t, ['sleep', '100'], { detached: true });
  const wrapper = start(t, ['/bin/sh', '-c', 'sleep 100 & echo $!; exec 1>&-; sleep 0.2'], { detached: true });
  const orphan = Number(await linesOf(wrapper)());
  t.after(() => isAlive(orphan) && process.kill(orphan, 'SIGKILL'));
  await until(() => !isAlive(wrapper.pid), 'the wrapper to end');

  writeFileSync(
    join(runtime, 'workers'),
    `= 999999-1 ${bootId}\n+ ${reused.pid} ${ticksOf(reused.pid) - 1}\n+ ${wrapper.pid} 1\n`,
  );
  assert.deepEqual(cleanUpPredecessor(runtime), { killed: [], left: [], removed: [join(runtime, 'workers')] });
  writeFileSync(
    join(runtime, 'workers'),
    `= 999999-1 11111111-2222-3333-4444-555555555555\n+ ${reused.pid} ${ticksOf(reused.pid)}\n`,
  );
  assert.deepEqual(cleanUpPredecessor(runtime).killed, []);
  assert.deepEqual([isAlive(reused.pid), isAlive(orphan)], [true, true]);
});

test('a worker that was removed, and a line that was torn, are not touched', (t) => {
  const runtime = temporaryDirectory(t);
  const [removed, torn] = [
    start(t, ['sleep', '100'], { detached: true }),
    start(t, ['sleep', '100'], { detached: true }),
  ];
  writeFileSync(
    join(runtime, 'workers'),
    `= 999999-1 ${bootId}\n+ ${removed.pid} ${ticksOf(removed.pid)}\n- ${removed.pid}\n+ ${torn.pid} ${ticksOf(torn.pid)}`,
  );
  assert.deepEqual(cleanUpPredecessor(runtime).killed, []);
  assert.deepEqual([isAlive(removed.pid), isAlive(torn.pid)], [true, true]);
});

test('stale files go, what is not ours stays', async (t) => {
  const runtime = temporaryDirectory(t);
  const socket = join(runtime, 'control.sock');
  const server = start(t, [
    process.execPath,
    '-e',
    `require('net').createServer().listen(${JSON.stringify(socket)}, () => console.log('up'))`,
  ]);
  await linesOf(server)();
  await killed(server);
  for (const name of ['supervise.pid', 'notes.txt']) writeFileSync(join(runtime, name), '1\n');
  writeFileSync(join(runtime, 'master.json'), JSON.stringify({ pid: server.pid, startTimeTicks: 1, name: 'shop' }));
  const { removed } = cleanUpPredecessor(runtime);
  assert.deepEqual(
    removed,
    ['supervise.pid', 'master.json', 'control.sock'].map((name) => join(runtime, name)),
  );
  assert.deepEqual(readdirSync(runtime), ['notes.txt']);
});

test('the record stays small however many come and go, and holds who is there', (t) => {
  const path = join(temporaryDirectory(t), 'workers');
  const problems: string[] = [];
  const record = openRecord(path, ownInstance(), (message) => problems.push(message));
  for (let pid = 1; pid <= 3; pid++) record.add(pid, pid * 10);
  for (let i = 0; i < 5000; i++) {
    record.add(100 + i, 7);
    record.remove(100 + i);
  }
  record.remove(2);
  assert.ok(readFileSync(path, 'utf8').split('\n').length < 1100);
  assert.deepEqual(readRecord(path)?.processes, [
    { pid: 1, startTimeTicks: 10 },
    { pid: 3, startTimeTicks: 30 },
  ]);
  record.close();
  assert.ok(existsSync(path), 'somebody is still in it');
  assert.deepEqual(problems, []);
});

test('a record that cannot be written is said once and stops nothing', (t) => {
  const problems: string[] = [];
  const record = openRecord(join(temporaryDirectory(t), 'none', 'workers'), ownInstance(), (message) =>
    problems.push(message),
  );
  record.add(1, 1);
  record.remove(1);
  record.close();
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? '', /cannot write .*workers: ENOENT/);
});
