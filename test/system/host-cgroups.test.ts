/** What a process may use in real cgroups and with a real affinity, as the kernel of this host has it. */
import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import type { HostSample } from '../../src/core/protocol.ts';
import type { Usable } from '../../src/ports.ts';
import { limitedCgroup } from '../helpers/limited-cgroup.ts';

const fixture = new URL('../../../test/fixtures/host-reading.mjs', import.meta.url).pathname;
const modules = ['usable', 'host-sample'].map(
  (name) => new URL(`../../src/system/host/${name}.js`, import.meta.url).href,
);
const megabyte = 1024 ** 2;

/** A sample, and what the process that took it has used itself. */
type OwnSample = HostSample & { readonly usedMs: number; readonly atMs: number };

/** The share of so many CPUs that it has used itself between two samples. */
function ownShare(from: OwnSample, to: OwnSample, ofCpus: number): number {
  return (to.usedMs - from.usedMs) / ((to.atMs - from.atMs) * ofCpus);
}

/** A Node process that reads its own limits when it is asked; `before` is what its shell does first. */
function reader(t: TestContext, before: string) {
  const command = `${before} exec "$0" "$@"`;
  const child = spawn('/bin/sh', ['-c', command, process.execPath, fixture, ...modules], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise((done) => child.once('close', done));
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ask = async (line: string): Promise<unknown> => {
    child.stdin.write(`${line}\n`);
    const { value, done } = await lines.next();
    assert.ok(done !== true, `it ended at "${line}"`);
    return JSON.parse(value);
  };
  return {
    usable: () => ask('usable') as Promise<Usable>,
    sample: () => ask('sample') as Promise<OwnSample>,
    ask,
  };
}

test('a quota of 1.5 CPUs and 300 MB on the parent only, changed while it runs', async (t) => {
  const cgroup = limitedCgroup(t);
  if (cgroup === null) return;
  cgroup.setCpus(1.5);
  cgroup.setMemory(300 * megabyte);
  const it = reader(t, cgroup.procs.map((file) => `echo $$ > ${file} &&`).join(' '));
  assert.deepEqual(await it.usable(), {
    cpus: 1.5,
    cpuSource: `cgroup quota of 1.5 CPUs (${cgroup.cpuFile})`,
    memoryBytes: 300 * megabyte,
    memorySource: `cgroup limit of 300MB (${cgroup.memoryFile})`,
  });
  cgroup.setCpus(0.5);
  cgroup.setMemory(200 * megabyte);
  const smaller = await it.usable();
  assert.deepEqual([smaller.cpus, smaller.memoryBytes], [0.5, 200 * megabyte]);
  cgroup.setCpus(null);
  cgroup.setMemory(null);
  const free = await it.usable();
  assert.deepEqual(
    [free.cpuSource, free.memorySource],
    [`${free.cpus} ${free.cpus === 1 ? 'CPU' : 'CPUs'} online`, 'memory of the host'],
  );
});

test('what is used of a quota and of a limit', async (t) => {
  const cgroup = limitedCgroup(t);
  if (cgroup === null) return;
  cgroup.setCpus(0.5);
  cgroup.setMemory(300 * megabyte);
  const it = reader(t, cgroup.procs.map((file) => `echo $$ > ${file} &&`).join(' '));
  const first = await it.sample();
  assert.deepEqual([first.cpuUtilisation, first.usableCpus, first.cpus], [null, 0.5, cpus().length]);
  assert.ok(
    first.memoryUtilisation !== null && first.memoryUtilisation < 0.5,
    `${first.memoryUtilisation} of its memory`,
  );
  await it.ask('burn 300');
  await it.ask(`fill ${200 * megabyte}`);
  const busy = await it.sample();
  // Nobody else is in there, and it has counted by itself.
  const own = ownShare(first, busy, 0.5);
  assert.ok(
    Math.abs((busy.cpuUtilisation ?? 0) - Math.min(1, own)) < 0.05,
    `${busy.cpuUtilisation}, not ${own}, of the quota`,
  );
  assert.ok((busy.memoryUtilisation ?? 0) > 200 / 300, `${busy.memoryUtilisation} of its memory`);
  // A quota that is raised counts at once.
  cgroup.setCpus(1);
  assert.equal((await it.sample()).usableCpus, 1);
});

test('affinity to one CPU', async (t) => {
  const taskset = ['/usr/bin/taskset', '/bin/taskset'].find(existsSync);
  if (taskset === undefined || cpus().length < 2) return t.skip('needs taskset and two CPUs');
  const it = reader(t, `taskset -cp 0 $$ > /dev/null &&`);
  const { cpus: one, cpuSource } = await it.usable();
  assert.deepEqual([one, cpuSource], [1, `affinity to 1 of ${cpus().length} CPUs (/proc/self/status)`]);
  const first = await it.sample();
  await it.ask('burn 300');
  const busy = await it.sample();
  // Others may have used it too.
  const own = ownShare(first, busy, 1);
  assert.equal(busy.cpus, 1);
  assert.ok(
    (busy.cpuUtilisation ?? 0) > own - 0.05,
    `${busy.cpuUtilisation} of the one CPU, of which it used ${own} itself`,
  );
});
