/** Which CPUs and how much memory may be used, on many kinds of hosts: each a tree of files as such a host has them. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { availableParallelism, totalmem } from 'node:os';
import { levelsOf, parseCgroupMounts } from '../../src/system/host/cgroup-tree.ts';
import { allowedCpus, parseCpuList } from '../../src/system/host/cpu-list.ts';
import { wholeNumber, quotaOfV1, quotaOfV2, valueIn } from '../../src/system/host/limit-texts.ts';
import { UsableReader, usableResources } from '../../src/system/host/usable.ts';
import { hostTree, v1At, v2At } from '../helpers/host-tree.ts';

const gigabyte = 1024 ** 3;
const megabyte = 1024 ** 2;
const host = { cpus: 8, cpuSource: '8 CPUs online', memoryBytes: 16 * gigabyte, memorySource: 'memory of the host' };
const unlimitedV1 = '9223372036854771712\n';

interface Case {
  readonly name: string;
  readonly files: Readonly<Record<string, string | null>>;
  readonly expect: Partial<typeof host>;
}

const service = { '/proc/self/cgroup': '0::/system.slice/shop.service\n' };
const at = '/sys/fs/cgroup';
const own = `${at}/system.slice/shop.service`;

const v2: readonly Case[] = [
  { name: 'no cgroup has a limit', files: {}, expect: {} },
  {
    name: 'max is no limit',
    files: { ...service, [`${own}/cpu.max`]: 'max 100000\n', [`${own}/memory.max`]: 'max\n' },
    expect: {},
  },
  {
    name: 'one CPU and a half, and 300 MB',
    files: { ...service, [`${own}/cpu.max`]: '150000 100000\n', [`${own}/memory.max`]: `${300 * megabyte}\n` },
    expect: {
      cpus: 1.5,
      cpuSource: `cgroup quota of 1.5 CPUs (${own}/cpu.max)`,
      memoryBytes: 300 * megabyte,
      memorySource: `cgroup limit of 300MB (${own}/memory.max)`,
    },
  },
  {
    name: 'a third of a CPU',
    files: { ...service, [`${own}/cpu.max`]: '33333 100000\n' },
    expect: { cpus: 0.333, cpuSource: `cgroup quota of 0.333 CPUs (${own}/cpu.max)` },
  },
  {
    name: 'one CPU, in another period',
    files: { ...service, [`${own}/cpu.max`]: '20000 20000\n' },
    expect: { cpus: 1, cpuSource: `cgroup quota of 1 CPU (${own}/cpu.max)` },
  },
  {
    name: 'a limit on the slice only',
    files: {
      ...service,
      [`${own}/cpu.max`]: 'max 100000\n',
      [`${own}/memory.max`]: 'max\n',
      [`${at}/system.slice/cpu.max`]: '200000 100000\n',
      [`${at}/system.slice/memory.max`]: `${2 * gigabyte}\n`,
    },
    expect: {
      cpus: 2,
      cpuSource: `cgroup quota of 2 CPUs (${at}/system.slice/cpu.max)`,
      memoryBytes: 2 * gigabyte,
      memorySource: `cgroup limit of 2GB (${at}/system.slice/memory.max)`,
    },
  },
  {
    name: 'the slice has less than the service',
    files: {
      ...service,
      [`${own}/cpu.max`]: '400000 100000\n',
      [`${own}/memory.max`]: `${4 * gigabyte}\n`,
      [`${at}/system.slice/cpu.max`]: '200000 100000\n',
      [`${at}/system.slice/memory.max`]: `${gigabyte}\n`,
    },
    expect: {
      cpus: 2,
      cpuSource: `cgroup quota of 2 CPUs (${at}/system.slice/cpu.max)`,
      memoryBytes: gigabyte,
      memorySource: `cgroup limit of 1GB (${at}/system.slice/memory.max)`,
    },
  },
  {
    name: 'of equal ones the outer one, which others use up as well',
    files: { ...service, [`${own}/cpu.max`]: '100000 100000\n', [`${at}/system.slice/cpu.max`]: '50000 50000\n' },
    expect: { cpus: 1, cpuSource: `cgroup quota of 1 CPU (${at}/system.slice/cpu.max)` },
  },
  {
    name: 'memory.high below memory.max',
    files: { ...service, [`${own}/memory.max`]: `${gigabyte}\n`, [`${own}/memory.high`]: `${gigabyte / 2}\n` },
    expect: { memoryBytes: gigabyte / 2, memorySource: `cgroup limit of 512MB (${own}/memory.high)` },
  },
  {
    name: 'limits above what the host has',
    files: { ...service, [`${own}/cpu.max`]: '3200000 100000\n', [`${own}/memory.max`]: `${64 * gigabyte}\n` },
    expect: {},
  },
  {
    name: 'a container with a cgroup namespace: its own cgroup is the root',
    files: { [`${at}/cpu.max`]: '250000 100000\n', [`${at}/memory.max`]: `${gigabyte}\n` },
    expect: {
      cpus: 2.5,
      cpuSource: `cgroup quota of 2.5 CPUs (${at}/cpu.max)`,
      memoryBytes: gigabyte,
      memorySource: `cgroup limit of 1GB (${at}/memory.max)`,
    },
  },
  {
    name: 'a container without a cgroup namespace: the mount begins at its cgroup',
    files: {
      '/proc/self/cgroup': '0::/docker/0a1b/app\n',
      '/proc/self/mountinfo': v2At(at, '/docker/0a1b'),
      [`${at}/cpu.max`]: '150000 100000\n',
      [`${at}/app/cpu.max`]: 'max 100000\n',
    },
    expect: { cpus: 1.5, cpuSource: `cgroup quota of 1.5 CPUs (${at}/cpu.max)` },
  },
  {
    name: 'a mount of something else counts as far as it can be seen',
    files: {
      '/proc/self/cgroup': '0::/\n',
      '/proc/self/mountinfo': v2At(at, '/docker/0a1b'),
      [`${at}/cpu.max`]: '150000 100000\n',
    },
    expect: { cpus: 1.5, cpuSource: `cgroup quota of 1.5 CPUs (${at}/cpu.max)` },
  },
  {
    name: 'a cgroup outside of the namespace cannot be seen',
    files: { '/proc/self/cgroup': '0::/../other\n', [`${at}/cpu.max`]: '150000 100000\n' },
    expect: {},
  },
  {
    name: 'a cgroup that was removed, below one with a quota',
    files: { '/proc/self/cgroup': '0::/gone.scope (deleted)\n', [`${at}/cpu.max`]: '150000 100000\n' },
    expect: { cpus: 1.5, cpuSource: `cgroup quota of 1.5 CPUs (${at}/cpu.max)` },
  },
  {
    name: 'names with a colon and a space',
    files: {
      '/proc/self/cgroup': '0::/a:b.service\n',
      '/proc/self/mountinfo': v2At('/mnt/control\\040groups'),
      '/mnt/control groups/a:b.service/cpu.max': '150000 100000\n',
    },
    expect: { cpus: 1.5, cpuSource: 'cgroup quota of 1.5 CPUs (/mnt/control groups/a:b.service/cpu.max)' },
  },
];

const inV1 = {
  '/proc/self/cgroup': '5:memory:/shop\n4:cpu,cpuacct:/shop\n3:cpuset:/\n1:name=systemd:/shop\n',
  '/proc/self/mountinfo':
    v1At('memory', `${at}/memory`) + v1At('cpu,cpuacct', `${at}/cpu,cpuacct`) + v1At('name=systemd', `${at}/systemd`),
};
const cpuV1 = `${at}/cpu,cpuacct`;
const memoryV1 = `${at}/memory`;

const v1: readonly Case[] = [
  {
    name: 'no limit',
    files: {
      ...inV1,
      [`${cpuV1}/shop/cpu.cfs_quota_us`]: '-1\n',
      [`${cpuV1}/shop/cpu.cfs_period_us`]: '100000\n',
      [`${memoryV1}/shop/memory.limit_in_bytes`]: unlimitedV1,
      [`${memoryV1}/memory.limit_in_bytes`]: '9223372036854710272\n',
    },
    expect: {},
  },
  {
    name: 'one CPU and a half, and 300 MB',
    files: {
      ...inV1,
      [`${cpuV1}/shop/cpu.cfs_quota_us`]: '75000\n',
      [`${cpuV1}/shop/cpu.cfs_period_us`]: '50000\n',
      [`${memoryV1}/shop/memory.limit_in_bytes`]: `${300 * megabyte}\n`,
    },
    expect: {
      cpus: 1.5,
      cpuSource: `cgroup quota of 1.5 CPUs (${cpuV1}/shop/cpu.cfs_quota_us)`,
      memoryBytes: 300 * megabyte,
      memorySource: `cgroup limit of 300MB (${memoryV1}/shop/memory.limit_in_bytes)`,
    },
  },
  {
    name: 'on the parent only, and the controllers in cgroups of other names',
    files: {
      ...inV1,
      '/proc/self/cgroup': '5:memory:/m/leaf\n4:cpu,cpuacct:/c/leaf\n',
      [`${cpuV1}/c/cpu.cfs_quota_us`]: '200000\n',
      [`${cpuV1}/c/cpu.cfs_period_us`]: '100000\n',
      [`${cpuV1}/c/leaf/cpu.cfs_quota_us`]: '-1\n',
      [`${memoryV1}/m/memory.limit_in_bytes`]: `${gigabyte}\n`,
      [`${memoryV1}/m/leaf/memory.limit_in_bytes`]: unlimitedV1,
    },
    expect: {
      cpus: 2,
      cpuSource: `cgroup quota of 2 CPUs (${cpuV1}/c/cpu.cfs_quota_us)`,
      memoryBytes: gigabyte,
      memorySource: `cgroup limit of 1GB (${memoryV1}/m/memory.limit_in_bytes)`,
    },
  },
  {
    name: 'in a container, below a limit that only memory.stat tells of',
    files: {
      '/proc/self/cgroup': '5:memory:/kubepods/pod1/c1\n4:cpu,cpuacct:/kubepods/pod1/c1\n',
      '/proc/self/mountinfo':
        v1At('memory', memoryV1, '/kubepods/pod1/c1') + v1At('cpuacct,cpu', cpuV1, '/kubepods/pod1/c1'),
      [`${cpuV1}/cpu.cfs_quota_us`]: '50000\n',
      [`${cpuV1}/cpu.cfs_period_us`]: '100000\n',
      [`${memoryV1}/memory.limit_in_bytes`]: unlimitedV1,
      [`${memoryV1}/memory.stat`]: `cache 0\nhierarchical_memory_limit ${gigabyte}\ntotal_inactive_file 0\n`,
    },
    expect: {
      cpus: 0.5,
      cpuSource: `cgroup quota of 0.5 CPUs (${cpuV1}/cpu.cfs_quota_us)`,
      memoryBytes: gigabyte,
      memorySource: `cgroup limit of 1GB (${memoryV1}/memory.stat)`,
    },
  },
  {
    name: 'hybrid: the limits are those of v1, the cgroup of v2 has no controller',
    files: {
      '/proc/self/cgroup': '4:cpu,cpuacct:/shop\n0::/shop\n',
      '/proc/self/mountinfo': v1At('cpu,cpuacct', cpuV1) + v2At(`${at}/unified`),
      [`${cpuV1}/shop/cpu.cfs_quota_us`]: '150000\n',
      [`${cpuV1}/shop/cpu.cfs_period_us`]: '100000\n',
      [`${at}/unified/shop/cgroup.procs`]: '1\n',
    },
    expect: { cpus: 1.5, cpuSource: `cgroup quota of 1.5 CPUs (${cpuV1}/shop/cpu.cfs_quota_us)` },
  },
  {
    name: 'hybrid: memory is a controller of v2',
    files: {
      '/proc/self/cgroup': '4:cpu,cpuacct:/\n0::/shop\n',
      '/proc/self/mountinfo': v1At('cpu,cpuacct', cpuV1) + v2At(`${at}/unified`),
      [`${at}/unified/shop/memory.max`]: `${gigabyte}\n`,
    },
    expect: { memoryBytes: gigabyte, memorySource: `cgroup limit of 1GB (${at}/unified/shop/memory.max)` },
  },
];

const status = (list: string) => ({ '/proc/self/status': `Name:\tnode\nCpus_allowed_list:\t${list}\n` });

const affinity: readonly Case[] = [
  {
    name: 'two of the CPUs',
    files: status('1,5'),
    expect: { cpus: 2, cpuSource: 'affinity to 2 of 8 CPUs (/proc/self/status)' },
  },
  { name: 'a mask that names CPUs which do not exist', files: status('0-511'), expect: {} },
  {
    name: 'some are offline',
    files: { ...status('0-7'), '/sys/devices/system/cpu/online': '0,2-3\n' },
    expect: { cpus: 3, cpuSource: '3 CPUs online' },
  },
  {
    name: 'a quota below it',
    files: { ...service, ...status('0-3'), [`${own}/cpu.max`]: '150000 100000\n' },
    expect: { cpus: 1.5, cpuSource: `cgroup quota of 1.5 CPUs (${own}/cpu.max)` },
  },
  {
    name: 'a quota above it, and one that equals it',
    files: {
      ...service,
      ...status('0-1'),
      [`${own}/cpu.max`]: '400000 100000\n',
      [`${at}/cpu.max`]: '200000 100000\n',
    },
    expect: { cpus: 2, cpuSource: 'affinity to 2 of 8 CPUs (/proc/self/status)' },
  },
  {
    name: 'the numbers of the CPUs that are online are made up',
    files: { ...status('12-15'), '/sys/devices/system/cpu/online': '0-3\n' },
    expect: { cpus: 4, cpuSource: '4 CPUs online' },
  },
];

for (const [kind, cases] of Object.entries({ v2, v1, affinity })) {
  describe(`what may be used: ${kind}`, () => {
    for (const { name, files, expect } of cases)
      test(name, (t) =>
        assert.deepEqual(usableResources(new UsableReader(hostTree(t, files).root)), { ...host, ...expect }),
      );
  });
}

describe('a reading follows what changes', () => {
  test('a limit that is changed, taken away, or turned on later', (t) => {
    const tree = hostTree(t, { ...service, [`${own}/cpu.max`]: 'max 100000\n' });
    const reader = new UsableReader(tree.root);
    const now = () => [reader.read().cpus, reader.read().memoryBytes / megabyte];
    assert.deepEqual(now(), [8, 16 * 1024]);
    tree.write(`${own}/cpu.max`, '150000 100000\n');
    assert.deepEqual(now(), [1.5, 16 * 1024]);
    tree.write(`${own}/memory.max`, `${300 * megabyte}\n`);
    tree.write(`${at}/system.slice/cpu.max`, '50000 100000\n');
    assert.deepEqual(now(), [0.5, 300]);
    tree.remove(`${own}/memory.max`);
    tree.write(`${at}/system.slice/cpu.max`, 'max 100000\n');
    assert.deepEqual(now(), [1.5, 16 * 1024]);
  });

  test('the process is moved to another cgroup', (t) => {
    const tree = hostTree(t, { ...service, [`${at}/jobs/cpu.max`]: '300000 100000\n' });
    const reader = new UsableReader(tree.root);
    assert.equal(reader.read().cpus, 8);
    tree.write('/proc/self/cgroup', '0::/jobs\n');
    assert.equal(reader.read().cpus, 3);
  });
});

describe('nothing to read', () => {
  const nobody = { cpus: availableParallelism(), memoryBytes: totalmem() };

  test('no /proc and no /sys: what Node says', (t) => {
    const { cpus, memoryBytes } = usableResources(new UsableReader(`${hostTree(t).root}/nowhere`));
    assert.deepEqual({ cpus, memoryBytes }, nobody);
  });

  test('files of nonsense', (t) => {
    const tree = hostTree(t, {
      '/proc/self/cgroup': ':::\nx\n0:\n4:cpu\n0::/shop\n',
      '/proc/self/mountinfo': 'cgroup - cgroup\n - cgroup2\n31 20\n',
      '/proc/self/status': 'Cpus_allowed_list:\t9-z\n',
      '/proc/meminfo': 'MemTotal: many kB\n',
      '/sys/devices/system/cpu/online': '\n',
    });
    const { cpus, memoryBytes } = usableResources(new UsableReader(tree.root));
    assert.deepEqual({ cpus, memoryBytes }, nobody);
  });

  test('limits of nonsense are none', (t) => {
    const tree = hostTree(t, {
      ...service,
      [`${own}/cpu.max`]: '0 0\n',
      [`${own}/memory.max`]: 'lots\n',
      [`${own}/memory.high`]: '',
      [`${at}/system.slice/cpu.max`]: '-5 100000\n',
    });
    assert.deepEqual(usableResources(new UsableReader(tree.root)), host);
  });
});

describe('the pieces', () => {
  test('lists of CPUs', () => {
    assert.deepEqual(parseCpuList('0-2,8,10-10\n'), [0, 1, 2, 8, 10]);
    for (const text of ['', '\n', 'a', '1-', '0-99999', '1,,2']) assert.equal(parseCpuList(text), null, text);
    assert.equal(allowedCpus('Name:\tx\n', [0]), null);
  });

  test('quotas and limits', () => {
    assert.deepEqual(
      ['150000 100000\n', 'max 100000', '150000', '1 0', ''].map((text) => quotaOfV2(text)),
      [1.5, null, null, null, null],
    );
    assert.deepEqual([quotaOfV1('50000\n', '100000\n'), quotaOfV1('-1\n', '100000\n')], [0.5, null]);
    assert.deepEqual(['0\n', '4096\n', 'max\n', '-1\n'].map(wholeNumber), [0, 4096, null, null]);
  });

  test('a value is found by its whole name', () => {
    const text = 'total_inactive_file 1\ninactive_file 2\nfile 3\n';
    assert.deepEqual(
      ['total_inactive_file', 'inactive_file', 'file', 'active_file', 'x'].map((name) => valueIn(text, name)),
      [1, 2, 3, null, null],
    );
  });

  test('of several mounts that which shows most, of equal ones the later', () => {
    const mounts = parseCgroupMounts(v2At('/hidden', '/') + v2At('/all', '/') + v2At('/part', '/a/b'));
    assert.deepEqual(
      levelsOf('cpu', '0::/a/b/c\n', mounts).map(({ path, directory }) => [path, directory]),
      [
        ['/a/b/c', '/all/a/b/c'],
        ['/a/b', '/all/a/b'],
        ['/a', '/all/a'],
        ['/', '/all'],
      ],
    );
    const part = levelsOf('cpu', '0::/a/b/c\n', parseCgroupMounts(v2At('/part', '/a/b')));
    assert.deepEqual(
      part.map(({ path, directory }) => [path, directory]),
      [
        ['/a/b/c', '/part/c'],
        ['/a/b', '/part'],
      ],
    );
    assert.deepEqual(levelsOf('cpu', '0::/\n', []), []);
  });
});
