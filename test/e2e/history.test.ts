/** Memory as users mean it, and what is remembered of CPU and memory: in real masters, over their ends. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { History, HistoryPoint } from '../../src/core/history.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { proportionalBytes, residentBytes, treeOf } from '../helpers/e2e-proc.ts';
import { fixture, Site } from '../helpers/e2e-site.ts';

const megabyte = 1024 * 1024;
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

async function historyOf(master: Master, target: string, span: 'fine' | 'day'): Promise<History> {
  return master.client.history(target, span);
}

const sleeper = { command: ['sleep', '1000'], ready: 'spawned' };

async function sampled(master: Master, target: string, points: number): Promise<readonly HistoryPoint[]> {
  return master.until(`${points} points of ${target}`, async () => {
    const { points: seen } = await historyOf(master, target, 'fine');
    return seen.length >= points ? seen : null;
  });
}

const gunicorn = '/usr/bin/gunicorn';
const needsGunicorn = { skip: existsSync(gunicorn) ? false : 'needs gunicorn: apt-get install gunicorn' };

describe('the memory of a preforked server', () => {
  test('counts what its processes share once, also against limits.memory', needsGunicorn, async (t) => {
    const site = new Site(t);
    const command = [gunicorn, '--preload', '--workers', '4', '--bind', 'fd://3', 'preloaded:app'];
    const web = { command, cwd: fixture('.'), listen: `127.0.0.1:${await site.port()}` };
    site.config({ resources: { sample_every: '200ms' }, apps: { web: { ...web, limits: { memory: '200MB' } } } });
    const master = await site.start().serves();
    const [leader = 0] = await master.pids();
    await master.untilStatus('all five are counted', ({ apps }) => apps[0]?.workers[0]?.processes === 5);
    const isClose = async (): Promise<boolean> => {
      const { memoryBytes } = (await master.workers())[0]!;
      const pssBytes = sum(treeOf(leader).map(proportionalBytes));
      return Math.abs(memoryBytes! - pssBytes) < pssBytes * 0.05;
    };
    await master.until('what it says is what smaps say, within a twentieth', isClose);
    const rssBytes = sum(treeOf(leader).map(residentBytes));
    const worker = (await master.workers())[0]!;
    assert.equal(worker.memoryKind, 'pss');
    assert.ok(worker.memoryBytes! < 150 * megabyte, `it holds ${worker.memoryBytes}`);
    assert.ok(rssBytes > 300 * megabyte && rssBytes > 2.5 * worker.memoryBytes!, `${rssBytes} of RSS`);
    // By RSS it would be over its limit at each of these.
    await sampled(master, 'web.1', 2);
    assert.deepEqual(master.eventsOf('worker.over_memory'), []);
    const last = (await historyOf(master, 'web', 'fine')).points.at(-1);
    assert.ok(last?.memoryMaxBytes && last.memoryMaxBytes < 200 * megabyte);
    await master.stop();
  });
});

describe('the history', () => {
  test('of the host and the apps outlives the master, that of workers does not; both go on', async (t) => {
    const site = new Site(t);
    site.config({ resources: { sample_every: '200ms' }, apps: { web: { ...sleeper, workers: 2 } } });
    const first = await site.start().serves();
    await sampled(first, 'web', 2);
    const before = await historyOf(first, 'web', 'day');
    assert.ok(before.points.length > 0 && before.stepMs === 60_000);
    await first.stop();
    const file = join(site.state, 'history.json');
    assert.equal((JSON.parse(readFileSync(file, 'utf8')) as { version: number }).version, 1);

    // As if it had been stopped for a while: the last minute was ten minutes ago.
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replaceAll(/\[(\d{7,}),/g, (_, minute) => `[${Number(minute) - 10},`),
    );
    const second = await site.start().serves();
    await sampled(second, 'web', 2);
    const { points } = await historyOf(second, 'web', 'day');
    const old = points.filter(({ atMs }) => atMs <= before.points.at(-1)!.atMs - 600_000);
    assert.deepEqual(
      old.map(({ atMs }) => atMs + 600_000),
      before.points.map(({ atMs }) => atMs),
    );
    assert.ok(old.every(({ memoryBytes, goal }) => memoryBytes !== null && memoryBytes > 0 && goal === 2));
    assert.ok(points.length > old.length, 'it goes on');
    const host = await historyOf(second, 'host', 'day');
    assert.ok(host.points.length > 1 && host.points.every(({ memoryBytes }) => memoryBytes !== null));
    const ofWorker = await historyOf(second, 'web.1', 'day');
    assert.ok(ofWorker.points.every(({ atMs }) => atMs > old.at(-1)!.atMs));
    assert.deepEqual(second.eventsOf('master.warning'), []);
    await second.stop();
  });

  test('of a worker goes on over a crash, and stays when it is gone for good', async (t) => {
    const site = new Site(t);
    site.config({ resources: { sample_every: '200ms' }, apps: { web: { ...sleeper, workers: 2 } } });
    const master = await site.start().serves();
    const [point] = await sampled(master, 'web.1', 1);
    process.kill((await master.pids())[0]!, 'SIGKILL');
    await master.event('worker.exited');
    await master.serves();
    const after = await sampled(master, 'web.1', 2);
    assert.equal(after[0]?.atMs, point?.atMs);
    await site.ok('scale', 'web', '0');
    await master.until('both are gone', async () => (await master.workers()).length === 0);
    await master.until(
      'a sample without them',
      async () => (await historyOf(master, 'web', 'fine')).points.at(-1)?.goal === 0,
    );
    assert.equal((await historyOf(master, 'web.2', 'fine')).points[0]?.atMs, point?.atMs);
    await assert.rejects(historyOf(master, 'web.9', 'fine'), { code: 'unknown-target' });
    await master.stop();
  });

  test('that cannot be read is said once, stops no start, and is replaced', async (t) => {
    const site = new Site(t);
    site.config({ resources: { sample_every: '200ms' }, apps: { web: sleeper } });
    const first = await site.start().serves();
    await sampled(first, 'web', 1);
    await first.stop();
    const file = join(site.state, 'history.json');
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, -5));
    const second = await site.start().serves();
    await sampled(second, 'web', 2);
    const warnings = second.eventsOf('master.warning').map(({ message }) => message);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /history\.json is of no use \(.*\): the history of CPU and memory begins anew/);
    await second.stop();
    assert.equal((JSON.parse(readFileSync(file, 'utf8')) as { version: number }).version, 1);
  });
});
