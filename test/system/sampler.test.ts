/** CPU and memory of real trees, against what the kernel says, read by other code than the sampler's. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, describe, test } from 'node:test';
import type { HostSample } from '../../src/core/protocol.ts';
import type { Sampler, TreeSample } from '../../src/ports.ts';
import { parseCpuTimes } from '../../src/system/host/cpu-times.ts';
import { statOf, treeOf } from '../../src/system/procfs.ts';
import { createSampler } from '../../src/system/sampling/sampler.ts';
import { cpuPercent, type ProcessReading, type TreeReading } from '../../src/system/sampling/tree-cpu.ts';
import { TreeWalk } from '../../src/system/sampling/tree-walk.ts';

const fixtures = resolve('test/fixtures/sampling');
const groups = new Set<number>();

after(() => {
  for (const pid of groups) killGroup(pid);
});

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // gone already
  }
  groups.delete(pid);
}

interface Started {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly line: string;
}

/** Starts a program as the leader of a group; with `says`, after its first line. */
async function start(argv: readonly string[], says: 'a line' | 'nothing' = 'a line'): Promise<Started> {
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const pid = child.pid ?? assert.fail('not started');
  groups.add(pid);
  const line =
    says === 'nothing'
      ? ''
      : await new Promise<string>((done) => child.stdout.once('data', (text: Buffer) => done(text.toString().trim())));
  return { pid, child, line };
}

async function end(...started: readonly Started[]): Promise<void> {
  for (const { pid, child } of started) {
    const exited =
      child.exitCode !== null || child.signalCode !== null ? null : new Promise((done) => child.once('exit', done));
    killGroup(pid);
    await exited;
  }
}

type Answer = { trees: ReadonlyMap<string, TreeSample>; host: HostSample };

function sample(sampler: Sampler, leaders: Record<string, number>): Promise<Answer> {
  return new Promise((done) =>
    sampler.sample(new Map(Object.entries(leaders)), (trees, host) => done({ trees, host })),
  );
}

/** The PSS of a process and all below it, mapping by mapping; the tree by the parents that the status files name. */
function kernelMemoryBytes(leader: number): number {
  const textOf = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({
      pid: Number(name),
      parent: Number(/^PPid:\s+(\d+)/m.exec(textOf(`/proc/${name}/status`))?.[1]),
    }));
  const own = (pid: number): number =>
    [...textOf(`/proc/${pid}/smaps`).matchAll(/^Pss:\s+(\d+)/gm)].reduce((sum, [, kb]) => sum + Number(kb) * 1024, 0);
  const below = (pid: number): number =>
    all.filter(({ parent }) => parent === pid).reduce((sum, child) => sum + below(child.pid), own(pid));
  return below(leader);
}

/** CPU time of a process, its children, and all they have waited for, by the fields 14 to 17 of their stat files. */
function kernelCpuMs(leader: number): number {
  const ticksOf = (pid: string): number => {
    const fields = /\) (.*)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]?.split(' ') ?? [];
    return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  };
  const children = readFileSync(`/proc/${leader}/task/${leader}/children`, 'utf8').trim().split(' ').filter(Boolean);
  const sumOf = (pids: string[]): number => pids.reduce((sum, pid) => sum + ticksOf(pid), 0);
  try {
    return sumOf([String(leader), ...children]) * 10;
  } catch {
    return kernelCpuMs(leader); // a child ended between the two reads
  }
}

/**
 * The CPU that the sampler saw of a busy worker, as a share of what the kernel counted, until that is 1 s: however busy
 * this host is. A sample of the idle worker next to it has next to nothing.
 */
async function shareOfKernelCpu(busy: Started, idle: Started): Promise<number> {
  const sampler = createSampler();
  const leaders = { busy: busy.pid, idle: idle.pid };
  const first = await sample(sampler, leaders);
  assert.deepEqual([first.trees.get('busy')?.cpuPercent, first.trees.get('idle')?.cpuPercent], [null, null]);
  const startCpuMs = kernelCpuMs(busy.pid);
  let atMs = performance.now();
  let seenMs = 0;
  while (kernelCpuMs(busy.pid) - startCpuMs < 1000) {
    await sleep(200);
    const { trees } = await sample(sampler, leaders);
    const nowMs = performance.now();
    seenMs += ((trees.get('busy')?.cpuPercent ?? 0) / 100) * (nowMs - atMs);
    atMs = nowMs;
    assert.ok((trees.get('idle')?.cpuPercent ?? 999) < 10);
  }
  return seenMs / (kernelCpuMs(busy.pid) - startCpuMs);
}

describe('trees', { concurrency: 2 }, () => {
  test('the memory of a server behind sh -c is the sum of its tree', async () => {
    const worker = await start(['sh', '-c', `${process.execPath} ${fixtures}/holds-memory.mjs; true`]);
    const sampler = createSampler();
    // By our own reading first, by pidusage from then on.
    for (const round of [1, 2, 3]) {
      const tree = (await sample(sampler, { web: worker.pid })).trees.get('web') ?? assert.fail('missing');
      const kernel = kernelMemoryBytes(worker.pid);
      assert.equal(tree.processes, 2);
      assert.ok(tree.memoryBytes > 100 * 1024 * 1024);
      assert.ok(
        Math.abs(tree.memoryBytes - kernel) < kernel / 10,
        `round ${round}: ${tree.memoryBytes}, the kernel says ${kernel}`,
      );
    }
    await end(worker);
  });

  test('a burning child counts as its worker, an idle worker does not', async () => {
    const burner = await start(['sh', '-c', `${process.execPath} ${fixtures}/burns.mjs; true`]);
    const idle = await start(['sleep', '60'], 'nothing');
    const share = await shareOfKernelCpu(burner, idle);
    assert.ok(share > 0.8 && share < 1.25, `${share} of what the kernel counted`);
    await end(burner, idle);
  });

  test('programs that live between two samples only are counted', async () => {
    const worker = await start(['sh', `${fixtures}/short-lived.sh`]);
    const idle = await start(['sleep', '60'], 'nothing');
    const share = await shareOfKernelCpu(worker, idle);
    assert.ok(share > 0.8 && share < 1.25, `${share} of what the kernel counted`);
    await end(worker, idle);
  });

  test('a zombie is not a process, and a leader that is gone or a zombie is missing', async () => {
    const parent = await start(['perl', `${fixtures}/zombie.pl`]);
    const sampler = createSampler();
    const zombie = await childInState(parent.pid, 'Z');
    const { trees } = await sample(sampler, { parent: parent.pid, zombie, never: 2 ** 30 });
    assert.deepEqual([...trees.keys()], ['parent']);
    assert.equal(trees.get('parent')?.processes, 2);
    await end(parent);
    assert.deepEqual([...(await sample(sampler, { parent: parent.pid })).trees.keys()], []);
  });

  test('a pid that is reused is another process: no CPU at first, and its own memory', async (t) => {
    const sampler = createSampler();
    const burner = await start([process.execPath, `${fixtures}/burns.mjs`]);
    const leaders = { web: burner.pid };
    for (let round = 0; round < 3; round += 1) {
      await sample(sampler, leaders);
      await sleep(200);
    }
    await end(burner);
    const reuser = await start(['perl', `${fixtures}/reuses-pid.pl`, String(burner.pid)]);
    if (reuser.line !== String(burner.pid)) return t.skip('cannot choose a pid here');
    const seen: (TreeSample | undefined)[] = [];
    for (let round = 0; round < 4; round += 1) {
      seen.push((await sample(sampler, leaders)).trees.get('web'));
      await sleep(100);
    }
    assert.equal(seen[0]?.cpuPercent, null);
    assert.ok(
      seen.slice(1).every((tree) => (tree?.cpuPercent ?? 999) < 20),
      JSON.stringify(seen),
    );
    // The burner was a Node of 40 MB and more.
    const [found = 0, kernel] = [seen.at(-1)?.memoryBytes, kernelMemoryBytes(burner.pid)];
    // What it shares with other programs counts for more when those have ended.
    assert.ok(found > kernel / 2 && found < kernel * 2, `found ${found}, the kernel says ${kernel}`);
    await end(reuser);
  });
});

/** Waits until a child of that process is in that state. */
async function childInState(parent: number, state: string): Promise<number> {
  for (;;) {
    for (const pid of readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ')) {
      if (readFileSync(`/proc/${pid}/stat`, 'utf8').includes(`) ${state} `)) return Number(pid);
    }
    await sleep(5);
  }
}

describe('what it costs', () => {
  test('descriptors stay bounded over 300 short-lived workers', async () => {
    const sampler = createSampler();
    const openFds = (): number => readdirSync('/proc/self/fd').length;
    const before = openFds();
    for (let wave = 0; wave < 6; wave += 1) {
      const workers = await Promise.all(Array.from({ length: 50 }, () => start(['sleep', '60'], 'nothing')));
      const leaders = Object.fromEntries(workers.map(({ pid }, slot) => [`web.${wave}.${slot}`, pid]));
      for (let round = 0; round < 3; round += 1) {
        const { trees } = await sample(sampler, leaders);
        assert.equal([...trees.values()].filter((tree) => tree.memoryBytes > 0 && tree.processes === 1).length, 50);
      }
      await end(...workers);
    }
    const kept = openFds() - before;
    assert.ok(kept <= 64 + 50 + 5, `${kept} more descriptors than before`);
  });

  test('a call while a sample is running does nothing; the next one after it does', async () => {
    const sampler = createSampler();
    const leaders = new Map([['self', process.pid]]);
    let answers = 0;
    const first = new Promise<void>((done) => sampler.sample(leaders, () => ((answers += 1), done())));
    sampler.sample(leaders, () => (answers += 100));
    assert.equal(answers, 0, 'never at once');
    await first;
    await sample(sampler, { self: process.pid });
    assert.equal(answers, 1);
  });

  test('the environment that workers inherit is as before', async () => {
    const sampler = createSampler();
    delete process.env['PIDUSAGE_SILENT'];
    for (let round = 0; round < 3; round += 1) await sample(sampler, { self: process.pid });
    assert.equal(process.env['PIDUSAGE_SILENT'], undefined);
    assert.deepEqual([...(await sample(sampler, {})).trees], []);
  });
});

test('the host', async () => {
  const sampler = createSampler();
  const first = (await sample(sampler, {})).host;
  assert.equal(first.cpuUtilisation, null);
  const burner = await start([process.execPath, `${fixtures}/burns.mjs`]);
  await sleep(500);
  const second = (await sample(sampler, {})).host;
  await end(burner);
  assert.equal(second.cpus, availableParallelism());
  const busy = second.cpuUtilisation ?? -1;
  assert.ok(busy > 0 && busy <= 1, `${busy}`);
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  assert.equal(second.memoryBytes, Number(/^MemTotal:\s+(\d+)/m.exec(meminfo)?.[1]) * 1024);
  const available = Number(/^MemAvailable:\s+(\d+)/m.exec(meminfo)?.[1]) * 1024;
  assert.ok(Math.abs((second.memoryUtilisation ?? -1) - (1 - available / second.memoryBytes)) < 0.05);
  assert.deepEqual(parseCpuTimes('cpu  10 20 30 100 40 1 2 3 50 60\ncpu0 1 2\n'), { total: 206, busy: 66 });
  assert.equal(parseCpuTimes('intr 1 2 3\n'), null);
});

test('a tree is walked again when something was started on the host, and looked at again when not', async () => {
  const sh = (script: string): Promise<Started> =>
    start([
      'perl',
      '-e',
      `$| = 1; $SIG{USR1} = sub { if (fork == 0) { sleep 60; exit } }; ${script} print "ready\\n"; sleep 60 while 1`,
    ]);
  const worker = await sh(
    'if (fork == 0) { if ($pid = fork) { $SIG{TERM} = sub { exit }; sleep 60; exit } sleep 60; exit }',
  );
  const leaders = new Map([['web', worker.pid]]);
  while (treeOf(worker.pid).length < 3) await sleep(5);
  const walk = new TreeWalk();
  const processes = (forks: number | null): number => walk.walk(leaders, forks).get('web')?.length ?? -1;
  assert.deepEqual([processes(7), processes(7)], [3, 3]);
  process.kill(worker.pid, 'SIGUSR1');
  while (treeOf(worker.pid).length < 4) await sleep(5);
  assert.equal(processes(7), 4, 'a number that was never seen to change is not trusted');
  assert.equal(processes(8), 4);
  // A grandchild whose parent ends is given to another one and does not belong to the tree any more; the zombie does.
  const [, middle] = treeOf(worker.pid);
  process.kill(middle ?? 0, 'SIGKILL');
  while (treeOf(worker.pid).length !== 3) await sleep(5);
  assert.equal(processes(8), 3);
  process.kill(worker.pid, 'SIGUSR1');
  while (treeOf(worker.pid).length !== 4) await sleep(5);
  assert.equal(processes(9), 4);
  assert.equal(processes(null), 4);
  await end(worker);
  assert.equal(processes(null), 0);
});

test('a process that has done nothing is the same object at the next walk, one that has is another', async () => {
  const idle = await start(['sh', '-c', 'echo up; kill -STOP $$']);
  const busy = await start(['sh', '-c', 'echo up; while :; do :; done']);
  const leaders = new Map([
    ['idle', idle.pid],
    ['busy', busy.pid],
  ]);
  const walk = new TreeWalk();
  const leadersSeen = (): unknown[] => [...walk.walk(leaders, null).values()].map((tree) => tree[0]);
  while (statOf(idle.pid)?.state !== 'T') await sleep(5);
  const before = leadersSeen();
  const usedTicks = (): number => (statOf(busy.pid)?.utimeTicks ?? 0) + (statOf(busy.pid)?.stimeTicks ?? 0);
  const ticksBefore = usedTicks();
  while (usedTicks() < ticksBefore + 2) await sleep(5);
  const now = leadersSeen();
  assert.equal(now[0], before[0]);
  assert.notEqual(now[1], before[1]);
  await end(idle, busy);
});

describe('the arithmetic of a tree', () => {
  const reading = (atMs: number, processes: ProcessReading[]): TreeReading => ({
    leader: 1,
    atMs,
    uptimeMs: atMs,
    processes: new Map(processes.map((process) => [process.pid, process])),
  });
  const one = (pid: number, startTimeTicks: number, cpuMs: number, childMs = 0): ProcessReading => ({
    pid,
    startTimeTicks,
    cpuMs,
    childMs,
  });
  const before = reading(1000, [one(1, 0, 100), one(2, 5, 400)]);
  const cases: [string, TreeReading | undefined, TreeReading, number | null][] = [
    ['nothing to compare with', undefined, before, null],
    ['another leader under the same pid', before, reading(2000, [one(1, 150, 900)]), null],
    ['no time between', before, before, null],
    ['both worked', before, reading(2000, [one(1, 0, 150), one(2, 5, 600)]), 25],
    [
      'a child that started in between counts in full',
      before,
      reading(2000, [one(1, 0, 100), one(2, 5, 400), one(3, 150, 300)]),
      30,
    ],
    [
      'an older process that joined does not count yet',
      before,
      reading(2000, [one(1, 0, 100), one(2, 5, 400), one(3, 50, 300)]),
      0,
    ],
    ['a child was waited for: only what it did after it was counted', before, reading(2000, [one(1, 0, 100, 450)]), 5],
    ['a child was replaced under its pid', before, reading(2000, [one(1, 0, 100, 400), one(2, 150, 200)]), 20],
    ['a child is gone and its parent has not waited for it', before, reading(2000, [one(1, 0, 200)]), 10],
    ['grandchildren that came and went', before, reading(2000, [one(1, 0, 100), one(2, 5, 400, 700)]), 70],
  ];
  for (const [name, earlier, now, expected] of cases)
    test(name, () => assert.equal(cpuPercent(earlier, now), expected));
});
