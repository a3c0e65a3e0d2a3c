/** The memory of trees that share it, against /proc/PID/smaps, read mapping by mapping by other code than the sampler's. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, describe, test } from 'node:test';
import type { TreeSample } from '../../src/ports.ts';
import { residentBytes, statOf, treeOf, type ProcStat } from '../../src/system/procfs.ts';
import { PssReader, type Resident } from '../../src/system/sampling/pss.ts';
import { createSampler } from '../../src/system/sampling/sampler.ts';

const fixtures = resolve('test/fixtures/sampling');
const python = '/usr/bin/python3';
const megabyte = 2 ** 20;
const children = new Set<ChildProcess>();

after(() => children.forEach(endGroup));

function endGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
  } catch {
    // gone already
  }
  children.delete(child);
}

/** Starts a program as the leader of a group, and waits for its first line. It is to end at the end of its stdin: when we are gone, too. */
async function start(argv: readonly string[]): Promise<number> {
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
  children.add(child);
  await new Promise((done) => child.stdout.once('data', done));
  return child.pid ?? assert.fail('not started');
}

/** The sum over all mappings of all processes of a tree. */
function smapsBytes(leader: number, field: 'Pss' | 'Rss'): number {
  const texts = treeOf(leader).map((pid) => readFileSync(`/proc/${pid}/smaps`, 'utf8'));
  const values = [...texts.join('').matchAll(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'gm'))].map(([, value]) =>
    Number(value),
  );
  return values.reduce((sum, value) => sum + value, 0) * 1024;
}

function assertClose(found: number, expected: number, what: string): void {
  assert.ok(Math.abs(found - expected) <= expected * 0.05, `${what}: found ${found}, smaps say ${expected}`);
}

type Sample = () => Promise<TreeSample>;

function samplerOf(pid: number): Sample {
  const sampler = createSampler();
  return () =>
    new Promise((done, fail) =>
      sampler.sample(new Map([['web', pid]]), (trees) => {
        const tree = trees.get('web');
        if (tree) done(tree);
        else fail(new Error('the tree is missing'));
      }),
    );
}

/** Samples until it is so; fails after so many. */
async function untilSampled(sample: Sample, isSo: (tree: TreeSample) => boolean, most: number): Promise<void> {
  let tree: TreeSample | null = null;
  for (let round = 0; round < most; round++) {
    tree = await sample();
    if (isSo(tree)) return;
    await sleep(20);
  }
  assert.fail(`not in ${most} samples; the last: ${JSON.stringify(tree)}`);
}

describe('a preforked program', { concurrency: 2 }, () => {
  test('is counted once, not five times', async () => {
    const leader = await start([python, `${fixtures}/preforked.py`]);
    const sample = samplerOf(leader);
    const first = await sample();
    const [pss, rss] = [smapsBytes(leader, 'Pss'), smapsBytes(leader, 'Rss')];
    assert.deepEqual([first.memoryKind, first.processes], ['pss', 5]);
    assertClose(first.memoryBytes, pss, 'at the first sample');
    assert.ok(rss > 3 * first.memoryBytes, `${rss} of RSS`);
    for (let round = 0; round < 3; round++) assertClose((await sample()).memoryBytes, pss, 'at a later sample');
  });

  test('copies that a child makes by writing are seen some samples later, though its RSS stays', async () => {
    const leader = await start([python, `${fixtures}/preforked.py`]);
    const sample = samplerOf(leader);
    const before = (await sample()).memoryBytes;
    const [, child = 0] = treeOf(leader);
    process.kill(child, 'SIGUSR1');
    const rssBytes = smapsBytes(leader, 'Rss');
    // It shared 50 MB with four others; now it has 50 MB of its own.
    while (smapsBytes(leader, 'Pss') < before + 49 * megabyte) await sleep(5);
    await untilSampled(sample, ({ memoryBytes }) => memoryBytes > before + 45 * megabyte, 100);
    assertClose((await sample()).memoryBytes, smapsBytes(leader, 'Pss'), 'after the copies');
    assertClose(smapsBytes(leader, 'Rss'), rssBytes, 'RSS, as before');
  });

  test('the shares of those that are left are right at the second sample after one has ended', async () => {
    const leader = await start([python, `${fixtures}/preforked.py`]);
    const sample = samplerOf(leader);
    await sample();
    for (const child of treeOf(leader).slice(1, 4)) process.kill(child, 'SIGKILL');
    await untilSampled(sample, ({ processes }) => processes === 2, 100);
    assertClose((await sample()).memoryBytes, smapsBytes(leader, 'Pss'), 'of two that are left');
  });
});

test('what a process takes in between is counted at once', async () => {
  const leader = await start([
    process.execPath,
    '-e',
    'const held = []; process.on("SIGUSR2", () => held.push(Buffer.alloc(20 << 20, 1))); process.stdin.resume(); console.log("up");',
  ]);
  const sample = samplerOf(leader);
  let { memoryBytes: before } = await sample();
  for (let round = 0; round < 3; round++) {
    const startBytes = before;
    process.kill(leader, 'SIGUSR2');
    await untilSampled(sample, ({ memoryBytes }) => memoryBytes > startBytes + 18 * megabyte, 100);
    before = (await sample()).memoryBytes;
    assertClose(before, smapsBytes(leader, 'Pss'), `after ${round + 1} times 20 MB`);
  }
});

describe('where it cannot be read', () => {
  test('of another user, without the capability to look: RSS', (t) => {
    if (process.getuid?.() !== 0) return t.skip('needs root, to become somebody else');
    return testOtherUser();
  });

  async function testOtherUser(): Promise<void> {
    const leader = await start(['/bin/sh', '-c', 'echo up; cat; true']);
    const code = `
      import { createSampler } from ${JSON.stringify(resolve('build/src/system/sampling/sampler.js'))};
      const sampler = createSampler();
      const leaders = new Map([['own', process.pid], ['other', ${leader}]]);
      sampler.sample(leaders, (trees) => console.log(JSON.stringify([...trees])));`;
    const child = spawn(
      'setpriv',
      ['--reuid=65534', '--clear-groups', '--inh-caps=-all', process.execPath, '--input-type=module', '-e', code],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let text = '';
    child.stdout.on('data', (piece) => (text += String(piece)));
    await new Promise((done) => child.once('close', done));
    const trees = new Map(JSON.parse(text) as [string, TreeSample][]);
    assert.equal(trees.get('own')?.memoryKind, 'pss');
    const other = trees.get('other');
    assert.deepEqual([other?.memoryKind, other?.processes], ['rss', 2]);
    assertClose(other?.memoryBytes ?? 0, smapsBytes(leader, 'Rss'), 'RSS');
  }

  test('of one process of a tree: it is asked for again 30 samples later, and the others are known', async () => {
    const { reader, asked, look } = await watch(2, (nth) => (nth === 1 ? null : 1_000));
    const trees = await look(30);
    assert.deepEqual(asked, [0, 1]);
    await look(1);
    assert.deepEqual(asked, [0, 1, 0, 1]);
    assert.deepEqual(
      trees[0]?.map((one) => reader.estimate(one)),
      [1_000, null],
    );
  });
});

interface Watch {
  readonly reader: PssReader;
  /** Which process was read, by its place, in order. */
  readonly asked: number[];
  /** Looks so many times at one tree of all of them, every two seconds; `change`: what is different from now on. */
  look(times: number, change?: Change): Promise<readonly (readonly Resident[])[]>;
}

interface Change {
  /** Those that do something between the looks. */
  readonly busy?: readonly number[];
  readonly grownBytes?: number;
  /** How many of them there are. */
  readonly size?: number;
}

/** One that waits: its memory stays as it is. */
async function startIdle(): Promise<number> {
  const pid = await start(['/bin/sh', '-c', 'echo up; read end']);
  while (statOf(pid)?.state !== 'S') await sleep(5);
  return pid;
}

/** Real processes that idle, and a reading of them that is made up. */
async function watch(count: number, pssOf: (nth: number) => number | null): Promise<Watch> {
  const pids = await Promise.all(Array.from({ length: count }, startIdle));
  const asked: number[] = [];
  const reader = new PssReader((pid, done) => {
    asked.push(pids.indexOf(pid));
    done(pssOf(pids.indexOf(pid)));
  });
  const seen = pids.map((pid): Resident => ({ stat: statOf(pid)!, rssBytes: residentBytes(pid)! }));
  let nowMs = 0;
  const look = async (times: number, { busy = [], grownBytes = 0, size = count }: Change = {}) => {
    let trees: readonly (readonly Resident[])[] = [];
    for (let time = 0; time < times; time++) {
      trees = [
        seen.slice(0, size).map(({ stat, rssBytes }, nth) => ({
          stat: busy.includes(nth) ? { ...stat } : stat,
          rssBytes: rssBytes + grownBytes,
        })),
      ];
      await reader.look(trees, nowMs);
      nowMs += 2_000;
    }
    return trees;
  };
  return { reader, asked, look };
}

describe('how often it is read', () => {
  test('at once, then every 5 samples while it does something, every 30 when not', async () => {
    const { asked, look } = await watch(2, () => 1_000);
    await look(31, { busy: [0] });
    assert.deepEqual(asked, [0, 1, 0, 0, 0, 0, 0, 1, 0]);
  });

  test('at the next sample when its tree has lost a process, or its RSS has gone far; not for a little', async () => {
    const { asked, look } = await watch(3, () => 1_000);
    await look(3);
    await look(3, { grownBytes: 2 ** 20 });
    assert.equal(asked.length, 3);
    await look(1, { grownBytes: 5 * 2 ** 20 });
    assert.equal(asked.length, 6);
    const before = asked.length;
    await look(1, { size: 2 });
    assert.deepEqual(asked.slice(before), [0, 1]);
    await look(1, { size: 2 });
    assert.equal(asked.length, before + 2);
    await look(1);
    assert.deepEqual(asked.slice(before + 2), [2, 0, 1], 'who was never read, or is forgotten, goes first');
  });

  test('what is estimated follows the RSS: it grows by as much, and shrinks in proportion', async () => {
    const { reader, look } = await watch(1, () => 1_000_000);
    const [[one] = []] = await look(1);
    assert.ok(one);
    assert.equal(reader.estimate({ ...one, rssBytes: 1 }), 1_000_000, 'it was read just now');
    await look(1);
    assert.equal(reader.estimate(one), 1_000_000);
    assert.equal(reader.estimate({ ...one, rssBytes: one.rssBytes + 5_000 }), 1_005_000);
    assert.equal(reader.estimate({ ...one, rssBytes: one.rssBytes / 4 }), 250_000);
    assert.equal(reader.estimate({ ...one, rssBytes: 0 }), 0);
    const reused: ProcStat = { ...one.stat, startTimeTicks: one.stat.startTimeTicks + 1 };
    assert.equal(reader.estimate({ stat: reused, rssBytes: 1 }), null, 'another process under the same pid');
  });

  test('never for more than a five-hundredth of a core', async () => {
    const { asked, look } = await watch(8, () => 1_000);
    // A reading of 1 GB costs 25.2 ms, and it is due at every sample. 4 ms come with each, after 100 ms of credit.
    await look(1_000, { grownBytes: 2 ** 30 });
    assert.equal(asked.length, Math.ceil((100 + 999 * 4) / (0.2 + 25)));
  });

  test('a large one is left in peace for a while, also when its RSS goes far', async () => {
    const { asked, look } = await watch(1, () => 1_000);
    await look(26, { grownBytes: 2 ** 30 });
    assert.equal(asked.length, 1, '50 s');
    await look(1, { grownBytes: 2 ** 30 });
    assert.equal(asked.length, 2);
    await look(1, { grownBytes: 2 ** 27 });
    assert.equal(asked.length, 3, 'one of 128 MB is not large');
  });

  test('a reading that hangs holds up nobody, and no other one is begun meanwhile', async () => {
    const pid = await startIdle();
    let answer: ((pssBytes: number | null) => void) | null = null;
    let begun = 0;
    const reader = new PssReader((_pid, done) => {
      begun += 1;
      answer = done;
    });
    const tree = [{ stat: statOf(pid)!, rssBytes: residentBytes(pid)! }];
    for (let round = 0; round < 3; round++) await reader.look([tree], round * 2_000);
    assert.equal(begun, 1);
    assert.equal(reader.estimate(tree[0]!), null);
    (answer as ((pssBytes: number) => void) | null)?.(7);
    await new Promise((turn) => setImmediate(turn));
    assert.equal(reader.estimate(tree[0]!), 7);
  });

  test('what was read is of no use when the process has ended meanwhile', async () => {
    const reader = new PssReader((_pid, done) => done(7));
    const gone = { stat: { ...statOf(process.pid)!, startTimeTicks: 1 }, rssBytes: 1 };
    await reader.look([[gone]], 0);
    assert.equal(reader.estimate(gone), null);
  });
});
