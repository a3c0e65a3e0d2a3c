/** Wrappers are seen through: the real server is counted, and the stop signal reaches it. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, pidIn } from '../helpers/e2e-load.ts';
import { cpuTicks, proportionalBytes, treeOf } from '../helpers/e2e-proc.ts';
import { fixture, python, Site } from '../helpers/e2e-site.ts';

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Within a quarter of each other: the readers do not look at the same moment. */
function close(found: number, expected: number, what: string): void {
  assert.ok(Math.abs(found - expected) <= expected / 4, `${what}: supervise says ${found}, /proc says ${expected}`);
}

const megabyte = 1024 * 1024;
const server = `${process.execPath} ${fixture('busy-server.mjs')}`;
const wrappers: Record<string, readonly string[]> = {
  'sh -c "npm start"': ['/bin/sh', '-c', 'npm start; true'],
  'a shell that waits for it': ['/bin/sh', '-c', `${server}; true`],
  'a launcher in Python': [
    python,
    '-c',
    `import subprocess, sys; sys.exit(subprocess.call(${JSON.stringify(server.split(' '))}))`,
  ],
};

describe('a server', () => {
  for (const [what, command] of Object.entries(wrappers)) {
    test(`under ${what}: its CPU and memory are counted, and TERM reaches it`, async (t) => {
      const site = new Site(t);
      const port = await site.port();
      site.write('package.json', JSON.stringify({ name: 'wrapped', version: '1.0.0', scripts: { start: server } }));
      site.config({ resources: { sample_every: '500ms' }, apps: { web: { command, port, ready: { http: '/' } } } });
      const master = await site.start().serves();
      const [leader] = await master.pids();
      const real = pidIn(await ask(port));
      assert.notEqual(real, leader);
      assert.ok(treeOf(leader!).includes(real));
      await master.untilStatus('it was sampled twice', ({ apps }) => apps[0]?.workers[0]?.cpuPercent !== null);

      // Both readers look at the same seconds.
      const ticksBefore = sum(treeOf(leader!).map(cpuTicks));
      const beganMs = performance.now();
      const percents: number[] = [];
      for (let look = 0; look < 16; look++) {
        await sleep(250);
        percents.push((await master.workers())[0]!.cpuPercent!);
      }
      const tree = treeOf(leader!);
      const worker = (await master.workers())[0]!;
      const percent = ((sum(tree.map(cpuTicks)) - ticksBefore) * 10 * 100) / (performance.now() - beganMs);
      assert.ok(cpuTicks(real) * 2 > sum(tree.map(cpuTicks)), 'most of the work is the server’s');
      close(sum(percents) / percents.length, percent, 'CPU');
      assert.equal(worker.memoryKind, 'pss');
      close(worker.memoryBytes!, sum(tree.map(proportionalBytes)), 'memory');
      assert.ok(worker.memoryBytes! > 96 * megabyte);
      assert.equal(worker.processes, tree.length);

      await master.stop();
      assert.equal(readFileSync(site.path('terminated'), 'utf8'), String(real));
      assert.deepEqual(master.eventsOf('worker.killing'), []);
    });
  }
});
