import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { Event } from '../../src/core/protocol.ts';
import { EventStream } from '../../src/master/stream.ts';
import { app, FakeClock, hook, tcp, World } from '../helpers/world.ts';

/** A world that has seen a bit of everything. */
function eventful(): World {
  const it = new World({
    hooks: { pre_start: [hook('migrate')] },
    apps: [app('web', { workers: 2, listen: [tcp(8000)] }), app('mail')],
  }).start();
  it.after(812).hook('migrate').exits(0);
  it.after(100).allReady().after(5_000);
  it.worker('web', 0).exits(1);
  it.worker('web', 0).exits(1);
  it.handle({ type: 'reload', spec: null, apps: ['web'] });
  it.allReady().after(20_000).asked();
  return it;
}

describe('the event stream', () => {
  test('is numbered from 1 without gaps, and its times never go back', () => {
    const { events } = eventful();
    assert.ok(events.length > 20);
    assert.deepEqual(
      events.map((event) => event.seq),
      events.map((_, index) => index + 1),
    );
    assert.deepEqual(
      events.map((event) => event.at),
      events.map((event) => event.at).toSorted(),
    );
    assert.ok(events.every((event) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(event.at)));
  });

  test('says of every worker event which worker, of which app, in which slot', () => {
    for (const event of eventful().events.filter((one) => one.type.startsWith('worker.'))) {
      assert.ok(
        'worker' in event && 'slot' in event && 'app' in event && event.worker?.startsWith(`${event.app}.`),
        JSON.stringify(event),
      );
    }
  });

  test('never tells the same state twice in a row, of a worker, an app, or the master', () => {
    const it = eventful();
    for (const who of ['master', 'web', 'mail', 'web.2', 'web.3']) {
      const states = it.timeline(who);
      const twice = states.filter((state, index) => state === states[index - 1] && state !== 'starting');
      assert.deepEqual(twice, [], `${who}: ${states.join(' ')}`);
    }
  });

  test('a starting event counts the attempts, and names the process', () => {
    const it = eventful();
    const told = it.eventsOf('worker.starting').filter((event) => event.worker === 'web.1');
    assert.deepEqual(
      told.map((event) => event.attempt),
      [1, 2],
    );
    assert.deepEqual(
      told.map((event) => event.pid),
      it.processes.filter((process) => process.name === 'web.1').map((process) => process.pid),
    );
    assert.equal(it.eventsOf('worker.ready')[0]?.bootMs, 100);
    assert.equal(it.eventsOf('worker.exited')[0]?.uptimeMs, 5_100);
  });

  test('keeps the last events for whoever comes late, and no subscriber gets any after it has left', () => {
    const stream = new EventStream(new FakeClock());
    const seen: Event[] = [];
    const cancel = stream.subscribe((event) => seen.push(event));
    for (let n = 0; n < 10_000; n++) stream.emit({ type: 'master.warning', message: String(n) });
    assert.equal(seen.length, 10_000);
    assert.deepEqual(
      [stream.recent().length, stream.recent()[0]?.seq, stream.recent().at(-1)?.seq],
      [2_000, 8_001, 10_000],
    );
    cancel();
    stream.emit({ type: 'master.warning', message: 'more' });
    assert.equal(seen.length, 10_000);
  });
});

describe('the snapshot', () => {
  test('of a master that runs', () => {
    const it = new World({
      hooks: { pre_start: [hook('migrate')] },
      apps: [app('web', { listen: [tcp(8000)] })],
    }).start();
    it.after(812).hook('migrate').exits(0);
    it.after(188).allReady();
    it.samples.set('web.1', { cpuPercent: 12.5, memoryBytes: 48_234_496, memoryKind: 'rss', processes: 3 });
    it.after(11_000);
    assert.deepEqual(it.master.snapshot(), {
      name: 'test',
      version: '0.0.0',
      pid: 1,
      state: 'running',
      startedAt: '2026-01-01T00:00:00.000Z',
      uptimeMs: 12_000,
      configFile: null,
      hooks: [
        {
          phase: 'pre_start',
          name: 'migrate',
          state: 'succeeded',
          attempts: 1,
          durationMs: 812,
          exitCode: 0,
          signal: null,
          reason: null,
        },
      ],
      host: {
        cpus: 2,
        usableCpus: 2,
        cpuSource: '2 CPUs online',
        cpuUtilisation: 0.5,
        memoryBytes: 8_589_934_592,
        memorySource: 'memory of the host',
        memoryUtilisation: 0.5,
      },
      budget: { budgetBytes: 6_871_947_673, usedBytes: 48_234_496, level: 'ok' },
      apps: [
        {
          name: 'web',
          kind: 'command',
          state: 'running',
          goal: 1,
          ready: 1,
          spares: { goal: 0, ready: 0 },
          staffing: { kind: 'fixed', min: 1, max: 1, reason: null },
          revision: 1,
          listen: ['tcp://127.0.0.1:8000'],
          connections: 0,
          queue: 0,
          countedAt: '2026-01-01T00:00:10.812Z',
          notes: [],
          workers: [
            {
              id: 'web.1',
              slot: 0,
              pid: it.worker('web', 0).pid,
              state: 'ready',
              spare: false,
              reason: null,
              revision: 1,
              restarts: 0,
              startedAt: '2026-01-01T00:00:00.812Z',
              readyAt: '2026-01-01T00:00:01.000Z',
              uptimeMs: 11_188,
              cpuPercent: 12.5,
              memoryBytes: 48_234_496,
              memoryKind: 'rss',
              processes: 3,
              connections: 0,
              queue: null,
              lastExit: null,
            },
          ],
        },
      ],
    });
  });

  test('of a worker that waits to start again', () => {
    const it = new World({ apps: [app('web')] }).start().allReady();
    it.samples.set('web.1', { cpuPercent: 1, memoryBytes: 1, memoryKind: 'rss', processes: 1 });
    it.after(5_000);
    it.worker('web', 0).exits(1);
    it.after(250).worker('web', 0).dies('SIGSEGV');
    it.after(100);
    assert.deepEqual(it.master.snapshot().apps[0]?.workers[0], {
      id: 'web.1',
      slot: 0,
      pid: null,
      state: 'backoff',
      spare: false,
      reason: 'signal SIGSEGV, 2 crashes in a row; next start in 400ms',
      revision: 1,
      restarts: 1,
      startedAt: null,
      readyAt: null,
      uptimeMs: null,
      cpuPercent: null,
      memoryBytes: null,
      memoryKind: null,
      processes: null,
      connections: null,
      queue: null,
      lastExit: { at: '2026-01-01T00:00:05.250Z', code: null, signal: 'SIGSEGV', cause: 'signal' },
    });
  });

  test('lists workers by slot, those that leave too, and says what a reload is about', () => {
    const it = new World({ apps: [app('web', { workers: 2 })] }).start().allReady();
    it.handle({ type: 'reload', spec: null, apps: null });
    it.allReady().after(5_000);
    const web = it.master.snapshot().apps[0];
    assert.deepEqual(
      web?.workers.map(({ id, slot, state, revision }) => [id, slot, state, revision]),
      [
        ['web.1', 0, 'stopping', 1],
        ['web.2', 1, 'ready', 1],
        ['web.3', 2, 'ready', 2],
      ],
    );
    assert.deepEqual([web?.ready, web?.goal, web?.revision, web?.notes], [2, 2, 2, ['reload: revision 1 -> 2']]);
    assert.match(web?.workers[0]?.reason ?? '', /reload; killed in 30s/);
    assert.equal(it.master.snapshot().state, 'reloading');
  });

  test('the states of the master', () => {
    const it = new World({ hooks: { pre_start: [hook('migrate')] }, apps: [app('web')] }).start();
    const state = () => it.master.snapshot().state;
    assert.equal(state(), 'starting');
    it.hook('migrate').exits(0);
    assert.equal(state(), 'starting');
    it.allReady();
    assert.equal(state(), 'running');
    it.handle({ type: 'stop', how: 'graceful' });
    assert.equal(state(), 'stopping');
  });
});

test('the sampler is asked about every live worker, at the pace of the config', () => {
  const it = new World({ sampleEveryMs: 10_000, apps: [app('web', { workers: 2 })] }).start().allReady();
  it.slowSamples = [];
  it.after(9_999);
  assert.equal(it.slowSamples.length, 0);
  it.after(1);
  assert.equal(it.slowSamples.length, 1);
  assert.deepEqual(it.asked(0).sampled, [['web.1', 'web.2']]);
  it.worker('web', 0).exits(1);
  it.worker('web', 0).exits(1);
  it.after(10_000);
  assert.equal(it.sampled.length, 1, 'not again before that has answered');
  it.slowSamples.shift()?.();
  it.slowSamples = null;
  it.after(10_000);
  assert.equal(it.sampled.at(-1)?.length, 2, 'it has started again by then');
  it.handle({ type: 'reload', spec: { ...it.spec, sampleEveryMs: 1_000 }, apps: [] });
  it.after(10_000).after(1_000);
  assert.equal(it.sampled.length, 4, 'a reload changes the pace');
});
