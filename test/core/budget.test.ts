import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  judgeBudget,
  samplesInARow,
  unusedBudget,
  type BudgetApp,
  type BudgetFacts,
  type BudgetJudgement,
  type BudgetState,
  type BudgetStep,
  type BudgetWorker,
} from '../../src/core/budget.ts';

const megabyte = 2 ** 20;
const minute = 60_000;
const everyMs = 2000;

function worker(id: string, megabytes: number | null, firstMegabytes: number | null = megabytes): BudgetWorker {
  return {
    ...{ id, ready: true, memoryKind: 'pss' },
    memoryBytes: megabytes === null ? null : megabytes * megabyte,
    firstBytes: firstMegabytes === null ? null : firstMegabytes * megabyte,
  };
}

function app(workers: readonly BudgetWorker[], more: Partial<BudgetApp> = {}): BudgetApp {
  return { name: 'web', staffing: 'fixed', goal: workers.length, min: 1, busy: false, workers, ...more };
}

/** A budget of 1000 MB on a host of 10 GB that is half full, unless it is said. */
function facts(apps: readonly BudgetApp[], more: Partial<BudgetFacts> = {}): BudgetFacts {
  return {
    ...{ nowMs: 0, budgetBytes: 1000 * megabyte, usableBytes: 10_000 * megabyte, usedShare: 0.5, apps },
    ...more,
  };
}

/** The same sample so many times. */
function repeat(given: BudgetFacts, times: number, before: BudgetState = unusedBudget): readonly BudgetJudgement[] {
  const judgements: BudgetJudgement[] = [];
  for (let index = 0; index < times; index++) {
    const { state } = judgements.at(-1) ?? { state: before };
    judgements.push(judgeBudget(state, { ...given, nowMs: given.nowMs + index * everyMs }));
  }
  return judgements;
}

function after(given: BudgetFacts, times = samplesInARow, before: BudgetState = unusedBudget): BudgetJudgement {
  return repeat(given, times, before).at(-1)!;
}

const of = (megabytes: number) => facts([app([worker('web.1', megabytes)])]);

describe('the level', () => {
  const cases: readonly (readonly [string, BudgetFacts, 'ok' | 'near' | 'over'])[] = [
    ['half of the budget', of(500), 'ok'],
    ['just below near', of(899), 'ok'],
    ['near', of(900), 'near'],
    ['all of it', of(1000), 'near'],
    ['more', of(1001), 'over'],
    ['the host is nearly full', { ...of(100), usedShare: 0.9 }, 'near'],
    ['the host is full', { ...of(100), usedShare: 0.951 }, 'over'],
    ['no budget is known, nor the use of the host', { ...of(5000), budgetBytes: null, usedShare: null }, 'ok'],
    ['no budget is known, but the host is full', { ...of(5000), budgetBytes: null, usedShare: 0.97 }, 'over'],
    ['several apps together', facts([app([worker('a.1', 600)]), app([worker('b.1', 500)], { name: 'b' })]), 'over'],
  ];
  for (const [what, given, level] of cases) {
    test(`${what}: ${level}, after ${samplesInARow} samples`, () => {
      const levels = repeat(given, samplesInARow + 1).map((one) => one.level);
      assert.deepEqual(levels, [...Array.from({ length: samplesInARow - 1 }, () => 'ok'), level, level]);
    });
  }

  const falls: readonly (readonly [number, 'ok' | 'near' | 'over', 'ok' | 'near' | 'over'])[] = [
    [960, 'over', 'over'],
    [950, 'over', 'over'],
    [949, 'over', 'near'],
    [851, 'near', 'near'],
    [850, 'near', 'near'],
    [849, 'near', 'ok'],
    [100, 'over', 'ok'],
  ];
  for (const [megabytes, from, to] of falls) {
    test(`${megabytes} of 1000 MB after ${from}: ${to}`, () =>
      assert.equal(after(of(megabytes), samplesInARow, { ...unusedBudget, level: from, towards: from }).level, to));
  }

  test('one sample in between begins the count anew', () => {
    const two = after(of(950), 2).state;
    const between = judgeBudget(two, of(500)).state;
    assert.equal(after(of(950), 2, between).level, 'ok');
    assert.equal(after(of(950), 3, between).level, 'near');
  });

  test('a worker without a sample: the level does not fall, but it rises', () => {
    const near: BudgetState = { ...unusedBudget, level: 'near', towards: 'near' };
    assert.equal(after(facts([app([worker('web.1', 100), worker('web.2', null)])]), 10, near).level, 'near');
    assert.equal(after(facts([app([worker('web.1', 1100), worker('web.2', null)])]), 3, near).level, 'over');
  });

  test('of RSS no more counts than all that is in use', () => {
    const workers = [worker('web.1', 700), worker('web.2', 700)].map((one) => ({ ...one, memoryKind: 'rss' as const }));
    const given = facts([app(workers)], { usedShare: 0.08 });
    assert.deepEqual([after(given).level, after(given).usedBytes], ['ok', 800 * megabyte]);
    assert.equal(after(facts([app([worker('web.1', 700), worker('web.2', 700)])], { usedShare: 0.08 })).level, 'over');
  });

  test('is told once, with its arithmetic, and what follows', () => {
    const near = repeat(of(925), 6).flatMap(({ steps }) => steps);
    const words = 'workers have 925MB of a budget of 1000MB (93%), 50% of 9.8GB usable is in use';
    assert.deepEqual(near, [{ type: 'warn', message: `memory is near its limit: ${words}; no worker is added` }]);
    assert.equal(after(of(925)).reason, words);
  });

  test('noise around a limit does not make it flap', () => {
    let state = unusedBudget;
    let changes = 0;
    for (let index = 0; index < 10_000; index++) {
      const { level, ...rest } = judgeBudget(state, of(900 + 30 * Math.sin(index * index)));
      if (level !== state.level) changes++;
      state = rest.state;
    }
    assert.ok(changes <= 1, `${changes} changes`);
  });
});

function stepOf(given: BudgetFacts, before: BudgetState = unusedBudget): BudgetStep | undefined {
  return after(given, samplesInARow, before).steps.find(({ type }) => type !== 'warn');
}

describe('what follows when it is over', () => {
  test('the worker that gives back most is replaced, not the biggest one', () => {
    const step = stepOf(facts([app([worker('web.1', 600, 590), worker('web.2', 480, 80)])]));
    assert.deepEqual(step, {
      ...{ type: 'recycle', app: 'web', worker: 'web.2' },
      reason:
        'workers have 1.1GB of a budget of 1000MB (108%), 50% of 9.8GB usable is in use; web.2: 480MB - 80MB when it became ready = 400MB to gain',
    });
  });

  test('also of an app whose number may be lowered: that comes after', () => {
    const grown = [worker('web.1', 600, 100), worker('web.2', 600, 300)];
    assert.equal(stepOf(facts([app(grown, { staffing: 'auto' })]))?.type, 'recycle');
  });

  const noLeak = [worker('web.1', 400, 390), worker('web.2', 400), worker('web.3', 400, 330)];

  test('nobody has grown: one worker fewer, of an app that is not fixed', () => {
    for (const staffing of ['auto', 'scaled'] as const) {
      const step = stepOf(facts([app(noLeak, { staffing })]));
      assert.deepEqual([step?.type, step?.type === 'shed' && [step.app, step.to]], ['shed', ['web', 2]]);
      assert.match(
        step?.type === 'shed' ? step.reason : '',
        /; no worker has grown since it became ready: one worker fewer$/,
      );
    }
    assert.equal(stepOf(facts([app(noLeak)])), undefined);
  });

  test('of the app of which one gives back most', () => {
    const small = app([worker('a.1', 50), worker('a.2', 50)], { name: 'a', staffing: 'auto' });
    const big = app([worker('b.1', 500), worker('b.2', 500)], { name: 'b', staffing: 'auto' });
    const step = stepOf(facts([small, big]));
    assert.equal(step?.type === 'shed' && step.app, 'b');
  });

  test('never below the least, and never below one', () => {
    assert.equal(stepOf(facts([app(noLeak, { staffing: 'scaled', min: 3 })])), undefined);
    assert.equal(stepOf(facts([app([worker('web.1', 2000)], { staffing: 'auto', min: 0 })])), undefined);
  });

  test('where nothing can be done, it is said once', () => {
    const steps = repeat(facts([app(noLeak)]), 50).flatMap((one) => one.steps);
    assert.equal(steps.length, 2);
    assert.match(
      steps[1]?.type === 'warn' ? steps[1].message : '',
      /none may be taken away: allow more memory, or fewer workers$/,
    );
  });

  test('a little growth is no reason: a quarter, and 1 % of the budget', () => {
    const grownBy = (first: number, now: number) =>
      stepOf(facts([app([worker('web.1', 1000 - now + 50, 1000 - now + 50), worker('web.2', now, first)])]))?.type;
    assert.equal(grownBy(400, 500), 'recycle');
    assert.equal(grownBy(401, 500), undefined);
    assert.equal(grownBy(10, 20), 'recycle');
    assert.equal(grownBy(10, 19), undefined);
  });

  test('who is being replaced already, or is not ready or measured, is left alone', () => {
    const leak = worker('web.1', 1200, 100);
    assert.equal(stepOf(facts([app([leak], { busy: true })])), undefined);
    assert.equal(stepOf(facts([app([{ ...leak, ready: false }])])), undefined);
    assert.equal(stepOf(facts([app([{ ...leak, firstBytes: null }])])), undefined);
  });

  test('a successor that does not fit: one fewer comes first, where that may be', () => {
    const grown = [worker('web.1', 600, 400), worker('web.2', 600, 400)];
    const full = { usedShare: 0.97 };
    const step = stepOf(facts([app(grown, { staffing: 'auto' })], full));
    assert.equal(step?.type, 'shed');
    assert.match(
      step?.type === 'shed' ? step.reason : '',
      /a successor of 400MB does not fit into 300MB that are left: /,
    );
    assert.equal(stepOf(facts([app(grown)], full))?.type, 'recycle');
  });

  test('who needs what it takes: replaced twice over, then one fewer', () => {
    const recycled = Array.from({ length: 4 }, () => ({ app: 'web', atMs: 0 }));
    const grown = [worker('web.1', 600, 100), worker('web.2', 600, 100)];
    const step = (given: BudgetFacts) => stepOf(given, { ...unusedBudget, recycled });
    const auto = facts([app(grown, { staffing: 'auto' })]);
    assert.equal(step(auto)?.type, 'shed');
    assert.equal(step({ ...auto, nowMs: 10 * minute })?.type, 'recycle');
    assert.equal(step(facts([app(grown)]))?.type, 'recycle');
  });
});

describe('one step at a time', () => {
  const leaking = app([worker('web.1', 600, 100), worker('web.2', 700, 100)], { staffing: 'auto' });
  const begun = after(facts([leaking]));

  function types(given: BudgetFacts, times: number, before = begun.state): readonly string[] {
    return repeat({ ...given, nowMs: 10_000 }, times, before).flatMap(({ steps }) => steps.map(({ type }) => type));
  }

  test('the predecessor is still there, or the successor is not measured: no other step', () => {
    assert.deepEqual(
      begun.steps.map(({ type }) => type),
      ['warn', 'recycle'],
    );
    const both = app([...leaking.workers, worker('web.3', 100)], { staffing: 'auto' });
    const unmeasured = app([worker('web.1', 950, 100), { ...worker('web.3', 100), firstBytes: null }]);
    const unready = app([worker('web.1', 950, 100), { ...worker('web.3', 100), ready: false }]);
    for (const state of [leaking, both, unmeasured, unready, { ...leaking, busy: true }])
      assert.deepEqual(types(facts([state]), 20), []);
  });

  test('then three more samples that are over', () => {
    const done = app([worker('web.1', 950, 100), worker('web.3', 100)]);
    assert.deepEqual(types(facts([done]), 2), []);
    assert.deepEqual(types(facts([done]), 3), ['recycle']);
  });

  test('one that has had no effect for ten minutes is given up', () => {
    const later = facts([leaking], { nowMs: 11 * minute });
    const steps = repeat(later, 5, begun.state).flatMap((one) => one.steps);
    assert.deepEqual(
      steps.map(({ type }) => type),
      ['recycle'],
    );
  });

  test('an app that is gone is not waited for', () => {
    const other = app([worker('b.1', 1100, 100)], { name: 'b' });
    assert.deepEqual(types(facts([other]), 3), ['recycle']);
  });
});

// ---------------------------------------------------------------- a small model

interface Simulated {
  readonly staffing: BudgetApp['staffing'];
  readonly goal: number;
  readonly freshMegabytes: number;
  /** In megabytes a minute, for each worker. */
  readonly leak: number;
  readonly bootMs: number;
}

interface Living {
  readonly id: number;
  readonly startedAtMs: number;
  readonly endsAtMs: number;
}

/** Performs what is asked: a successor beside its predecessor, which ends 4 s after it is ready. */
function simulate({ staffing, goal, freshMegabytes, leak, bootMs }: Simulated, budgetMegabytes: number, forMs: number) {
  let state = unusedBudget;
  let nextId = goal;
  let wanted = goal;
  let living: readonly Living[] = Array.from({ length: goal }, (_, id) => ({
    id,
    startedAtMs: -bootMs,
    endsAtMs: Infinity,
  }));
  const first = new Map<number, number>();
  const steps: (BudgetStep & { readonly atMs: number })[] = [];
  const used: number[] = [];
  for (let nowMs = 0; nowMs < forMs; nowMs += everyMs) {
    living = living.filter(({ endsAtMs }) => endsAtMs > nowMs);
    const workers = living.map(({ id, startedAtMs, endsAtMs }): BudgetWorker => {
      const memoryBytes = (freshMegabytes + (leak * Math.max(0, nowMs - startedAtMs)) / minute) * megabyte;
      const ready = nowMs - startedAtMs >= bootMs && endsAtMs === Infinity;
      if (ready && !first.has(id)) first.set(id, memoryBytes);
      return { id: `web.${id}`, ready, memoryBytes, memoryKind: 'pss', firstBytes: first.get(id) ?? null };
    });
    used.push(workers.reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0));
    const given = facts([app(workers, { staffing, goal: wanted })], { nowMs, budgetBytes: budgetMegabytes * megabyte });
    const judgement = judgeBudget(state, given);
    ({ state } = judgement);
    const todo = judgement.steps.filter(({ type }) => type !== 'warn');
    assert.ok(todo.length <= 1);
    for (const step of todo) {
      steps.push({ ...step, atMs: nowMs });
      if (step.type === 'shed') {
        wanted = step.to;
        const [last] = living.filter(({ endsAtMs }) => endsAtMs === Infinity).slice(-1);
        living = living.map((one) => (one === last ? { ...one, endsAtMs: nowMs + 4000 } : one));
      }
      if (step.type !== 'recycle') continue;
      const victim = living.find(({ id }) => `web.${id}` === step.worker);
      assert.ok(victim?.endsAtMs === Infinity, 'who is replaced is there');
      living = [
        ...living.map((one) => (one === victim ? { ...one, endsAtMs: nowMs + bootMs + 4000 } : one)),
        { id: nextId++, startedAtMs: nowMs, endsAtMs: Infinity },
      ];
    }
  }
  return { steps, used, wanted, level: state.level };
}

describe('over time', () => {
  const slow: Simulated = { staffing: 'fixed', goal: 4, freshMegabytes: 100, leak: 1, bootMs: 3000 };

  test('a slow leak: workers are replaced one after the other, now and then, and memory stays below its limit', () => {
    const { steps, used } = simulate(slow, 600, 24 * 60 * minute);
    assert.ok(steps.length > 0 && steps.every(({ type }) => type === 'recycle'));
    assert.ok(Math.max(...used) < 1.2 * 600 * megabyte, 'a successor beside its predecessor, no more');
    // what leaks in a day is what was given back: 4 x 1440 MB, at least 25 MB each time
    assert.ok(steps.length <= (4 * 1440) / 25, `${steps.length} replacements in a day`);
    for (const [index, { atMs }] of steps.entries())
      if (index > 0) assert.ok(atMs - steps[index - 1]!.atMs >= slow.bootMs + 3 * everyMs);
  });

  test('an app that simply needs more than there is: fewer workers, then it is quiet', () => {
    const { steps, wanted, level } = simulate({ ...slow, staffing: 'auto', leak: 0 }, 250, 60 * minute);
    assert.deepEqual(
      steps.map(({ type }) => type),
      ['shed', 'shed'],
    );
    assert.deepEqual([wanted, level], [2, 'ok']);
  });

  test('a fast leak of an auto app: it ends at one worker, and is replaced on', () => {
    const { steps, wanted } = simulate({ ...slow, staffing: 'auto', leak: 200 }, 600, 60 * minute);
    assert.equal(wanted, 1);
    assert.ok(steps.filter(({ type }) => type === 'recycle').length >= 8);
  });

  const any = fc.record({
    staffing: fc.constantFrom('fixed', 'auto', 'scaled'),
    goal: fc.integer({ min: 1, max: 8 }),
    freshMegabytes: fc.integer({ min: 20, max: 200 }),
    leak: fc.double({ min: 0, max: 100, noNaN: true }),
    bootMs: fc.integer({ min: 0, max: 30_000 }),
  });

  test('never below one worker, never fewer than asked for by a fixed number, never two steps at once', () => {
    fc.assert(
      fc.property(any, fc.integer({ min: 50, max: 2000 }), (given, budgetMegabytes) => {
        const { steps, wanted } = simulate(given, budgetMegabytes, 40 * minute);
        assert.ok(wanted >= 1);
        if (given.staffing === 'fixed') assert.equal(wanted, given.goal);
        for (const [index, { atMs }] of steps.entries())
          if (index > 0) assert.ok(atMs - steps[index - 1]!.atMs >= samplesInARow * everyMs);
        if (given.leak === 0) assert.ok(steps.every(({ type }) => type === 'shed'));
      }),
      { numRuns: 60 },
    );
  });

  test('nothing is done while memory is below its limit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 100 }), (goal, freshMegabytes) => {
        const given: Simulated = { ...slow, staffing: 'auto', goal, freshMegabytes, leak: 0 };
        const { steps, level } = simulate(given, 1000, 2 * minute);
        assert.deepEqual(steps, []);
        assert.notEqual(level, 'over');
      }),
    );
  });
});
