/**
 * A whole master within limits of CPU and memory (real cgroups around it and all its workers): how many workers it starts, what it does
 * when they grow, and that it follows the load.
 */
import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, existsSync } from 'node:fs';
import { Load } from '../helpers/e2e-load.ts';
import type { Master } from '../helpers/e2e-master.ts';
import { fixture, Site } from '../helpers/e2e-site.ts';
import { inCgroup, limitedCgroup, type LimitedCgroup } from '../helpers/limited-cgroup.ts';

const mb = 1024 * 1024;
const uvicorn = '/usr/bin/uvicorn';

interface Limits {
  readonly cpus: number | null;
  readonly memoryMb: number;
}

interface Stage {
  readonly site: Site;
  readonly cgroup: LimitedCgroup;
  readonly port: number;
  readonly master: Master;
}

/** A master of `sized_app.py` within these limits; null: the test is skipped. */
async function within(
  t: TestContext,
  { cpus, memoryMb }: Limits,
  app: Readonly<Record<string, unknown>>,
  resources: Readonly<Record<string, unknown>> = {},
): Promise<Stage | null> {
  if (!existsSync(uvicorn)) {
    t.skip("no uvicorn (Debian's python3-uvicorn and python3-fastapi)");
    return null;
  }
  const cgroup = limitedCgroup(t);
  if (cgroup === null) return null;
  cgroup.setCpus(cpus);
  cgroup.setMemory(memoryMb * mb);
  const site = new Site(t);
  copyFileSync(fixture('sized_app.py'), site.path('sized_app.py'));
  const port = await site.port();
  site.config({
    apps: {
      web: {
        command: `${uvicorn} sized_app:app --fd {fd} --log-level warning`,
        listen: [`127.0.0.1:${port}`],
        stop: { timeout: '20s' },
        ...app,
      },
    },
    resources: { sample_every: '500ms', ...resources },
  });
  return { site, cgroup, port, master: site.start([], { under: inCgroup(cgroup.procs) }) };
}

async function served(stage: Stage): Promise<Stage> {
  await stage.master.serves();
  return stage;
}

function scalings({ master }: Stage) {
  return master.eventsOf('app.scaled').map(({ from, to }) => [from, to]);
}

test('workers: auto within 1.5 CPUs and 300 MB: as many as fit, with the arithmetic in the log and in status', async (t) => {
  const small = await within(t, { cpus: 1.5, memoryMb: 300 }, { workers: 'auto', env: { BALLAST_MB: '20' } });
  if (small === null) return;
  const { master, site, cgroup } = await served(small);
  const { staffing, workers } = await master.app();
  assert.equal(workers.length, 2);
  const figures =
    /^2 workers: min\(1\.5 CPUs, so 2 \((.*)\), (?:\(240MB budget - .*B of others\)|240MB budget) \/ (.*)MB each = (\d+)\)$/;
  const [, source, , fit] = figures.exec(staffing.reason ?? '') ?? [];
  assert.ok(source?.includes(cgroup.cpuFile.slice(0, cgroup.cpuFile.lastIndexOf('/'))), staffing.reason ?? '');
  assert.ok(Number(fit) >= 2);
  assert.deepEqual(scalings(small), [[1, 2]]);
  assert.ok(master.stderr.includes(staffing.reason!.replaceAll('"', '\\"')), 'the log has it');
  const ready = master.eventsOf('worker.ready').map(({ worker }) => worker);
  const running = master.events.findIndex(({ type }) => type === 'master.running');
  assert.deepEqual(ready, ['web.1', 'web.2']);
  assert.ok(running > master.events.findIndex((event) => event.type === 'worker.ready' && event.worker === 'web.2'));
  assert.ok((await site.ok('status')).includes(`web: auto: ${staffing.reason}`));
  assert.equal(cgroup.failures(), 0);
  await master.stop();
});

test('workers: auto, where one has room and a second one has not: one', async (t) => {
  const big = await within(t, { cpus: 1.5, memoryMb: 300 }, { workers: 'auto', env: { BALLAST_MB: '110' } });
  if (big === null) return;
  const { master, cgroup } = await served(big);
  assert.deepEqual([(await master.app()).workers.length, scalings(big)], [1, [[1, 1]]]);
  assert.match((await master.app()).staffing.reason ?? '', /^1 worker: min\(1\.5 CPUs, so 2 .* each = 1\)$/);
  assert.equal(cgroup.failures(), 0);
  await master.stop();
});

test('a program that leaks under load is recycled before its memory is used up, and no request is lost', async (t) => {
  const leaking = await within(
    t,
    { cpus: null, memoryMb: 500 },
    { workers: 2, env: { LEAK_KB: '64' } },
    { memory_budget: '200MB' },
  );
  if (leaking === null) return;
  const { master, cgroup, port } = await served(leaking);
  const load = new Load(t, port, { clients: 4, pauseMs: 15 });
  const over = () => master.eventsOf('worker.exited').filter(({ cause }) => cause === 'memory-budget');
  await master.until('3 are recycled', () => over().length >= 3, 180_000);
  await load.end();
  assert.deepEqual(load.failures, []);
  assert.ok(load.answered > 500 && load.pids.size >= 4, `${load.answered} answers of ${load.pids.size} processes`);
  assert.ok(master.eventsOf('budget.over').length >= 1);
  const causes = new Set(master.eventsOf('worker.exited').map(({ cause }) => cause));
  assert.deepEqual([...causes], ['memory-budget']);
  assert.equal(cgroup.failures(), 0, 'nobody ever wanted more memory than there is');
  await master.stop();
});

test('what takes all memory at once is killed by the kernel, and named so, whatever the budget', async (t) => {
  const hog = await within(t, { cpus: null, memoryMb: 300 }, { workers: 2 });
  if (hog === null) return;
  const { master, port } = await served(hog);
  const load = new Load(t, port, { clients: 1, path: '/hog' });
  const killed = await master.event('worker.exited');
  await load.end();
  assert.deepEqual([killed.cause, killed.signal], ['oom', 'SIGKILL']);
  assert.match(killed.oom ?? '', new RegExp(`Killed process ${killed.pid} |oom_kill`));
  await master.serves();
  await master.stop();
});

// So little that a machine with other things to do reaches it too, and far more than an idle worker needs.
const scaled = { min: 1, max: 3, target_cpu: '5%', target_memory: '80%', scale_down_after: '4s' };

test('scaling: from min to max under load, and back when it ends; no request is lost', async (t) => {
  const stage = await within(t, { cpus: null, memoryMb: 600 }, { workers: scaled, env: { BURN_MS: '20' } });
  if (stage === null) return;
  const { master, port } = await served(stage);
  assert.equal((await master.app()).workers.length, 1);
  const load = new Load(t, port, { clients: 6, pauseMs: 1 });
  await master.untilStatus('three serve', ({ apps: [web] }) => web?.ready === 3, 120_000);
  await load.end();
  assert.deepEqual(load.failures, []);
  await master.untilStatus('one is left', ({ apps: [web] }) => web?.goal === 1 && web.workers.length === 1, 120_000);
  const all = master.eventsOf('app.scaled');
  assert.ok(all.every(({ from, to }) => to >= 1 && to <= 3 && to !== from));
  const directions = all.map(({ from, to }) => Math.sign(to - from));
  assert.deepEqual(
    directions,
    directions.toSorted((a, b) => b - a),
    'up, then down, and never back and forth',
  );
  for (const { reason } of all)
    assert.match(reason ?? '', /^(CPU .* per worker, target 5%|queue .* per worker, target 2)/);
  await master.stop();
});

test('scaling with dry_run: it says once what it would do, and does nothing', async (t) => {
  const workers = { ...scaled, dry_run: true };
  const stage = await within(t, { cpus: null, memoryMb: 600 }, { workers, env: { BURN_MS: '20' } });
  if (stage === null) return;
  const { master, port, site } = await served(stage);
  const load = new Load(t, port, { clients: 6, pauseMs: 1 });
  const would = await master.event('app.would_scale');
  assert.ok(would.from === 1 && would.to > 1 && would.to <= 3, `from ${would.from} to ${would.to}`);
  assert.match(would.reason ?? '', /per worker, target .* = /);
  await load.end();
  await master.until('a decision without load', async () =>
    /CPU .*no change|= 1$/.test((await master.app()).staffing.reason ?? ''),
  );
  const said = master.eventsOf('app.would_scale').map(({ to }) => to);
  assert.equal(new Set(said).size, said.length, `each number once: ${said.join()}`);
  assert.deepEqual([load.failures, master.eventsOf('app.scaled'), (await master.app()).workers.length], [[], [], 1]);
  assert.match(await site.ok('status'), /web: scaled: (CPU|queue)/);
  await master.stop();
});
