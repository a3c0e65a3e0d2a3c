/** A worker and its troubles in the words and fields of the snapshot, the errors and the progress lines. */
import type { WorkerSnapshot } from '../core/protocol.ts';
import { describeExit, reasonOf } from '../core/reasons.ts';
import type { Rollout } from '../core/rollout.ts';
import { formatDuration } from '../core/units.ts';
import { hasProcess } from '../core/worker-machine.ts';
import type { Pinned, TreeSample } from '../ports.ts';
import { isoTime } from './stream.ts';
import type { WorkerRunner } from './worker-runner.ts';

export function workerSnapshot(runner: WorkerRunner, sample: TreeSample | undefined, nowMs: number): WorkerSnapshot {
  const { life, id, slot, pid } = runner;
  const past = life.lastExit;
  const seen = pid === null ? undefined : sample;
  return {
    id, slot, pid, state: life.state, reason: reasonOf(life, nowMs), revision: runner.pinned.revision, restarts: life.restarts,
    startedAt: life.startedMs === null ? null : isoTime(life.startedMs),
    readyAt: life.readyMs === null || !hasProcess(life) ? null : isoTime(life.readyMs),
    uptimeMs: life.startedMs === null ? null : Math.round(nowMs - life.startedMs),
    cpuPercent: seen?.cpuPercent ?? null, memoryBytes: seen?.memoryBytes ?? null, processes: seen?.processes ?? null,
    lastExit: past && { at: isoTime(past.atMs), code: past.exit.code, signal: past.exit.signal, cause: past.cause },
  };
}

/** "ended with exit code 1", "was not ready within ready_timeout (60 s)" */
export function howItFailed({ life, pinned }: WorkerRunner): string {
  if (!life.lastExit) return 'ended';
  if (life.lastExit.cause === 'start-timeout') return `was not ready within ready_timeout (${formatDuration(pinned.app.readyTimeoutMs)})`;
  return `ended with ${describeExit(life.lastExit.exit)}`;
}

/** What to look at when an app did not come up: what was run, where, as whom, and a likely mistake. */
export function startHint({ life, pinned }: WorkerRunner): string {
  const { argv, app, cwd, env } = pinned;
  const user = app.identity.user ?? 'that of the master';
  const facts = `program: ${argv.join(' ')}; cwd: ${cwd}; user: ${user}; PATH: ${env['PATH'] ?? 'not set'}`;
  const silent = life.lastExit?.cause === 'start-timeout' && app.kind === 'script' && app.ready.kind === 'auto';
  if (!silent) return facts;
  return `the script never listened: if it is not a server, set \`ready: spawned\`, or call process.send('ready') when it is ready. ${facts}`;
}

/** What a rollout is doing now. @param fresh the workers of the new revision, in the order in which they were made */
export function rolloutStep(rollout: Rollout, fresh: readonly WorkerRunner[]): string {
  const starting = fresh.find(({ life }) => life.state === 'starting');
  if (starting) return `${starting.id} starts`;
  const last = fresh.at(-1);
  if (!last) return 'waiting for a free place';
  return `${last.id} is ready${fresh.length <= rollout.canaries ? `, held for ${formatDuration(rollout.canaryMs)}` : ''}`;
}
