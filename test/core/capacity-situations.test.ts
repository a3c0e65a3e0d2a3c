/** What `capacity` says of three situations that real masters were in: test/fixtures/capacity says which. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { capacityOf, type CapacityFacts, type CapacityReport } from '../../src/core/capacity.ts';
import type { History, HistoryPoint } from '../../src/core/history.ts';
import { kindsOf, mb, verdict } from '../helpers/capacity-facts.ts';

const fields = ['cpuPercent', 'cpuMaxPercent', 'memoryBytes', 'memoryMaxBytes', 'queue', 'ready', 'goal'] as const;

/** The facts as they were recorded: the rows of each history are points again. */
function recorded(name: string): CapacityFacts {
  const { nowMs } = JSON.parse(read(name)) as CapacityFacts;
  return JSON.parse(read(name), (_, value: unknown) =>
    isRows(value) ? historyOf(value, nowMs) : value,
  ) as CapacityFacts;
}

interface Rows {
  readonly target: string;
  readonly stepMs: number;
  readonly rows: readonly (readonly (number | null)[])[];
}

const read = (name: string) => readFileSync(`test/fixtures/capacity/${name}.json`, 'utf8');

function isRows(value: unknown): value is Rows {
  return typeof value === 'object' && value !== null && 'rows' in value;
}

function historyOf({ target, stepMs, rows }: Rows, nowMs: number): History {
  const points = rows.map(([ageMs, ...values]) => {
    const known = fields.map((field, index) => [field, values[index] ?? null]);
    return { atMs: nowMs - (ageMs ?? 0), ...Object.fromEntries(known) } as HistoryPoint;
  });
  return { target, stepMs, points };
}

const reportOf = (facts: CapacityFacts): CapacityReport => capacityOf(facts, '2026-01-01T00:00:00.000Z');

/** The same samples as if each had stood for a minute: five hours like those ten minutes. */
function stretched(facts: CapacityFacts): CapacityFacts {
  const longer = ({ fine }: { readonly fine: History }) => {
    const lastMs = fine.points.at(-1)?.atMs ?? 0;
    const points = fine.points.map((point) => ({ ...point, atMs: lastMs - 30 * (lastMs - point.atMs) }));
    return { fine: { ...fine, points: [] }, day: { ...fine, stepMs: 60_000, points } };
  };
  const apps = facts.apps.map((app) => ({ ...app, history: longer(app.history), workers: [] }));
  return { ...facts, spanMs: 86_400_000, hostHistory: longer(facts.hostHistory), apps };
}

describe('an idle app', () => {
  test('ten minutes are too few to advise anything smaller', () => {
    const report = reportOf(recorded('idle'));
    assert.deepEqual([kindsOf(report), report.bound], [['too-early'], { by: 'nothing' }]);
    assert.ok((report.cpu.usage?.p95 ?? 1) < 0.05 && report.cpu.usage?.below === 1);
    assert.deepEqual(
      report.apps.map(({ name, workers }) => [name, workers]),
      [['web', 2]],
    );
  });

  test('hours like these: a smaller one would do', () => {
    const report = reportOf(stretched(recorded('idle')));
    assert.deepEqual(kindsOf(report), ['smaller-server']);
    const smaller = verdict(report, 'smaller-server');
    assert.deepEqual(
      [smaller.cpus, smaller.bytes],
      [
        { from: 1.5, to: 0.1 },
        { from: 1_024 * mb, to: 512 * mb },
      ],
    );
    assert.match(
      smaller.text,
      /at 70% that is 0\.00\d+ .*, so 0\.1 CPUs would do.*so 512MB would do\. Only [45]h.* were seen/,
    );
  });
});

describe('an app that uses up its CPUs', () => {
  test('CPU binds, more workers are not advised, and it was at its limit', () => {
    const report = reportOf(recorded('busy'));
    assert.deepEqual([kindsOf(report), report.bound], [['more-cpus', 'too-early'], { by: 'cpu' }]);
    const more = verdict(report, 'more-cpus');
    assert.deepEqual([more.cpus, more.servers, more.atLimit], [{ from: 0.3, to: 0.5 }, 2, true]);
    assert.ok((report.apps[0]?.cpuShare ?? 0) > 0.9, 'it is the app that uses them');
    assert.ok((report.cpu.usage?.above ?? 0) > 0.8);
  });
});

describe('an app that leaks', () => {
  test('the leak is named, with its rate and when memory is full', () => {
    const report = reportOf(recorded('leak'));
    assert.deepEqual(kindsOf(report), ['leak', 'too-early']);
    const { growth, fullInMs } = verdict(report, 'leak');
    // A request a second, each of which leaves 350 KB: 1.2 GB an hour.
    const perHour = 3_600 * 350 * 1_024;
    assert.ok(growth !== null && Math.abs(growth.bytesPerHour - perHour) < 0.15 * perHour, `${growth?.bytesPerHour}`);
    assert.ok(fullInMs !== null && fullInMs > 0 && fullInMs < 3_600_000);
  });

  test('it is no leak that somebody else has', () => {
    for (const name of ['idle', 'busy']) assert.ok(!kindsOf(reportOf(recorded(name))).includes('leak'), name);
  });
});
