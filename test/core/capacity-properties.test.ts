/** What holds of every report, whatever the day was like. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { capacityOf } from '../../src/core/capacity.ts';
import { growthOf, levelsOf, observedIn, usageOf } from '../../src/core/capacity-series.ts';
import {
  factsOf,
  gb,
  kindsOf,
  mb,
  minutes,
  nowMs,
  reportOf,
  type AppDay,
  type Day,
} from '../helpers/capacity-facts.ts';

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null, freq: 6 });
/** A value for every minute, out of a few. */
const curve = (value: fc.Arbitrary<number>) =>
  fc
    .array(maybe(value), { minLength: 1, maxLength: 7 })
    .map((values) => (i: number) => values[i % values.length] ?? null);

const appDay: fc.Arbitrary<AppDay> = fc.record({
  name: fc.constantFrom('web', 'jobs', 'api'),
  workers: fc.integer({ min: 0, max: 40 }),
  staffing: fc.oneof(
    fc.constant({ kind: 'fixed', max: 2 } as const),
    fc.constant({ kind: 'auto', max: null } as const),
    fc.integer({ min: 1, max: 60 }).map((max) => ({ kind: 'scaled', max }) as const),
  ),
  serves: fc.boolean(),
  cpus: curve(fc.double({ min: 0, max: 40, noNaN: true })),
  workerBytes: curve(fc.integer({ min: 0, max: 4 * gb })),
  queue: curve(fc.integer({ min: 0, max: 500 })),
  surge: fc.integer({ min: 0, max: 3 }),
  spares: fc.integer({ min: 0, max: 2 }),
  oomKills: fc.constantFrom(0, 0, 0, 2),
  recycled: fc.constantFrom(0, 0, 1, 9),
  each: fc.array(fc.double({ min: 0, max: 2, noNaN: true }), { maxLength: 4 }),
});

const anyDay: fc.Arbitrary<Day> = fc
  .record({
    count: fc.integer({ min: 0, max: 200 }),
    cpus: fc.constantFrom(0.3, 1, 1.5, 2, 4, 64),
    memoryBytes: fc.constantFrom(0, 256 * mb, 8 * gb, 512 * gb),
    cpuShare: curve(fc.double({ min: 0, max: 1, noNaN: true })),
    memoryShare: curve(fc.double({ min: 0, max: 1, noNaN: true })),
    gap: fc.integer({ min: 2, max: 9 }),
    apps: fc.uniqueArray(appDay, { maxLength: 3, selector: ({ name }) => name }),
    target: fc.constantFrom(0.3, 0.7, 0.9),
  })
  .map(({ cpuShare, memoryShare, gap, ...day }) => {
    const part = (share: number | null, whole: number) => (share === null ? null : share * whole);
    return {
      ...day,
      usedCpus: (i: number) => part(cpuShare(i), day.cpus),
      usedBytes: (i: number) => part(memoryShare(i), day.memoryBytes),
      missing: (i: number) => i % gap === 1 && i % 7 === 0,
    };
  });

test('every number is finite, every sentence whole, and there is always something to say', () => {
  fc.assert(
    fc.property(anyDay, (day) => {
      const report = reportOf(day);
      assert.ok(report.advice.length > 0);
      const strange = (value: unknown): boolean =>
        typeof value === 'number'
          ? !Number.isFinite(value)
          : typeof value === 'object' && value !== null && Object.values(value).some(strange);
      assert.ok(!strange(report), 'a number is not finite');
      for (const { text } of report.advice) assert.doesNotMatch(text, /NaN|Infinity|undefined|null|\s\s| \.|-\d/);
      // What a client reads is what there is.
      assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
    }),
    { numRuns: 400 },
  );
});

test('advice never contradicts itself', () => {
  fc.assert(
    fc.property(anyDay, (day) => {
      const report = reportOf(day);
      const kinds = kindsOf(report);
      const has = (...wanted: string[]) => wanted.some((kind) => kinds.includes(kind));
      if (has('smaller-server')) assert.ok(!has('more-cpus', 'more-memory', 'more-workers', 'leak', 'oom', 'fits'));
      if (has('leak')) assert.ok(!has('more-memory', 'fewer-workers'));
      if (has('more-cpus')) assert.ok(!has('more-workers', 'no-room-for-worker'));
      if (has('fits'))
        assert.ok(
          kinds.every((kind) => ['fits', 'spike', 'too-early'].includes(kind)),
          kinds.join(' '),
        );
      if (report.observed.coverage === 'minutes') assert.ok(has('too-early', 'no-history') && !has('smaller-server'));
      for (const advice of report.advice) {
        if (advice.kind === 'more-cpus') assert.ok(advice.cpus.to > advice.cpus.from && advice.servers > 1);
        if (advice.kind === 'more-workers')
          assert.ok(advice.workers.to > advice.workers.from && advice.workers.to <= advice.wanted);
        if (advice.kind === 'fewer-workers')
          assert.ok(advice.workers.to < advice.workers.from && advice.workers.to >= 1);
        if (advice.kind === 'smaller-server') {
          const { cpus, bytes } = advice;
          assert.ok(cpus !== null || bytes !== null);
          // What is advised carries p95 at the target, and the peak of memory within the band.
          if (cpus !== null)
            assert.ok(
              cpus.to < cpus.from && (report.cpu.usage?.p95 ?? 0) * cpus.from <= cpus.to * report.target + 1e-6,
            );
          if (bytes !== null)
            assert.ok(bytes.to < bytes.from && (report.memory.usage?.peak ?? 0) * bytes.from <= bytes.to * 0.9);
        }
      }
    }),
    { numRuns: 400 },
  );
});

test('the added workers of all apps together find CPUs and memory', () => {
  const busy = fc.record({
    workers: fc.integer({ min: 1, max: 6 }),
    load: fc.double({ min: 0.9, max: 1.25, noNaN: true }),
    gigabytes: fc.double({ min: 0.1, max: 2, noNaN: true }),
  });
  let advised = 0;
  fc.assert(
    fc.property(fc.array(busy, { minLength: 1, maxLength: 4 }), fc.integer({ min: 8, max: 64 }), (apps, cpus) => {
      const days = apps.map(({ workers, load, gigabytes }, index) => ({
        ...{ name: `app${index}`, workers, cpus: workers * load, workerBytes: gigabytes * gb },
      }));
      const usedCpus = days.reduce((sum, day) => sum + day.cpus, 0);
      const usedBytes = days.reduce((sum, day) => sum + day.workers * day.workerBytes, 0);
      const memoryBytes = 32 * gb;
      const report = reportOf({ cpus, memoryBytes, usedCpus, usedBytes, apps: days });
      let [addedCpus, addedBytes, count] = [0, 0, 0];
      for (const advice of report.advice) {
        if (advice.kind !== 'more-workers') continue;
        const added = advice.workers.to - advice.workers.from;
        advised++;
        count++;
        addedCpus += added;
        addedBytes += added * (report.apps.find(({ name }) => name === advice.app)?.workerBytes ?? 0);
      }
      // The last one may get a worker for a part of a CPU.
      if (count > 0) assert.ok(usedCpus + addedCpus <= 0.9 * cpus + 0.75 + 1e-6);
      if (count > 0) assert.ok(usedBytes + addedBytes <= 0.9 * memoryBytes + 1);
    }),
  );
  assert.ok(advised > 50, `only ${advised} times was anything advised`);
});

const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 300 });

test('levels are in order and within what was seen; the shares of the time are all of it', () => {
  fc.assert(
    fc.property(shares, (values) => {
      const known = values.map((mean) => ({ mean, peak: mean }));
      const levels = levelsOf(known)!;
      const [low, high] = [Math.min(...values), Math.max(...values)];
      assert.ok(
        low <= levels.median && levels.median <= levels.p95 && levels.p95 <= levels.p99 && levels.p99 <= levels.peak,
      );
      assert.ok(levels.peak === high && levels.mean >= low - 1e-9 && levels.mean <= high + 1e-9);
      // At least 95 % are not above p95, and fewer are not above anything smaller.
      const upTo = (limit: number) => values.filter((value) => value <= limit).length;
      assert.ok(upTo(levels.p95) >= 0.95 * values.length - 1e-6);
      assert.ok(values.filter((value) => value < levels.p95).length < 0.95 * values.length);
      const usage = usageOf(known, { low: 0.5, high: 0.9 }, 60_000)!;
      assert.ok(Math.abs(usage.below + usage.within + usage.above - 1) < 1e-9);
    }),
  );
});

test('seen and gaps together are the time since the first point, wherever the gaps are', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 100 }), (present) => {
      const { day } = minutes(100, (i) => (present.includes(i) ? { cpuPercent: 1 } : null));
      const { coveredMs, gapsMs, span, points } = observedIn(day, nowMs);
      assert.equal(points, present.length);
      assert.equal(coveredMs, present.length * 60_000);
      assert.equal(coveredMs + gapsMs, nowMs - span!.fromMs);
    }),
  );
});

test('a straight line is a leak at its rate, whatever its slope, and whatever noise is on it', () => {
  const slopes = fc.record({
    from: fc.integer({ min: 20, max: 900 }),
    perHour: fc.integer({ min: 40, max: 2_000 }),
    noise: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(
      slopes,
      fc.integer({ min: 120, max: 1_440 }),
      fc.integer({ min: 1, max: 9 }),
      ({ from, perHour, noise }, count, ready) => {
        const line = (i: number) => from + (perHour * i) / 60 + noise * Math.sin(i * 7);
        const { day } = minutes(count, (i) => ({ memoryBytes: line(i) * mb * ready, cpuPercent: 30, ready }));
        const growth = growthOf(day.points);
        // What is less than a tenth is no leak.
        if ((perHour * count) / 60 < 0.2 * from) return;
        assert.ok(growth !== null);
        assert.ok(
          Math.abs(growth.bytesPerHour / mb - perHour) <= 0.05 * perHour + 3,
          `${growth.bytesPerHour / mb} of ${perHour}`,
        );
      },
    ),
  );
});

test('noise around a level is no leak', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 100, max: 108 }), { minLength: 40, maxLength: 400 }), (values) => {
      const { day } = minutes(values.length, (i) => ({ memoryBytes: (values[i] ?? 0) * mb, cpuPercent: 30, ready: 1 }));
      assert.equal(growthOf(day.points), null);
    }),
  );
});

test('a report depends on nothing but its facts', () => {
  fc.assert(
    fc.property(anyDay, (day) => {
      const facts = factsOf(day);
      assert.deepEqual(capacityOf(facts, 'now'), capacityOf(structuredClone(facts), 'now'));
    }),
    { numRuns: 30 },
  );
});
