/** `supervise capacity` of a real master, in a cgroup of its own where one can be made: then nobody else is in its figures. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import type { CapacityReport } from '../../src/core/capacity.ts';
import { Site } from '../helpers/e2e-site.ts';
import { limitedCgroup } from '../helpers/limited-cgroup.ts';

const mb = 2 ** 20;
const every = { resources: { sample_every: '200ms' } };
const sleeper = { command: ['/bin/sh', '-c', 'echo up; exec sleep 1000'], ready: { log: '^up$' } };
const burner = { command: ['/bin/sh', '-c', 'echo up; while :; do :; done'], ready: { log: '^up$' } };

async function capacity(site: Site, ...args: string[]): Promise<CapacityReport> {
  return JSON.parse(await site.ok('capacity', '--json', ...args)) as CapacityReport;
}

describe('capacity', () => {
  test('of a master that has just begun: who runs, what is not known yet, and that it is too early for less', async (t) => {
    const site = new Site(t);
    site.config({ ...every, apps: { web: { ...sleeper, workers: 2 } } });
    const master = await site.start().serves();
    const report = await master.until('memory of the app is known', async () => {
      const found = await capacity(site);
      return (found.apps[0]?.memory ?? null) !== null && found.cpu.usage !== null ? found : null;
    });
    assert.deepEqual([report.askedMs, report.target, report.band], [86_400_000, 0.7, { low: 0.5, high: 0.9 }]);
    assert.equal(report.observed.coverage, 'minutes');
    assert.ok(report.advice.some(({ kind }) => kind === 'too-early'));
    assert.ok(!report.advice.some(({ kind }) => kind === 'smaller-server'));
    const [web] = report.apps;
    assert.deepEqual([web?.name, web?.workers, web?.staffing], ['web', 2, { kind: 'fixed', max: 2 }]);
    assert.ok((web?.workerBytes ?? 0) > 0 && (web?.memory?.peak ?? 0) >= (web?.workerBytes ?? Infinity));
    const text = await site.ok('capacity', '--last', '10m');
    assert.match(text, /^the last 10m: .* seen, \d+ points? of .*; aim 70%, band 50% to 90%\n/);
    assert.match(text, /^web +2 /m);
    assert.match(text, /^- Only .* were seen/m);
  });

  test('in a cgroup with a quota that is used up: CPU binds, and the quota is the source', async (t) => {
    const cgroup = limitedCgroup(t);
    if (cgroup === null) return;
    cgroup.setCpus(0.2);
    cgroup.setMemory(512 * mb);
    const site = new Site(t);
    site.config({ ...every, apps: { web: { ...burner, workers: 2 } } });
    const start = site.start();
    for (const procs of cgroup.procs) if (existsSync(procs)) writeFileSync(procs, String(start.pid));
    const master = await start.serves();
    // Those that were started before it was moved are not in the cgroup: all of them again.
    await site.ok('restart', 'web');
    await master.serves();
    const report = await master.until('the quota is used up', async () => {
      const found = await capacity(site, '--last', '1m');
      return found.bound.by === 'cpu' ? found : null;
    });
    assert.equal(report.cpu.usable, 0.2);
    assert.match(report.cpu.source, /quota of 0\.2 CPUs/);
    const [first] = report.advice;
    assert.equal(first?.kind, 'more-cpus');
    assert.match(first?.text ?? '', /of 0\.2 CPUs = 0\.\d+; at 70% that is 0\.\d+.*More workers would not help/);
    assert.ok(!report.advice.some(({ kind }) => kind === 'more-workers'));
  });

  test('without a master: exit 3; a time that cannot be: exit 64, with what was expected', async (t) => {
    const site = new Site(t);
    site.config({ apps: { web: sleeper } });
    const none = await site.run(['capacity']);
    assert.equal(none.code, 3, none.stderr);
    for (const [last, message] of [
      ['30', /--last: expected a duration from 1m to 1d, as 30m or 24h, found 30[\s\S]*did you mean 30s\?/],
      ['30s', /--last: expected a duration from 1m to 1d, as 30m or 24h, found 30s/],
      ['25h', /found 25h/],
    ] as const) {
      const wrong = await site.run(['capacity', '--last', last]);
      assert.equal(wrong.code, 64, wrong.stderr);
      assert.match(wrong.stderr, message);
    }
  });
});
