/** The words of `why`. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { causes } from '../../src/core/protocol.ts';
import { startReasons, type ExitRecord, type WorkerWhy } from '../../src/core/record.ts';
import { headlineOf, sparkline, startInWords, whyParagraphs } from '../../src/core/why.ts';
import { exitRecord } from '../helpers/exit-record.ts';

const clock = (at: string) => at.slice(11, 19);

describe('the headline of an exit', () => {
  const killed = { code: null, signal: 'SIGKILL' } as const;
  const cases: readonly (readonly [Partial<ExitRecord>, string])[] = [
    [{ cause: 'crash' }, 'crashed with exit code 1 at 12:03:04 after 2h4m'],
    [
      { cause: 'oom', ...killed, oom: 'memory cgroup /x counted 1 oom_kill' },
      'was killed by the kernel for want of memory at 12:03:04 after 2h4m: memory cgroup /x counted 1 oom_kill',
    ],
    [
      { cause: 'signal', ...killed },
      'was ended by signal SIGKILL from outside of supervise at 12:03:04 after 2h4m: nothing proves that it was the kernel for want of memory',
    ],
    [{ cause: 'signal', code: null, signal: 'SIGSEGV' }, 'crashed with signal SIGSEGV at 12:03:04 after 2h4m'],
    [
      { cause: 'spawn-failed', code: null, error: '/bin/x does not exist', uptimeMs: 0 },
      'could not be started at 12:03:04 after 0s: /bin/x does not exist',
    ],
    [
      { cause: 'start-timeout', code: null, signal: 'SIGTERM', uptimeMs: 60_000 },
      'was not ready in time and was ended at 12:03:04 after 1m: signal SIGTERM',
    ],
    [
      { cause: 'memory-limit', code: 0, reason: '600MB of 512MB' },
      'was ended for being over its memory limit at 12:03:04 after 2h4m: 600MB of 512MB',
    ],
    [{ cause: 'stall', ...killed, reason: 'it spins' }, 'was ended because it hung at 12:03:04 after 2h4m: it spins'],
    [{ cause: 'reload', code: 0 }, 'was replaced by a reload at 12:03:04 after 2h4m'],
  ];
  for (const [wanted, text] of cases) {
    test(text, () => assert.equal(headlineOf(exitRecord(wanted), clock), `web.7 (revision 3) ${text}`));
  }

  test('there is a different one for every cause', () => {
    const all = causes.map((cause) => headlineOf(exitRecord({ cause }), clock));
    assert.equal(new Set(all).size, causes.length);
    for (const text of all) assert.doesNotMatch(text, /undefined|null/);
  });
});

describe('a paragraph of an exit', () => {
  const told = (wanted: Partial<ExitRecord>) =>
    whyParagraphs({ target: 'web', running: true, workers: [], records: [exitRecord(wanted)] }, clock)[0]?.details;

  test('says what came next', () => {
    const next = (one: ExitRecord['next']) => told({ next: one })?.at(-1);
    assert.equal(next({ type: 'restarted' }), 'then: started again at once');
    assert.equal(
      next({ type: 'backoff', delayMs: 512, crashes: 1 }),
      'then: the next start was due after 512ms (1 crash in a row)',
    );
    assert.equal(
      next({ type: 'failed', delayMs: 60_000, crashes: 9 }),
      'then: given up after 9 crashes in a row; the next trial was due after 1m',
    );
    assert.equal(next({ type: 'failed', delayMs: null, crashes: 0 }), 'then: given up');
    assert.equal(next({ type: 'completed' }), 'then: not started again, its work is done');
    assert.equal(next({ type: 'stopped', by: 'web.9' }), 'then: replaced by web.9');
    assert.equal(next({ type: 'stopped', by: null }), 'then: nothing took its place');
  });

  test('draws memory and CPU with their ranges', () => {
    const curve = [
      { beforeMs: 4_000, memoryBytes: 10 * 2 ** 20, cpuPercent: null },
      { beforeMs: 2_000, memoryBytes: 20 * 2 ** 20, cpuPercent: 5 },
      { beforeMs: 0, memoryBytes: 80 * 2 ** 20, cpuPercent: 99 },
    ];
    assert.deepEqual(told({ curve })?.slice(1, 3), [
      'memory ▁▂█ 10MB to 80MB, last 4s',
      'cpu     ▁█ 5% to 99%, last 4s',
    ]);
    assert.deepEqual(told({ curve: [] }), ['pid 4242, slot 0, ready after 800ms', 'then: started again at once']);
    assert.equal(sparkline([3, 3, 3]), '▁▁▁');
    assert.equal(sparkline([]), '');
    assert.equal(sparkline([null, 5]), '');
    assert.deepEqual(
      told({ curve: [{ beforeMs: 700, memoryBytes: 1024, cpuPercent: null }] })?.[1],
      'memory 1KB, 700ms before',
    );
  });

  test('names the spare that took its place', () => {
    assert.deepEqual(told({ spare: 'web.3' })?.slice(-2), [
      'web.3, a spare, took its place',
      'then: started again at once',
    ]);
  });

  test('says so when it was never ready', () => {
    assert.match(told({ readyMs: null })?.[0] ?? '', /it was never ready/);
    assert.match(told({ restarts: 2 })?.[0] ?? '', /2 restarts before/);
  });
});

describe('a worker that there is', () => {
  const worker = (wanted: Partial<WorkerWhy> = {}): WorkerWhy => ({
    id: 'web.7',
    state: 'ready',
    pid: 4242,
    revision: 3,
    uptimeMs: 60_000,
    reason: null,
    start: { at: '2026-01-01T12:03:04.000Z', why: 'reload', of: 'web.2', after: null },
    ...wanted,
  });
  const told = (...workers: WorkerWhy[]) =>
    whyParagraphs({ target: 'web', running: true, workers, records: [] }, clock);

  test('and runs fine: says so, and why it was started', () => {
    assert.deepEqual(told(worker()), [
      {
        kind: 'fine',
        headline: 'web.7 (revision 3) runs fine for 1m, pid 4242',
        details: ['started at 12:03:04 by a reload, in place of web.2'],
        lastLines: [],
      },
    ]);
  });

  test('and hangs, waits or failed: its trouble comes first', () => {
    const paragraphs = told(
      worker(),
      worker({ id: 'web.8', state: 'backoff', pid: null, uptimeMs: null, reason: 'exit code 1; next start in 2s' }),
      worker({ id: 'web.9', reason: 'hangs: it spins' }),
    );
    assert.deepEqual(
      paragraphs.map(({ kind, headline }) => [kind, headline]),
      [
        ['trouble', 'web.8 (revision 3) waits before its next start: exit code 1; next start in 2s'],
        ['trouble', 'web.9 (revision 3) runs for 1m, pid 4242, but hangs: it spins'],
        ['fine', 'web.7 (revision 3) runs fine for 1m, pid 4242'],
      ],
    );
  });

  test('among many that run fine: they are told together', () => {
    const many = Array.from({ length: 20 }, (_, n) => worker({ id: `web.${n}` }));
    const started = worker({ id: 'web.20', start: { at: '', why: 'scale-up', of: null, after: null } });
    const [first, ...others] = told(...many, started, worker({ id: 'web.21', state: 'failed' }));
    assert.match(first?.headline ?? '', /^web\.21 .* has failed/);
    assert.deepEqual(
      others.map(({ headline, details }) => [headline, details]),
      [['21 workers run fine', ['20 started by a reload', '1 started because more workers were wanted (scale)']]],
    );
  });

  test('every reason of a start has its own words', () => {
    const all = startReasons.map((why) => startInWords({ at: 'T', why, of: null, after: null }, String));
    assert.equal(new Set(all).size, startReasons.length);
    assert.equal(
      startInWords({ at: 'T', why: 'respawn', of: null, after: 'its process before crashed with exit code 1' }, String),
      'started at T again, because its process before crashed with exit code 1',
    );
  });
});
