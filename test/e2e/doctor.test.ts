/** `supervise doctor` with the built program: real ports, real masters, real leftovers. */
import { describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { existsSync, readdirSync, symlinkSync } from 'node:fs';
import type { Diagnosis, DoctorCheck, FindingLevel } from '../../src/core/doctor.ts';
import { bin, fixture, Site, until } from '../helpers/e2e-site.ts';
import { inCgroup, limitedCgroup } from '../helpers/limited-cgroup.ts';

interface Examined {
  readonly code: number | null;
  readonly ok: boolean;
  /** `level message` of each finding of a check that matches. */
  of(check: DoctorCheck, about?: string): readonly string[];
}

async function examine(site: Site, ...args: string[]): Promise<Examined> {
  const { code, stdout, stderr } = await site.run(['doctor', '--json', ...args]);
  assert.equal(stderr, '');
  const { ok, findings } = JSON.parse(stdout) as Diagnosis;
  // Masters of others on this host may be in a bad state.
  assert.equal(code, ok ? 0 : 1);
  return {
    code,
    ok,
    of: (check, about = '') =>
      findings
        .filter((one) => one.check === check && one.message.includes(about))
        .map(({ level, message }) => `${level} ${message}`),
  };
}

const expectAll = (found: readonly string[], level: FindingLevel, count: number) =>
  assert.deepEqual([found.length, found.filter((one) => !one.startsWith(level))], [count, []], found.join('; '));

async function served(t: TestContext, workers = 2): Promise<{ site: Site; port: number }> {
  const site = new Site(t);
  const port = await site.port();
  const command = ['/usr/bin/python3', fixture('only-accepts.py')];
  site.config({ apps: { web: { command, workers, listen: [`127.0.0.1:${port}`, `unix:${site.path('web.sock')}`] } } });
  return { site, port };
}

describe('doctor', () => {
  test('a valid config on a free host: every check has a finding, and nothing is made', async (t) => {
    const { site } = await served(t);
    const { of } = await examine(site);
    for (const check of [
      'node',
      'kernel',
      'cpus',
      'memory',
      'koffi',
      'steering',
      'moving',
      'open-files',
      'disk',
    ] as const)
      assert.equal(of(check).length, 1, check);
    expectAll(of('config'), 'ok', 1);
    expectAll(of('port'), 'ok', 2);
    expectAll(of('port', 'is free'), 'ok', 2);
    expectAll(of('stale', site.name), 'ok', 0);
    assert.deepEqual(readdirSync(site.dir), ['supervise.yaml']);
  });

  test('for people: a line each, what to do, and the sum; --quiet leaves out what is fine', async (t) => {
    const { site } = await served(t);
    const { stdout } = await site.run(['doctor']);
    assert.match(stdout, /^ok {7}node {8}Node \d+/);
    assert.match(stdout, /\n\d+ problems?, \d+ notes?\n$/);
    const quiet = (await site.run(['doctor', '--quiet'])).stdout;
    assert.doesNotMatch(quiet, /^ok/m);
  });

  test('a port that somebody else holds, and a path that is no socket', async (t) => {
    const { site, port } = await served(t);
    const server = createServer().listen(port, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    site.write('web.sock', 'a file');
    const { code, of } = await examine(site);
    assert.equal(code, 1);
    expectAll(of('port'), 'problem', 2);
    expectAll(of('port', `pid ${process.pid} (`), 'problem', 1);
    expectAll(of('port', 'found something else'), 'problem', 1);
  });

  test('a path that cannot be looked at', async (t) => {
    const site = new Site(t);
    symlinkSync('round', site.path('round'));
    site.config({ apps: { web: { command: ['sleep', '9'], listen: `unix:${site.path('round/web.sock')}` } } });
    const { code, of } = await examine(site);
    assert.equal(code, 1);
    expectAll(of('port', 'no socket can be made in'), 'problem', 1);
    expectAll(of('port', ': ELOOP'), 'problem', 1);
  });

  test('ports that the own master holds are fine, and it is listed', async (t) => {
    const { site } = await served(t);
    const master = await site.start().serves();
    const { of } = await examine(site);
    expectAll(of('port', `is held by the master ${site.name}`), 'ok', 2);
    assert.deepEqual(of('masters', site.name), [`ok ${site.name} (pid ${master.pid}) runs`]);
    expectAll(of('stale', site.name), 'ok', 0);
    process.kill(master.pid, 'SIGSTOP');
    assert.deepEqual((await examine(site)).of('masters', site.name), [
      `problem ${site.name} (pid ${master.pid}) runs, and does not answer`,
    ]);
    process.kill(master.pid, 'SIGCONT');
    await master.stop();
  });

  test('what a killed master and its killed guard have left is named, and left alone', async (t) => {
    const { site } = await served(t);
    const master = await site.start().serves();
    const workers = await master.pids();
    for (const pid of [...site.guards(), master.pid]) process.kill(pid, 'SIGKILL');
    await master.ended;
    const { code, of } = await examine(site);
    assert.equal(code, 1);
    const [left = ''] = of('stale', site.name);
    assert.match(left, new RegExp(`^problem a killed master ${site.name} has left ${workers.length} running: `));
    for (const pid of workers) assert.ok(left.includes(`pid ${pid} (`), `${pid} is missing in: ${left}`);
    assert.deepEqual(
      workers.filter((pid) => !existsSync(`/proc/${pid}`)),
      [],
    );
    for (const pid of workers) process.kill(pid, 'SIGKILL');
    await until('they are gone', () => workers.every((pid) => !existsSync(`/proc/${pid}`)));
    const later = await examine(site);
    expectAll(later.of('stale', site.name), 'note', 1);
  });

  test('a broken config, one that is not there, and none', async (t) => {
    const site = new Site(t);
    const broken = site.write('broken.yaml', `name: ${site.name}\napps: {web: {comand: x, workers: -1}}\n`);
    const one = await examine(site, '-c', broken);
    assert.equal(one.code, 1);
    assert.match(one.of('config')[0] ?? '', /^problem .*broken\.yaml:2:\d+: .*, and 1 more$/);
    assert.equal(one.of('disk').length, 1, 'its name was read all the same');
    const unreadable = await examine(site, '-c', site.write('binary.yaml', 'a\0b'));
    assert.match(unreadable.of('config')[0] ?? '', /^problem .*binary\.yaml:1:1: expected text, found a zero byte/);
    const missing = await examine(site, '-c', site.path('nowhere.yaml'));
    expectAll(missing.of('config'), 'problem', 1);
    const none = await examine(site);
    if (!existsSync('/etc/supervise/supervise.yaml')) expectAll(none.of('config'), 'note', 1);
    expectAll(none.of('port'), 'ok', 0);
  });

  test('more workers than there may be open files', async (t) => {
    const { site } = await served(t, 500);
    const { of } = await examine(site);
    const [limit = ''] = of('open-files');
    const files = Number(/\d+/.exec(limit)?.[0]);
    if (files < 64 + 500 * 8) assert.match(limit, /^problem /);
    else assert.match(limit, /^ok|^note/);
  });

  test('in a cgroup with a quota of 1.5 CPUs and 300 MB on its parent: that, and the files that say so', async (t) => {
    const cgroup = limitedCgroup(t);
    if (cgroup === null) return;
    cgroup.setCpus(1.5);
    cgroup.setMemory(300 * 1024 ** 2);
    const [shell = '', ...into] = inCgroup(cgroup.procs);
    const argv = [...into, process.execPath, bin, 'doctor', '--json'];
    const { stdout } = spawnSync(shell, argv, { encoding: 'utf8', env: new Site(t).env, timeout: 60_000 });
    const { findings } = JSON.parse(stdout) as Diagnosis;
    const of = (wanted: DoctorCheck) => findings.find(({ check }) => check === wanted)?.message;
    assert.equal(of('cpus'), `1.5 may be used: cgroup quota of 1.5 CPUs (${cgroup.cpuFile})`);
    assert.equal(of('memory'), `300MB may be used: cgroup limit of 300MB (${cgroup.memoryFile})`);
  });

  test('arguments are refused', async (t) => {
    const { code } = await new Site(t).run(['doctor', 'now']);
    assert.equal(code, 64);
  });
});
