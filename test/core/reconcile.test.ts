import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { workerStates, type WorkerState } from '../../src/core/protocol.ts';
import { reconcile, type Goal, type LiveWorker } from '../../src/core/reconcile.ts';

/** `4 ready r1 leaving`: slot, state, revision; the id is `w` and the slot. A ready worker is available unless it is `held`, and serves unless it is a `spare`. */
function worker(text: string): LiveWorker {
  const [slot = '', state = '', revision = 'r1', more = ''] = text.split(' ');
  return {
    id: `w${slot}`,
    slot: Number(slot),
    state: state as WorkerState,
    revision: Number(revision.slice(1)),
    leaving: more === 'leaving' ? 'retiring' : more === 'restarting' ? 'restarting' : 'no',
    available: state === 'ready' && (more === '' || more === 'spare'),
    admitted: state === 'ready' && more !== 'spare',
  };
}

function goal(replicas: number, parts: Partial<Goal> = {}): Goal {
  return { replicas, spares: 0, revision: 1, maxSurge: 1, maxUnavailable: 0, inFlight: Infinity, ...parts };
}

/** A rollout to revision 2, one at a time. */
function rolling(replicas: number, parts: Partial<Goal> = {}): Goal {
  return goal(replicas, { revision: 2, inFlight: 1, ...parts });
}

/** `+3` adds slot 3, `-w1` stops w1 as surplus, `~w1` replaces it. */
function changes(wanted: Goal, live: readonly string[], vacated: readonly number[] = []): string {
  const list = reconcile(wanted, live.map(worker), vacated);
  return list
    .map((change) =>
      change.type === 'add' ? `+${change.slot}` : `${change.why === 'replaced' ? '~' : '-'}${change.id}`,
    )
    .join(' ');
}

describe('the number of workers', () => {
  const cases: readonly [string, Goal, readonly string[], string][] = [
    ['from nothing: slots from 0', goal(3), [], '+0 +1 +2'],
    ['as many as wanted: nothing to do', goal(2), ['0 ready', '1 starting'], ''],
    ['one that waits to start again counts', goal(2), ['0 ready', '1 backoff'], ''],
    ['the lowest free slots are taken', goal(4), ['1 ready', '3 ready'], '+0 +2'],
    ['a slot is taken until its worker is gone', goal(2), ['0 ready r1 leaving', '1 ready'], '+2'],
    [
      'leaving workers count: never more than replicas + surge',
      goal(2),
      ['0 ready r1 leaving', '1 ready r1 leaving', '2 ready'],
      '',
    ],
    ['surplus: the highest slot', goal(2), ['0 ready', '1 ready', '2 ready'], '-w2'],
    [
      'surplus: failed, backoff, starting, then the highest slots',
      goal(1),
      ['0 failed', '1 backoff', '2 starting', '3 ready', '4 ready', '5 ready'],
      '-w0 -w1 -w2 -w5 -w4',
    ],
    [
      'surplus: one that is ended because it did not get ready is no better than one that starts',
      goal(1),
      ['0 ready', '1 stopping'],
      '-w1',
    ],
    ['zero: all', goal(0), ['0 ready', '1 backoff', '2 starting r2'], '-w1 -w0 ~w2'],
    ['what is leaving already is not stopped again', goal(0), ['0 ready r1 leaving'], ''],
  ];
  for (const [what, wanted, live, expected] of cases) test(what, () => assert.equal(changes(wanted, live), expected));
});

describe('spares', () => {
  const two = goal(2, { spares: 1 });
  const cases: readonly [string, Goal, readonly string[], string][] = [
    ['from nothing: all of them', two, [], '+0 +1 +2'],
    ['slots run up to replicas + spares + surge', two, ['0 ready r1 leaving', '1 ready', '2 ready', '3 backoff'], ''],
    [
      'a surplus: spares go, where no more serve than should',
      goal(2),
      ['0 ready', '1 ready', '2 ready r1 spare'],
      '-w2',
    ],
    [
      'a scale-down: of those that serve, not a spare of a higher slot',
      two,
      ['0 ready', '1 ready', '2 ready', '3 ready r1 spare'],
      '-w2',
    ],
    [
      'a scale-down: first who serves nobody, and as many that serve as are too many',
      two,
      ['0 backoff', '1 ready', '2 ready', '3 ready', '4 ready r1 spare'],
      '-w0 -w3',
    ],
  ];
  for (const [what, wanted, live, expected] of cases) test(what, () => assert.equal(changes(wanted, live), expected));

  test('a rollout replaces the old spare first, and never has fewer ready than wanted', () => {
    const roll = rolling(2, { spares: 1 });
    assert.equal(changes(roll, ['0 ready', '1 ready', '2 ready r1 spare']), '+3');
    assert.equal(changes(roll, ['0 ready', '1 ready', '2 ready r1 spare', '3 ready r2 held']), '');
    assert.equal(changes(roll, ['0 ready', '1 ready', '2 ready r1 spare', '3 ready r2']), '~w2');
    assert.equal(changes(roll, ['0 ready', '1 ready', '3 ready r2']), '+2');
  });
  test('one that is ill goes at once where a spare is ready, and another is started beside it', () => {
    const ill = (live: readonly string[]) =>
      reconcile(
        two,
        live.map(worker).map((one) => ({ ...one, doomed: one.slot === 0 })),
      ).map(({ type }) => type);
    assert.deepEqual(ill(['0 ready', '1 ready', '2 ready']), ['stop', 'add']);
    assert.deepEqual(ill(['0 ready', '1 ready', '2 starting']), ['add']);
  });
});

describe('a restart', () => {
  test('its successor is not made before it is gone', () => {
    assert.equal(changes(goal(2), ['0 ready r1 restarting', '1 ready']), '');
  });
  test('then it takes the same slot, though a lower one is free', () => {
    assert.equal(changes(goal(2), ['1 ready'], [2]), '+2');
    assert.equal(changes(goal(2), ['1 ready']), '+0');
  });
  test('but not a slot out of bounds, nor one that is taken', () => {
    assert.equal(changes(goal(2), ['1 ready'], [3]), '+0');
    assert.equal(changes(goal(3), ['1 ready', '2 ready'], [2]), '+0');
  });
  test('and no more of them than are missing', () => {
    assert.equal(changes(goal(2), ['0 ready'], [2, 1]), '+2');
  });
});

describe('a rollout, step by step', () => {
  const steps: readonly [string, readonly string[], string][] = [
    ['the first new one comes beside all old ones', ['0 ready', '1 ready'], '+2'],
    ['it starts: everybody waits', ['0 ready', '1 ready', '2 starting r2'], ''],
    ['it is a canary, held: everybody waits', ['0 ready', '1 ready', '2 ready r2 held'], ''],
    ['it is available: the lowest old one goes', ['0 ready', '1 ready', '2 ready r2'], '~w0'],
    ['the place is taken until the old one is gone', ['0 ready r1 leaving', '1 ready', '2 ready r2'], ''],
    ['the old one is gone: the next new one takes its slot', ['1 ready', '2 ready r2'], '+0'],
    ['it starts', ['1 ready', '2 ready r2', '0 starting r2'], ''],
    ['it is available: the last old one goes', ['1 ready', '2 ready r2', '0 ready r2'], '~w1'],
    ['done', ['2 ready r2', '0 ready r2'], ''],
  ];
  for (const [what, live, expected] of steps) test(what, () => assert.equal(changes(rolling(2), live), expected));

  test('one new one at a time, though more are missing and there is room', () => {
    assert.equal(changes(rolling(4), ['0 ready', '1 ready', '2 ready r2']), '+3');
    assert.equal(changes(rolling(4), ['0 ready', '1 ready', '2 ready r2', '3 starting r2']), '');
  });
  test('as many canaries at once as max_surge', () => {
    const four = ['0 ready', '1 ready', '2 ready', '3 ready'];
    assert.equal(changes(rolling(4, { maxSurge: 2, inFlight: 2 }), four), '+4 +5');
    assert.equal(changes(rolling(4, { maxSurge: 9, inFlight: 9 }), four), '+4 +5 +6 +7', 'never more than replicas');
  });
  test('max_unavailable: as many old ones go at once', () => {
    assert.equal(
      changes(rolling(4, { maxUnavailable: 2, inFlight: 2 }), ['0 ready', '1 ready', '2 ready', '3 ready']),
      '~w0 ~w1 +4',
    );
  });
  test('in place: the old one goes first', () => {
    const inPlace = { maxSurge: 0, maxUnavailable: 1 };
    assert.equal(changes(rolling(2, inPlace), ['0 ready', '1 ready']), '~w0');
    assert.equal(changes(rolling(2, inPlace), ['0 ready r1 leaving', '1 ready']), '');
    assert.equal(changes(rolling(2, inPlace), ['1 ready'], [0]), '+0');
    assert.equal(changes(rolling(2, inPlace), ['0 ready r2 held', '1 ready']), '');
    assert.equal(changes(rolling(1, inPlace), ['0 ready']), '~w0');
  });
});

describe('old workers that do not serve', () => {
  test('without a process: they go first, and never count towards the floor', () => {
    assert.equal(changes(rolling(3), ['0 ready', '1 backoff', '2 failed']), '~w2 ~w1 +3');
  });
  test('on their way to ready: kept while the floor lacks them', () => {
    assert.equal(changes(rolling(2), ['0 ready', '1 starting', '2 starting r2']), '');
    assert.equal(changes(rolling(2), ['0 ready', '1 starting', '2 ready r2']), '~w1');
    assert.equal(changes(rolling(2), ['0 starting', '1 starting', '2 ready r2']), '~w0');
  });
  test('after a rollback the bad ones go, those that serve only when the good ones do', () => {
    const back = goal(2);
    assert.equal(changes(back, ['0 ready', '1 ready', '2 backoff r2']), '~w2');
    assert.equal(changes(back, ['0 ready r2', '1 ready', '2 backoff r2']), '~w2');
    assert.equal(changes(back, ['0 ready r2', '1 ready']), '+2');
    assert.equal(changes(back, ['0 ready r2', '1 ready', '2 ready']), '~w0');
  });
  test('of two older revisions the newer goes first: it has not proved itself', () => {
    assert.equal(changes(rolling(2, { revision: 3 }), ['0 ready', '1 ready', '2 ready r2']), '~w2');
    assert.equal(changes(rolling(3, { revision: 3 }), ['0 ready', '1 starting', '2 ready', '3 starting r2']), '~w3');
  });
});

test('scaling down during a rollout does not cost the floor twice', () => {
  // Two go as surplus; the old one has to stay until the held canary may count.
  assert.equal(changes(rolling(2), ['0 ready r2', '1 ready r2 held', '2 ready r2', '3 ready']), '-w2');
});

const anyWorker = fc.record({
  state: fc.constantFrom(...workerStates.filter((state) => state !== 'stopped')),
  revision: fc.integer({ min: 1, max: 3 }),
  leaving: fc.constantFrom<LiveWorker['leaving']>('no', 'no', 'no', 'retiring', 'restarting'),
  held: fc.boolean(),
  admitted: fc.boolean(),
});
const anyLive = fc
  .tuple(fc.array(anyWorker, { maxLength: 12 }), fc.shuffledSubarray([...Array(14).keys()], { minLength: 12 }))
  .map(([workers, slots]) =>
    workers.map(({ held, ...one }, index): LiveWorker => ({
      ...one,
      id: `w${index}`,
      slot: slots[index]!,
      available: one.state === 'ready' && !held && one.leaving === 'no',
      admitted: one.state === 'ready' && one.admitted,
    })),
  );
const anyGoal = fc.record({
  replicas: fc.integer({ min: 0, max: 8 }),
  spares: fc.integer({ min: 0, max: 3 }),
  revision: fc.integer({ min: 1, max: 3 }),
  maxSurge: fc.integer({ min: 0, max: 4 }),
  maxUnavailable: fc.integer({ min: 0, max: 4 }),
  inFlight: fc.constantFrom(1, 2, Infinity),
});
const anyVacated = fc.array(fc.integer({ min: 0, max: 13 }), { maxLength: 3 });

test('one step from any world keeps within the bounds', () => {
  fc.assert(
    fc.property(anyGoal, anyLive, anyVacated, (wanted, live, vacated) => {
      const list = reconcile(wanted, live, vacated);
      const all = wanted.replicas + wanted.spares;
      const added = list.flatMap((change) => (change.type === 'add' ? [change.slot] : []));
      const stops = list.flatMap((change) => (change.type === 'stop' ? [change] : []));
      const byId = new Map(live.map((one) => [one.id, one]));

      if (added.length > 0) assert.ok(live.length + added.length <= all + wanted.maxSurge, 'more than all + surge');
      assert.equal(
        new Set([...added, ...live.map((one) => one.slot)]).size,
        added.length + live.length,
        'a slot twice',
      );
      assert.ok(
        added.every((slot) => slot < all + wanted.maxSurge),
        'a slot out of bounds',
      );
      const current = live.filter((one) => one.leaving === 'no' && one.revision === wanted.revision);
      assert.ok(added.length === 0 || current.length + added.length <= all, 'more new ones than wanted');

      assert.equal(new Set(stops.map((stop) => stop.id)).size, stops.length, 'stopped twice');
      assert.ok(
        stops.every((stop) => byId.get(stop.id)?.leaving === 'no'),
        'one that leaves already is stopped',
      );
      assert.ok(
        stops.every((stop) => (byId.get(stop.id)?.revision === wanted.revision) === (stop.why === 'scale-down')),
      );

      const stopped = new Set(stops.map((stop) => stop.id));
      const scaledDown = new Set(stops.filter((stop) => stop.why === 'scale-down').map((stop) => stop.id));
      const available = live.filter((one) => one.available);
      const after = available.filter((one) => !stopped.has(one.id)).length;
      const before = available.filter((one) => !scaledDown.has(one.id)).length;
      assert.ok(after >= Math.min(before, all - wanted.maxUnavailable), `below the floor: ${after} of ${before}`);
    }),
    { numRuns: 2_000 },
  );
});

test('a world in which nothing is on its way either is the goal, or is changed', () => {
  fc.assert(
    fc.property(anyGoal, anyLive, (wanted, live) => {
      fc.pre(wanted.maxSurge + wanted.maxUnavailable > 0);
      const still = live.map((one, index) => {
        return { ...one, state: 'ready', leaving: 'no', available: true, admitted: index < wanted.replicas } as const;
      });
      const reached =
        still.length === wanted.replicas + wanted.spares && still.every((one) => one.revision === wanted.revision);
      assert.equal(reconcile(wanted, still).length === 0, reached);
    }),
    { numRuns: 2_000 },
  );
});
