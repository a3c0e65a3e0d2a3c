/** A worker and its troubles in the words and fields of the snapshot, the errors and the progress lines. */
import type { Illness } from '../core/ailments.ts';
import { SuperviseError } from '../core/errors.ts';
import type { WorkerSnapshot } from '../core/protocol.ts';
import { describeExit, reasonOf } from '../core/reasons.ts';
import type { Rollout } from '../core/rollout.ts';
import { formatDuration } from '../core/units.ts';
import { hasProcess } from '../core/worker-machine.ts';
import type { TreeSample, WorkerConnections } from '../ports.ts';
import type { RolloutFailure } from './revisions.ts';
import { isoTime } from './stream.ts';
import type { WorkerRunner } from './worker-runner.ts';

export interface Seen {
  readonly sample: TreeSample | undefined;
  readonly illness: Illness | null;
  readonly counted: WorkerConnections | null;
}

export function workerSnapshot(
  runner: WorkerRunner,
  { sample, illness, counted }: Seen,
  nowMs: number,
): WorkerSnapshot {
  const { life, id, slot, pid } = runner;
  const past = life.lastExit;
  const seen = pid === null ? undefined : sample;
  return {
    id,
    slot,
    pid,
    state: runner.state,
    spare: runner.state === 'ready' && !runner.isAdmitted,
    reason: reasonOf(life, nowMs) ?? (illness && inWords(illness)),
    revision: runner.pinned.revision,
    restarts: life.restarts,
    startedAt: life.startedMs === null ? null : isoTime(life.startedMs),
    readyAt: life.readyMs === null || !hasProcess(life) ? null : isoTime(life.readyMs),
    uptimeMs: life.startedMs === null ? null : Math.round(nowMs - life.startedMs),
    cpuPercent: seen?.cpuPercent ?? null,
    memoryBytes: seen?.memoryBytes ?? null,
    memoryKind: seen?.memoryKind ?? null,
    processes: seen?.processes ?? null,
    connections: counted?.connections ?? null,
    queue: counted?.queue ?? null,
    lastExit: past && { at: isoTime(past.atMs), code: past.exit.code, signal: past.exit.signal, cause: past.cause },
  };
}

/** "ended with exit code 1", "was not ready within ready_timeout (60 s)" */
export function howItFailed({ life, pinned }: WorkerRunner): string {
  if (!life.lastExit) return 'ended';
  if (life.lastExit.cause === 'start-timeout')
    return `was not ready within ready_timeout (${formatDuration(pinned.app.readyTimeoutMs)})`;
  return `ended with ${describeExit(life.lastExit.exit)}`;
}

/** "is not healthy: no answer within 2s" */
function inWords({ ailment, reason }: Illness): string {
  const words = {
    'stall': 'hangs',
    'health': 'is not healthy',
    'memory-limit': 'is over its memory limit',
    'memory-budget': 'is to be replaced',
    'lifetime': 'is to be replaced',
    'stranded': 'is to make room',
  } as const;
  return `${words[ailment]}: ${reason}`;
}

/** How a worker of a new revision failed, so that the old one comes back. One that hangs, or is ill, is still there. */
export function rolloutFailure(runner: WorkerRunner, illness: Illness | null): RolloutFailure {
  const { lastExit, ending } = runner.life;
  if (illness !== null) return { how: inWords(illness), lastLines: runner.lastLines };
  if (lastExit !== null && ending?.cause !== 'start-timeout')
    return { how: describeExit(lastExit.exit), lastLines: lastExit.exit.lastLines };
  const hint = neverListened(runner) ? ` (${listenHint})` : '';
  return { how: `not ready in time${hint}`, lastLines: runner.lastLines };
}

const listenHint =
  "the script never listened: if it is not a server, set `ready: spawned`, or call process.send('ready') when it is ready";

/** Of one that was not ready in time. */
function neverListened({ pinned }: WorkerRunner): boolean {
  return pinned.app.kind === 'script' && pinned.app.ready.kind === 'auto';
}

/** What to look at when an app did not come up: what was run, where, as whom, and a likely mistake. */
function startHint(runner: WorkerRunner): string {
  const { argv, app, cwd, env } = runner.pinned;
  const user = app.identity.user ?? 'that of the master';
  const facts = `program: ${argv.join(' ')}; cwd: ${cwd}; user: ${user}; PATH: ${env['PATH'] ?? 'not set'}`;
  const isLate = runner.life.lastExit?.cause === 'start-timeout';
  return isLate && neverListened(runner) ? `${listenHint}. ${facts}` : facts;
}

/** What a rollout is doing now. @param fresh the workers of the new revision, in the order in which they were made */
export function rolloutStep(rollout: Rollout, fresh: readonly WorkerRunner[]): string {
  const starting = fresh.find(({ life }) => life.state === 'starting');
  if (starting) return `${starting.id} starts`;
  const last = fresh.at(-1);
  if (!last) return 'waiting for a free place';
  return `${last.id} is ready${fresh.length <= rollout.canaries ? `, held for ${formatDuration(rollout.canaryMs)}` : ''}`;
}

/** An app's start has failed: nobody got ready in so many attempts. `runner` is the last that tried. */
export function neverReady(runner: WorkerRunner, attempts: number): SuperviseError {
  const past = runner.life.lastExit;
  const code = past?.cause === 'spawn-failed' && !past.exit.transient ? 'program-cannot-run' : 'app-never-ready';
  const tries = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  const message = `${runner.pinned.app.name}: no worker became ready in ${tries}; the last, ${runner.id}, ${howItFailed(runner)}`;
  return new SuperviseError(code, message, { hint: startHint(runner), lastLines: past?.exit.lastLines ?? [] });
}

/** A worker that has served has failed, and the restart policy does not start it again. */
export function givenUp(runner: WorkerRunner): SuperviseError {
  const hint = 'the restart policy starts it no more; `restart: always` would';
  const message = `${runner.pinned.app.name}: ${runner.id} ${howItFailed(runner)}`;
  return new SuperviseError('operation-failed', message, {
    hint,
    lastLines: runner.life.lastExit?.exit.lastLines ?? [],
  });
}
