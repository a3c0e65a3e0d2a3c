import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { WorkerState } from '../../src/core/protocol.ts';
import { isAvailable, judge, type Rollout, type RolloutWorker } from '../../src/core/rollout.ts';

const rollout: Rollout = { from: 1, to: 2, canaryMs: 5_000, canaries: 1 };
const nowMs = 100_000;

/** `readyForMs`: how long it has been ready; null: it is not. */
function worker(
  number: number,
  revision: number,
  readyForMs: number | null,
  parts: Partial<RolloutWorker> = {},
): RolloutWorker {
  const state: WorkerState = readyForMs === null ? 'starting' : 'ready';
  return {
    id: `web.${number}`,
    number,
    revision,
    state,
    leaving: false,
    readyMs: readyForMs === null ? null : nowMs - readyForMs,
    failedOnce: false,
    ...parts,
  };
}

describe('judge', () => {
  test('a new worker that failed once is enough', () => {
    const workers = [
      worker(1, 1, 60_000),
      worker(3, 2, 9_000),
      worker(4, 2, null, { state: 'backoff', failedOnce: true }),
    ];
    assert.deepEqual(judge(rollout, workers, 2, nowMs), { type: 'failed', worker: 'web.4' });
  });
  test('an old worker may fail as it likes, and so may a new one that leaves', () => {
    const workers = [
      worker(1, 1, null, { failedOnce: true }),
      worker(3, 2, 1_000),
      worker(4, 2, null, { failedOnce: true, leaving: true }),
    ];
    assert.equal(judge(rollout, workers, 2, nowMs).type, 'rolling');
  });
  test('success: all new, all ready, and canary past the last', () => {
    assert.deepEqual(judge(rollout, [worker(3, 2, 9_000), worker(4, 2, 5_000)], 2, nowMs), { type: 'succeeded' });
    assert.deepEqual(judge(rollout, [worker(3, 2, 9_000), worker(4, 2, 4_000)], 2, nowMs), {
      type: 'rolling',
      againMs: nowMs + 1_000,
    });
    assert.equal(judge(rollout, [worker(3, 2, 9_000), worker(4, 2, null)], 2, nowMs).type, 'rolling');
    assert.equal(judge(rollout, [worker(3, 2, 9_000)], 2, nowMs).type, 'rolling', 'one is missing');
    assert.equal(
      judge(rollout, [worker(1, 1, 90_000), worker(3, 2, 9_000), worker(4, 2, 9_000)], 2, nowMs).type,
      'rolling',
      'an old one is left',
    );
    assert.equal(
      judge(rollout, [worker(1, 1, 90_000, { leaving: true }), worker(3, 2, 9_000)], 1, nowMs).type,
      'succeeded',
      'it is on its way out',
    );
  });
  test('one that has completed its work is a success too', () => {
    assert.equal(judge(rollout, [worker(3, 2, null, { state: 'completed' })], 1, nowMs).type, 'succeeded');
  });
  test('it says when time alone changes its mind: at the first hold that ends', () => {
    assert.deepEqual(judge(rollout, [worker(3, 2, 2_000), worker(4, 2, 1_000), worker(1, 1, 9)], 2, nowMs), {
      type: 'rolling',
      againMs: nowMs + 3_000,
    });
    assert.deepEqual(judge(rollout, [worker(3, 2, null)], 2, nowMs), { type: 'rolling', againMs: null });
  });
});

describe('isAvailable', () => {
  const alone = (one: RolloutWorker, rolling: Rollout | null = rollout) => isAvailable(one, rolling, [one], nowMs);
  test('the first new worker is a canary, and held', () => {
    assert.equal(alone(worker(3, 2, 4_999)), false);
    assert.equal(alone(worker(3, 2, 5_000)), true);
  });
  test('those that follow count as soon as they are ready', () => {
    const canary = worker(3, 2, 1);
    const second = worker(4, 2, 0);
    assert.equal(isAvailable(second, rollout, [canary, second], nowMs), true);
    assert.equal(isAvailable(second, { ...rollout, canaries: 2 }, [canary, second], nowMs), false);
  });
  test('an old worker, and any without a rollout, counts at once', () => {
    assert.equal(alone(worker(1, 1, 0)), true);
    assert.equal(alone(worker(3, 2, 0), null), true);
  });
  test('only ready workers do, and those that have completed', () => {
    for (const state of ['starting', 'stopping', 'killing', 'backoff', 'failed', 'stopped'] as const) {
      assert.equal(alone(worker(1, 1, 60_000, { state })), false, state);
    }
    assert.equal(alone(worker(3, 2, null, { state: 'completed' })), true);
  });
});
