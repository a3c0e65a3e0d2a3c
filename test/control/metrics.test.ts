/** GET /metrics: what is counted, what is read at a scrape, and in which format. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { request } from 'node:http';
import type { Cause, Event, HookState, Snapshot, WorkerSnapshot } from '../../src/core/protocol.ts';
import type { HistoryPoint } from '../../src/core/history.ts';
import { CpuTime } from '../../src/control/metrics/cpu-time.ts';
import { families } from '../../src/control/metrics/exposition.ts';
import { metricsFormat } from '../../src/control/metrics/format.ts';
import { Metrics } from '../../src/control/metrics/metrics.ts';
import { Tally } from '../../src/control/metrics/tally.ts';
import { noParser, noPromtool, parsed, promtool, valueOf, type ParsedSample } from '../helpers/prometheus.ts';
import { FakeLogs, FakeMaster, openRoom, someUsage } from './fake-master.ts';
import { exchange, requestText } from './raw.ts';

const slot0 = { app: 'web', worker: 'web.1', slot: 0 } as const;
const noLines = { error: null, lastLines: [] } as const;

function starts(master: FakeMaster, attempt: number): void {
  master.emit({ type: 'worker.starting', ...slot0, pid: 7, revision: 1, attempt });
  master.emit({ type: 'worker.ready', ...slot0, pid: 7, bootMs: 250 });
}

function exits(master: FakeMaster, cause: Cause): void {
  master.emit({ type: 'worker.exited', ...slot0, pid: 7, code: 1, signal: null, cause, uptimeMs: 5, ...noLines });
}

function worker(slot: number, more: Partial<WorkerSnapshot> = {}): WorkerSnapshot {
  return {
    ...{ id: `web.${slot + 1}`, slot, pid: 100 + slot, state: 'ready', spare: false, reason: null, revision: 1 },
    ...{ restarts: 0, startedAt: '2026-01-01T00:00:00.000Z', readyAt: null, uptimeMs: 1, cpuPercent: 50 },
    ...{ memoryBytes: 1000, memoryKind: 'pss', processes: 2, connections: 3, queue: null, lastExit: null },
    ...more,
  };
}

/** A master whose one app has these workers. */
class Staffed extends FakeMaster {
  workers: readonly WorkerSnapshot[] = [];

  override snapshot(): Snapshot {
    const snapshot = super.snapshot();
    const { workers } = this;
    return { ...snapshot, apps: snapshot.apps.map((app) => ({ ...app, connections: 12, queue: 4, workers })) };
  }
}

/** As names and values without the python parser: `name{a="b"}` -> value. */
async function scrape(metrics: Metrics, accept = ''): Promise<Map<string, number>> {
  const { text } = await metrics.scrape(accept);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

function metricsOf(master: FakeMaster): Metrics {
  const metrics = new Metrics({ master, logs: new FakeLogs(), reread: null, own: someUsage });
  master.subscribe((event) => metrics.take(event));
  return metrics;
}

describe('the names', () => {
  test('follow the conventions of Prometheus, and no label is unbounded', () => {
    const bounded = ['app', 'slot', 'state', 'cause', 'ailment', 'phase', 'hook', 'result', 'operation', 'direction'];
    const allowed = [...bounded, 'by', 'kind', 'level', 'sink', 'version', 'node'];
    for (const { name, type, labels, help } of families) {
      assert.match(name, /^supervise_[a-z]+(_[a-z]+)+$/);
      assert.equal(name.endsWith('_total'), type === 'counter', name);
      assert.doesNotMatch(name, /_(ms|millis|mb|kb|percent|minutes)(_|$)/);
      assert.match(help, /\.$/, `the help of ${name} is no sentence`);
      assert.deepEqual(
        labels.filter((label) => !allowed.includes(label)),
        [],
        name,
      );
    }
    const names = families.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });
});

describe('the format', () => {
  const prometheus2 =
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
  const cases: [string, 'prometheus' | 'openmetrics'][] = [
    ['', 'prometheus'],
    ['*/*', 'prometheus'],
    ['text/plain;version=0.0.4', 'prometheus'],
    ['application/openmetrics-text', 'openmetrics'],
    ['Application/OpenMetrics-Text; version=1.0.0; charset=utf-8', 'openmetrics'],
    [prometheus2, 'openmetrics'],
    ['application/openmetrics-text;q=0.3,text/plain;q=0.5', 'prometheus'],
    ['application/openmetrics-text;q=0', 'prometheus'],
    ['application/openmetrics-text;q=x', 'prometheus'],
    ['application/openmetrics-textual', 'prometheus'],
  ];
  for (const [accept, format] of cases) {
    test(`${accept === '' ? 'nothing' : accept} gets ${format}`, () => assert.equal(metricsFormat(accept), format));
  }

  test('the server counts what it hears', async (t) => {
    const { master, socketPath } = await openRoom(t);
    starts(master, 1);
    const { body } = await exchange(socketPath, requestText('GET', '/metrics'));
    assert.match(body, /^supervise_worker_starts_total\{app="web"\} 1$/m);
  });

  test('is named in the answer of the server', async (t) => {
    const { socketPath } = await openRoom(t);
    const typeFor = (accept: string) =>
      new Promise((done, failed) => {
        const asked = request({ socketPath, path: '/metrics', headers: { accept }, agent: false }, (response) => {
          response.resume().on('end', () => done(response.headers['content-type']));
        });
        asked.on('error', failed).end();
      });
    assert.equal(await typeFor('*/*'), 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(await typeFor(prometheus2), 'application/openmetrics-text; version=1.0.0; charset=utf-8');
    assert.equal(await typeFor('*/*'), 'text/plain; version=0.0.4; charset=utf-8');
  });
});

describe('counters', () => {
  test('begin with what happened before they were made', async () => {
    const master = new Staffed();
    starts(master, 1);
    const metrics = metricsOf(master);
    exits(master, 'oom');
    starts(master, 2);
    const found = await scrape(metrics);
    assert.equal(found.get('supervise_worker_starts_total{app="web"}'), 2);
    assert.equal(found.get('supervise_worker_boots_total{app="web"}'), 2);
    assert.equal(found.get('supervise_worker_boot_seconds_total{app="web"}'), 0.5);
    assert.equal(found.get('supervise_worker_exits_total{app="web",cause="oom"}'), 1);
    assert.equal(found.get('supervise_worker_restarts_total{app="web",cause="oom"}'), 1);
    assert.equal(found.get('supervise_worker_restarts_total{app="web",cause="crash"}'), 0);
  });

  test('a new worker is no restart, though it has the slot of one that has ended', async () => {
    const master = new Staffed();
    const metrics = metricsOf(master);
    starts(master, 1);
    exits(master, 'memory-limit');
    master.emit({ type: 'worker.stopped', ...slot0 });
    master.emit({ type: 'worker.starting', ...slot0, worker: 'web.2', pid: 8, revision: 1, attempt: 1 });
    const found = await scrape(metrics);
    assert.equal(found.get('supervise_worker_exits_total{app="web",cause="memory-limit"}'), 1);
    assert.deepEqual(
      [...found].filter(([key, value]) => key.startsWith('supervise_worker_restarts_total') && value > 0),
      [],
    );
  });

  test('ailments, promotions, scalings, warnings, rollouts, hooks, operations and lost lines', async () => {
    const master = new Staffed();
    const metrics = metricsOf(master);
    const ill = { ...slot0, reason: 'x', action: 'replace' } as const;
    for (const type of ['stalled', 'unhealthy', 'over_memory', 'over_budget', 'over_lifetime', 'makes_room'] as const)
      master.emit({ type: `worker.${type}`, ...ill });
    master.emit({ type: 'worker.unhealthy', ...ill });
    master.emit({ type: 'worker.promoted', ...slot0, pid: 7, of: null });
    const scaled = { app: 'web', from: 1, to: 3 } as const;
    master.emit({ type: 'app.scaled', ...scaled, reason: null });
    master.emit({ type: 'app.scaled', ...scaled, to: 0, reason: 'idle' });
    master.emit({ type: 'app.would_scale', ...scaled, reason: 'busy' });
    master.emit({ type: 'app.warning', app: 'web', message: 'x' });
    master.emit({ type: 'master.warning', message: 'x' });
    master.emit({ type: 'rollout.started', app: 'web', from: 1, to: 2 });
    const rolling = await scrape(metrics);
    master.emit({ type: 'rollout.rolled_back', app: 'web', from: 1, to: 2, worker: null, reason: 'x', lastLines: [] });
    const hook = { phase: 'post_reload', hook: 'warm', attempt: 1, message: '', exitCode: 0, signal: null } as const;
    master.emit({ type: 'hook.failed', ...hook, durationMs: 1500, lastLines: [] });
    master.emit({ type: 'hook.timed-out', ...hook, hook: 'migrate', phase: 'pre_start', durationMs: 1, lastLines: [] });
    for (const ok of [true, false, false])
      master.emit({ type: 'operation.finished', operation: 1, name: 'reload', ok, message: '', lastLines: [] });
    for (let i = 0; i < 2; i++)
      master.emit({ type: 'logs.dropped', sink: 'stdout', lines: 3, bytes: 100, reason: 'slow' });
    master.emit({
      ...{ type: 'app.unbalanced', app: 'web', worker: 'web.1' },
      ...{ connections: 9, total: 10, workers: 2, message: '' },
    });
    const found = await scrape(metrics);
    const expected: Record<string, number> = {
      'supervise_worker_ailments_total{app="web",ailment="stall"}': 1,
      'supervise_worker_ailments_total{app="web",ailment="health"}': 2,
      'supervise_worker_ailments_total{app="web",ailment="memory-limit"}': 1,
      'supervise_worker_ailments_total{app="web",ailment="memory-budget"}': 1,
      'supervise_worker_ailments_total{app="web",ailment="lifetime"}': 1,
      'supervise_worker_ailments_total{app="web",ailment="stranded"}': 1,
      'supervise_worker_promotions_total{app="web"}': 1,
      'supervise_app_scalings_total{app="web",direction="up",by="operator"}': 1,
      'supervise_app_scalings_total{app="web",direction="down",by="supervise"}': 1,
      'supervise_app_scalings_total{app="web",direction="up",by="dry-run"}': 1,
      'supervise_app_scalings_total{app="web",direction="up",by="supervise"}': 0,
      'supervise_app_warnings_total{app="web"}': 1,
      'supervise_master_warnings_total': 1,
      'supervise_rollouts_total{app="web",result="rolled_back"}': 1,
      'supervise_rollouts_total{app="web",result="succeeded"}': 0,
      'supervise_rollout_in_progress{app="web"}': 0,
      'supervise_rollout_duration_seconds{app="web"}': 0,
      'supervise_hook_runs_total{phase="pre_start",hook="migrate",result="timed-out"}': 1,
      'supervise_hook_runs_total{phase="pre_start",hook="migrate",result="succeeded"}': 0,
      'supervise_operations_total{operation="reload",result="ok"}': 1,
      'supervise_operations_total{operation="reload",result="failed"}': 2,
      'supervise_log_lines_dropped_total{sink="stdout"}': 6,
      'supervise_log_bytes_dropped_total{sink="stdout"}': 200,
      'supervise_app_unbalanced{app="web"}': 1,
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, found.get(key)])), expected);
    assert.equal(rolling.get('supervise_rollout_in_progress{app="web"}'), 1);
    master.emit({ type: 'app.balanced', app: 'web' });
    assert.equal((await scrape(metrics)).get('supervise_app_unbalanced{app="web"}'), 0);
  });

  test('why a process ended is forgotten with its worker', () => {
    const [tally, master] = [new Tally(), new FakeMaster()];
    master.subscribe((event) => tally.take(event));
    exits(master, 'reload');
    assert.deepEqual([...tally.app('web').lastCauses], [['web.1', 'reload']]);
    master.emit({ type: 'worker.stopped', ...slot0 });
    assert.equal(tally.app('web').lastCauses.size, 0);
  });

  test('of a config that is reloaded for ever with other names only the last thousand are kept', () => {
    const tally = new Tally();
    const warning = (app: string): Event => ({ seq: 1, at: '', type: 'app.warning', app, message: '' });
    for (let i = 0; i < 5000; i++) tally.take(warning(`app${i}`));
    assert.equal(tally.app('app4999').warnings, 1);
    assert.equal(tally.app('app4001').warnings, 1);
    assert.equal(tally.app('app0').warnings, 0);
  });
});

describe('gauges', () => {
  test('are read at the scrape; of a worker that is gone nothing is left, and totals stay', async () => {
    const master = new Staffed();
    master.workers = [worker(0), worker(1, { state: 'backoff', pid: null, cpuPercent: null, memoryBytes: null })];
    const metrics = metricsOf(master);
    exits(master, 'crash');
    const both = await scrape(metrics);
    assert.equal(both.get('supervise_worker_ready{app="web",slot="0"}'), 1);
    assert.equal(both.get('supervise_worker_ready{app="web",slot="1"}'), 0);
    assert.equal(both.get('supervise_worker_cpu_cores{app="web",slot="0"}'), 0.5);
    assert.equal(both.get('supervise_worker_memory_bytes{app="web",slot="0",kind="pss"}'), 1000);
    assert.equal(both.get('supervise_worker_connection_share_ratio{app="web",slot="0"}'), 0.25);
    assert.equal(both.get('supervise_worker_start_time_seconds{app="web",slot="0"}'), Date.UTC(2026) / 1000);
    assert.equal(both.get('supervise_app_workers{app="web",state="backoff"}'), 1);
    assert.equal(both.get('supervise_app_accept_queue{app="web"}'), 4);
    master.workers = [worker(1, { id: 'web.9' })];
    const one = await scrape(metrics);
    assert.deepEqual(
      [...one.keys()].filter((key) => key.includes('slot="0"')),
      [],
    );
    assert.equal(one.get('supervise_worker_ready{app="web",slot="1"}'), 1);
    assert.equal(one.get('supervise_worker_exits_total{app="web",cause="crash"}'), 1);
  });

  test('what is not known is not 0 but not there', async () => {
    const master = new Staffed();
    master.workers = [
      worker(0, { cpuPercent: null, memoryBytes: null, connections: null, startedAt: null, pid: null }),
    ];
    const found = await scrape(metricsOf(master));
    const names = [...found.keys()];
    for (const name of ['worker_cpu_cores', 'worker_memory_bytes', 'worker_connections', 'worker_accept_queue'])
      assert.ok(!names.some((key) => key.startsWith(`supervise_${name}{`)), name);
    assert.ok(!found.has('supervise_memory_budget_bytes'));
    assert.equal(found.get('supervise_host_cpu_utilisation_ratio'), 0.41);
  });

  test('a hook that has not ended has neither succeeded nor failed', async () => {
    const master = new FakeMaster();
    const { hooks } = master.snapshot();
    const [hook] = hooks;
    const success = async (state: HookState) => {
      const before = FakeMaster.prototype.snapshot.call(master);
      master.snapshot = () => ({ ...before, hooks: [{ ...hook!, state }] });
      return (await scrape(metricsOf(master))).get('supervise_hook_succeeded{phase="pre_start",hook="migrate"}');
    };
    const states = ['pending', 'running', 'succeeded', 'skipped', 'failed', 'timed-out', 'cancelled'] as const;
    const found = [];
    for (const state of states) found.push(await success(state));
    assert.deepEqual(found, [undefined, undefined, 1, 1, 0, 0, 0]);
  });
});

describe('CPU time', () => {
  const points = (figures: readonly (readonly [atMs: number, cpuPercent: number | null])[]): HistoryPoint[] =>
    figures.map(([atMs, cpuPercent]) => ({
      ...{ atMs, cpuPercent, cpuMaxPercent: null, memoryBytes: null, memoryMaxBytes: null },
      ...{ queue: null, ready: null, goal: null },
    }));
  const history = (...figures: Parameters<typeof points>[0]) => ({
    target: 'web',
    stepMs: 2000,
    points: points(figures),
  });

  test('each point counts once, when there is a later one', () => {
    const time = new CpuTime();
    assert.equal(time.secondsOf(history()), null);
    assert.equal(time.secondsOf(history([0, 100])), null);
    assert.equal(time.secondsOf(history([0, 100], [2000, 50])), 2);
    assert.equal(time.secondsOf(history([0, 100], [2000, 50])), 2);
    assert.equal(time.secondsOf(history([0, 100], [2000, 50], [4000, null], [6000, 200], [8000, 0])), 2 + 1 + 4);
    assert.equal(time.secondsOf(history([6000, 200], [8000, 0])), 7);
  });

  test('a gap counts as two steps at most', () => {
    assert.equal(new CpuTime().secondsOf(history([0, 100], [3_600_000, 100])), 4);
  });

  test('an app that is gone is forgotten', () => {
    const time = new CpuTime();
    time.secondsOf(history([0, 100], [2000, 50]));
    time.keep([]);
    assert.equal(time.secondsOf(history()), null);
  });
});

test('nothing of prom-client is loaded before the first scrape', () => {
  const script = `
    import { createRequire } from 'node:module';
    const { cache } = createRequire(import.meta.url);
    const isLoaded = () => Object.keys(cache).some((file) => file.includes('/prom-client/'));
    await import('${new URL('../../src/control/server.js', import.meta.url).href}');
    const before = isLoaded();
    const { Metrics } = await import('${new URL('../../src/control/metrics/metrics.js', import.meta.url).href}');
    const snapshot = ${JSON.stringify(new FakeMaster().snapshot())};
    const master = { snapshot: () => ({ ...snapshot, apps: [] }), recentEvents: () => [] };
    const { text } = await new Metrics({ master, own: () => ({}) }).scrape('');
    console.log(JSON.stringify([before, isLoaded(), text.includes('supervise_build_info')]));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(stdout.trim(), '[false,true,true]', stderr);
});

describe('read by others', () => {
  const busy = (): Metrics => {
    const master = new Staffed();
    master.workers = Array.from({ length: 64 }, (_, slot) => worker(slot));
    const metrics = metricsOf(master);
    master.emit({ type: 'logs.dropped', sink: '/var/log/a "b"\\c\nd', lines: 3, bytes: 100, reason: 'full' });
    starts(master, 1);
    return metrics;
  };
  const withoutTime = (samples: readonly ParsedSample[]) =>
    samples
      .filter(({ name }) => name !== 'supervise_master_event_loop_lag_seconds')
      .map(({ name, labels, value }) => ({ name, labels, value }));

  test('both formats say the same to the parsers of Prometheus', { skip: noParser }, async () => {
    const metrics = busy();
    const openMetrics = await metrics.scrape('application/openmetrics-text');
    const text = await metrics.scrape('');
    const plain = parsed(text.text, 'prometheus');
    assert.deepEqual(withoutTime(parsed(openMetrics.text, 'openmetrics')), withoutTime(plain));
    assert.ok(plain.length > 600, `${plain.length} samples`);
    assert.equal(valueOf(plain, 'supervise_log_lines_dropped_total', { sink: '/var/log/a "b"\\c\nd' }), 3);
    assert.equal(plain.filter(({ name }) => name === 'supervise_worker_ready').length, 64);
    const types = new Map(families.map(({ name, type }) => [name, type]));
    for (const { name, type } of plain) assert.equal(type, types.get(name), name);
  });

  test('promtool finds nothing to say about them', { skip: noPromtool }, async () => {
    promtool(['check', 'metrics'], (await busy().scrape('')).text);
  });
});
