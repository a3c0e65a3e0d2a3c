/**
 * What is published about metrics: the reference lists them all, and the dashboard, the alerts and the guide use none that is not
 * exported, with no label and no word that it does not have. promtool checks that the expressions are PromQL, and what the alerts make
 * of a few hours.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ailments } from '../../src/core/ailments.ts';
import { appStates, budgetLevels, causes, masterStates, workerStates } from '../../src/core/protocol.ts';
import { families } from '../../src/control/metrics/exposition.ts';
import { hookResults, rolloutResults, scalers } from '../../src/control/metrics/tally.ts';
import { noPromtool, promtool } from '../helpers/prometheus.ts';

interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
}

const alertsFile = 'docs/prometheus/alerts.yml';
const alerts = (parse(readFileSync(alertsFile, 'utf8')) as Rules).groups.flatMap(({ rules }) => rules);
const dashboard: unknown = JSON.parse(readFileSync('docs/grafana/supervise.json', 'utf8'));
const guide = readFileSync('docs/guides/metrics.md', 'utf8');

/** All values of this key, anywhere below. */
function valuesOf(key: string, node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([name, value]) =>
    name === key && typeof value === 'string' ? [value] : valuesOf(key, value),
  );
}

const [, queries = ''] = guide.split('## Queries that help');
const expressions: Readonly<Record<string, readonly string[]>> = {
  'the alerts': alerts.map(({ expr }) => expr),
  'the dashboard': valuesOf('expr', dashboard),
  "the dashboard's variables": valuesOf('definition', dashboard),
  'the guide': queries.split('\n').filter((line) => line.includes('supervise_')),
};

/** The words that a label may have; labels that are not here have names of the config as their values. */
const wordsOf: Readonly<Record<string, readonly string[]>> = {
  state: [...masterStates, ...appStates, ...workerStates],
  cause: causes,
  ailment: ailments,
  level: budgetLevels,
  by: scalers,
  direction: ['up', 'down'],
  operation: ['reload', 'restart', 'scale', 'stop'],
  result: [...hookResults, ...rolloutResults, 'ok', 'failed'],
  kind: ['pss', 'rss'],
};

test('metrics.md lists every metric with its type and labels', () => {
  const text = readFileSync('docs/reference/metrics.md', 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` \| (\w+) \|([^|]*)\|/gm)].map(([, name, type, labels = '']) => ({
    name,
    type,
    labels: labels.split(',').flatMap((label) => label.trim() || []),
  }));
  const real = families.map(({ name, type, labels }) => ({ name, type, labels }));
  const byName = (a: { name?: string | undefined }, b: { name?: string | undefined }) =>
    (a.name ?? '') < (b.name ?? '') ? -1 : 1;
  assert.deepEqual(rows.toSorted(byName), real.toSorted(byName));
});

for (const [where, texts] of Object.entries(expressions)) {
  test(`${where}: names, labels and words that are exported`, () => {
    assert.ok(texts.length > 0);
    for (const text of texts) {
      const names = [...text.matchAll(/supervise_\w+/g)].map(([name]) => name);
      assert.ok(names.length > 0 || /\bup\{/.test(text), text);
      for (const name of names)
        assert.ok(
          families.some((family) => family.name === name),
          `${name} in ${text}`,
        );
      for (const [, name, matchers = ''] of text.matchAll(/(supervise_\w+)\{([^}]*)\}/g)) {
        const known = ['job', 'instance', ...(families.find((family) => family.name === name)?.labels ?? [])];
        for (const [, label = '', value = ''] of matchers.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)) {
          assert.ok(known.includes(label), `${name} has no label ${label}: ${text}`);
          const words = wordsOf[label];
          if (words)
            for (const word of value.split('|')) assert.ok(words.includes(word), `${label}="${word}": ${text}`);
        }
      }
    }
  });
}

test('the dashboard shows every metric, but for those that another one includes', () => {
  const shown = [...expressions['the dashboard']!, ...expressions["the dashboard's variables"]!].join('\n');
  const hidden = families.map(({ name }) => name).filter((name) => !new RegExp(`\\b${name}\\b`).test(shown));
  assert.deepEqual(hidden, [
    'supervise_master_state',
    'supervise_host_memory_bytes',
    'supervise_memory_budget_level',
    'supervise_log_bytes_dropped_total',
    'supervise_app_goal_spares',
    'supervise_app_revision',
    'supervise_app_warnings_total',
    'supervise_worker_starts_total',
    'supervise_worker_ready',
    'supervise_worker_revision',
    'supervise_worker_processes',
  ]);
});

test('the guide explains every alert', () => {
  const [, part = ''] = guide.split('## Alerts');
  const explained = [...part.matchAll(/^\| (Supervise[\w, ]+) \|/gm)].flatMap(([, names = '']) => names.split(', '));
  assert.deepEqual(
    explained,
    alerts.map(({ alert }) => alert).toSorted((a, b) => explained.indexOf(a) - explained.indexOf(b)),
  );
});

test('promtool takes the alerts, and they fire when they should', { skip: noPromtool }, () => {
  promtool(['check', 'rules', alertsFile]);
  promtool(['test', 'rules', 'test/fixtures/alerts.test.yml']);
});

test('promtool takes the expressions of the dashboard and the guide', { skip: noPromtool }, (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'supervise-rules-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const texts = [...expressions['the dashboard']!, ...expressions['the guide']!];
  const rules = texts.map((text, i) => ({
    record: `r${i}`,
    expr: text.replaceAll('$__rate_interval', '5m').replace(/\$\w+/g, '.*'),
  }));
  const file = join(dir, 'rules.yml');
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'x', rules }] }));
  promtool(['check', 'rules', file]);
});
