/** The text of `capacity` on a screen. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { capacityText } from '../../src/cli/capacity-text.ts';
import type { CapacityReport } from '../../src/core/capacity.ts';
import { gb, mb, reportOf } from '../helpers/capacity-facts.ts';

const plain = { green: String, yellow: String, red: String, dim: String, bold: String };
const app = { workers: 4, cpus: 1.2, workerBytes: 200 * mb, queue: 0 };
const idle = reportOf({ usedCpus: 1.36, usedBytes: 1.2 * gb, apps: [app] });

test('the host against the band, who uses it, what binds, and the advice in short lines', () => {
  assert.equal(
    capacityText(idle, plain),
    `the last 1d: 1d seen, 1440 points of 1m; aim 70%, band 50% to 90%

HOST    MEAN  MEDIAN  P95  PEAK  BELOW  WITHIN  ABOVE  OF
cpu     34%   34%     34%  34%   100%   0%      0%     4 CPUs (4 CPUs online)
memory  15%   15%     15%  15%   100%   0%      0%     8GB (memory of the host)

APP       WORKERS  CPUS  P95  A WORKER  SHARE  MEMORY  P95    A WORKER  SHARE  QUEUE
web       4        1.2   1.2  0.3       88%    800MB   800MB  200MB     65%    0
(others)           0.16                        429MB

Nothing binds: there is CPU and memory left

- A smaller server would do: CPU p95 is 34% of 4 CPUs = 1.36; at 70% that is 1.94, so 2 CPUs would
  do. Memory p95 is 15% of 8GB = 1.2GB, the peak 1.2GB; at 70% the first is 1.7GB, at 90% the second
  1.3GB, so 2GB would do.
`,
  );
});

test('what is not known is a dash, and is named', () => {
  const text = capacityText(reportOf({ count: 0, usedCpus: 0, usedBytes: 0, apps: [app] }), plain);
  assert.match(text, /^the last 1d: nothing seen;/);
  assert.match(text, /^cpu +-( +-){6} +4 CPUs/m);
  assert.match(text, /^web +4( +-){9}$/m);
  assert.match(text, /^not known: nothing was sampled in this time$/m);
});

test('a scaled app shows its max', () => {
  const staffing = { kind: 'scaled', max: 6 } as const;
  const text = capacityText(reportOf({ usedCpus: 2.6, usedBytes: gb, apps: [{ ...app, staffing }] }), plain);
  assert.match(text, /^web +4 of 6 /m);
});

test('no line of advice is longer than 100 columns, and no word is lost', () => {
  const report = reportOf({ usedCpus: 2.1, usedBytes: 3 * gb, apps: [{ ...app, workers: 2, cpus: 1.96 }] });
  const text = capacityText(report, plain);
  const lines = text.split('\n').filter((line) => /^[- ] /.test(line));
  assert.ok(lines.length > 2 && lines.every((line) => line.length <= 100), text);
  const said = lines.map((line) => line.slice(2)).join(' ');
  assert.equal(said, report.advice.map((one) => one.text).join(' '));
});

test('foreign text cannot move the cursor', () => {
  const evil = 'a\u001b[2J\u0007b';
  const [first] = idle.advice;
  assert.ok(first !== undefined);
  const report: CapacityReport = {
    ...idle,
    cpu: { ...idle.cpu, source: evil },
    apps: idle.apps.map((one) => ({ ...one, name: evil })),
    advice: [{ ...first, text: evil }],
    missing: [evil],
    bound: { by: 'queue', app: evil },
  };
  assert.doesNotMatch(capacityText(report, plain), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
});
