/** Proofs of an out-of-memory kill, with real ones. */
import { describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childrenOf, statOf } from '../../src/system/procfs.ts';
import { KernelLog, parseKill } from '../../src/system/processes/kernel-log.ts';
import { memoryCgroupIn, memoryCgroupOf, oomKillsOf, parseMounts } from '../../src/system/processes/memory-cgroups.ts';
import { OomWitness } from '../../src/system/processes/oom.ts';
import type { ProcessId } from '../../src/system/processes/strays.ts';
import { hungry, smallCgroup } from '../helpers/memory-cgroup.ts';

const initialPids = 'pid:[4026531836]';
/** As in a container: what the kernel log says is of other pids. */
const noLog = () => new KernelLog('/dev/kmsg', 'pid:[1]');

interface Run {
  readonly id: ProcessId;
  readonly child: ChildProcess;
  /** Its exit code and signal. */
  readonly ended: Promise<readonly [number | null, string | null]>;
}

function run(t: TestContext, shell: string, witness: OomWitness): Run {
  const child = spawn('/bin/sh', ['-c', shell], { stdio: ['pipe', 'pipe', 'ignore'] });
  assert.ok(child.pid !== undefined);
  t.after(() => child.kill('SIGKILL'));
  const id = { pid: child.pid, startTimeTicks: statOf(child.pid)?.startTimeTicks ?? 0 };
  witness.watch(id);
  t.after(() => witness.forget(id));
  child.stdin?.on('error', () => undefined);
  const ended = once(child, 'exit').then(() => [child.exitCode, child.signalCode] as const);
  return { id, child, ended };
}

describe('the kernel log', () => {
  test('is read from its beginning, and then on from where it was', (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'supervise-kmsg-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const path = join(dir, 'kmsg');
    writeFileSync(
      path,
      '6,990,5000000,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/a/b,task=a,b,pid=7,uid=0\n' +
        '3,991,5000100,-;Memory cgroup out of memory: Killed process 7 (a,b) total-vm:9kB, anon-rss:8kB, file-rss:0kB, UID:0\n' +
        ' SUBSYSTEM=x\n',
    );
    const log = new KernelLog(path, initialPids);
    t.after(() => log.close());
    assert.equal(log.isUsable, true);
    assert.deepEqual(log.killsSince(0), [
      {
        pid: 7,
        atMs: 5000.1,
        text: 'Memory cgroup out of memory: Killed process 7 (a,b) total-vm:9kB, anon-rss:8kB',
        cgroup: '/a/b',
      },
    ]);
    appendFileSync(path, '3,992,6000000,-;Out of memory: Killed process 8 (c) total-vm:9kB\n');
    assert.deepEqual(
      log.killsSince(1).map(({ pid, cgroup }) => [pid, cgroup]),
      [[8, null]],
    );
    assert.deepEqual(log.killsSince(2), []);
  });

  test('is believed when the kernel says it, not when somebody else writes it', () => {
    const pidOf = (line: string) => parseKill(line)?.pid ?? null;
    assert.equal(pidOf('3,1,2,-;Out of memory: Killed process 8 (c) total-vm:9kB'), 8);
    assert.equal(pidOf('3,1,2,-,caller=T1;Out of memory (oom_kill_allocating_task): Killed process 8 (c)'), 8);
    assert.equal(pidOf('3,1,2,-;Killed process 8 (c) total-vm:9kB'), 8);
    assert.equal(pidOf('12,1,2,-;Out of memory: Killed process 8 (c) total-vm:9kB'), null, 'a program wrote it');
    assert.equal(pidOf('4,1,2,-;traps: Killed process [8] trap int3'), null);
    assert.equal(pidOf('3,1,2,-;Out of memory: Kill process 8 (c) score 9 or sacrifice child'), null);
    assert.equal(pidOf(''), null);
  });

  test('of another pid namespace, or that cannot be opened, is of no use', () => {
    assert.equal(noLog().isUsable, false);
    assert.equal(new KernelLog('/nonexistent', initialPids).isUsable, false);
    assert.deepEqual(noLog().killsSince(0), []);
  });
});

describe('the memory cgroup of a process', () => {
  test('of v1 and v2 is found in the mounts of this process', (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'supervise-cgroup-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const write = (file: string, text: string) => {
      mkdirSync(join(dir, file, '..'), { recursive: true });
      writeFileSync(join(dir, file), text);
    };
    write('v1/x/memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n');
    write('v2/slice/memory.events', 'low 0\noom 9\noom_kill 4\n');
    write('v2/slice/unit/memory.events', 'oom 9\noom_kill 9\noom_group_kill 0\n');
    write('v2/slice/unit/memory.events.local', 'oom 1\noom_kill 2\noom_group_kill 0\n');
    write('v2/slice/unit/app/cgroup.procs', '');
    const v1 = [{ version: 1, root: '/docker/1', at: join(dir, 'v1') }] as const;
    const v2 = [{ version: 2, root: '/', at: join(dir, 'v2') }] as const;
    const count = (text: string, mounts: Parameters<typeof memoryCgroupIn>[1]) => {
      const cgroup = memoryCgroupIn(text, mounts);
      return cgroup === null ? null : [cgroup.path, oomKillsOf(cgroup)];
    };
    assert.deepEqual(count('5:cpu:/\n4:memory:/docker/1/x\n0::/\n', v1), ['/docker/1/x', 3]);
    assert.deepEqual(count('4:memory:/docker/12\n', v1), null, 'it is not below what is mounted');
    assert.deepEqual(count('4:hugetlb,memory:/docker/1/x\n', v1), ['/docker/1/x', 3]);
    assert.deepEqual(count('0::/slice/unit\n', v2), ['/slice/unit', 2]);
    assert.deepEqual(count('0::/slice/unit/app\n', v2), ['/slice/unit/app', 2], 'the controller is above it');
    assert.deepEqual(count('0::/slice\n', v2), ['/slice', 4], 'before 5.2 there is no local file');
    assert.deepEqual(count('0::/\n', v2), null);
    assert.deepEqual(count('', v2), null);
    assert.deepEqual(
      parseMounts(
        '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n' +
          '32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 /a /mnt rw - cgroup2 cgroup2 rw\n',
      ),
      [
        { version: 1, root: '/', at: '/sys/fs/cgroup/memory' },
        { version: 2, root: '/a', at: '/mnt' },
      ],
    );
  });
});

describe('a kill for want of memory', () => {
  test('is proved by the kernel log, with the pid and the cgroup', async (t) => {
    const cgroup = smallCgroup(t);
    if (cgroup === null) return;
    const witness = new OomWitness();
    if (!new KernelLog().isUsable) return t.skip('the kernel log cannot be read here');
    const { id, ended } = run(t, hungry(cgroup), witness);
    assert.deepEqual(await ended, [null, 'SIGKILL']);
    const told = witness.testimony(id, []);
    assert.match(
      told ?? 'nothing',
      new RegExp(`^the kernel log says ".*Killed process ${id.pid} \\(python3\\).*anon-rss:\\d+kB"`),
    );
    assert.ok(told?.endsWith(`(memory cgroup ${cgroup.path})`), told ?? '');
  });

  test('of a process below a shell is proved too', async (t) => {
    const cgroup = smallCgroup(t);
    if (cgroup === null) return;
    const witness = new OomWitness();
    if (!new KernelLog().isUsable) return t.skip('the kernel log cannot be read here');
    const { id, child, ended } = run(t, `(${hungry(cgroup, 'stdin')}); exit $?`.replace('$$', '0'), witness);
    await once(child.stdout!, 'data');
    const [pid = 0] = childrenOf(id.pid);
    const below = [{ pid, startTimeTicks: statOf(pid)?.startTimeTicks ?? 0 }];
    child.stdin?.write('go\n');
    assert.deepEqual(await ended, [137, null]);
    assert.match(witness.testimony(id, below) ?? 'nothing', new RegExp(`Killed process ${pid} `));
    assert.equal(witness.testimony(id, []), null);
  });

  test('is proved by the counter of its cgroup where the log cannot be read, once for each kill', async (t) => {
    const cgroup = smallCgroup(t);
    if (cgroup === null) return;
    const witness = new OomWitness(noLog());
    const one = run(t, hungry(cgroup, 'stdin'), witness);
    const other = run(t, hungry(cgroup, 'stdin'), witness);
    await Promise.all([once(one.child.stdout!, 'data'), once(other.child.stdout!, 'data')]);
    assert.equal(memoryCgroupOf(one.id.pid)?.path, cgroup.path);
    witness.look();
    one.child.stdin?.write('go\n');
    assert.deepEqual(await one.ended, [null, 'SIGKILL']);
    assert.equal(witness.testimony(one.id, []), `memory cgroup ${cgroup.path} counted 1 oom_kill when it ended`);
    other.child.kill('SIGKILL');
    await other.ended;
    assert.equal(witness.testimony(other.id, []), null, 'that kill was its sibling’s');
  });

  test('is not proved for a kill -9, whoever reads what', async (t) => {
    const cgroup = smallCgroup(t);
    if (cgroup === null) return;
    for (const witness of [new OomWitness(), new OomWitness(noLog())]) {
      const { id, child, ended } = run(t, hungry(cgroup, 'stdin'), witness);
      await once(child.stdout!, 'data');
      witness.look();
      child.kill('SIGKILL');
      assert.deepEqual(await ended, [null, 'SIGKILL']);
      assert.equal(witness.testimony(id, []), null);
    }
  });

  test('of an earlier process is not taken for that of a later one with the same pid', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'supervise-kmsg-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const path = join(dir, 'kmsg');
    const uptimeUs = Number(process.hrtime.bigint() / 1_000n);
    const kill = (atUs: number) => `3,1,${Math.round(atUs)},-;Out of memory: Killed process 77 (x) total-vm:1kB\n`;
    const id = { pid: 77, startTimeTicks: 1 };
    writeFileSync(path, kill(uptimeUs / 2));
    const witness = new OomWitness(new KernelLog(path, initialPids));
    witness.watch(id);
    assert.equal(witness.testimony(id, []), null, 'it was long before its start');
    appendFileSync(path, kill(uptimeUs));
    assert.match(witness.testimony(id, []) ?? '', /Killed process 77/);
    const later = { pid: 77, startTimeTicks: 2 };
    witness.watch(later);
    witness.forget(id);
    assert.equal(witness.testimony(later, []), null, 'the log had told of it before its start');
    assert.equal(existsSync(path), true);
  });
});
