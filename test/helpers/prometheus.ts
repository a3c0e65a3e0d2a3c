/** Metrics as others read them: the parsers of Prometheus' own Python client, and promtool. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { python } from './e2e-site.ts';

export interface ParsedSample {
  readonly family: string;
  readonly type: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const program = `
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
families = {'openmetrics': openmetrics, 'prometheus': prometheus}[sys.argv[1]](sys.stdin.read())
print(json.dumps([dict(family=f.name, type=f.type, name=s.name, labels=s.labels, value=s.value) for f in families for s in f.samples]))
`;

/** Why the parsers cannot be asked here; false: they can. */
export const noParser =
  spawnSync(python, ['-c', 'import prometheus_client']).status !== 0 && 'python3-prometheus-client is not installed';

export const noPromtool = spawnSync('promtool', ['--version']).status !== 0 && 'promtool is not installed';

/** All samples, as Prometheus' own parser reads them; fails where it refuses the text. */
export function parsed(text: string, format: 'prometheus' | 'openmetrics'): readonly ParsedSample[] {
  const { status, stdout, stderr } = spawnSync(python, ['-c', program, format], {
    input: text,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as ParsedSample[];
}

/** Runs promtool, which must find nothing. */
export function promtool(args: readonly string[], input = ''): void {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  assert.equal(`${stderr}${status === 0 ? '' : stdout}`, '', `promtool ${args.join(' ')}`);
  assert.equal(status, 0);
}

/** The value of the one sample with this name and these labels; null: there is none. */
export function valueOf(
  samples: readonly ParsedSample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | null {
  const found = samples.filter(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );
  assert.ok(found.length <= 1, `${name} ${JSON.stringify(labels)} is not one sample but ${found.length}`);
  return found[0]?.value ?? null;
}
