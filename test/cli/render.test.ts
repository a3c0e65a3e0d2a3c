import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serves, servesPartly } from '../../src/cli/commands/detach.ts';
import { lineWriter } from '../../src/cli/commands/logs.ts';
import { complain } from '../../src/cli/complaint.ts';
import { eventText } from '../../src/cli/event-text.ts';
import { Progress, showEvent } from '../../src/cli/progress.ts';
import type { Colours } from '../../src/cli/render.ts';
import { hooksText, statusText, table } from '../../src/cli/render.ts';
import { colourWish } from '../../src/cli/terminal.ts';
import { printable } from '../../src/cli/text.ts';
import { SuperviseError } from '../../src/core/errors.ts';
import type { AppState, Event, Snapshot, WorkerSnapshot } from '../../src/core/protocol.ts';
import { recorder } from './recorder.ts';

const plain: Colours = { green: String, yellow: String, red: String, dim: String, bold: String };
const marked: Colours = { ...plain, green: (text) => `<g>${text}</g>`, red: (text) => `<r>${text}</r>` };

const worker: WorkerSnapshot = {
  id: 'web.1',
  slot: 0,
  pid: 4250,
  state: 'ready',
  spare: false,
  reason: null,
  revision: 1,
  restarts: 0,
  startedAt: null,
  readyAt: null,
  uptimeMs: 11_000,
  cpuPercent: 12.5,
  memoryBytes: 48_234_496,
  memoryKind: 'pss',
  processes: 1,
  connections: 31,
  queue: 0,
  lastExit: null,
};

const snapshot: Snapshot = {
  name: 'shop',
  version: '1.0.0',
  pid: 4242,
  state: 'running',
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeMs: 192_000,
  configFile: null,
  hooks: [
    {
      phase: 'pre_start',
      name: 'migrate',
      state: 'succeeded',
      attempts: 1,
      durationMs: 812,
      exitCode: 0,
      signal: null,
      reason: null,
    },
  ],
  budget: { budgetBytes: null, usedBytes: null, level: 'ok' },
  host: {
    cpus: 2,
    usableCpus: 2,
    cpuSource: '2 CPUs online',
    memorySource: 'memory of the host',
    cpuUtilisation: 0.41,
    memoryBytes: 8 * 2 ** 30,
    memoryUtilisation: 0.5,
  },
  apps: [
    {
      name: 'web',
      kind: 'command',
      state: 'degraded',
      goal: 2,
      ready: 1,
      staffing: { kind: 'fixed', min: 2, max: 2, reason: null },
      spares: { goal: 0, ready: 0 },
      revision: 3,
      listen: ['tcp://127.0.0.1:8000'],
      connections: 31,
      queue: 2,
      countedAt: '2026-01-01T00:03:08.000Z',
      notes: ['stall detection is off'],
      workers: [
        worker,
        {
          ...worker,
          id: 'web.12',
          pid: null,
          state: 'backoff',
          reason: 'crashed 3 times in a row; next start in 4.2s',
          restarts: 3,
          uptimeMs: null,
          cpuPercent: null,
          memoryBytes: null,
          connections: null,
          queue: null,
        },
      ],
    },
    {
      name: 'jobs',
      kind: 'command',
      state: 'completed',
      goal: 1,
      ready: 0,
      staffing: { kind: 'fixed', min: 1, max: 1, reason: null },
      spares: { goal: 0, ready: 0 },
      revision: 1,
      listen: [],
      connections: null,
      queue: null,
      countedAt: null,
      notes: [],
      workers: [],
    },
  ],
};

test('status: who says how many workers there are, and the memory budget', () => {
  const [web] = snapshot.apps;
  const staffing = { kind: 'auto', min: 1, max: null, reason: '2 workers: 2 CPUs\u001b[2J' } as const;
  const budget = { budgetBytes: 2 ** 30, usedBytes: 2 ** 29, level: 'near' } as const;
  const lines = statusText({ ...snapshot, budget, apps: [{ ...web!, staffing }] }, plain).split('\n');
  assert.match(lines[1] ?? '', /memory 50% of 8GB; workers 512MB of a budget of 1GB \(near\)/);
  const line = lines.findIndex((one) => one.startsWith('web: auto: 2 workers: 2 CPUs'));
  assert.deepEqual([lines[line]?.includes('\u001b'), lines[line + 1]], [false, 'web: stall detection is off']);
});

test('status: the master, its hooks, its apps, its workers', () => {
  assert.equal(
    statusText(snapshot, plain),
    [
      'shop  running  pid 4242  up 3m12s  supervise 1.0.0',
      'host: cpu 41% of 2 cores, memory 50% of 8GB; connections counted 4s ago',
      'hooks: migrate succeeded',
      '',
      'APP   STATE      READY  REVISION  CONNS  QUEUE  LISTEN',
      'web   degraded   1/2    3         31     2      tcp://127.0.0.1:8000',
      'jobs  completed  0/1    1         -      -      -',
      'web: stall detection is off',
      '',
      'ID      PID   STATE    UPTIME  RESTARTS  CPU  MEM   CONNS  QUEUE  REASON',
      'web.1   4250  ready    11s     0         13%  46MB  31     0',
      'web.12  -     backoff  -       3         -    -     -      -      crashed 3 times in a row; next start in 4.2s',
      '',
    ].join('\n'),
  );
});

test('status: memory in which pages may be counted several times is marked', () => {
  const app = { ...snapshot.apps[0]!, workers: [worker, { ...worker, id: 'web.2', memoryKind: 'rss' as const }] };
  const lines = statusText({ ...snapshot, apps: [app] }, plain).split('\n');
  assert.deepEqual(lines.slice(-4, -1), [
    'ID     PID   STATE  UPTIME  RESTARTS  CPU  MEM       CONNS  QUEUE  REASON',
    'web.1  4250  ready  11s     0         13%  46MB      31     0',
    'web.2  4250  ready  11s     0         13%  46MB rss  31     0',
  ]);
});

test('status: why a worker was restarted stands there when nothing is more pressing', () => {
  const restarted: WorkerSnapshot = {
    ...worker,
    restarts: 1,
    lastExit: { at: '', code: null, signal: 'SIGKILL', cause: 'signal' },
  };
  const exited: WorkerSnapshot = {
    ...worker,
    restarts: 1,
    lastExit: { at: '', code: 3, signal: null, cause: 'crash' },
  };
  const text = statusText({ ...snapshot, apps: [{ ...snapshot.apps[0]!, workers: [restarted, exited] }] }, plain);
  assert.match(text, /last exit: SIGKILL \(signal\)\n.*last exit: exit 3 \(crash\)\n/s);
});

test('status: a master that starts, without hooks, apps and samples', () => {
  const text = statusText(
    {
      ...snapshot,
      state: 'starting',
      hooks: [],
      apps: [],
      budget: { budgetBytes: null, usedBytes: null, level: 'ok' },
      host: {
        cpus: 0,
        usableCpus: 0,
        cpuSource: '0 CPUs online',
        memorySource: 'memory of the host',
        cpuUtilisation: null,
        memoryBytes: 0,
        memoryUtilisation: null,
      },
    },
    plain,
  );
  assert.match(text, /^shop {2}starting/);
  assert.doesNotMatch(text, /hooks:|NaN|undefined|null/);
});

test('cells are padded before they are coloured, and foreign text cannot move the cursor', () => {
  const rows = [
    [{ text: 'ok', paint: marked.green }, 'x'],
    ['longer', '\u001b[2J\u001b]0;title\u0007y\r\nz'],
  ];
  assert.equal(table(['A', 'B'], rows, marked), 'A       B\n<g>ok</g>      x\nlonger  ]0;titleyz\n');
});

test('a state is green, red or neither', () => {
  const text = statusText(snapshot, marked);
  assert.match(text, /<g>running<\/g>/);
  assert.match(text, /<g>ready<\/g> {4}11s/);
  assert.doesNotMatch(text, /<g>degraded|<r>degraded|<g>backoff/);
});

test('hooks: how each went, with the signal or code and why', () => {
  const [hook] = snapshot.hooks;
  assert.ok(hook);
  const text = hooksText(
    [
      hook,
      {
        ...hook,
        name: 'warm',
        state: 'timed-out',
        attempts: 3,
        durationMs: 300_000,
        exitCode: null,
        signal: 'SIGKILL',
        reason: 'not done in 5m',
      },
    ],
    plain,
  );
  assert.equal(
    text,
    [
      'PHASE      NAME     STATE      ATTEMPTS  DURATION  EXIT     REASON',
      'pre_start  migrate  succeeded  1         812ms     0',
      'pre_start  warm     timed-out  3         5m        SIGKILL  not done in 5m',
      '',
    ].join('\n'),
  );
  assert.equal(hooksText([], plain), 'no hooks are configured\n');
});

test('an event is a line: time, type, sentence; the last lines follow where something failed', () => {
  const at = '2026-01-01T10:11:12.345Z';
  const exited: Event = {
    seq: 1,
    at,
    type: 'worker.exited',
    app: 'web',
    worker: 'web.1',
    slot: 0,
    pid: 5,
    code: 3,
    signal: null,
    cause: 'crash',
    uptimeMs: 1200,
    error: null,
    lastLines: ['boom \u001b[31mred'],
  };
  const [head, ...lines] = eventText(exited, plain).split('\n');
  assert.match(head ?? '', /^\d\d:11:12\.345 worker\.exited {6}web\.1 .*1\.2s.*3/);
  assert.deepEqual(lines, ['    boom red']);
});

test('an event of a newer master is shown too', () => {
  const unknown = {
    seq: 1,
    at: '2026-01-01T10:11:12.345Z',
    type: 'worker.levitated',
    worker: 'web.1',
    heightMm: 3,
  } as unknown as Event;
  assert.match(eventText(unknown, plain), /worker\.levitated {3}\{"worker":"web\.1","heightMm":3\}/);
});

test('log lines keep their prefix aligned; on a screen they cannot move the cursor', () => {
  const line = { at: '', app: 'web', stream: 'stdout' } as const;
  const toFile = lineWriter(plain, false);
  assert.equal(toFile({ ...line, source: 'web.10', line: 'a\u001b[31mb' }), 'web.10 | a\u001b[31mb');
  assert.equal(toFile({ ...line, source: 'web.2', line: '' }), 'web.2  | ');
  assert.equal(lineWriter(plain, true)({ ...line, source: 'web.1', line: 'a\u001b[31mb\rc' }), 'web.1 | abc');
});

test('printable leaves text alone', () => {
  assert.equal(printable('grüße, 世界 — ok\tx'), 'grüße, 世界 — ok  x');
});

test('progress is one line on a screen, a line for each change elsewhere, and nothing with --quiet', () => {
  const show = (progress: Progress) => {
    progress.update('1 of 2');
    progress.update('1 of 2');
    progress.update('2 of 2');
    showEvent(progress, { seq: 1, at: '', type: 'rollout.succeeded', app: 'web', from: 1, to: 2 });
    progress.update('more');
    progress.clear();
  };
  const screen = recorder({ errIsScreen: true, columns: () => 6 });
  show(new Progress(screen, false));
  assert.equal(
    screen.text.err,
    '\r\u001b[K1 of \r\u001b[K2 of \r\u001b[Kweb: revision 2 serves\n\r\u001b[Kmore\r\u001b[K',
  );
  const file = recorder();
  show(new Progress(file, false));
  assert.equal(file.text.err, '1 of 2\n2 of 2\nweb: revision 2 serves\nmore\n');
  const quiet = recorder({ errIsScreen: true });
  show(new Progress(quiet, true));
  assert.equal(quiet.text.err + quiet.text.out + file.text.out + screen.text.out, '');
});

test('a failure says what, what to do, and the last lines; config problems stand alone; a bug shows its stack', () => {
  const failure = new SuperviseError('app-never-ready', 'web never became ready', {
    hint: 'look at its output',
    lastLines: ['Traceback', '\u001b[1mKeyError'],
  });
  const people = recorder();
  assert.equal(complain(failure, people, false), 1);
  assert.deepEqual(people.text, {
    out: '',
    err: 'supervise: web never became ready\nhint: look at its output\n  Traceback\n  KeyError\n',
  });
  const programs = recorder();
  assert.equal(complain(failure, programs, true), 1);
  assert.equal(programs.text.err, '');
  assert.deepEqual(JSON.parse(programs.text.out), {
    error: {
      code: 'app-never-ready',
      message: 'web never became ready',
      hint: 'look at its output',
      exitCode: 1,
      lastLines: ['Traceback', '\u001b[1mKeyError'],
    },
  });
  const config = recorder();
  assert.equal(complain(new SuperviseError('config-invalid', 'a.yaml:1:1: x\na.yaml:2:1: y'), config, false), 78);
  assert.equal(config.text.err, 'a.yaml:1:1: x\na.yaml:2:1: y\n');
  const bug = recorder();
  assert.equal(complain(new TypeError('x is undefined'), bug, false), 70);
  assert.match(bug.text.err, /^supervise: this is a bug in supervise: TypeError: x is undefined\nhint: .*\n {2}at /);
});

test('colours: the flag, then NO_COLOR, then FORCE_COLOR, then the terminal', () => {
  const cases: readonly (readonly [boolean, Record<string, string>, boolean | null])[] = [
    [false, {}, null],
    [true, { FORCE_COLOR: '1' }, false],
    [false, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    [false, { NO_COLOR: '' }, null],
    [false, { FORCE_COLOR: '0' }, false],
    [false, { FORCE_COLOR: '3' }, true],
    [false, { FORCE_COLOR: '' }, null],
  ];
  for (const [flag, env, wish] of cases) assert.equal(colourWish(flag, env), wish, JSON.stringify(env));
});

test('a detached start is over when the master runs and no app waits, starts or has failed', () => {
  const withStates = (...states: AppState[]) => states.map((state) => ({ ...snapshot.apps[0]!, state }));
  assert.ok(serves({ state: 'running', apps: withStates('running', 'completed', 'degraded') }));
  assert.ok(!serves({ state: 'starting', apps: withStates('running') }));
  assert.ok(!serves({ state: 'stopping', apps: withStates('running') }));
  for (const state of ['waiting', 'starting', 'failed', 'stopping', 'stopped'] as const)
    assert.ok(!serves({ state: 'running', apps: withStates('running', state) }));
  for (const state of ['waiting', 'failed'] as const) {
    assert.ok(servesPartly({ state: 'running', apps: withStates('running', state) }));
    assert.ok(!servesPartly({ state: 'starting', apps: withStates('running', state) }), 'it may still come');
    assert.ok(!servesPartly({ state: 'running', apps: withStates('starting', state) }));
  }
  assert.ok(!servesPartly({ state: 'running', apps: withStates('running') }));
});
