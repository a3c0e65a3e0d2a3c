import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import {
  ailments,
  chooseReplacement,
  countsAsCrash,
  inARow,
  lifetimeMs,
  mostAreUnhealthy,
  type Ailment,
  type Illness,
} from '../../src/core/ailments.ts';
import { reconcile, type Goal, type LiveWorker } from '../../src/core/reconcile.ts';
import { toAdmit } from '../../src/core/rotation.ts';

function ill(worker: string, ailment: Ailment, sinceMs = 0, action: Illness['action'] = 'replace'): Illness {
  return { worker, ailment, reason: 'it is so', sinceMs, notBeforeMs: 0, action };
}

describe('who is replaced', () => {
  const cases: readonly {
    readonly what: string;
    readonly ill: readonly Illness[];
    readonly ready: number;
    readonly current?: string;
    readonly chosen: string | null;
  }[] = [
    { what: 'nobody, when nobody is ill', ill: [], ready: 4, chosen: null },
    { what: 'nobody who is to be left alone', ill: [ill('a', 'stall', 0, 'warn')], ready: 4, chosen: null },
    { what: 'who hangs before who is old', ill: [ill('a', 'lifetime'), ill('b', 'stall', 9)], ready: 4, chosen: 'b' },
    {
      what: 'who is not healthy before who is big',
      ill: [ill('a', 'memory-limit'), ill('b', 'health', 9)],
      ready: 4,
      chosen: 'b',
    },
    {
      what: 'of one kind the one that has had it longest',
      ill: [ill('a', 'lifetime', 5), ill('b', 'lifetime', 3)],
      ready: 4,
      chosen: 'b',
    },
    {
      what: 'whose replacement has begun, also when a worse case comes',
      ill: [ill('a', 'lifetime'), ill('b', 'stall')],
      ready: 4,
      current: 'a',
      chosen: 'a',
    },
    { what: 'another one, when that one is well again', ill: [ill('b', 'stall')], ready: 4, current: 'a', chosen: 'b' },
    {
      what: 'one of two that are not healthy, of four',
      ill: [ill('a', 'health'), ill('b', 'health')],
      ready: 4,
      chosen: 'a',
    },
    {
      what: 'none of three that are not healthy, of four',
      ill: [ill('a', 'health'), ill('b', 'health'), ill('c', 'health')],
      ready: 4,
      chosen: null,
    },
    {
      what: 'none of two that are not healthy, of two',
      ill: [ill('a', 'health'), ill('b', 'health')],
      ready: 2,
      chosen: null,
    },
    { what: 'the only one, when it is not healthy', ill: [ill('a', 'health')], ready: 1, chosen: 'a' },
    {
      what: 'who hangs, while most are not healthy',
      ill: [ill('a', 'health'), ill('b', 'health'), ill('a', 'stall')],
      ready: 2,
      chosen: 'a',
    },
  ];
  for (const { what, ill: list, ready, current = null, chosen } of cases) {
    test(what, () => assert.equal(chooseReplacement(list, { ready, current, nowMs: 100 })?.worker ?? null, chosen));
  }
});

test('one that is not healthy waits for news of the others, unless it is alone', () => {
  const list = [{ ...ill('a', 'health'), notBeforeMs: 100 }];
  const chosen = (ready: number, nowMs: number) =>
    chooseReplacement(list, { ready, current: null, nowMs })?.worker ?? null;
  assert.deepEqual([chosen(2, 99), chosen(2, 100), chosen(1, 99)], [null, 'a', 'a']);
  // Its successor is ready now: it is not alone any more.
  assert.equal(chooseReplacement(list, { ready: 2, current: 'a', nowMs: 99 })?.worker, 'a');
});

test('a worker that is not healthy and hangs is counted once', () => {
  assert.equal(mostAreUnhealthy([ill('a', 'health'), ill('a', 'health'), ill('b', 'stall')], 3), false);
});

test('to hang and not to be healthy count as a crash, to be big or old does not', () =>
  assert.deepEqual(ailments.filter(countsAsCrash), ['stall', 'health']));

test('a lifetime is shortened by its jitter, and never made longer', () => {
  assert.equal(lifetimeMs(1000, 0.1, 0), 1000);
  assert.equal(lifetimeMs(1000, 0.1, 0.5), 950);
  assert.ok(lifetimeMs(1000, 1, 0.999) > 0);
});

test('a count in a row starts anew after one good answer', () => {
  const answers = [true, true, false, true];
  assert.deepEqual(
    answers.map(
      (
        (count) => (bad: boolean) =>
          (count = inARow(count, bad))
      )(0),
    ),
    [1, 2, 0, 1],
  );
});

/** Random fleets of which one is replaced after the other: never above the surge, never below the floor, until all are new. */
test('replacing whoever is ill never leaves the bounds, and comes to an end', () => {
  for (let seed = 1; seed <= 2_000; seed++) {
    const random = seeded(seed);
    const replicas = 1 + Math.floor(random() * 5);
    const maxSurge = Math.floor(random() * 3);
    const spares = Math.floor(random() * 3);
    const wanted = replicas + spares;
    const maxUnavailable = maxSurge === 0 ? 1 : 0;
    const goal: Goal = { replicas, spares, revision: 1, maxSurge, maxUnavailable, inFlight: Infinity };
    let next = 0;
    let live: LiveWorker[] = Array.from({ length: wanted }, (_, slot) => {
      return { ...worker(`w${next++}`, slot, 'ready'), admitted: slot < replicas };
    });
    const sick = new Set(live.filter(() => random() < 0.6).map(({ id }) => id));
    let current: string | null = null;
    for (let step = 0; step < 200; step++) {
      const list = [...sick].map((id) => ill(id, ailments[id.length % 4] ?? 'stall'));
      current =
        chooseReplacement(list, { ready: live.filter(({ state }) => state === 'ready').length, current, nowMs: 100 })
          ?.worker ?? null;
      const looked = live.map((one) => ({ ...one, doomed: one.id === current }));
      const admitted = toAdmit(goal, looked);
      live = live.map((one) => (admitted.includes(one.id) ? { ...one, admitted: true } : one));
      const seen = live.map((one) => ({ ...one, doomed: one.id === current }));
      for (const change of reconcile(goal, seen)) {
        if (change.type === 'add') live.push(worker(`w${next++}`, change.slot, 'starting'));
        else live = live.map((one) => (one.id === change.id ? { ...one, ...leaves } : one));
      }
      const up = live.filter(({ leaving }) => leaving === 'no');
      assert.ok(live.length <= wanted + maxSurge, `seed ${seed}: ${live.length} places for ${wanted}+${maxSurge}`);
      const serving = up.filter((one) => one.admitted);
      const ready = up.filter(({ state }) => state === 'ready');
      assert.ok(serving.length >= Math.min(ready.length, replicas), `seed ${seed}: a spare looks on`);
      const well = serving.filter(({ id }) => id !== current);
      assert.ok(well.length <= replicas, `seed ${seed}: ${well.length} of ${replicas} serve`);
      assert.ok(
        up.filter(({ available }) => available).length >= replicas - goal.maxUnavailable,
        `seed ${seed}: below the floor`,
      );
      assert.equal(new Set(live.map(({ slot }) => slot)).size, live.length, `seed ${seed}: a slot twice`);
      const pick = live[Math.floor(random() * live.length)];
      if (pick?.leaving === 'retiring') {
        live = live.filter((one) => one !== pick);
        sick.delete(pick.id);
      } else if (pick?.state === 'starting') {
        live = live.map((one) => (one === pick ? { ...one, state: 'ready', available: true, admitted: false } : one));
      }
    }
    assert.deepEqual([[...sick], live.length], [[], wanted], `seed ${seed}: not done`);
  }
});

const leaves = { leaving: 'retiring', available: false, admitted: false } as const;

function worker(id: string, slot: number, state: LiveWorker['state']): LiveWorker {
  return { id, slot, revision: 1, state, leaving: 'no', available: state === 'ready', admitted: state === 'ready' };
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
