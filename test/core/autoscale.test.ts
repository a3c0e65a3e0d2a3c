/** One decision at a time. What follows from many of them: autoscale-curves.test.ts. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import {
  autoscale,
  decideEveryMs,
  unscaled,
  type ScaleDecision,
  type ScaledWorker,
  type ScaleFacts,
  type ScaleState,
} from '../../src/core/autoscale.ts';
import type { ScaledStaffing } from '../../src/core/spec.ts';

const megabyte = 2 ** 20;
const minute = 60_000;

const spec: ScaledStaffing = {
  ...{ kind: 'scaled', min: 1, max: 20, targetCpu: 0.7, targetMemory: 0.8 },
  ...{ scaleDownAfterMs: 5 * minute, dryRun: false },
};

const plenty: ScaleFacts['memory'] = {
  ...{ usableBytes: 8000 * megabyte, usedShare: 0.1 },
  ...{ budgetBytes: 6400 * megabyte, budgetUsedBytes: 800 * megabyte, level: 'ok' },
};

const coming: ScaledWorker = { ready: false, cpuPercent: null, memoryBytes: null };

function worker(cpuPercent: number | null, memoryBytes: number | null = 100 * megabyte): ScaledWorker {
  return { ready: true, cpuPercent, memoryBytes };
}

function facts(cpus: readonly (number | null)[], more: Partial<ScaleFacts> = {}): ScaleFacts {
  const workers = [...cpus.map((cpu) => worker(cpu)), ...(more.workers ?? [])];
  return { nowMs: 0, goal: workers.length, busy: false, queue: null, memory: plenty, ...more, workers };
}

/** The first reading begins, the second one decides. `before`: the state that the first one finds. */
function decide(given: ScaleFacts, staffing = spec, before: ScaleState = unscaled): ScaleDecision {
  const begun = autoscale(staffing, before, { ...given, nowMs: given.nowMs });
  const queue = given.queue === null ? null : { ...given.queue, atMs: given.queue.atMs + 10_000 };
  return autoscale(staffing, begun.state, { ...given, queue, nowMs: given.nowMs + decideEveryMs });
}

/** The state of an app that has wanted less for longer than scale_down_after. */
function calm(given: ScaleFacts, staffing = spec): ScaleState {
  const { state } = decide(given, staffing);
  return { ...state, demands: [], decidedAtMs: given.nowMs - 10 * minute };
}

describe('the formula', () => {
  const cases: readonly (readonly [string, readonly number[], number, string])[] = [
    ['twice the target', [140, 140], 4, 'CPU 140% per worker, target 70%: 2 x 2 = 4'],
    ['a bit above, rounded up', [80, 80], 3, 'CPU 80% per worker, target 70%: 2 x 1.14 = 3'],
    ['at the target', [70, 70, 70], 3, 'CPU 70% per worker, target 70%: no change'],
    ['at the upper end of the tolerance', [77, 77, 77], 3, 'CPU 77% per worker, target 70%: no change'],
    ['just above the tolerance', [77.1, 77.1, 77.1], 4, 'CPU 77% per worker, target 70%: 3 x 1.1 = 4'],
    ['at the lower end of the tolerance', [63, 63, 63], 3, 'CPU 63% per worker, target 70%: no change'],
    ['the mean counts, not the hottest', [100, 20, 20, 20], 3, 'CPU 40% per worker, target 70%: 4 x 0.57 = 3'],
    ['what floating point adds is no worker', [98, 98, 98, 98, 98], 7, 'CPU 98% per worker, target 70%: 5 x 1.4 = 7'],
    ['nothing to do', [0, 0], 1, 'CPU 0% per worker, target 70%: 2 x 0 = 0, min 1'],
  ];
  for (const [what, cpus, to, reason] of cases) {
    test(what, () => {
      const given = facts(cpus, { nowMs: 30 * minute });
      const decision = autoscale(spec, calm(given), given);
      assert.deepEqual([decision.to, decision.reason], [to, reason]);
      assert.equal(decision.kind, to === cpus.length ? 'stay' : 'scale');
    });
  }

  test('on the mean of all readings since the last decision', () => {
    let { state } = autoscale(spec, unscaled, facts([0, 0], { nowMs: 0 }));
    for (let nowMs = 2000; nowMs < decideEveryMs; nowMs += 2000) {
      const early = autoscale(spec, state, facts([nowMs < 8000 ? 200 : 80, 100], { nowMs }));
      assert.equal(early.kind, 'wait');
      assert.match(early.reason, /^the next decision is due in \d+s$/);
      state = early.state;
    }
    const { reason } = autoscale(spec, state, facts([100, 100], { nowMs: 16_000 }));
    // 0, 3 of 150, 4 of 90 and 100, of 9 readings
    assert.match(reason, /^CPU 101% per worker/);
  });

  test('with a target above a core', () => {
    assert.equal(decide(facts([300, 500]), { ...spec, targetCpu: 2 }).to, 4);
  });
});

describe('workers that are not ready', () => {
  test('count as idle when more are wanted', () => {
    const { to, reason } = decide(facts([140, 140], { workers: [coming], goal: 3 }));
    assert.deepEqual([to, reason], [4, 'CPU 140% per worker, target 70%: 2 x 2 = 4']);
  });

  test('are enough when with them the load is within the tolerance', () => {
    const { to, kind } = decide(facts([140, 140], { workers: [coming, coming], goal: 4 }));
    assert.deepEqual([to, kind], [4, 'stay']);
  });

  test('are enough within the tolerance, too', () => {
    const { to, reason } = decide(facts([154, 154], { workers: [coming, coming], goal: 4 }));
    assert.deepEqual([to, reason], [4, 'CPU 154% per worker, target 70%: no change']);
  });

  test('never turn up into down', () => {
    const given = facts([80], { workers: Array.from({ length: 7 }, () => coming), goal: 8, nowMs: 30 * minute });
    assert.equal(autoscale(spec, calm(given), given).to, 8);
  });

  test('do not count when fewer are wanted', () => {
    const given = facts([21, 21], { workers: [coming, coming], goal: 4, nowMs: 30 * minute });
    assert.equal(autoscale(spec, calm(given), given).to, 1);
  });
});

describe('missing data', () => {
  const cases: readonly (readonly [string, ScaleFacts, string])[] = [
    ['nobody is ready', facts([], { workers: [coming], goal: 1 }), 'no worker is ready'],
    ['one without CPU', facts([200, null, 200]), '1 of 3 ready workers has no sample yet'],
    ['two without', facts([200, null, null]), '2 of 3 ready workers have no sample yet'],
    [
      'one without memory',
      facts([200], { workers: [worker(200, null)], goal: 2 }),
      '1 of 2 ready workers has no sample yet',
    ],
    ['they are being replaced', facts([200], { busy: true }), 'its workers are being replaced'],
    ['scaled to 0 by hand', facts([], { goal: 0 }), 'scaled to 0 by hand: it stays so until it is scaled again'],
  ];
  for (const [what, given, reason] of cases) {
    test(what, () => {
      const decision = decide(given);
      assert.deepEqual([decision.kind, decision.to, decision.reason], ['wait', given.goal, reason]);
    });
  }

  test('readings from while workers are replaced do not count', () => {
    const first = autoscale(spec, unscaled, facts([200, 200]));
    const busy = autoscale(spec, first.state, facts([200, 200], { nowMs: 8000, busy: true }));
    const after = autoscale(spec, busy.state, facts([70, 70], { nowMs: 16_000 }));
    assert.deepEqual([after.kind, after.to], ['stay', 2]);
  });
});

describe('bounds and limits', () => {
  test('max', () => {
    const { to, reason } = decide(facts([200, 200]), { ...spec, max: 3 });
    assert.deepEqual([to, reason], [3, 'CPU 200% per worker, target 70%: 2 x 2.86 = 6, max 3']);
  });

  test('from 1 at most 4 more at once, from 8 at most as many again', () => {
    assert.equal(decide(facts([1500])).to, 5);
    assert.match(decide(facts([1500])).reason, / = 22, max 20, at most 5 at once$/);
    assert.equal(decide(facts(Array.from({ length: 8 }, () => 300)), { ...spec, max: 100 }).to, 16);
  });

  test('a number that was set by hand is brought within the bounds', () => {
    assert.equal(decide(facts([70, 70, 70]), { ...spec, max: 2 }).to, 2);
    assert.equal(decide(facts([70]), { ...spec, min: 3 }).to, 3);
  });

  test('down only to what was needed within scale_down_after', () => {
    const given = facts([7, 7, 7, 7, 7, 7], { nowMs: 30 * minute });
    const before = { ...calm(given), demands: [{ workers: 4, atMs: 26 * minute }] };
    const { to, reason } = autoscale(spec, before, given);
    assert.deepEqual([to, reason], [4, 'CPU 7% per worker, target 70%: 6 x 0.1 = 1, but 4 were needed within 5m']);
    const old = { ...calm(given), demands: [{ workers: 4, atMs: 25 * minute }] };
    assert.equal(autoscale(spec, old, given).to, 1);
  });

  test('what was needed is kept short: a later and higher demand covers the earlier ones', () => {
    let { state } = decide(facts([70, 70, 70]));
    for (let index = 2; index < 50; index++) {
      ({ state } = autoscale(spec, state, facts([60 + (index % 7), 60, 60], { nowMs: index * decideEveryMs })));
    }
    assert.ok(state.demands.length <= 3, `${state.demands.length} demands`);
  });
});

describe('the queue', () => {
  const queued = (waiting: number, cpus: readonly number[] = [20, 20, 20, 20], more: Partial<ScaleFacts> = {}) =>
    facts(cpus, { queue: { waiting, atMs: 0 }, ...more });

  const cases: readonly (readonly [number, number, string])[] = [
    [8, 4, 'CPU 20% per worker, target 70%: 4 x 0.29 = 2, but 4 were needed within 5m'],
    [10, 5, 'queue 2.5 per worker, target 2: 4 x 1.25 = 5'],
    [16, 8, 'queue 4 per worker, target 2: 4 x 2 = 8'],
    [4000, 8, 'queue 1000 per worker, target 2, at most twice as many: 4 x 2 = 8'],
  ];
  for (const [waiting, to, reason] of cases) {
    test(`${waiting} that wait for four workers: ${to}`, () => {
      const decision = decide(queued(waiting));
      assert.deepEqual([decision.to, waiting === 8 ? to : decision.reason], [to, waiting === 8 ? to : reason]);
    });
  }

  test('CPU decides where it asks for more', () => {
    assert.match(decide(queued(10, [140, 140, 140, 140])).reason, /^CPU 140%/);
  });

  test('one count is none, nor is the same count twice', () => {
    const given = queued(100);
    const { state } = autoscale(spec, unscaled, given);
    const decision = autoscale(spec, state, { ...given, nowMs: decideEveryMs });
    assert.deepEqual([decision.kind, decision.to], ['stay', 4]);
  });

  test('of two counts the lower one is taken', () => {
    const { state } = autoscale(spec, unscaled, queued(2));
    const later = { ...queued(900), queue: { waiting: 900, atMs: 10_000 }, nowMs: decideEveryMs };
    assert.equal(autoscale(spec, state, later).to, 4);
  });

  test('one that gets shorter keeps what is there', () => {
    const { state } = autoscale(spec, unscaled, queued(900));
    const after = (waiting: number) =>
      autoscale(spec, state, { ...queued(0), queue: { waiting, atMs: 10_000 }, nowMs: decideEveryMs });
    assert.deepEqual([after(810).to, after(811).to], [4, 8]);
    assert.equal(after(810).reason, 'queue 202.5 per worker, target 2, but it gets shorter');
  });

  test('counts from before the last change tell nothing', () => {
    const scaled = decide(queued(100));
    assert.equal(scaled.kind, 'scale');
    const stale = { ...queued(100), queue: { waiting: 100, atMs: 10_000 }, nowMs: 2 * decideEveryMs };
    const { state } = autoscale(spec, scaled.state, stale);
    assert.deepEqual(state.counts, []);
  });
});

describe('the ceiling by memory', () => {
  const hot = [140, 140];

  test('of the usable memory: others on the host count as well', () => {
    const memory = { ...plenty, usableBytes: 1000 * megabyte, usedShare: 0.65 };
    const { to, reason } = decide(facts(hot, { memory }));
    assert.equal(to, 3);
    assert.equal(
      reason,
      'CPU 140% per worker, target 70%: 2 x 2 = 4, but memory has room for 1 more: (80% of 1000MB - 650MB in use) / 100MB each',
    );
  });

  test('of the budget: it is not brought near', () => {
    const memory = { ...plenty, budgetBytes: 400 * megabyte, budgetUsedBytes: 200 * megabyte };
    const { to, reason } = decide(facts(hot, { memory }));
    assert.equal(to, 3);
    assert.match(reason, /room for 1 more: \(90% of the 400MB budget - 200MB of the workers\) \/ 100MB each$/);
  });

  test('the mean worker counts, and those that are on their way', () => {
    const memory = { ...plenty, budgetBytes: 1000 * megabyte, budgetUsedBytes: 400 * megabyte };
    const workers = [worker(140, 100 * megabyte), worker(140, 300 * megabyte), coming];
    const { to, reason } = decide(facts([], { memory, workers, goal: 3 }));
    assert.equal(to, 4);
    const tight = { ...memory, budgetUsedBytes: 500 * megabyte };
    assert.deepEqual(
      [decide(facts([], { memory: tight, workers, goal: 3 })).to, reason.includes('memory')],
      [4, false],
    );
    const none = { ...memory, budgetUsedBytes: 501 * megabyte };
    const held = decide(facts([], { memory: none, workers, goal: 3 }));
    assert.deepEqual([held.to, held.kind], [3, 'stay']);
    assert.match(held.reason, / \/ 200MB each - 1 on their way$/);
  });

  for (const [what, memory, reason] of [
    ['near the budget', { level: 'near' }, 'memory is near its limit: nothing is added'],
    ['over the budget', { level: 'over' }, 'memory is over its limit: nothing is added'],
    ['use not known', { usedShare: null }, 'the memory in use is not known yet: nothing is added'],
    ['budget not known', { budgetBytes: null }, 'the memory in use is not known yet: nothing is added'],
    ['use of the budget not known', { budgetUsedBytes: null }, 'the memory in use is not known yet: nothing is added'],
  ] as const) {
    test(what, () => {
      const decision = decide(facts(hot, { memory: { ...plenty, ...memory } }));
      assert.deepEqual([decision.kind, decision.to], ['stay', 2]);
      assert.ok(decision.reason.endsWith(reason), decision.reason);
    });
  }

  test('is no reason to take a worker away', () => {
    const memory = { ...plenty, usedShare: 0.99, level: 'over' as const };
    assert.deepEqual(decide(facts([70, 70], { memory })).to, 2);
  });
});

describe('dry_run', () => {
  const dry = { ...spec, dryRun: true };

  test('says once what it would do, and again when that is something else', () => {
    let { state } = autoscale(dry, unscaled, facts([140, 140]));
    const said = [140, 140, 200, 200, 70, 70, 200].map((cpu, index) => {
      const decision = autoscale(dry, state, facts([cpu, cpu], { nowMs: (index + 1) * 6 * minute }));
      ({ state } = decision);
      return `${decision.kind} ${decision.to}`;
    });
    assert.deepEqual(said, ['would 4', 'stay 2', 'would 6', 'stay 2', 'stay 2', 'stay 2', 'would 6']);
  });
});
