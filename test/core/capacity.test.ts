/** What `capacity` makes of a day: the verdicts, their numbers, and the sentences with the arithmetic. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { capacityOf, type CapacityReport } from '../../src/core/capacity.ts';
import type { HistoryPoint } from '../../src/core/history.ts';
import { factsOf, gb, kindsOf, mb, reportOf, verdict, type Day } from '../helpers/capacity-facts.ts';

const quiet = { cpus: 0.2, workerBytes: 100 * mb, queue: 0 };
/** In the band, with one app that is no reason to do anything. */
const good: Day = { usedCpus: 2.6, usedBytes: 5 * gb, apps: [{ ...quiet, cpus: 1.3 }] };

/** With samples of the last minutes besides. */
function reportWithFine(day: Day, points: readonly HistoryPoint[]): CapacityReport {
  const facts = factsOf(day);
  const { day: minutes, fine } = facts.hostHistory;
  return capacityOf({ ...facts, hostHistory: { day: minutes, fine: { ...fine, points } } }, '');
}

/** A daily wave between the two, highest at noon. */
const wave = (low: number, high: number) => (i: number) =>
  low + ((high - low) * (1 - Math.cos((2 * Math.PI * i) / 1_440))) / 2;

describe('the server', () => {
  test('a small memory that idles is not said to be needed: there is only no smaller one', () => {
    const memory = { memoryBytes: 300 * mb, usedBytes: 40 * mb };
    const { text, cpus, bytes } = verdict(reportOf({ cpus: 0.5, usedCpus: 0.1, ...memory }), 'smaller-server');
    assert.deepEqual([cpus, bytes], [{ from: 0.5, to: 0.2 }, null]);
    assert.equal(
      text,
      'A smaller server would do: CPU p95 is 20% of 0.5 CPUs = 0.1; at 70% that is 0.14, so 0.2 CPUs would do.',
    );
  });

  test('made too small: what was used when it was larger asks for more, by as much as was seen', () => {
    const more = verdict(reportOf({ ...good, cpus: 2, usedCpus: 3.2 }), 'more-cpus');
    assert.deepEqual([more.cpus, more.servers, more.atLimit], [{ from: 2, to: 5 }, 3, false]);
  });

  test('in the band: it stays as it is', () => {
    const report = reportOf(good);
    assert.deepEqual(kindsOf(report), ['fits']);
    assert.deepEqual(report.bound, { by: 'nothing' });
    assert.equal(
      verdict(report, 'fits').text,
      'Leave it as it is: CPU p95 is 65% of 4 CPUs = 2.6 (aim: 70%); memory p95 is 63% of 8GB = 5GB.',
    );
    assert.deepEqual(report.missing, []);
  });

  test('idle: a smaller server, with the whole arithmetic', () => {
    const report = reportOf({ ...good, usedCpus: 1.36, usedBytes: 1.2 * gb, apps: [quiet] });
    const smaller = verdict(report, 'smaller-server');
    assert.deepEqual(smaller.cpus, { from: 4, to: 2 });
    assert.deepEqual(smaller.bytes, { from: 8 * gb, to: 2 * gb });
    assert.equal(
      smaller.text,
      'A smaller server would do: CPU p95 is 34% of 4 CPUs = 1.36; at 70% that is 1.94, so 2 CPUs would do. ' +
        'Memory p95 is 15% of 8GB = 1.2GB, the peak 1.2GB; at 70% the first is 1.7GB, at 90% the second 1.3GB, so 2GB would do.',
    );
  });

  test('CPU idles, and the memory is needed: fewer CPUs only', () => {
    const report = reportOf({ ...good, usedCpus: 0.5, usedBytes: 6 * gb });
    const smaller = verdict(report, 'smaller-server');
    assert.deepEqual([smaller.cpus, smaller.bytes], [{ from: 4, to: 1 }, null]);
    assert.match(smaller.text, /The memory is needed as it is\.$/);
  });

  test('idle with one CPU and little memory: nothing smaller is there', () => {
    const report = reportOf({ ...good, cpus: 1, memoryBytes: gb / 2, usedCpus: 0.01, usedBytes: 0.1 * gb, apps: [] });
    assert.deepEqual(kindsOf(report), ['fits']);
  });

  test('a quota is advised in tenths', () => {
    const report = reportOf({ ...good, cpus: 3.5, usedCpus: 0.9, apps: [quiet] });
    assert.deepEqual(verdict(report, 'smaller-server').cpus, { from: 3.5, to: 1.3 });
    const more = verdict(reportOf({ ...good, cpus: 0.3, usedCpus: 0.3, apps: [] }), 'more-cpus');
    assert.deepEqual(more.cpus, { from: 0.3, to: 0.5 });
  });

  test('CPU above the band: one more server, or a bigger one, and no more workers', () => {
    const app = { ...quiet, workers: 4, cpus: 3.6, each: [0.9, 0.9, 0.9, 0.9] };
    const report = reportOf({ ...good, usedCpus: 3.72, apps: [app] });
    assert.deepEqual(kindsOf(report), ['more-cpus']);
    assert.deepEqual(report.bound, { by: 'cpu' });
    const more = verdict(report, 'more-cpus');
    assert.deepEqual([more.cpus, more.servers, more.atLimit], [{ from: 4, to: 6 }, 2, false]);
    assert.equal(
      more.text,
      'CPU p95 is 93% of 4 CPUs = 3.72; at 70% that is 5.31. One more server: 2 of 4 CPUs each would be at 47%; or 6 CPUs instead of 4. More workers would not help.',
    );
  });

  test('all CPUs busy: it says that the demand may be higher than what was seen', () => {
    const more = verdict(reportOf({ ...good, usedCpus: 4 }), 'more-cpus');
    assert.equal(more.atLimit, true);
    assert.match(more.text, /what was really wanted is not known/);
  });

  test('memory above the band: more of it, by its peak', () => {
    const report = reportOf({ ...good, usedBytes: 7.6 * gb, apps: [{ ...quiet, workerBytes: gb / 4 }] });
    assert.deepEqual(report.bound, { by: 'memory' });
    assert.deepEqual(verdict(report, 'more-memory').bytes, { from: 8 * gb, to: 16 * gb });
    assert.ok(!kindsOf(report).includes('smaller-server'));
  });

  test('memory that is needed for a minute only is needed', () => {
    const report = reportOf({ ...good, usedBytes: (i) => (i === 600 ? 3.6 * gb : gb), apps: [quiet] });
    assert.deepEqual(kindsOf(report), ['fits']);
  });

  test('a daily wave is judged by its busy hours, not by the mean', () => {
    const report = reportOf({ ...good, usedCpus: wave(0.1, 2.9), apps: [{ ...quiet, cpus: wave(0, 1.3) }] });
    assert.ok((report.cpu.usage?.mean ?? 1) < 0.5, 'the mean alone would ask for a smaller server');
    assert.deepEqual(kindsOf(report), ['fits']);
    assert.match(
      verdict(report, 'fits').text,
      /% of the time CPU was below the band; a server has to carry its busy hours/,
    );
  });

  test('two hours above the band in a wave are a reason, one minute is none', () => {
    const hours = reportOf({ ...good, usedCpus: (i) => (i >= 600 && i < 720 ? 3.8 : 1) });
    assert.ok(kindsOf(hours).includes('more-cpus'));
    const minute = reportOf({ ...good, usedCpus: (i) => (i === 600 ? 3.96 : 2.6) });
    assert.deepEqual(kindsOf(minute), ['fits', 'spike']);
    const spike = verdict(minute, 'spike');
    assert.deepEqual([spike.resource, spike.aboveMs], ['cpu', 60_000]);
    assert.equal(spike.text, 'CPU was above 90% for 1m, at most 99%: too short to need a bigger server.');
  });

  test('a spike of a minute does not keep an idle server big, and is named', () => {
    const smaller = verdict(
      reportOf({ ...good, usedCpus: (i) => (i === 600 ? 3.9 : 0.6), apps: [quiet] }),
      'smaller-server',
    );
    assert.deepEqual(smaller.cpus, { from: 4, to: 1 });
    assert.match(smaller.text, /though the highest sample of 3\.9 would have had to wait/);
  });

  test('half an hour of the day does keep it: p99 has to stay in the band', () => {
    const report = reportOf({ ...good, usedCpus: (i) => (i >= 600 && i < 630 ? 2.5 : 0.6), apps: [quiet] });
    const smaller = verdict(report, 'smaller-server');
    assert.deepEqual(smaller.cpus, { from: 4, to: 3 });
    assert.match(smaller.text, /at 70% that is 0\.86 \(p99 of 2\.5 at 90%: 2\.78\), so 3 CPUs/);
  });

  test('the target is what the config says', () => {
    const report = reportOf({ ...good, usedCpus: 1.36, target: 0.4, apps: [quiet] });
    assert.deepEqual(kindsOf(report), ['fits']);
  });
});

describe('what was not seen', () => {
  test('nothing: no verdict but that', () => {
    const report = reportOf({ ...good, count: 0 });
    assert.deepEqual(kindsOf(report), ['no-history']);
    assert.deepEqual([report.bound, report.cpu.usage, report.memory.usage], [{ by: 'unknown' }, null, null]);
    assert.deepEqual(report.missing, ['nothing was sampled in this time']);
    assert.equal(report.observed.span, null);
  });

  test('some minutes: nothing less is advised, and it says how much there is', () => {
    const report = reportOf({ ...good, count: 12, usedCpus: 0.2, usedBytes: gb, apps: [{ ...quiet, workers: 9 }] });
    assert.deepEqual(kindsOf(report), ['too-early']);
    assert.match(verdict(report, 'too-early').text, /^Only 12m were seen\./);
    assert.deepEqual(report.missing, ['only 12m of the 1d asked for were seen']);
  });

  test('some minutes: what is too much now is said', () => {
    assert.deepEqual(kindsOf(reportOf({ ...good, count: 12, usedCpus: 3.8 })), ['more-cpus', 'too-early']);
  });

  test('some hours: a smaller server, with what was not seen', () => {
    const report = reportOf({ ...good, count: 180, usedCpus: 0.2, apps: [quiet] });
    assert.match(
      verdict(report, 'smaller-server').text,
      /Only 3h were seen: a busier hour outside of them is not in this\.$/,
    );
  });

  test('fewer than ten points: nothing is said, busy or not', () => {
    const report = reportOf({ ...good, count: 9, usedCpus: 4 });
    assert.deepEqual([kindsOf(report), report.bound], [['too-early'], { by: 'unknown' }]);
    assert.equal(
      verdict(report, 'too-early').text,
      'Only 9m were seen: too little to say anything. Ask again after 10m.',
    );
    assert.deepEqual(kindsOf(reportOf({ ...good, count: 10, usedCpus: 4 })), ['more-cpus', 'too-early']);
  });

  test('fewer than ten minutes: single samples', () => {
    const samples = Array.from({ length: 30 }, (_, i) => ({
      ...{ atMs: Date.UTC(2026, 0, 2) - (30 - i) * 2_000, cpuPercent: 50, cpuMaxPercent: 60, memoryBytes: gb },
      ...{ memoryMaxBytes: gb, queue: null, ready: null, goal: null },
    }));
    const report = reportOf({ ...good, count: 1 });
    assert.deepEqual([report.observed.stepMs, report.observed.points], [60_000, 1]);
    const fine = reportWithFine({ ...good, count: 9 }, samples);
    assert.deepEqual([fine.observed.stepMs, fine.observed.points, fine.observed.coveredMs], [2_000, 30, 60_000]);
    assert.equal(reportWithFine({ ...good, count: 10 }, samples).observed.stepMs, 60_000);
  });

  test('a gap is named, and counts neither as idle nor as seen', () => {
    const report = reportOf({ ...good, missing: (i) => i >= 100 && i < 220 });
    assert.deepEqual(kindsOf(report), ['fits']);
    assert.equal(report.observed.gapsMs, 120 * 60_000);
    assert.equal(report.observed.coveredMs, 1_320 * 60_000);
    assert.deepEqual(report.missing, ['nothing is known of 2h in between: no master ran, or it did not sample']);
  });

  test('CPU that is never known: no verdict on CPUs, and it is said', () => {
    const report = reportOf({ ...good, usedCpus: null, usedBytes: gb, apps: [{ ...quiet, cpus: null }] });
    const smaller = verdict(report, 'smaller-server');
    assert.deepEqual([smaller.cpus, smaller.bytes], [null, { from: 8 * gb, to: 2 * gb }]);
    assert.deepEqual(report.bound, { by: 'unknown' });
    assert.deepEqual(report.missing, ['CPU of the host was never known', 'CPU of web was never known']);
  });

  test('CPU that is not known at times is left out, not taken for 0', () => {
    const report = reportOf({ ...good, usedCpus: (i) => (i % 2 === 0 ? null : 2.6) });
    assert.equal(report.cpu.usage?.median, 0.65);
    assert.equal(report.cpu.usage?.within, 1);
    assert.deepEqual(report.missing, ['CPU is not known for 720 of 1440 points; they are left out']);
  });

  test('memory that may be used is not known yet: nothing is divided by 0', () => {
    const report = reportOf({ ...good, memoryBytes: 0 });
    assert.equal(report.memory.usage, null);
    assert.ok(!JSON.stringify(report).includes('Infinity') && !JSON.stringify(report).includes('NaN'));
  });

  test('only what lies in the time asked for counts', () => {
    const report = reportOf({ ...good, usedCpus: (i) => (i < 1_380 ? 3.9 : 2.6), spanMs: 3_600_000 });
    assert.deepEqual(kindsOf(report), ['fits']);
    assert.deepEqual([report.observed.points, report.missing], [60, []]);
  });
});

describe('workers', () => {
  const busy = { workers: 2, cpus: 1.96, workerBytes: 300 * mb, queue: 4 };

  test('all at one core while the host idles: more of them, with the arithmetic', () => {
    const report = reportOf({ ...good, usedCpus: 2.1, usedBytes: 3 * gb, apps: [busy] });
    assert.deepEqual(kindsOf(report), ['more-workers']);
    assert.deepEqual(report.bound, { by: 'workers', app: 'web' });
    const more = verdict(report, 'more-workers');
    assert.deepEqual([more.workers, more.wanted, more.limitedBy, more.what], [{ from: 2, to: 3 }, 3, null, 'workers']);
    assert.equal(
      more.text,
      "web: 3 workers instead of 2. A worker's p95 is 0.98 CPUs: as much as one thread can use, while the host is at 53% of 4 CPUs. " +
        'Together they use 1.96 CPUs; at 70% each that is 2.8 workers, so 3; each takes 300MB, 300MB together.',
    );
  });

  test('no more than the CPUs that are left', () => {
    const app = { ...busy, workers: 4, cpus: 4 };
    const more = verdict(reportOf({ ...good, cpus: 6, usedCpus: 4.2, usedBytes: 2 * gb, apps: [app] }), 'more-workers');
    assert.deepEqual([more.workers, more.wanted, more.limitedBy], [{ from: 4, to: 5 }, 6, 'cpu']);
    assert.match(more.text, /The load asks for 6; more than 5 do not find enough CPU here\.$/);
  });

  test('no more than fit into memory; none fits: that is said', () => {
    const app = { ...busy, workers: 4, cpus: 4, workerBytes: gb };
    const some = reportOf({ ...good, cpus: 16, usedCpus: 4.2, usedBytes: 5.5 * gb, apps: [app] });
    assert.deepEqual(verdict(some, 'more-workers').workers, { from: 4, to: 5 });
    assert.equal(verdict(some, 'more-workers').limitedBy, 'memory');
    const none = reportOf({ ...good, cpus: 16, usedCpus: 4.2, usedBytes: 6.9 * gb, apps: [app] });
    assert.deepEqual(none.bound, { by: 'workers', app: 'web' });
    assert.equal(verdict(none, 'no-room-for-worker').needBytes, gb);
    assert.match(verdict(none, 'no-room-for-worker').text, /one more takes 1GB, and 307MB are left below 90% of 8GB/);
  });

  test('no more than the memory budget allows', () => {
    const apps = [{ ...busy, workers: 4, cpus: 4, workerBytes: gb }];
    const day: Day = { ...good, cpus: 16, usedCpus: 4.2, usedBytes: 4.2 * gb, apps };
    assert.equal(verdict(reportOf(day), 'more-workers').workers.to, 6);
    assert.equal(verdict(reportOf({ ...day, budgetBytes: 6 * gb }), 'more-workers').workers.to, 5);
    const full = verdict(reportOf({ ...day, budgetBytes: 5 * gb }), 'no-room-for-worker');
    assert.match(full.text, /512MB are left below 90% of 8GB and of the budget of 5GB\./);
  });

  test('several apps share what is left', () => {
    const apps = ['a', 'b', 'c'].map((name) => ({ ...busy, name, workers: 1, cpus: 0.99 }));
    const report = reportOf({ ...good, cpus: 6, usedCpus: 3.3, usedBytes: 3 * gb, apps });
    const added = report.advice.flatMap((one) =>
      one.kind === 'more-workers' ? [one.workers.to - one.workers.from] : [],
    );
    assert.deepEqual(added, [1, 1], '2.1 CPUs are left below 90 %');
  });

  test('workers of several busy threads are at no limit', () => {
    const report = reportOf({ ...good, apps: [{ ...busy, workers: 1, cpus: 1.8, queue: 0 }] });
    assert.deepEqual(kindsOf(report), ['fits']);
  });

  test('a scaled app: a higher max when it is at it, nothing when it is below', () => {
    const scaled = (max: number): Day => ({
      ...{ ...good, cpus: 8, usedCpus: 4.2, usedBytes: 4.5 * gb },
      apps: [{ ...busy, workers: 4, cpus: 3.9, staffing: { kind: 'scaled', max } }],
    });
    const at = verdict(reportOf(scaled(4)), 'more-workers');
    assert.deepEqual([at.what, at.workers], ['max', { from: 4, to: 6 }]);
    assert.match(at.text, /^web: `max` 6 instead of 4\./);
    assert.deepEqual(kindsOf(reportOf(scaled(6))), ['fits']);
  });

  test('a max that does not fit into memory', () => {
    const app = { ...quiet, workerBytes: gb, staffing: { kind: 'scaled', max: 8 } as const };
    const report = reportOf({ ...good, usedBytes: 5 * gb, apps: [app] });
    const high = verdict(report, 'max-too-high');
    assert.deepEqual([high.workers, high.needBytes], [{ from: 8, to: 4 }, 6 * gb]);
    assert.match(
      high.text,
      /a worker takes 1GB, 6 more than now need 6GB, and below 90% of 8GB there is room for 2\.$/,
    );
  });

  test('more than CPUs that do little: fewer, unless clients wait or it serves none', () => {
    const day = (app: object): Day => ({ ...good, apps: [{ ...quiet, workers: 10, ...app }] });
    const fewer = verdict(reportOf(day({})), 'fewer-workers');
    assert.deepEqual([fewer.workers, fewer.because, fewer.savedBytes], [{ from: 10, to: 4 }, 'cpus', 600 * mb]);
    assert.match(
      fewer.text,
      /there are more workers than CPUs \(4\).* gives back 600MB\. Keep them if each does one request/,
    );
    assert.deepEqual(kindsOf(reportOf(day({ queue: 3 }))).includes('fewer-workers'), false);
    assert.deepEqual(kindsOf(reportOf(day({ serves: false }))), ['fits']);
  });

  test('memory is short and they do little: fewer of them', () => {
    const report = reportOf({ ...good, usedBytes: 7.5 * gb, apps: [{ ...quiet, workers: 4, workerBytes: gb }] });
    assert.deepEqual(kindsOf(report), ['more-memory', 'reload-does-not-fit', 'fewer-workers']);
    const fewer = verdict(report, 'fewer-workers');
    assert.deepEqual([fewer.workers, fewer.because, fewer.savedBytes], [{ from: 4, to: 1 }, 'memory', 3 * gb]);
    assert.equal(verdict(report, 'reload-does-not-fit').freeBytes, gb / 2);
  });

  test('one hot worker: no more workers, but its balance', () => {
    const report = reportOf({ ...good, apps: [{ ...quiet, workers: 3, cpus: 1.1, each: [0.05, 0.98, 0.07] }] });
    assert.deepEqual(kindsOf(report), ['hot-worker']);
    const hot = verdict(report, 'hot-worker');
    assert.equal(hot.worker, 'web.2');
    assert.match(hot.text, /^web: web\.2 uses 0\.98 CPUs, the others 0\.06 each\./);
  });

  test('nor where the workers on average are at one core', () => {
    const report = reportOf({ ...good, apps: [{ ...quiet, workers: 2, cpus: 1.9, each: [1.5, 0.4] }] });
    assert.deepEqual(kindsOf(report), ['hot-worker']);
  });

  test('nobody is said to do more than others of whom too little was seen', () => {
    const facts = factsOf({ ...good, apps: [{ ...quiet, workers: 3, cpus: 1.1, each: [0.05, 0.98, 0.07] }] });
    const [web] = facts.apps;
    assert.ok(web !== undefined);
    const workers = web.workers.map((one, index) => {
      const { day, fine } = one.history;
      return index === 2 ? { ...one, history: { fine, day: { ...day, points: day.points.slice(-9) } } } : one;
    });
    const report = capacityOf({ ...facts, apps: [{ ...web, workers }] }, '');
    assert.deepEqual([report.apps[0]?.busiest, kindsOf(report)], [null, ['fits']]);
  });

  test('connections wait while the workers do', () => {
    const report = reportOf({ ...good, apps: [{ ...quiet, cpus: 0.4, queue: 12 }] });
    assert.deepEqual(kindsOf(report), ['waiting']);
    assert.deepEqual(report.bound, { by: 'queue', app: 'web' });
    assert.match(verdict(report, 'waiting').text, /12 connections or more waited .* a worker's p95 is 0\.2 CPUs/);
  });

  test('who uses which share, and what is left for others', () => {
    const apps = [
      { ...quiet, name: 'web', cpus: 1.3, workerBytes: gb },
      { ...quiet, name: 'jobs', cpus: 0.65, workerBytes: gb / 2 },
    ];
    const report = reportOf({ ...good, apps });
    const shares = report.apps.map(({ name, cpuShare, memoryShare }) => [name, cpuShare, memoryShare]);
    assert.deepEqual(shares, [
      ['web', 0.5, 0.4],
      ['jobs', 0.25, 0.2],
    ]);
    assert.ok(Math.abs((report.others.cpus ?? 0) - 0.65) < 1e-9);
    assert.equal(report.others.memoryBytes, 2 * gb);
    assert.equal(reportOf({ ...good, apps: [{ ...quiet, cpus: null }] }).others.cpus, null);
  });
});

describe('memory that grows', () => {
  const leak = (i: number) => 200 * mb + i * mb;

  test('a leak is named; no bigger server for it, no smaller one, and no fewer workers', () => {
    const usedBytes = (i: number) => 5 * gb + 2 * leak(i);
    const report = reportOf({ ...good, usedCpus: 0.3, usedBytes, apps: [{ ...quiet, workerBytes: leak }] });
    assert.deepEqual([kindsOf(report), report.bound], [['leak'], { by: 'memory' }]);
    const found = verdict(report, 'leak');
    assert.equal(Math.round((found.growth?.bytesPerHour ?? 0) / mb), 60);
    assert.match(found.text, /a worker from \d+MB to 1\.\dGB in 16h, 60MB an hour.*More memory would only put it off/);
  });

  test('when it fills the host is said', () => {
    const report = reportOf({
      ...good,
      count: 120,
      usedBytes: (i) => 4 * gb + 2 * leak(i),
      apps: [{ ...quiet, workerBytes: leak }],
    });
    const leftBytes = 4 * gb - 2 * leak(119);
    const { fullInMs } = verdict(report, 'leak');
    assert.equal(Math.round((fullInMs ?? 0) / 60_000), Math.round(leftBytes / (2 * mb)));
  });

  const noLeak: Record<string, (i: number) => number> = {
    'level': () => 300 * mb,
    'a warm-up': (i) => (300 + 200 * Math.min(1, i / 120)) * mb,
    'a long warm-up': (i) => (300 + 200 * (1 - Math.exp(-i / 300))) * mb,
    'a step': (i) => (i < 700 ? 300 : 500) * mb,
    'up and down': (i) => (300 + 100 * Math.sin(i / 100)) * mb,
    'a little': (i) => (300 + i / 100) * mb,
    'a fall': (i) => (900 - i / 4) * mb,
  };
  for (const [what, workerBytes] of Object.entries(noLeak)) {
    test(`${what} is no leak`, () =>
      assert.deepEqual(kindsOf(reportOf({ ...good, apps: [{ ...quiet, cpus: 1.3, workerBytes }] })), ['fits']));
  }

  test('what grows with the load is no leak', () => {
    const apps = [{ ...quiet, cpus: (i: number) => 0.1 + i / 1_000, workerBytes: leak }];
    assert.ok(!kindsOf(reportOf({ ...good, apps })).includes('leak'));
  });

  test('a leak goes on after a deploy', () => {
    const report = reportOf({
      ...good,
      apps: [{ ...quiet, cpus: 1.3, workerBytes: (i) => leak(i < 900 ? i : i - 900) }],
    });
    const { growth } = verdict(report, 'leak');
    assert.equal(growth?.spanMs, 360 * 60_000);
  });

  test('in the first minutes it is seen in single samples', () => {
    const facts = factsOf({ ...good, count: 12, apps: [{ ...quiet, workerBytes: leak }] });
    const [web] = facts.apps;
    assert.ok(web !== undefined);
    const samples = Array.from({ length: 180 }, (_, i) => ({
      ...{ atMs: facts.nowMs - (180 - i) * 2_000, cpuPercent: 5, cpuMaxPercent: 5, queue: 0, ready: 2, goal: 2 },
      ...{ memoryBytes: 2 * (100 + i) * mb, memoryMaxBytes: 2 * (100 + i) * mb },
    }));
    const fine = { ...web.history.fine, points: samples };
    const report = capacityOf({ ...facts, apps: [{ ...web, history: { ...web.history, fine } }] }, '');
    assert.equal(Math.round((verdict(report, 'leak').growth?.bytesPerHour ?? 0) / mb), 1_800);
  });

  test('too short a time shows no leak', () => {
    assert.ok(
      !kindsOf(
        reportOf({ ...good, count: 25, apps: [{ ...quiet, cpus: 1.3, workerBytes: (i) => leak(10 * i) }] }),
      ).includes('leak'),
    );
  });

  test('workers that were replaced again and again because of their memory', () => {
    const day = (recycled: number): Day => ({ ...good, apps: [{ ...quiet, cpus: 1.3, recycled }] });
    assert.match(verdict(reportOf(day(3)), 'leak').text, /^web leaks memory\. Its workers were replaced 3 times/);
    assert.deepEqual(kindsOf(reportOf(day(2))), ['fits']);
  });

  test('an end for want of memory is named first, and binds', () => {
    const report = reportOf({ ...good, apps: [{ ...quiet, cpus: 1.3, oomKills: 2 }] });
    assert.deepEqual([kindsOf(report), report.bound], [['oom'], { by: 'memory' }]);
    assert.match(
      verdict(report, 'oom').text,
      /^The kernel ended 2 workers of web .* 8GB \(memory of the host\) are too few .* a worker needs 100MB/,
    );
  });
});
