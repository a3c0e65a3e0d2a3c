/** How much of what may be used is in use, by files as a host has them. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createHostReader } from '../../src/system/host/host-sample.ts';
import { UsableReader } from '../../src/system/host/usable.ts';
import { hostTree, v1At, type HostTree } from '../helpers/host-tree.ts';

const megabyte = 1024 ** 2;
const own = '/sys/fs/cgroup/shop';

/** busy and idle ticks of each CPU. */
function procStat(...cpus: readonly (readonly [busy: number, idle: number])[]): string {
  const line = (name: string, busy: number, idle: number) => `${name} ${busy} 0 0 ${idle} 0 0 0 0 0 0\n`;
  const sum = (at: 0 | 1) => cpus.reduce((all, one) => all + one[at], 0);
  return line('cpu ', sum(0), sum(1)) + cpus.map(([busy, idle], cpu) => line(`cpu${cpu}`, busy, idle)).join('');
}

const two = { '/sys/devices/system/cpu/online': '0-1\n' };
const readerOf = (tree: HostTree) => createHostReader(new UsableReader(tree.root));

test('no limit: the busy share of all CPUs, and what is not available of the memory', (t) => {
  const read = readerOf(hostTree(t, two));
  const first = read(procStat([0, 0], [0, 0]));
  assert.deepEqual([first.cpuUtilisation, first.memoryUtilisation], [null, 0.5]);
  const { cpus, usableCpus, cpuUtilisation } = read(procStat([100, 0], [50, 50]));
  assert.deepEqual({ cpus, usableCpus, cpuUtilisation }, { cpus: 2, usableCpus: 2, cpuUtilisation: 0.75 });
});

test('affinity: the busy share of these CPUs', (t) => {
  const read = readerOf(hostTree(t, { ...two, '/proc/self/status': 'Cpus_allowed_list:\t1\n' }));
  assert.equal(read(procStat([0, 0], [0, 0])).cpuUtilisation, null);
  assert.equal(read(procStat([100, 0], [25, 75])).cpuUtilisation, 0.25);
});

test('one sample without CPU when the CPUs are others than before', (t) => {
  const tree = hostTree(t, two);
  const read = readerOf(tree);
  read(procStat([0, 0], [0, 0]));
  tree.write('/proc/self/status', 'Cpus_allowed_list:\t1\n');
  assert.equal(read(procStat([100, 0], [50, 50])).cpuUtilisation, null);
  assert.equal(read(procStat([200, 0], [50, 150])).cpuUtilisation, 0);
});

test('a quota of v2: the CPU time of the cgroup that has it; the host may be as busy as it likes', (t) => {
  const tree = hostTree(t, {
    ...two,
    '/proc/self/cgroup': '0::/shop/leaf\n',
    [`${own}/cpu.max`]: '50000 100000\n',
    [`${own}/cpu.stat`]: 'usage_usec 1000\nuser_usec 500\n',
    [`${own}/leaf/cpu.stat`]: 'usage_usec 900000000\n',
  });
  const read = readerOf(tree);
  const first = read(procStat([0, 0], [0, 0]));
  assert.deepEqual([first.cpus, first.usableCpus, first.cpuUtilisation], [2, 0.5, null]);
  assert.equal(read(procStat([100, 0], [100, 0])).cpuUtilisation, 0);
  // More than there can have been.
  tree.write(`${own}/cpu.stat`, 'usage_usec 900000000\n');
  assert.equal(read(procStat([100, 0], [100, 0])).cpuUtilisation, 1);
  tree.write(`${own}/cpu.max`, '100000 100000\n');
  assert.equal(read(procStat([100, 0], [100, 0])).cpuUtilisation, null, 'the quota is another one');
});

const inV1 = {
  ...two,
  '/proc/self/mountinfo': v1At('cpu', '/cg/cpu') + v1At('cpuacct', '/cg/cpuacct'),
  '/cg/cpu/shop/cpu.cfs_quota_us': '100000\n',
  '/cg/cpu/shop/cpu.cfs_period_us': '100000\n',
  '/cg/cpuacct/shop/cpuacct.usage': '5000\n',
};

test('a quota of v1: cpuacct of the same cgroup, also where it is mounted apart', (t) => {
  const tree = hostTree(t, { ...inV1, '/proc/self/cgroup': '2:cpuacct:/shop\n1:cpu:/shop\n' });
  const read = readerOf(tree);
  assert.equal(read(procStat([0, 0], [0, 0])).cpuUtilisation, null);
  assert.equal(read(procStat([0, 0], [0, 0])).cpuUtilisation, 0);
  tree.write('/cg/cpuacct/shop/cpuacct.usage', '900000000000\n');
  assert.equal(read(procStat([0, 0], [0, 0])).cpuUtilisation, 1);
});

const elsewhere = {
  '/proc/self/cgroup': '2:cpuacct:/elsewhere\n1:cpu:/shop\n',
  '/cg/cpuacct/elsewhere/cpuacct.usage': '5000\n',
};

test('a quota of v1 whose CPU time nobody counts: not known, never a guess', (t) => {
  const read = readerOf(hostTree(t, { ...inV1, ...elsewhere }));
  read(procStat([0, 0], [0, 0]));
  assert.equal(read(procStat([100, 0], [100, 0])).cpuUtilisation, null);
});

test('a limit: the working set of the cgroup that has it', (t) => {
  const tree = hostTree(t, {
    '/proc/self/cgroup': '0::/shop/leaf\n',
    [`${own}/memory.max`]: `${400 * megabyte}\n`,
    [`${own}/memory.current`]: `${300 * megabyte}\n`,
    [`${own}/memory.stat`]: `anon 1\ninactive_file ${100 * megabyte}\nactive_file 7\n`,
    [`${own}/leaf/memory.current`]: `${1 * megabyte}\n`,
    [`${own}/leaf/memory.stat`]: 'inactive_file 0\n',
  });
  const read = readerOf(tree);
  const sample = read(null);
  assert.deepEqual([sample.memoryBytes, sample.memoryUtilisation], [400 * megabyte, 0.5]);
  tree.remove(`${own}/memory.stat`);
  assert.equal(read(null).memoryUtilisation, null);
});

test('a limit of v1: with the caches of all cgroups below', (t) => {
  const read = readerOf(
    hostTree(t, {
      '/proc/self/cgroup': '1:memory:/shop\n',
      '/proc/self/mountinfo': v1At('memory', '/cg/memory'),
      '/cg/memory/shop/memory.limit_in_bytes': `${400 * megabyte}\n`,
      '/cg/memory/shop/memory.usage_in_bytes': `${300 * megabyte}\n`,
      '/cg/memory/shop/memory.stat': `inactive_file 0\ntotal_inactive_file ${200 * megabyte}\n`,
    }),
  );
  assert.equal(read(null).memoryUtilisation, 0.25);
});
