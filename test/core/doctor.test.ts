/** What is said of what was found on a host: which level, and what to do. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import {
  diagnosis,
  judgeHost,
  note,
  ok,
  problem,
  type DoctorCheck,
  type HostFacts,
  type Needs,
} from '../../src/core/doctor.ts';
import { judgeDisk, judgeLeft, judgeMasters, judgePort } from '../../src/core/doctor-place.ts';

const megabyte = 1024 ** 2;

const good: HostFacts = {
  nodeVersion: '22.12.0',
  platform: 'linux',
  kernel: '6.1.0',
  systemd: { version: 257, isInit: true, unit: 'shop.service' },
  cgroups: 'v2',
  cpus: 4,
  cpuSource: '4 CPUs online',
  memoryBytes: 1024 * megabyte,
  memorySource: 'memory of the host',
  koffi: 'loaded',
  steering: { refused: null, staying: null },
  missingPrograms: [],
  openFiles: 65536,
  processes: null,
  proc: 'open',
  pss: 'readable',
  backlog: 4096,
};
const needs: Needs = { workers: 4, users: 'none' };

/** `level message` of one check. */
function said(check: DoctorCheck, facts: Partial<HostFacts>, needed: Needs | null = needs): string {
  const found = judgeHost({ ...good, ...facts }, needed).filter((one) => one.check === check);
  assert.equal(found.length, 1, check);
  const [{ level, message, advice } = { level: 'ok', message: '', advice: null }] = found;
  if (level === 'problem') assert.notEqual(advice, null, `a problem without advice: ${message}`);
  return `${level} ${message}`;
}

describe('doctor: the host', () => {
  test('a good one has nothing but ok', () => {
    const found = judgeHost(good, needs);
    assert.deepEqual(
      found.filter(({ level }) => level !== 'ok'),
      [],
    );
    assert.equal(said('systemd', {}), 'ok systemd 257, this command runs in shop.service');
    assert.equal(said('cpus', {}), 'ok 4 may be used: 4 CPUs online');
    assert.equal(said('memory', {}), 'ok 1GB may be used: memory of the host');
  });

  const cases: readonly (readonly [DoctorCheck, Partial<HostFacts>, RegExp])[] = [
    ['node', { nodeVersion: '20.18.3' }, /^problem expected Node 20\.19 or newer, found 20\.18\.3$/],
    ['node', { nodeVersion: '18.20.0' }, /^problem /],
    ['node', { nodeVersion: '20.19.0' }, /^ok /],
    ['kernel', { platform: 'darwin', kernel: '24.1.0' }, /^note darwin 24\.1\.0$/],
    ['systemd', { systemd: { version: null, isInit: false, unit: null } }, /^note not installed$/],
    [
      'systemd',
      { systemd: { version: 252, isInit: true, unit: null } },
      /^note systemd 252, this command runs in no unit$/,
    ],
    ['systemd', { systemd: { version: 252, isInit: false, unit: null } }, /^ok systemd 252, not the init here$/],
    ['cgroups', { cgroups: 'none' }, /^note none can be seen/],
    ['cgroups', { cgroups: 'hybrid' }, /^ok v1 and v2 \(hybrid\)$/],
    ['cpus', { cpus: 0.5, cpuSource: 'cgroup quota of 0.5 CPUs (/x)' }, /^note 0\.5 may be used: cgroup quota/],
    ['koffi', { koffi: 'missing' }, /^note cannot be loaded$/],
    ['steering', { steering: { refused: 'EPERM', staying: null } }, /^note connections cannot be steered: EPERM$/],
    ['moving', {}, /^ok tried: /],
    ['moving', { steering: { refused: null, staying: 'EPERM' } }, /^note .* wait for its successor: EPERM$/],
    ['programs', { missingPrograms: ['setsid'] }, /^note not installed: setsid$/],
    ['open-files', { openFiles: 95 }, /^problem 95 for each process; the master needs 96 for 4 workers$/],
    ['open-files', { openFiles: 96 }, /^note 96 for each process, which bounds/],
    ['open-files', { openFiles: 4096 }, /^ok /],
    ['open-files', { openFiles: null }, /^ok no limit$/],
    [
      'processes',
      { processes: { limit: 5, setBy: 'ulimit -u' } },
      /^problem 5 with their threads \(ulimit -u\), too few for 4 workers$/,
    ],
    ['processes', { processes: { limit: 59, setBy: '/pids.max' } }, /^note 59 .* 4 workers take 60$/],
    ['processes', { processes: { limit: 60, setBy: '/pids.max' } }, /^ok 60 /],
    ['proc', { proc: 'hidden' }, /^note .*hidepid/],
    ['proc', { proc: 'none' }, /^note there is no \/proc$/],
    ['pss', { pss: 'closed' }, /^note PSS cannot be read/],
    ['backlog', { backlog: 128 }, /^note up to 128 /],
  ];
  for (const [check, facts, expected] of cases)
    test(`${check}: ${expected.source}`, () => assert.match(said(check, facts), expected));

  test('setpriv is missing, and the config has a user', () => {
    const facts = { missingPrograms: ['setpriv'] };
    assert.match(
      said('programs', facts, { workers: 1, users: 'some' }),
      /^problem not installed: setpriv; the config has "user"$/,
    );
    assert.match(said('programs', facts), /^note /);
  });

  test('without a config nothing is needed', () => {
    assert.match(said('open-files', { openFiles: 80 }, null), /^note 80 /);
    assert.match(said('processes', { processes: { limit: 12, setBy: 'x' } }, null), /^ok 12 /);
  });

  test('elsewhere than on Linux nobody asks for systemd, cgroups and steering', () => {
    const checks = judgeHost({ ...good, platform: 'darwin', backlog: null }, null).map(({ check }) => check);
    for (const check of ['systemd', 'cgroups', 'steering', 'backlog'] as const)
      assert.ok(!checks.includes(check), check);
  });
});

describe('doctor: the place of a master', () => {
  test('ports', () => {
    const url = 'tcp://127.0.0.1:80';
    assert.deepEqual(judgePort({ url, state: 'free' }), ok('port', `${url} is free`));
    assert.equal(judgePort({ url, state: 'ours', master: 'shop' }).message, `${url} is held by the master shop`);
    assert.deepEqual(
      judgePort({ url, state: 'refused', why: 'in use by pid 1', hint: 'stop it' }),
      problem('port', 'in use by pid 1', 'stop it'),
    );
  });

  test('masters', () => {
    assert.deepEqual(judgeMasters([]), [ok('masters', 'none runs that this user can see')]);
    const all = judgeMasters([
      { name: 'a', pid: 1, access: 'open' },
      { name: 'b', pid: 2, access: 'denied' },
      { name: 'c', pid: 3, access: 'silent' },
    ]);
    assert.deepEqual(
      all.map(({ level }) => level),
      ['ok', 'note', 'problem'],
    );
  });

  test('what a dead master has left', () => {
    assert.equal(judgeLeft({ runtime: '/run/x', name: 'x', processes: [] }).level, 'note');
    const seven = Array.from({ length: 7 }, (_, index) => `pid ${index}`);
    const { level, message } = judgeLeft({ runtime: '/run/x', name: 'x', processes: seven });
    assert.equal(
      `${level} ${message}`,
      'problem a killed master x has left 7 running: pid 0, pid 1, pid 2, pid 3, pid 4 and 2 more',
    );
  });

  test('disk', () => {
    const level = (freeBytes: number, freeFiles: number | null = 1) =>
      judgeDisk({ directory: '/s', freeBytes, freeFiles }).level;
    assert.deepEqual(
      [level(200 * megabyte), level(199 * megabyte), level(9 * megabyte), level(1e12, 0), level(1e12, null)],
      ['ok', 'note', 'problem', 'problem', 'ok'],
    );
  });
});

test('doctor: a problem makes it not ok, a note does not; findings come in one order', () => {
  const findings = [note('disk', 'a', 'b'), ok('node', 'c'), note('cpus', 'd', null)];
  assert.deepEqual(
    diagnosis(findings).findings.map(({ check }) => check),
    ['node', 'cpus', 'disk'],
  );
  assert.equal(diagnosis(findings).ok, true);
  assert.equal(diagnosis([...findings, problem('port', 'e', 'f')]).ok, false);
});
