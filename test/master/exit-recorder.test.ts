/** What the recorder makes of the events of replacements: workers that hang, are not healthy or are over a limit. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { Cause, Event, EventBody, Snapshot } from '../../src/core/protocol.ts';
import type { ExitRecord } from '../../src/core/record.ts';
import { ExitRecorder } from '../../src/master/records.ts';

class Tale {
  readonly records: ExitRecord[] = [];
  readonly recorder = new ExitRecorder({
    append: (make) => void this.records.push(make()),
    recent: () => [],
    apps: () => [],
  });
  #seq = 0;

  take(...bodies: EventBody[]): this {
    for (const body of bodies) {
      const event: Event = { seq: ++this.#seq, at: new Date(this.#seq * 1_000).toISOString(), ...body };
      this.recorder.take(event);
    }
    return this;
  }

  /** Who took whose place: `web.1 memory-limit web.3`. */
  get places(): string[] {
    return this.records.map(
      ({ worker, cause, next }) => `${worker} ${cause} ${next.type === 'stopped' ? next.by : next.type}`,
    );
  }

  start(worker: string) {
    const workers = [{ id: worker }] as unknown as Snapshot['apps'][number]['workers'];
    const snapshot = { apps: [{ name: 'web', workers }] } as unknown as Snapshot;
    const { start } = this.recorder.why({ app: 'web', worker }, 1, snapshot).workers[0] ?? {};
    return { why: start?.why, of: start?.of, after: start?.after };
  }
}

const ref = (n: number, slot = n - 1) => ({ app: 'web', worker: `web.${n}`, slot });
const starting = (n: number, slot = n - 1, attempt = 1): EventBody => ({
  type: 'worker.starting',
  ...ref(n, slot),
  pid: 100 * n + attempt,
  revision: 1,
  attempt,
});
const ready = (n: number): EventBody => ({ type: 'worker.ready', ...ref(n), pid: 100 * n + 1, bootMs: 7 });
const exited = (n: number, cause: Cause): EventBody => ({
  type: 'worker.exited',
  ...ref(n),
  pid: 100 * n + 1,
  code: 0,
  signal: null,
  cause,
  uptimeMs: 5,
  error: null,
  lastLines: [],
});
const stopped = (n: number): EventBody => ({ type: 'worker.stopped', ...ref(n) });
const running: EventBody = { type: 'app.running', app: 'web', ready: 2, goal: 2 };
const over = (n: number, reason: string): EventBody => ({
  type: 'worker.over_memory',
  ...ref(n),
  reason,
  action: 'replace',
});

const up = () => new Tale().take(starting(1), starting(2), ready(1), ready(2), running);

describe('a replacement', () => {
  test('that was started first is the successor, with the reason of both', () => {
    const tale = up().take(over(1, '600MB of 512MB'), starting(3, 2));
    assert.deepEqual(tale.start('web.3'), { why: 'replacement', of: 'web.1', after: '600MB of 512MB' });
    tale.take(ready(3), { type: 'worker.stopping', ...ref(1), pid: 101, cause: 'memory-limit' });
    tale.take(exited(1, 'memory-limit'), stopped(1));
    assert.deepEqual(tale.places, ['web.1 memory-limit web.3']);
    assert.deepEqual(
      tale.records.map(({ reason, readyMs }) => [reason, readyMs]),
      [['600MB of 512MB', 7]],
    );
  });

  test('of two at once: each has its own', () => {
    const tale = up().take(over(1, 'a'), over(2, 'b'), starting(3, 2), starting(4, 3), ready(3), ready(4));
    tale.take(exited(2, 'memory-limit'), stopped(2), exited(1, 'memory-limit'), stopped(1));
    assert.deepEqual(tale.places, ['web.2 memory-limit web.4', 'web.1 memory-limit web.3']);
  });

  test('that comes after it is the very next worker that starts, if any does', () => {
    const stall: EventBody = { type: 'worker.stalled', ...ref(1), reason: 'it spins', action: 'replace' };
    const tale = up().take(stall);
    tale.take(exited(1, 'stall'), stopped(1), starting(3, 0));
    assert.deepEqual(tale.start('web.3'), { why: 'replacement', of: 'web.1', after: 'it spins' });
    const alone = up().take(stall, exited(1, 'stall'), stopped(1), running, starting(3, 0));
    assert.deepEqual(alone.places, ['web.1 stall null']);
    assert.equal(alone.start('web.3').why, 'missing');
  });

  test('that inherits crashes, and so waits for its first start, whatever else happens meanwhile', () => {
    const stall: EventBody = { type: 'worker.stalled', ...ref(1), reason: 'it spins', action: 'replace' };
    const backoff: EventBody = { type: 'worker.backoff', ...ref(3, 0), delayMs: 500, crashes: 2, inherited: true };
    const tale = up().take(stall, exited(1, 'stall'), stopped(1), backoff);
    assert.deepEqual(tale.places, ['web.1 stall web.3']);
    tale.take({ type: 'app.scaled', app: 'web', from: 2, to: 3, reason: null }, starting(4, 2), starting(3, 0));
    assert.deepEqual(tale.start('web.3'), { why: 'replacement', of: 'web.1', after: 'it spins' });
    const retired = up().take(stall, exited(1, 'stall'), stopped(1), backoff, stopped(3), starting(3, 0));
    assert.equal(retired.start('web.3').why, 'missing', 'it has never begun');
  });

  test('in place, as the next process of the same worker', () => {
    const tale = up().take(
      { type: 'worker.unhealthy', ...ref(1), reason: 'GET /healthz: 503', action: 'replace' },
      exited(1, 'health'),
      starting(1, 0, 2),
    );
    assert.deepEqual(tale.places, ['web.1 health restarted']);
    assert.deepEqual(tale.start('web.1'), {
      why: 'respawn',
      of: null,
      after: 'its process before was ended for not being healthy (GET /healthz: 503)',
    });
    tale.take(exited(1, 'crash'), starting(1, 0, 3));
    assert.deepEqual(
      tale.records.map(({ reason, restarts }) => [reason, restarts]),
      [
        ['GET /healthz: 503', 0],
        [null, 1],
      ],
    );
  });

  test('that is not needed any more: it is well again, and nothing is left of its trouble', () => {
    const tale = up().take(
      { type: 'worker.stalled', ...ref(1), reason: 'it waits', action: 'warn' },
      { type: 'worker.recovered', ...ref(1), from: 'stall' },
      exited(1, 'crash'),
      starting(1, 0, 2),
      starting(3, 2),
    );
    assert.deepEqual(
      tale.records.map(({ reason }) => reason),
      [null],
    );
    assert.equal(tale.start('web.3').why, 'missing');
  });
});
