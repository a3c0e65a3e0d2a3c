import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { narrate, type Narration } from '../../src/core/narrate.ts';
import type { EventBody } from '../../src/core/protocol.ts';

const at = '2026-01-01T00:00:00.000Z';
const tell = (body: EventBody): Narration => narrate({ seq: 7, at, ...body });
const web7 = { app: 'web', worker: 'web.7', slot: 0 } as const;
const exited = {
  type: 'worker.exited',
  pid: 9,
  code: 1,
  signal: null,
  cause: 'crash',
  uptimeMs: 12_000,
  error: null,
  lastLines: ['boom'],
  ...web7,
} as const;
const hook = {
  phase: 'pre_start',
  hook: 'migrate',
  attempt: 1,
  message: '',
  durationMs: 812,
  exitCode: 0,
  signal: null,
  lastLines: [],
} as const;

/** What happens, the level, the sentence. */
const table: readonly (readonly [EventBody, Narration['level'], string])[] = [
  [{ type: 'worker.starting', pid: 9, revision: 1, attempt: 1, ...web7 }, 'debug', 'web.7 starts as pid 9'],
  [{ type: 'worker.starting', pid: null, revision: 1, attempt: 3, ...web7 }, 'debug', 'web.7 starts (attempt 3)'],
  [{ type: 'worker.ready', pid: 9, bootMs: 800, ...web7 }, 'info', 'web.7 is ready after 800ms (pid 9)'],
  [{ type: 'worker.stopping', pid: 9, cause: 'scale-down', ...web7 }, 'debug', 'web.7 is asked to end: scaled down'],
  [
    { type: 'worker.stopping', pid: 9, cause: 'start-timeout', ...web7 },
    'warn',
    'web.7 is asked to end: it was not ready in time',
  ],
  [
    { type: 'worker.killing', pid: 9, cause: 'reload', ...web7 },
    'warn',
    'web.7 did not end in time; it is killed now (reload)',
  ],
  [
    { type: 'worker.backoff', delayMs: 4200, crashes: 3, ...web7 },
    'warn',
    'web.7 crashed 3 times in a row; next start in 4.2s',
  ],
  [{ type: 'worker.backoff', delayMs: 0, crashes: 1, ...web7 }, 'warn', 'web.7 crashed; next start now'],
  [
    { type: 'worker.backoff', delayMs: 500, crashes: 2, inherited: true, ...web7 },
    'warn',
    'web.7 takes over 2 crashes in a row; first start in 500ms',
  ],
  [
    { type: 'worker.unhealthy', reason: 'answered 503', action: 'replace', ...web7 },
    'warn',
    'web.7 is not healthy: answered 503; it is to be replaced',
  ],
  [
    { type: 'worker.failed', crashes: 9, delayMs: 60_000, ...web7 },
    'error',
    'web.7 failed: it crashed 9 times in a row; next trial in 1m',
  ],
  [{ type: 'worker.failed', crashes: 0, delayMs: null, ...web7 }, 'error', 'web.7 failed; it is not started again'],
  [exited, 'warn', 'web.7 ended by itself after 12s (exit code 1)'],
  [
    { ...exited, code: null, signal: 'SIGKILL', cause: 'signal' },
    'warn',
    'web.7 ended by itself after 12s (signal SIGKILL)',
  ],
  [{ ...exited, code: 0, cause: 'exit' }, 'info', 'web.7 ended by itself after 12s (exit code 0)'],
  [{ ...exited, code: 0, cause: 'reload' }, 'debug', 'web.7 has ended after 12s (exit code 0): reload'],
  [
    { ...exited, code: null, error: 'no such program: uvicorn', cause: 'spawn-failed' },
    'error',
    'web.7 cannot be started: no such program: uvicorn',
  ],
  [
    { ...exited, cause: 'start-timeout' },
    'warn',
    'web.7 was not ready in time and has been ended after 12s (exit code 1)',
  ],
  [{ type: 'app.starting', app: 'web', ready: 0, goal: 1 }, 'info', 'web starts 1 worker'],
  [{ type: 'app.running', app: 'web', ready: 4, goal: 4 }, 'info', 'web is running: 4 of 4 workers ready'],
  [
    { type: 'app.degraded', app: 'web', ready: 3, goal: 4 },
    'info',
    'web: 3 of 4 workers ready; the others are being started',
  ],
  [{ type: 'app.scaled', app: 'web', from: 4, to: 1, reason: null }, 'info', 'web is scaled from 4 to 1 worker'],
  [
    { type: 'app.scaled', app: 'web', from: 1, to: 2, reason: '2 workers: min(2 CPUs, 240MB budget / 90MB each = 2)' },
    'info',
    'web is scaled from 1 to 2 workers: min(2 CPUs, 240MB budget / 90MB each = 2)',
  ],
  [
    { type: 'app.scaled', app: 'web', from: 1, to: 1, reason: '1 worker: 1 CPU' },
    'info',
    'web stays at 1 worker: 1 CPU',
  ],
  [
    { type: 'app.scaled', app: 'web', from: 2, to: 4, reason: 'CPU 140% per worker, target 70%: 2 x 2 = 4' },
    'info',
    'web is scaled from 2 to 4 workers: CPU 140% per worker, target 70%: 2 x 2 = 4',
  ],
  [{ type: 'app.warning', app: 'web', message: 'readiness is a guess' }, 'warn', 'web: readiness is a guess'],
  [
    {
      type: 'app.unbalanced',
      app: 'web',
      worker: 'web.3',
      connections: 31,
      total: 40,
      workers: 4,
      message: 'web.3 has 31',
    },
    'warn',
    'web: web.3 has 31',
  ],
  [{ type: 'app.balanced', app: 'web' }, 'info', 'web: connections no longer pile up on one worker'],
  [{ type: 'master.stopped', exitCode: 1 }, 'error', 'supervise ends with exit code 1'],
  [{ type: 'hook.succeeded', ...hook }, 'info', 'pre_start hook migrate succeeded after 812ms'],
  [
    { type: 'hook.failed', ...hook, exitCode: 2, lastLines: ['no table'] },
    'error',
    'pre_start hook migrate failed after 812ms: exit code 2',
  ],
  [
    { type: 'hook.skipped', ...hook, durationMs: null, message: 'succeeded for v1 at T' },
    'info',
    'pre_start hook migrate is skipped: succeeded for v1 at T',
  ],
  [{ type: 'hook.running', ...hook, attempt: 2 }, 'info', 'pre_start hook migrate runs (attempt 2)'],
  [
    { type: 'config.changed', added: ['api'], removed: [], rescaled: [], changed: ['web', 'cache'] },
    'info',
    'the config has changed: added api; changed web, cache',
  ],
  [
    {
      type: 'rollout.rolled_back',
      app: 'web',
      from: 2,
      to: 3,
      worker: 'web.9',
      reason: 'web.9 of revision 3: exit code 1',
      lastLines: ['x'],
    },
    'error',
    'web is rolled back from revision 3 to 2: web.9 of revision 3: exit code 1',
  ],
  [
    { type: 'rollout.progress', app: 'web', to: 3, replaced: 1, total: 4, step: 'canary' },
    'info',
    'web revision 3: 1 of 4 workers replaced: canary',
  ],
  [
    {
      type: 'operation.finished',
      operation: 1,
      name: 'reload',
      ok: false,
      message: 'web was rolled back',
      lastLines: [],
    },
    'error',
    'reload failed: web was rolled back',
  ],
  [
    { type: 'logs.dropped', sink: 'stdout', lines: 12, bytes: 900, reason: 'its reader is gone (EPIPE)' },
    'warn',
    '12 lines (900B) lost on stdout: its reader is gone (EPIPE)',
  ],
];

describe('narrate', () => {
  for (const [body, level, message] of table) {
    test(message, () => {
      const told = tell(body);
      assert.deepEqual([told.level, told.message], [level, message]);
    });
  }

  test('fields are the event, named, without what the log line has already', () => {
    assert.deepEqual(tell({ type: 'worker.ready', pid: 9, bootMs: 800, ...web7 }).fields, {
      event: 'worker.ready',
      at,
      pid: 9,
      bootMs: 800,
      ...web7,
    });
    assert.deepEqual(tell({ type: 'app.warning', app: 'web', message: 'm' }).fields, {
      event: 'app.warning',
      at,
      app: 'web',
    });
  });

  test('the last lines of output stand beside a failure, and only there', () => {
    assert.deepEqual(tell(exited).fields['lastLines'], ['boom']);
    assert.equal('lastLines' in tell({ ...exited, cause: 'stop' }).fields, false);
    assert.equal('lastLines' in tell({ ...exited, lastLines: [] }).fields, false);
    assert.deepEqual(tell({ type: 'hook.failed', ...hook, lastLines: ['no table'] }).fields['lastLines'], ['no table']);
  });
});
