/** Load curves over a small model of an app: what autoscaling makes of days, spikes, leaks, noise and gaps in the data. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { decideEveryMs, tolerance } from '../../src/core/autoscale.ts';
import type { ScaledStaffing } from '../../src/core/spec.ts';
import { changes, needed, sampleEveryMs, simulate, turns, type Model, type Moment } from '../helpers/load-model.ts';
import { Chance } from '../helpers/random.ts';

const minute = 60_000;
const hour = 60 * minute;
const megabyte = 2 ** 20;

const usual: ScaledStaffing = {
  ...{ kind: 'scaled', min: 1, max: 16, targetCpu: 0.7, targetMemory: 0.8 },
  ...{ scaleDownAfterMs: 5 * minute, dryRun: false },
};

/** What holds whatever the load is. */
function assertSound(moments: readonly Moment[], spec: ScaledStaffing): void {
  let decidedAtMs = -Infinity;
  for (const { atMs, goal, to, kind, reason, hasMissing } of moments) {
    assert.ok(to >= spec.min && to <= spec.max, `${to} workers at ${atMs}`);
    assert.notEqual(reason, '');
    if (hasMissing) assert.equal(kind, 'wait', `decided at ${atMs} without a sample of each`);
    assert.equal(kind === 'scale', goal !== to, `${kind} at ${atMs}`);
    if (kind === 'wait') continue;
    assert.ok(atMs - decidedAtMs >= decideEveryMs, `decided at ${decidedAtMs} and at ${atMs}`);
    decidedAtMs = atMs;
  }
}

function run(model: Omit<Model, 'spec'> & { readonly spec?: Partial<ScaledStaffing> }): readonly Moment[] {
  const spec = { ...usual, ...model.spec };
  const moments = simulate({ ...model, spec });
  assertSound(moments, spec);
  return moments;
}

/** How many decisions it took from `fromMs` on until there were enough workers. */
function decisionsUntil(moments: readonly Moment[], fromMs: number, workers: number): number {
  const later = moments.filter(({ atMs }) => atMs >= fromMs);
  const end = later.findIndex(({ to }) => to >= workers);
  assert.notEqual(end, -1, `${workers} workers were never reached`);
  return later.slice(0, end + 1).filter(({ kind }) => kind !== 'wait').length;
}

/** CPU-seconds that waited longer than they had to, in all: how much of the time there was too little. */
function shareWithQueue(moments: readonly Moment[]): number {
  return moments.filter(({ waiting }) => waiting > 0).length / moments.length;
}

describe('constant load', () => {
  for (const load of [0, 0.1, 0.7, 0.76, 1, 1.4, 2.5, 5, 9.9, 30]) {
    test(`${load} cores: it settles, with enough workers, and no more than are needed`, () => {
      const moments = run({ load: () => load, forMs: hour });
      const last = moments.at(-1)!;
      const settled = moments.filter(({ atMs }) => atMs > 10 * minute);
      assert.deepEqual(changes(settled), []);
      assert.ok(turns(moments) <= 1, `${turns(moments)} turns`);
      const enough = needed(load / (1 + tolerance), usual);
      assert.ok(last.to >= enough && last.to <= needed(load, usual), `${last.to} workers`);
    });
  }

  test('at the start nothing is taken away before scale_down_after', () => {
    const moments = run({ load: (atMs) => (atMs < 60_000 ? 5 : 0), forMs: 20 * minute });
    const down = changes(moments).find(({ goal, to }) => to < goal)!;
    assert.ok(down.atMs >= 60_000 + 5 * minute - decideEveryMs, `down at ${down.atMs}`);
    assert.equal(moments.at(-1)?.to, 1);
  });
});

describe('a day', () => {
  /** From 0.3 cores at night to 8 at noon. */
  const day = (atMs: number) => 0.3 + 3.85 * (1 - Math.cos((2 * Math.PI * atMs) / (24 * hour)));

  test('it goes up once and down once, in step with the load', () => {
    const moments = run({ load: day, forMs: 48 * hour });
    assert.ok(turns(moments) <= 3, `${turns(moments)} turns in two days`);
    assert.equal(shareWithQueue(moments), 0);
    assert.ok(Math.max(...moments.map(({ to }) => to)) >= needed(8 / (1 + tolerance), usual));
    assert.equal(Math.min(...moments.filter(({ atMs }) => atMs > hour).map(({ to }) => to)), 1);
    const hours = moments.reduce((sum, { to }) => sum + (to * sampleEveryMs) / hour, 0);
    const ideal = moments.reduce((sum, { load }) => sum + (needed(load, usual) * sampleEveryMs) / hour, 0);
    assert.ok(hours < 1.15 * ideal, `${hours} worker hours, ${ideal} would do`);
  });

  test('with noise on every sample it still follows the day', () => {
    const chance = new Chance(7);
    const moments = run({ load: day, noise: () => (chance.next() - 0.5) * 0.3, forMs: 24 * hour });
    assert.ok(turns(moments) <= 24, `${turns(moments)} turns in a day`);
    assert.ok(shareWithQueue(moments) < 0.01);
  });
});

describe('a spike', () => {
  const spike = (atMs: number) => (atMs >= 10 * minute && atMs < 13 * minute ? 9 : 0.5);

  test('is met within four decisions, each of which at most doubles or adds four', () => {
    const moments = run({ load: spike, forMs: 30 * minute });
    assert.ok(decisionsUntil(moments, 10 * minute, needed(9 / (1 + tolerance), usual)) <= 4);
    for (const { goal, to } of changes(moments)) assert.ok(to <= Math.max(2 * goal, goal + 4), `${goal} -> ${to}`);
    assert.equal(turns(moments), 1);
    assert.equal(moments.at(-1)?.to, 1);
  });

  test('workers stay for scale_down_after, for the next one may come', () => {
    const everyFour = (atMs: number) => (atMs % (4 * minute) < 2 * minute ? 6 : 0.5);
    const moments = run({ load: everyFour, forMs: hour });
    assert.deepEqual(changes(moments.filter(({ atMs }) => atMs > 10 * minute)), []);
  });

  test('is met with slow boots too, without adding for those that are on their way', () => {
    const moments = run({ load: (atMs) => (atMs >= 5 * minute ? 3 : 0.5), bootMs: 2 * minute, forMs: 40 * minute });
    assert.ok(Math.max(...moments.map(({ to }) => to)) <= 16);
    assert.equal(moments.at(-1)?.to, needed(3, usual));
    assert.ok(turns(moments) <= 1);
  });
});

describe('a slow leak', () => {
  const leaking = (ageMs: number) => (60 + Math.max(0, ageMs) / minute) * megabyte;

  test('is no reason for more workers, nor for fewer', () => {
    const moments = run({ spec: { min: 3 }, load: () => 2, memoryBytes: leaking, forMs: 3 * hour });
    assert.deepEqual(changes(moments.filter(({ atMs }) => atMs > 5 * minute)), []);
  });

  test('as memory fills up nothing is added beyond the ceiling', () => {
    const [usableBytes, budgetBytes] = [1000 * megabyte, 1000 * megabyte];
    const growing = (atMs: number) => Math.min(14, atMs / (10 * minute));
    const moments = run({ load: growing, memoryBytes: leaking, usableBytes, budgetBytes, forMs: 2 * hour });
    for (const { goal, to, usedBytes } of changes(moments)) {
      if (to > goal) assert.ok(usedBytes + (to - goal) * 60 * megabyte <= 0.8 * usableBytes, `${goal} -> ${to}`);
    }
    assert.ok(moments.some(({ reason }) => reason.includes('memory has room for 0 more')));
  });
});

describe('one hot worker', () => {
  test('does not scale the app, as long as the mean is fine', () => {
    const moments = run({ spec: { min: 4 }, load: () => 1, hotWork: () => 1, forMs: hour });
    assert.deepEqual(changes(moments), []);
  });

  test('counts as one when all of them have much to do', () => {
    const moments = run({ spec: { min: 4 }, load: () => 3, hotWork: () => 1, forMs: hour });
    assert.equal(moments.at(-1)?.to, 5);
  });
});

describe('noise around the target', () => {
  for (const amplitude of [0.05, 0.1, 0.2, 0.4]) {
    test(`of ${amplitude * 100} % of a core on each sample: it does not flap`, () => {
      const chance = new Chance(1000 * amplitude);
      const noise = () => (chance.next() - 0.5) * 2 * amplitude;
      const moments = run({ load: () => 2.1, noise, forMs: 6 * hour });
      assert.ok(turns(moments) <= 12, `${turns(moments)} turns in 6 hours`);
      assert.ok(moments.every(({ to, atMs }) => atMs < 10 * minute || (to >= 3 && to <= 4)));
    });
  }

  test('a load that goes up and down each minute is served for its top', () => {
    const flapping = (atMs: number) => (Math.floor(atMs / minute) % 2 === 0 ? 1 : 4);
    const moments = run({ load: flapping, forMs: 2 * hour });
    assert.deepEqual(changes(moments.filter(({ atMs }) => atMs > 10 * minute)), []);
    assert.equal(moments.at(-1)?.to, needed(4, usual));
  });
});

describe('missing data', () => {
  test('of one of three workers all the time: nothing is ever decided', () => {
    const load = (atMs: number) => (atMs / minute) % 8;
    const moments = run({ spec: { min: 3 }, load, isMissing: (_, id) => id === 1, forMs: hour });
    assert.ok(moments.every(({ kind }) => kind === 'wait'));
    assert.ok(moments.every(({ reason }) => reason === '1 of 3 ready workers has no sample yet'));
  });

  test('now and then: it waits, and decides on what is there', () => {
    const isMissing = (atMs: number) => Math.floor(atMs / sampleEveryMs) % 3 === 0;
    const moments = run({ load: () => 3, isMissing, forMs: hour });
    const enough = needed(3 / (1 + tolerance), usual);
    assert.ok(moments.at(-1)!.to >= enough && moments.at(-1)!.to <= needed(3, usual));
    assert.ok(moments.filter(({ atMs }) => atMs < 2 * minute).some(({ to }) => to >= enough));
  });

  test('for ten minutes of low load: nothing is taken away meanwhile', () => {
    const load = (atMs: number) => (atMs < 10 * minute ? 5 : 0.1);
    const isMissing = (atMs: number) => atMs >= 10 * minute && atMs < 20 * minute;
    const moments = run({ load, isMissing, forMs: 30 * minute });
    const during = moments.filter(({ atMs }) => atMs >= 10 * minute && atMs < 20 * minute);
    assert.deepEqual(changes(during), []);
  });
});

describe('work that waits for something else than the CPU', () => {
  test('is seen in the queue', () => {
    const moments = run({ load: (atMs) => (atMs < 10 * minute ? 0.5 : 4), cpuShare: 0.1, forMs: hour });
    assert.ok(moments.at(-1)!.to >= 4, `${moments.at(-1)!.to} workers`);
    assert.equal(moments.at(-1)?.waiting, 0);
  });

  test('the same load does not add and remove workers for ever', () => {
    const moments = run({ load: () => 4.5, cpuShare: 0.1, forMs: 24 * hour });
    assert.ok(turns(moments) <= 80, `${turns(moments)} turns in a day`);
    assert.ok(shareWithQueue(moments) < 0.05, `${shareWithQueue(moments)} of the time with a queue`);
    const settled = moments.filter(({ atMs }) => atMs > 2 * hour).map(({ to }) => to);
    assert.deepEqual([Math.min(...settled), Math.max(...settled)], [4, 5]);
  });

  test('they are gone some time after the work is', () => {
    const moments = run({ load: (atMs) => (atMs < hour ? 4 : 0.2), cpuShare: 0.1, forMs: 4 * hour });
    assert.equal(moments.at(-1)?.to, 1);
  });

  test('where the queue is not known, it is not seen', () => {
    const moments = run({ load: () => 4, cpuShare: 0.1, queueIsKnown: false, forMs: hour });
    assert.equal(moments.at(-1)?.to, 1);
  });
});

describe('a recorded process under changing load', () => {
  const recorded = JSON.parse(readFileSync('test/fixtures/load-curve.json', 'utf8')) as {
    readonly everyMs: number;
    readonly cpuPercent: readonly number[];
  };
  const { everyMs, cpuPercent } = recorded;

  test('eight times as much of it, over and over: enough is there for each top, and it does not flap', () => {
    const load = (atMs: number) => (8 * (cpuPercent[Math.floor(atMs / everyMs) % cpuPercent.length] ?? 0)) / 100;
    const moments = run({ load, forMs: 2 * hour });
    const top = Math.max(...moments.map((moment) => moment.load));
    assert.ok(turns(moments) <= 4, `${turns(moments)} turns`);
    assert.ok(shareWithQueue(moments) < 0.05);
    assert.ok(Math.max(...moments.map(({ to }) => to)) <= needed(top, usual));
  });
});

describe('whatever the load', () => {
  const step = fc.record({
    minutes: fc.integer({ min: 1, max: 15 }),
    cores: fc.double({ min: 0, max: 12, noNaN: true }),
  });

  test('never out of bounds, never without data, never above the ceiling, no more turns than the load has steps', () => {
    fc.assert(
      fc.property(
        fc.record({
          steps: fc.array(step, { minLength: 1, maxLength: 12 }),
          min: fc.integer({ min: 1, max: 4 }),
          more: fc.integer({ min: 0, max: 12 }),
          targetCpu: fc.double({ min: 0.3, max: 1, noNaN: true }),
          bootMs: fc.integer({ min: 0, max: 60_000 }),
          usableMegabytes: fc.integer({ min: 300, max: 4000 }),
          missingOneIn: fc.integer({ min: 3, max: 50 }),
        }),
        ({ steps, min, more, targetCpu, bootMs, usableMegabytes, missingOneIn }) => {
          const ends: { untilMs: number; cores: number }[] = [];
          let untilMs = 0;
          for (const { minutes, cores } of steps) ends.push({ untilMs: (untilMs += minutes * minute), cores });
          const load = (atMs: number) => ends.find((end) => atMs < end.untilMs)?.cores ?? 0;
          const usableBytes = usableMegabytes * megabyte;
          const moments = run({
            ...{ spec: { min, max: min + more, targetCpu }, load, bootMs, usableBytes, forMs: untilMs },
            isMissing: (atMs, id) => (atMs / sampleEveryMs + id) % missingOneIn === 0,
          });
          for (const { goal, to, usedBytes } of changes(moments)) {
            if (to > goal) assert.ok(usedBytes + (to - goal) * 50 * megabyte <= 0.8 * usableBytes + 1);
          }
          assert.ok(turns(moments) <= steps.length, `${turns(moments)} turns, ${steps.length} steps`);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('it is enough within six decisions after any step, if memory allows it', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 10, noNaN: true }),
        fc.double({ min: 0, max: 10, noNaN: true }),
        (before, after) => {
          const moments = run({ load: (atMs) => (atMs < 10 * minute ? before : after), forMs: 20 * minute });
          const enough = needed(after / (1 + tolerance), usual);
          assert.ok(decisionsUntil(moments, 10 * minute, enough) <= 6);
        },
      ),
      { numRuns: 60 },
    );
  });
});
