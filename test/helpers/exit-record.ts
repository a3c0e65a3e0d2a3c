/** A record of an exit with what the test wants in it. */
import type { ExitRecord } from '../../src/core/record.ts';

export function exitRecord(wanted: Partial<ExitRecord> = {}): ExitRecord {
  return {
    at: '2026-01-01T12:03:04.000Z',
    app: 'web',
    worker: 'web.7',
    slot: 0,
    pid: 4242,
    revision: 3,
    cause: 'crash',
    code: 1,
    signal: null,
    error: null,
    oom: null,
    reason: null,
    uptimeMs: 7_440_000,
    readyMs: 800,
    restarts: 0,
    spare: null,
    lastLines: [],
    curve: [],
    next: { type: 'restarted' },
    ...wanted,
  };
}
