/** 200 workers: started, sampled, scaled down and stopped, with nothing left of them. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Master } from '../helpers/e2e-master.ts';
import { isAlive, openFiles } from '../helpers/e2e-proc.ts';
import { Site } from '../helpers/e2e-site.ts';

/** pidusage keeps /proc/PID/stat of a process open, for 95 s at most after its death. */
const isUsage = (file: string) => /^\/proc\/\d+\/stat/.test(file);

/** The file of the records of exits, opened at the first of them. */
const isRecords = (file: string) => file.endsWith('/exits.ndjson');

/** Pipes, sockets, files: everything that the master has open but for what samples need, and the one file of records. */
function descriptors(master: Master): number {
  const files = openFiles(master.pid);
  assert.ok(files.filter(isRecords).length <= 1, 'the file of records is open more than once');
  return files.filter((file) => !isUsage(file) && !isRecords(file)).length;
}

async function sampled(master: Master, count: number): Promise<void> {
  await master.untilStatus(`${count} workers are ready and sampled`, ({ apps }) => {
    const workers = apps[0]?.workers ?? [];
    const fresh = workers.filter(
      (worker) =>
        worker.state === 'ready' &&
        (worker.memoryBytes ?? 0) > 0 &&
        worker.processes === 1 &&
        worker.cpuPercent !== null,
    );
    return workers.length === count && fresh.length === count;
  });
}

test('200 workers start, are sampled, scaled to 50 and stopped; no process and no descriptor is left', async (t) => {
  const site = new Site(t);
  site.config({
    resources: { sample_every: '500ms' },
    apps: { web: { command: 'sleep 1000', workers: 50, ready: { delay: '50ms' } } },
  });
  const master = await site.start().serves();
  await sampled(master, 50);
  const before = descriptors(master);

  await site.ok('scale', 'web', '200');
  await sampled(master, 200);
  const pids = await master.pids();
  assert.equal(new Set(pids).size, 200);

  await site.ok('scale', 'web', '50');
  const kept = await master.pids();
  assert.deepEqual(
    (await master.workers()).map(({ slot }) => slot),
    Array.from({ length: 50 }, (_, slot) => slot),
  );
  assert.deepEqual(
    kept.filter((pid) => !pids.includes(pid)),
    [],
  );
  assert.deepEqual(
    pids.filter((pid) => isAlive(pid)),
    kept,
  );
  await sampled(master, 50);
  // The control connections of the commands end a moment after them.
  await master.until('the descriptors of 150 workers are closed', () => descriptors(master) <= before);
  await master.until(
    'samples hold no dead process open',
    () => openFiles(master.pid).filter(isUsage).length <= 50,
    150_000,
  );

  await master.stop();
});

test('200 workers that all start at once are all ready, and a stop ends them all', async (t) => {
  const site = new Site(t);
  site.config({ apps: { web: { command: 'sleep 1000', workers: 200, ready: 'spawned' } } });
  const master = await site.start().serves();
  assert.equal((await master.pids()).length, 200);
  assert.deepEqual(master.eventsOf('worker.exited', 'worker.backoff'), []);
  await site.ok('stop');
  await master.ends(0);
});
