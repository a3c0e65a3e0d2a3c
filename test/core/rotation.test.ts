import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { WorkerState } from '../../src/core/protocol.ts';
import type { LiveWorker } from '../../src/core/reconcile.ts';
import { toAdmit } from '../../src/core/rotation.ts';

/** `4 ready r1 in`: slot, state, revision, and what else is known of it; the id is `w` and the slot. */
function worker(text: string): LiveWorker {
  const [slot = '', state = '', revision = 'r1', ...more] = text.split(' ');
  return {
    id: `w${slot}`,
    slot: Number(slot),
    state: state as WorkerState,
    revision: Number(revision.slice(1)),
    leaving: more.includes('leaving') ? 'retiring' : 'no',
    available: state === 'ready',
    admitted: more.includes('in'),
    doomed: more.includes('doomed'),
    sharesListener: more.includes('shares'),
  };
}

function admitted(replicas: number, live: readonly string[], { revision = 1, spares = 1 } = {}): string {
  return toAdmit({ replicas, spares, revision }, live.map(worker)).join(' ');
}

describe('who comes into the rotation', () => {
  const cases: readonly [what: string, replicas: number, live: readonly string[], expected: string][] = [
    ['as many as should serve, from the lowest slot', 2, ['2 ready', '0 ready', '1 ready'], 'w0 w1'],
    ['only those that are ready', 2, ['0 starting', '1 backoff', '2 ready'], 'w2'],
    ['nobody while enough are in', 2, ['0 ready r1 in', '1 ready r1 in', '2 ready'], ''],
    ['one for one that is gone', 2, ['1 ready r1 in', '2 ready'], 'w2'],
    ['one for one that crashed', 2, ['0 backoff', '1 ready r1 in', '2 ready'], 'w2'],
    ['one for one that leaves', 2, ['0 stopping r1 leaving', '1 ready r1 in', '2 ready'], 'w2'],
    ['one for one that is to be replaced, which is still in', 1, ['0 ready r1 in doomed', '1 ready'], 'w1'],
    ['not one that leaves', 1, ['0 ready r1 leaving'], ''],
    ['of one that is to be replaced, only where nobody else can', 1, ['0 ready r1 doomed'], 'w0'],
    ['one that accepts from a socket of all, always', 1, ['0 ready r1 in', '1 ready r1 shares'], 'w1'],
    ['none where none should serve', 0, ['0 ready'], ''],
  ];
  for (const [what, replicas, live, expected] of cases) {
    test(what, () => assert.equal(admitted(replicas, live), expected));
  }

  test('without spares everybody who is ready', () => {
    const live = ['0 ready r1 in', '1 ready', '2 ready r2', '3 starting'];
    assert.equal(admitted(1, live, { spares: 0 }), 'w1 w2');
  });
});

describe('in a rollout', () => {
  const rolling = { revision: 2 };
  test('a canary gets traffic beside all old ones', () => {
    assert.equal(admitted(2, ['0 ready r1 in', '1 ready r1 in', '2 ready r1', '3 ready r2'], rolling), 'w3');
  });
  test('new ones come first, and then an old one has no place', () => {
    assert.equal(admitted(2, ['0 ready r1', '1 ready r1 in', '3 ready r2'], rolling), 'w3');
    assert.equal(admitted(2, ['0 ready r1', '3 ready r2'], rolling), 'w3 w0');
  });
  test('an old one helps out while too few of all are in', () => {
    assert.equal(admitted(2, ['0 backoff', '1 ready r1 in', '2 ready r1', '3 starting r2'], rolling), 'w2');
  });
  test('the last new ones stand by', () => {
    assert.equal(admitted(2, ['0 ready r2 in', '1 ready r2 in', '2 ready r2', '3 ready r1'], rolling), '');
  });
});

test('in any world: as many serve as can and should, and nobody comes in twice', () => {
  const anyWorker = fc.record({
    state: fc.constantFrom<WorkerState>('ready', 'ready', 'ready', 'starting', 'backoff'),
    revision: fc.integer({ min: 1, max: 2 }),
    leaving: fc.constantFrom<LiveWorker['leaving']>('no', 'no', 'no', 'retiring'),
    admitted: fc.boolean(),
    doomed: fc.boolean(),
  });
  const anyGoal = fc.record({
    replicas: fc.integer({ min: 0, max: 6 }),
    spares: fc.integer({ min: 1, max: 3 }),
    revision: fc.constant(2),
  });
  fc.assert(
    fc.property(anyGoal, fc.array(anyWorker, { maxLength: 10 }), (goal, workers) => {
      const live = workers.map((one, slot): LiveWorker => {
        const isReady = one.state === 'ready';
        return { ...one, admitted: one.admitted && isReady, available: isReady, id: `w${slot}`, slot };
      });
      const chosen = toAdmit(goal, live);
      const ready = live.filter(({ state, leaving }) => state === 'ready' && leaving === 'no');
      const inside = ready.filter((one) => one.admitted || chosen.includes(one.id));
      assert.equal(new Set(chosen).size, chosen.length);
      assert.ok(chosen.every((id) => ready.some((one) => one.id === id && !one.admitted)));
      assert.ok(inside.length >= Math.min(goal.replicas, ready.length));
      const fresh = (list: readonly LiveWorker[]) => list.filter((one) => one.revision === 2 && !one.doomed);
      assert.ok(fresh(inside).length >= Math.min(goal.replicas, fresh(ready).length));
      const before = fresh(ready).filter((one) => one.admitted).length;
      assert.ok(fresh(inside).length <= Math.max(before, goal.replicas));
    }),
    { numRuns: 2_000 },
  );
});
