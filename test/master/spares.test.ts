/** Warm spares: ready workers out of the rotation, and who takes whose place. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { AppSpec } from '../../src/core/spec.ts';
import { app, tcp, World } from '../helpers/world.ts';

function web(parts: Partial<AppSpec> = {}): AppSpec {
  return app('web', { workers: 2, spares: 1, listen: [tcp(8_000)], ...parts });
}

function starts(parts: Partial<AppSpec> = {}): World {
  return new World({ apps: [web(parts)] }).start();
}

function up(parts: Partial<AppSpec> = {}): World {
  return starts(parts).allReady();
}

/** Who gets new connections: let in, and not asked to end. */
function serving(it: World): string[] {
  return it
    .workersOf('web')
    .filter(({ admitted, effects }) => admitted && effects.length === 0)
    .map(({ name }) => name);
}

/** `web.1 ready`, `web.3 spare`, by slot. */
function crew(it: World): string[] {
  return snapshot(it).workers.map(({ id, state, spare }) => `${id} ${spare ? 'spare' : state}`);
}

function snapshot(it: World) {
  return it.master.snapshot().apps[0]!;
}

/** Who took whose place. */
function promotions(it: World): string[] {
  return it.eventsOf('worker.promoted').map(({ worker, of }) => `${worker} for ${of}`);
}

describe('a start', () => {
  test('all boot at once; those who are ready first serve, and the last stands by', () => {
    const it = starts();
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3']);
    it.worker('web', 2).becomesReady();
    it.worker('web', 0).becomesReady();
    assert.deepEqual(serving(it), ['web.1', 'web.3']);
    assert.deepEqual(
      [it.appState('web'), it.master.snapshot().state],
      ['running', 'running'],
      'no spare is waited for',
    );
    assert.deepEqual(snapshot(it).spares, { goal: 1, ready: 0 });
    it.worker('web', 1).becomesReady();
    assert.deepEqual(serving(it), ['web.1', 'web.3']);
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 spare', 'web.3 ready']);
    assert.deepEqual([snapshot(it).ready, snapshot(it).goal, snapshot(it).spares], [2, 2, { goal: 1, ready: 1 }]);
    assert.deepEqual(promotions(it), []);
  });

  test('without spares everybody who is ready serves', () => {
    const it = up({ spares: 0 });
    assert.deepEqual(serving(it), ['web.1', 'web.2']);
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 ready']);
  });
});

describe('a worker that dies', () => {
  test('the spare takes its place before anything else is done, and it boots again to be the spare', () => {
    const it = up();
    const before = it.events.length;
    it.worker('web', 0).dies('SIGKILL');
    assert.deepEqual(
      it.events.slice(before).map((event) => ('worker' in event ? `${event.worker} ${event.type}` : event.type)),
      ['web.1 worker.exited', 'web.3 worker.promoted', 'web.1 worker.starting'],
      'the app is never degraded',
    );
    assert.deepEqual(promotions(it), ['web.3 for web.1']);
    assert.deepEqual(serving(it), ['web.2', 'web.3']);
    it.worker('web', 0).becomesReady();
    assert.deepEqual(crew(it), ['web.1 spare', 'web.2 ready', 'web.3 ready']);
    assert.deepEqual(promotions(it), ['web.3 for web.1']);
    assert.deepEqual([it.exitRecords[0]?.spare, it.exitRecords[0]?.next], ['web.3', { type: 'restarted' }]);
    it.worker('web', 0).exits(1);
    assert.equal(it.exitRecords[0]?.spare, null, 'it had no place that could be taken');
  });

  test('the spare takes its place when its leader has exited, though what it left behind is not gone yet', () => {
    const it = up();
    const before = it.events.length;
    const gone = it.worker('web', 0);
    gone.isGone();
    assert.deepEqual(serving(it).slice(1), ['web.2', 'web.3']);
    assert.deepEqual(crew(it), ['web.1 stopping', 'web.2 ready', 'web.3 ready']);
    assert.deepEqual([snapshot(it).ready, snapshot(it).spares], [2, { goal: 1, ready: 0 }]);
    it.after(5_000);
    assert.deepEqual(it.names(), ['web.1', 'web.2', 'web.3'], 'nobody follows before all of it has ended');
    gone.dies('SIGKILL');
    assert.deepEqual(
      it.events.slice(before).map((event) => ('worker' in event ? `${event.worker} ${event.type}` : event.type)),
      ['web.3 worker.promoted', 'web.1 worker.exited', 'web.1 worker.starting'],
    );
    it.worker('web', 0).becomesReady();
    assert.deepEqual(crew(it), ['web.1 spare', 'web.2 ready', 'web.3 ready']);
    assert.deepEqual(promotions(it), ['web.3 for web.1']);
    assert.equal(it.exitRecords[0]?.spare, 'web.3');
  });

  test('without a spare the app is short of it as soon as its leader has exited', () => {
    const it = up({ spares: 0 });
    it.worker('web', 0).isGone();
    assert.deepEqual([it.appState('web'), snapshot(it).ready], ['degraded', 1]);
    assert.deepEqual(crew(it), ['web.1 stopping', 'web.2 ready']);
    it.worker('web', 0).dies('SIGKILL');
    it.worker('web', 0).becomesReady();
    assert.deepEqual([it.appState('web'), snapshot(it).ready], ['running', 2]);
  });

  test('with its own backoff', () => {
    const it = up();
    it.worker('web', 0).exits(1);
    it.worker('web', 0).exits(1);
    assert.deepEqual(crew(it), ['web.1 backoff', 'web.2 ready', 'web.3 ready']);
    assert.equal(it.appState('web'), 'running');
    it.after(500).worker('web', 0).becomesReady();
    assert.deepEqual(serving(it), ['web.2', 'web.3']);
  });

  test('a spare that dies counts as a crash like any other', () => {
    const it = up();
    it.worker('web', 2).exits(1);
    it.worker('web', 2).exits(1);
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 ready', 'web.3 backoff']);
    assert.deepEqual([it.appState('web'), promotions(it)], ['running', []]);
  });

  test('more than there are spares: who is ready first comes in', () => {
    const it = up({ workers: 3 });
    it.worker('web', 0).dies('SIGKILL');
    it.worker('web', 1).dies('SIGKILL');
    assert.equal(it.appState('web'), 'degraded');
    it.worker('web', 1).becomesReady();
    assert.deepEqual(serving(it).toSorted(), ['web.2', 'web.3', 'web.4']);
    it.worker('web', 0).becomesReady();
    assert.deepEqual(crew(it), ['web.1 spare', 'web.2 ready', 'web.3 ready', 'web.4 ready']);
    assert.deepEqual(promotions(it), ['web.4 for web.1']);
  });

  test("what is left of it, and what it says later, is nobody's place", () => {
    const it = up();
    const gone = it.worker('web', 0);
    gone.dies('SIGKILL');
    gone.becomesReady();
    it.after(5_000);
    assert.deepEqual(serving(it), ['web.2', 'web.3']);
    assert.deepEqual(promotions(it), ['web.3 for web.1']);
  });
});

describe('commands', () => {
  test('scale up takes the spare at once, and another boots behind it', () => {
    const it = up();
    const reply = it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    assert.deepEqual(serving(it), ['web.1', 'web.2', 'web.3']);
    assert.deepEqual([promotions(it), it.appState('web')], [['web.3 for null'], 'running']);
    assert.deepEqual(crew(it).at(-1), 'web.4 starting');
    assert.equal(it.finished(reply), null, 'it waits for the whole crew');
    it.worker('web', 3).becomesReady();
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(crew(it).at(-1), 'web.4 spare');
  });

  test('scale down takes the highest that serves, not the spare', () => {
    const it = up({ workers: 3 });
    it.handle({ type: 'scale', app: 'web', change: { to: 2 } });
    assert.deepEqual(serving(it), ['web.1', 'web.2']);
    it.asked();
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 ready', 'web.4 spare']);
    assert.deepEqual(promotions(it), []);
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    assert.deepEqual(promotions(it), ['web.4 for null'], 'the place of one that was let go is no longer there');
  });

  test('scaled to 0 there is no spare either', () => {
    const it = up();
    const reply = it.handle({ type: 'scale', app: 'web', change: { to: 0 } });
    it.asked();
    assert.deepEqual([it.names(), it.finished(reply)?.ok, it.appState('web')], [[], true, 'running']);
    it.handle({ type: 'scale', app: 'web', change: { to: 1 } });
    it.allReady();
    assert.deepEqual(crew(it), ['web.4 ready', 'web.5 spare']);
  });

  test('restart of a worker: the spare serves at once, and the successor takes the slot and stands by', () => {
    const it = up();
    const reply = it.handle({ type: 'restart', target: { app: 'web', worker: 'web.1' } });
    assert.deepEqual(serving(it), ['web.2', 'web.3']);
    assert.deepEqual(promotions(it), ['web.3 for web.1']);
    it.asked();
    assert.equal(it.finished(reply), null);
    it.worker('web', 0).becomesReady();
    assert.deepEqual([crew(it)[0], it.finished(reply)?.ok], ['web.4 spare', true]);
  });

  test('restart of all: spares too', () => {
    const it = up();
    const reply = it.handle({ type: 'restart', target: { app: 'web', worker: null } });
    assert.deepEqual(promotions(it), [], 'who is to go as well takes no place');
    it.asked().allReady();
    assert.equal(it.finished(reply)?.ok, true);
    assert.deepEqual(crew(it), ['web.4 ready', 'web.5 ready', 'web.6 spare']);
  });

  test('a stop ends spares as the others', () => {
    const it = up();
    it.handle({ type: 'stop', how: 'graceful' });
    it.asked();
    it.expectEnded(0);
  });
});

describe('a reload', () => {
  function reload(it: World, parts: Partial<AppSpec> = {}) {
    const spec = { ...it.spec, apps: [web(parts)] };
    return it.handle({ type: 'reload', spec, apps: null });
  }
  const oldest = (it: World) => crew(it).filter((one) => /web\.[123] /.test(one));

  test('the canary serves, the old spare goes first, the new spare comes last', () => {
    const it = up();
    const reply = reload(it);
    it.worker('web', 3).becomesReady();
    assert.deepEqual(serving(it), ['web.1', 'web.2', 'web.4'], 'a canary gets traffic');
    it.after(5_000);
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 ready', 'web.3 stopping', 'web.4 ready']);
    it.asked();
    it.worker('web', 2).becomesReady();
    assert.deepEqual(serving(it), ['web.2', 'web.4', 'web.5']);
    it.asked();
    it.worker('web', 0).becomesReady();
    assert.deepEqual(serving(it), ['web.4', 'web.5'], 'the old one goes when the last of three is ready');
    assert.deepEqual(crew(it)[0], 'web.6 spare');
    it.asked().after(5_000);
    assert.equal(it.finished(reply)?.ok, true);
    assert.match(it.eventsOf('rollout.progress').at(-1)?.step ?? '', /web\.6 is ready/);
    assert.deepEqual(it.eventsOf('rollout.progress').at(-1)?.total, 3);
    assert.deepEqual(promotions(it), []);
  });

  test('the old spare helps out when an old worker dies meanwhile', () => {
    const it = up();
    reload(it);
    it.worker('web', 0).dies('SIGKILL');
    assert.deepEqual(serving(it), ['web.2', 'web.3']);
    assert.deepEqual(promotions(it), ['web.3 for web.1']);
  });

  test('a new revision that fails: the old one serves on, with its spare', () => {
    const it = up();
    const reply = reload(it);
    it.worker('web', 3).becomesReady();
    it.worker('web', 3).exits(1);
    it.asked().allReady().asked();
    assert.equal(it.finished(reply)?.ok, false);
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 ready', 'web.3 spare']);
    assert.ok(
      it.workersOf('web').every(({ effects }) => effects.length === 0),
      'no old one was touched',
    );
  });

  test('it fails as well when the spare of the new revision does', () => {
    const it = up();
    const reply = reload(it);
    for (let n = 0; n < 2; n++) it.allReady().after(5_000).asked();
    assert.equal(oldest(it).length, 1);
    it.worker('web', 0).exits(1);
    assert.match(it.eventsOf('rollout.rolled_back')[0]?.reason ?? '', /web\.6/);
    for (let n = 0; n < 4; n++) it.allReady().after(5_000).asked();
    assert.equal(it.finished(reply)?.ok, false);
    assert.equal(serving(it).length, 2);
    assert.deepEqual(snapshot(it).spares, { goal: 1, ready: 1 });
  });

  test('that adds spares, and one that takes them away', () => {
    const it = up({ spares: 0 });
    reload(it, { spares: 2 });
    for (let n = 0; n < 5; n++) it.allReady().after(5_000).asked();
    assert.deepEqual([serving(it).length, snapshot(it).spares], [2, { goal: 2, ready: 2 }]);
    reload(it, { spares: 0 });
    for (let n = 0; n < 5; n++) it.allReady().after(5_000).asked();
    assert.deepEqual([serving(it).length, snapshot(it).workers.length], [2, 2]);
  });

  test('in their places, with a spare, at least as many serve as should', () => {
    const it = up({ reload: { maxSurge: 0, maxUnavailable: 1, canaryMs: 0 } });
    const reply = reload(it, { reload: { maxSurge: 0, maxUnavailable: 1, canaryMs: 0 } });
    for (let n = 0; n < 4; n++) {
      assert.ok(serving(it).length >= 2, serving(it).join());
      it.asked();
      assert.ok(serving(it).length >= 2, serving(it).join());
      it.allReady();
    }
    assert.equal(it.finished(reply)?.ok, true);
  });
});

describe('a worker that is ill', () => {
  const limits = { memoryBytes: 100, lifetimeMs: null, jitter: 0 };
  function grows(it: World, worker: string): void {
    it.samples.set(worker, { cpuPercent: 1, memoryBytes: 101, memoryKind: 'rss', processes: 1 });
    it.after(6_000);
  }

  test('is stopped at once, because the spare has its place; another boots and stands by', () => {
    const it = up({ limits });
    grows(it, 'web.1');
    assert.deepEqual(serving(it), ['web.2', 'web.3']);
    assert.deepEqual(promotions(it), ['web.3 for web.1']);
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM']);
    const [promoted, stopping] = ['worker.promoted', 'worker.stopping'].map((type) => it.types().indexOf(type));
    assert.ok(promoted! < stopping!, 'first the spare is in');
    assert.deepEqual(crew(it).at(-1), 'web.4 starting', 'with a surge it need not wait until the place is free');
    it.asked().allReady();
    assert.deepEqual(crew(it), ['web.2 ready', 'web.3 ready', 'web.4 spare']);
    assert.deepEqual([it.exitRecords[0]?.spare, it.exitRecords[0]?.next], ['web.3', { type: 'stopped', by: 'web.4' }]);
  });

  test('as long as no spare is ready its successor comes first', () => {
    const it = up({ limits });
    it.worker('web', 2).exits(1);
    grows(it, 'web.1');
    assert.deepEqual(it.worker('web', 0).effects, []);
    it.worker('web', 2).becomesReady();
    assert.deepEqual(it.worker('web', 0).effects, ['SIGTERM']);
    assert.deepEqual(serving(it).toSorted(), ['web.2', 'web.3']);
  });

  test('two of them, one after the other: never fewer serve than should', () => {
    const it = up({ limits });
    it.samples.set('web.1', { cpuPercent: 1, memoryBytes: 101, memoryKind: 'rss', processes: 1 });
    grows(it, 'web.2');
    assert.equal(serving(it).length, 2);
    it.asked();
    assert.deepEqual(serving(it), ['web.2', 'web.3'], 'the other waits for the next spare');
    it.worker('web', 3).becomesReady();
    assert.deepEqual(serving(it), ['web.3', 'web.4']);
    it.asked().allReady();
    assert.equal(snapshot(it).spares.ready, 1);
  });

  test('a spare that is ill is replaced like any other', () => {
    const it = up({ limits });
    grows(it, 'web.3');
    assert.deepEqual(it.worker('web', 2).effects, ['SIGTERM']);
    assert.deepEqual(serving(it), ['web.1', 'web.2']);
    it.asked().allReady();
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 ready', 'web.4 spare']);
    assert.deepEqual(promotions(it), []);
  });

  test('one that hangs: its successor inherits its place, its crashes and its delay', () => {
    const it = up({ stall: { afterMs: 5_000, action: 'restart', signal: null } });
    it.worker('web', 0).stalls();
    assert.deepEqual(serving(it), ['web.2', 'web.3']);
    assert.deepEqual(it.worker('web', 0).effects, ['SIGABRT']);
    it.asked();
    assert.deepEqual(crew(it), ['web.4 starting', 'web.2 ready', 'web.3 ready']);
  });
});

describe('where connections cannot be kept from a ready worker', () => {
  test('a spare serves like the others, and is not called one', () => {
    const it = starts();
    for (const process of it.workersOf('web')) process.sharesListener = true;
    it.allReady();
    assert.deepEqual(serving(it), ['web.1', 'web.2', 'web.3']);
    assert.deepEqual(crew(it), ['web.1 ready', 'web.2 ready', 'web.3 ready']);
    assert.deepEqual([snapshot(it).ready, snapshot(it).spares], [3, { goal: 1, ready: 0 }]);
    it.after(5_000);
    assert.equal(it.workersOf('web').length, 3);
  });
});

test('an app whose spares have not all completed goes on', () => {
  const it = up({ restart: 'on-failure' });
  for (const slot of [0, 1]) it.worker('web', slot).exits(0);
  it.expectNotEnded();
  assert.deepEqual(serving(it), ['web.3']);
  it.worker('web', 2).exits(0);
  it.expectEnded(0);
});
