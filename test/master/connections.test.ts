import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readingsInARow } from '../../src/core/balance.ts';
import type { AppSnapshot } from '../../src/core/protocol.ts';
import type { AppSpec, ListenSpec } from '../../src/core/spec.ts';
import { app, World } from '../helpers/world.ts';

const listen: ListenSpec[] = [{ kind: 'tcp', host: '127.0.0.1', port: 8000, url: 'tcp://127.0.0.1:8000' }];
/** Five samples of 2 s. */
const readingMs = 10_000;

function up(parts: Partial<AppSpec>): World {
  return new World({ apps: [app('web', { listen, ...parts })] }).start().allReady();
}

function web(it: World): AppSnapshot {
  return it.master.snapshot().apps[0]!;
}

/** `web.1` has the first of these, and so on; then so many readings. */
function counted(it: World, counts: readonly (number | null)[], readings = 1): World {
  counts.forEach((count, index) => it.connections.set(`web.${index + 1}`, count));
  return it.after(readings * readingMs);
}

function told(it: World): string[] {
  return it.types().filter((type) => type === 'app.unbalanced' || type === 'app.balanced');
}

describe('connections in the snapshot', () => {
  test('are not known before the first reading, and say when they were counted', () => {
    const it = up({ workers: 2 });
    assert.deepEqual([web(it).connections, web(it).queue, web(it).countedAt], [null, null, null]);
    assert.deepEqual(
      web(it).workers.map(({ connections, queue }) => [connections, queue]),
      [
        [null, null],
        [null, null],
      ],
    );
    it.queues.set('web.1', 3).set('web.2', 0);
    const at = new Date(it.clock.now() + readingMs).toISOString();
    counted(it, [7, 1]).after(readingMs / 2);
    assert.deepEqual([web(it).connections, web(it).queue, web(it).countedAt], [8, 3, at]);
    assert.deepEqual(
      web(it).workers.map(({ connections, queue }) => [connections, queue]),
      [
        [7, 3],
        [1, 0],
      ],
    );
  });

  test('of one worker that are not known leave the sum open', () => {
    const it = counted(up({ workers: 2 }), [7, null]);
    assert.deepEqual(
      web(it).workers.map(({ connections }) => connections),
      [7, null],
    );
    assert.equal(web(it).connections, null);
  });

  test('of a process that has ended are not those of the next', () => {
    const it = counted(up({ workers: 2 }), [7, 1]);
    it.worker('web', 0).exits(1);
    assert.deepEqual(
      web(it).workers.map(({ connections }) => connections),
      [null, 1],
    );
    it.after(600);
    assert.deepEqual(it.names().toSorted(), ['web.1', 'web.2']);
    assert.deepEqual(
      web(it).workers.map(({ connections }) => connections),
      [null, 1],
    );
  });

  test('an app without `listen` is not counted', () => {
    const it = new World({ apps: [app('jobs', {})] })
      .start()
      .allReady()
      .after(3 * readingMs);
    assert.deepEqual([web(it).connections, web(it).countedAt], [null, null]);
  });
});

describe('connections that pile up', () => {
  test('are said once, stand in the notes with the numbers of the last reading, and go', () => {
    const it = counted(up({ workers: 4 }), [3, 4, 31, 2], readingsInARow - 1);
    assert.deepEqual(told(it), []);
    assert.deepEqual(web(it).notes, []);
    it.after(readingMs);
    const [event] = it.eventsOf('app.unbalanced');
    assert.deepEqual([event?.worker, event?.connections, event?.total, event?.workers], ['web.3', 31, 40, 4]);
    assert.match(event?.message ?? '', /^web\.3 has 31 of 40 connections .*shared socket/);
    counted(it, [3, 4, 41, 2], 3);
    assert.match(web(it).notes.join(), /^web\.3 has 41 of 50 connections/);
    assert.deepEqual(told(it), ['app.unbalanced']);
    counted(it, [10, 10, 10, 10]);
    assert.deepEqual(web(it).notes, []);
    it.after((readingsInARow - 1) * readingMs);
    assert.deepEqual(told(it), ['app.unbalanced', 'app.balanced']);
  });

  test('with a listener for each there is nothing to do but wait', () => {
    const it = up({ workers: 4 });
    for (const id of ['web.1', 'web.2', 'web.3', 'web.4']) it.queues.set(id, 0);
    counted(it, [3, 4, 31, 2], readingsInARow);
    assert.match(web(it).notes.join(), /stays with the worker/);
  });

  test('a worker that is not ready, or leaves, is no reason', () => {
    const it = up({ workers: 2, readyTimeoutMs: 600_000 });
    it.handle({ type: 'scale', app: 'web', change: { to: 3 } });
    counted(it, [20, 20, 0], 2 * readingsInARow);
    assert.equal(web(it).workers[2]?.state, 'starting');
    assert.deepEqual(told(it), []);
  });
});

test('what is counted too late, after the end, is left out', () => {
  const it = counted(up({ workers: 4 }), [3, 4, 31, 2], readingsInARow - 1);
  it.slowCounts = [];
  it.after(readingMs);
  const before = web(it).countedAt;
  it.handle({ type: 'stop', how: 'graceful' });
  it.asked();
  it.expectEnded(0);
  assert.equal(it.slowCounts.length, 1);
  it.slowCounts.forEach((answer) => answer());
  assert.equal(web(it).countedAt, before);
});

test('an app that listens no more has no figures', () => {
  const it = counted(up({ workers: 1 }), [7]);
  assert.equal(web(it).connections, 7);
  it.handle({ type: 'reload', spec: { ...it.spec, apps: [app('web', { workers: 1 })] }, apps: null });
  it.allReady().after(60_000).asked().allReady().after(60_000);
  assert.equal(web(it).revision, 2);
  assert.deepEqual(web(it).listen, []);
  assert.deepEqual([web(it).connections, web(it).queue, web(it).countedAt], [null, null, null]);
});

test('a spare has no connections, which is no sign that they pile up on the others', () => {
  const it = counted(up({ workers: 2, spares: 3 }), [20, 20, 0, 0, 0], readingsInARow + 1);
  assert.deepEqual(told(it), []);
});
