/** Apps and hooks as a config gives them that says nothing but what they run: the defaults that all tests start from. */
import type { AppSpec, BackoffSpec, HookSpec } from '../../src/core/spec.ts';

export const usualBackoff: BackoffSpec = {
  initialMs: 500,
  maxMs: 30_000,
  factor: 2,
  jitter: 0.5,
  stableAfterMs: 10_000,
  maxCrashes: 8,
  retryFailedEveryMs: 60_000,
};

export const usualApp: Omit<AppSpec, 'name' | 'argv' | 'cwd'> = {
  kind: 'command',
  workers: 1,
  staffing: { kind: 'fixed' },
  listen: [],
  env: {},
  envFile: null,
  identity: { user: null, group: null, umask: null, nice: null },
  port: null,
  ready: { kind: 'auto' },
  readyTimeoutMs: 60_000,
  startAttempts: 3,
  restart: 'always',
  backoff: usualBackoff,
  stop: { signal: 'SIGTERM', timeoutMs: 30_000 },
  reload: { maxSurge: 1, maxUnavailable: 0, canaryMs: 5_000 },
  dependsOn: [],
  spares: 0,
  balance: 'auto',
  health: null,
  stall: null,
  limits: { memoryBytes: null, lifetimeMs: null, jitter: 0.1 },
  watch: null,
  tlsFiles: [],
  logs: { kind: 'captured', format: 'auto', file: null, maxSizeBytes: 52_428_800, keep: 7, gzip: false },
};

export const usualHook: Omit<HookSpec, 'name' | 'argv' | 'cwd'> = {
  phase: 'pre_start',
  shell: false,
  env: {},
  envFile: null,
  user: null,
  timeoutMs: 300_000,
  retries: 0,
  retryDelayMs: 5_000,
  oncePer: '',
  onFailure: 'abort',
};
