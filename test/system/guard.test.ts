/** A master is killed with -9, and nothing that it had started lives on. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, test } from 'node:test';
import { guardProgram } from '../../src/system/instance/guard-script.ts';
import { childrenOf, linkOf, statOf } from '../../src/system/procfs.ts';
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

interface Worker {
  readonly words: readonly string[];
  readonly timeoutMs?: number;
}

interface Scene {
  readonly master: ChildProcess & { readonly pid: number };
  readonly line: () => Promise<string>;
  readonly pids: readonly number[];
  readonly guard: number;
  /** Everything that carries the variable of this master. */
  readonly living: () => number[];
  readonly record: string;
}

async function scene(t: TestContext, workers: readonly Worker[]): Promise<Scene> {
  const record = join(temporaryDirectory(t), 'workers');
  const full = workers.map((worker) => ({ timeoutMs: 30_000, ...worker }));
  const master = start(t, [
    process.execPath,
    fixture('guarded-master.mjs'),
    systemFolder,
    record,
    JSON.stringify(full),
  ]);
  const line = linesOf(master);
  const { pids, environment } = JSON.parse(await line()) as {
    pids: number[];
    environment: { SUPERVISE_INSTANCE: string };
  };
  const living = (): number[] => processesWith(`SUPERVISE_INSTANCE=${environment.SUPERVISE_INSTANCE}`);
  t.after(() => {
    for (const pid of living()) process.kill(pid, 'SIGKILL');
  });
  return { master, line, pids, guard: await guardOf(master.pid), living, record };
}

async function guardOf(master: number, notThis = 0): Promise<number> {
  const find = (): number | undefined =>
    childrenOf(master).find((pid) => pid !== notThis && commandLine(pid).includes('worker-guard'));
  await until(() => find() !== undefined, 'the guard');
  return find() ?? 0;
}

function shell(program: string): readonly string[] {
  return ['/bin/sh', '-c', program];
}

/** [fd, link] of each, without those that this test was itself given from outside and passes on. */
function fdsFromMaster(pid: number): (readonly [string, string])[] {
  const own = readdirSync('/proc/self/fd').map((fd) => linkOf(`/proc/self/fd/${fd}`));
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    const link = linkOf(`/proc/${pid}/fd/${fd}`) ?? 'gone';
    return link !== '/dev/null' && own.includes(link) ? [] : [[fd, link] as const];
  });
}

async function allGone({ living, guard }: Scene): Promise<void> {
  await until(() => living().length === 0 && !isAlive(guard), 'everything to be gone');
}

/** The program alone, told by hand. */
async function guardTold(t: TestContext, text: string, program = guardProgram): Promise<void> {
  const guard = spawn('/bin/sh', ['-c', program, 'worker-guard', `1-${statOf(process.pid)?.startTimeTicks}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  t.after(() => guard.kill('SIGKILL'));
  guard.stdin.end(text);
  await once(guard, 'exit');
}

describe('kill -9 of the master leaves nothing', () => {
  test('plain child', async (t) => {
    const it = await scene(t, [{ words: ['sleep', '100'] }]);
    assert.deepEqual(it.living(), it.pids);
    await killed(it.master);
    await allGone(it);
  });

  test('shell wrapper with a grandchild', async (t) => {
    const it = await scene(t, [{ words: shell('sleep 100; true') }]);
    await until(() => it.living().length === 2, 'the grandchild');
    await killed(it.master);
    await allGone(it);
  });

  test('grandchild in a session of its own, below a living parent', async (t) => {
    const it = await scene(t, [{ words: shell('setsid sleep 100 & sleep 100; true') }]);
    await until(() => it.living().length === 3, 'the grandchildren');
    await killed(it.master);
    await allGone(it);
  });

  test('daemon: in a session of its own, its parent gone', async (t) => {
    const it = await scene(t, [{ words: shell('(setsid sleep 100 &); sleep 100; true') }]);
    await until(() => it.living().some((pid) => pid !== it.pids[0] && statOf(pid)?.session === pid), 'the daemon');
    await killed(it.master);
    await allGone(it);
  });

  test('one that ignores TERM', async (t) => {
    const it = await scene(t, [{ words: shell(`trap '' TERM; while :; do sleep 100; done`), timeoutMs: 300 }]);
    await until(() => it.living().length === 2, 'the sleep');
    await killed(it.master);
    await allGone(it);
  });

  test('a stopped one', async (t) => {
    const it = await scene(t, [{ words: ['sleep', '100'], timeoutMs: 300 }]);
    process.kill(it.pids[0] ?? 0, 'SIGSTOP');
    await killed(it.master);
    await allGone(it);
  });

  test('20 workers at once', async (t) => {
    const it = await scene(
      t,
      Array.from({ length: 20 }, (_, i) => ({ words: i % 2 ? ['sleep', '100'] : shell('sleep 100; true') })),
    );
    await until(() => it.living().length === 30, 'all of them');
    await killed(it.master);
    await allGone(it);
  });
});

describe('they are asked first, once', () => {
  const counting = (t: TestContext, ends: string): { words: readonly string[]; marks: string } => {
    const marks = join(temporaryDirectory(t), 'marks');
    return { marks, words: ['python3', '-c', counterProgram, marks, ends] };
  };
  /** Writes "up", then a line for each TERM; ends 400 ms after the first. */
  const counterProgram = `
import os, signal, sys, time
marks = open(sys.argv[1], "a", buffering=1)
signal.signal(signal.SIGTERM, lambda *_: marks.write("TERM\\n"))
marks.write("up\\n")
signal.pause()
time.sleep(0.4)
marks.write(sys.argv[2] + "\\n")`;
  const marked = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');

  test('a worker finishes what it has in hand', async (t) => {
    const { words, marks } = counting(t, 'done');
    const it = await scene(t, [{ words }]);
    await until(() => marked(marks) === 'up\n', 'the worker');
    await killed(it.master);
    await allGone(it);
    assert.equal(marked(marks), 'up\nTERM\ndone\n');
  });

  test('so does one behind a shell', async (t) => {
    const { words, marks } = counting(t, 'done');
    const quoted = words.map((word) => `'${word}'`).join(' ');
    const it = await scene(t, [{ words: shell(`${quoted}; true`) }]);
    await until(() => marked(marks) === 'up\n', 'the worker');
    await killed(it.master);
    await allGone(it);
    assert.equal(marked(marks), 'up\nTERM\ndone\n');
  });
});

describe('the guard itself', () => {
  test('ends with a clean stop of its master, and the record goes', async (t) => {
    const it = await scene(t, []);
    assert.ok(existsSync(it.record));
    it.master.kill('SIGTERM');
    await once(it.master, 'exit');
    assert.equal(it.master.exitCode, 0);
    assert.equal(isAlive(it.guard), false);
    assert.equal(existsSync(it.record), false);
  });

  test('leads its own session, in /, with no fd but its three, and survives TERM, INT, HUP and QUIT', async (t) => {
    const it = await scene(t, [{ words: ['sleep', '100'] }]);
    assert.equal(statOf(it.guard)?.session, it.guard);
    assert.equal(readlinkSync(`/proc/${it.guard}/cwd`), '/');
    await until(() => fdsFromMaster(it.guard).every(([fd]) => Number(fd) <= 2), 'the guard to close what it was given');
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) process.kill(it.guard, signal);
    await killed(it.master);
    await allGone(it);
  });

  test('its input is held by the master alone', async (t) => {
    const it = await scene(t, [{ words: ['sleep', '100'] }]);
    assert.deepEqual(
      fdsFromMaster(it.pids[0] ?? 0).filter(([, link]) => link !== '/dev/null'),
      [],
    );
    await killed(it.master);
    await allGone(it);
  });

  test('is replaced when it is killed, and the new one knows all workers', async (t) => {
    const it = await scene(t, [{ words: ['sleep', '100'] }, { words: shell('sleep 100; true') }]);
    process.kill(it.guard, 'SIGKILL');
    assert.match(
      await it.line(),
      new RegExp(`^the guard process \\(pid ${it.guard}\\) ended: SIGKILL; a new one is started`),
    );
    const second = await guardOf(it.master.pid, it.guard);
    assert.equal(it.living().length, 3);
    await killed(it.master);
    await allGone({ ...it, guard: second });
  });

  test('never touches a stranger that has the pid of a worker', async (t) => {
    const stranger = start(t, ['sleep', '100'], { detached: true });
    const mine = start(t, ['sleep', '100'], { detached: true });
    const ticks = (pid: number): number => statOf(pid)?.startTimeTicks ?? 0;
    await guardTold(
      t,
      `add ${stranger.pid} ${ticks(stranger.pid) - 1} 15 0\nadd ${mine.pid} ${ticks(mine.pid)} 15 0\n`,
    );
    assert.equal(isAlive(stranger.pid), true);
    assert.equal(isAlive(mine.pid), false);
  });

  test('finds what was spawned and never registered, but after a clean stop looks for nobody', async (t) => {
    const instance = `1-${statOf(process.pid)?.startTimeTicks}`;
    const child = start(t, ['sleep', '100'], { detached: true, env: { ...process.env, SUPERVISE_INSTANCE: instance } });
    await until(() => processesWith(`SUPERVISE_INSTANCE=${instance}`).includes(child.pid), 'the child');
    await guardTold(t, 'bye\n');
    assert.equal(isAlive(child.pid), true);
    await guardTold(t, '');
    assert.equal(isAlive(child.pid), false);
  });

  test('forgets a worker that is gone', async (t) => {
    const removed = start(t, ['sleep', '100'], { detached: true });
    await guardTold(t, `add ${removed.pid} ${statOf(removed.pid)?.startTimeTicks} 15 0\ndel ${removed.pid}\n`);
    assert.equal(isAlive(removed.pid), true);
  });

  test('asks down the chain, ending with the process that accepts', async (t) => {
    const top = start(t, ['sh', fixture('chain.sh'), '1'], { detached: true });
    const line = linesOf(top);
    assert.equal(await line(), 'up');
    const only = (pid: number): number => childrenOf(pid)[0] ?? 0;
    const chain = [top.pid, only(top.pid), only(only(top.pid)), only(only(only(top.pid)))];
    await guardTold(t, `add ${top.pid} ${statOf(top.pid)?.startTimeTicks} 15 400\nends ${top.pid} ${chain[2]}\n`);
    assert.deepEqual([await line(), await line(), await line()].toSorted(), ['asked 1', 'asked 2', 'asked 3']);
    assert.equal(await line(), '', 'the fourth was asked');
    assert.deepEqual(chain.map(isAlive), [false, false, false, false]);
  });

  test('reads a process whose name has a newline, spaces and parentheses', async (t) => {
    const program = `import sys, time; open("/proc/self/comm", "w").write(") S 1\\n1 (x"); print("up", flush=True); time.sleep(100)`;
    const odd = start(t, ['python3', '-c', program], { detached: true });
    await linesOf(odd)();
    assert.match(readFileSync(`/proc/${odd.pid}/stat`, 'utf8'), /\n/);
    await guardTold(t, `add ${odd.pid} ${statOf(odd.pid)?.startTimeTicks} 15 5000\n`);
    assert.equal(isAlive(odd.pid), false);
  });

  test('ends the process groups where there is no /proc', async (t) => {
    const worker = start(t, shell(`trap '' TERM; sleep 100; true`), { detached: true });
    await until(() => childrenOf(worker.pid).length === 1, 'the sleep');
    const sleeper = childrenOf(worker.pid)[0] ?? 0;
    await guardTold(
      t,
      `add ${worker.pid} 0 15 1000\n`,
      guardProgram.replaceAll('/proc/', '/no-such/').replaceAll('-lt 50', '-lt 3'),
    );
    await until(() => !isAlive(worker.pid) && !isAlive(sleeper), 'the group to be gone');
  });
});
