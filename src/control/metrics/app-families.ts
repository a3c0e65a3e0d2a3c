/** The metrics of apps and workers. Totals are those of an app; of a worker, by its slot, there is only what is so now. */
import { ailments } from '../../core/ailments.ts';
import { appStates, causes, workerStates } from '../../core/protocol.ts';
import type { AppSnapshot, Cause, WorkerSnapshot } from '../../core/protocol.ts';
import { counter, gauge, oneOf, seconds, secondsAt, type Family, type Sample, type Scene } from './family.ts';
import { rolloutResults, scalers, type AppTally } from './tally.ts';

/** The causes after which the same worker is started again; all others are followed by a new one, or by none. */
const restartCauses = [
  'crash',
  'signal',
  'exit',
  'spawn-failed',
  'start-timeout',
  'oom',
  'asked',
] as const satisfies readonly Cause[];

export const appFamilies: readonly Family[] = [
  gauge(
    'app_state',
    'The state of an app: 1 for the one it is in.',
    ['app', 'state'],
    ofApps((app) => oneOf(appStates, app.state, app.name)),
  ),
  gauge(
    'app_workers',
    'Workers of an app, by their state.',
    ['app', 'state'],
    ofApps(({ name, workers }) =>
      workerStates.map((state) => [workers.filter((worker) => worker.state === state).length, name, state]),
    ),
  ),
  gauge(
    'app_goal_workers',
    'How many workers an app should have.',
    ['app'],
    ofApps((app) => [[app.goal, app.name]]),
  ),
  gauge(
    'app_ready_workers',
    'How many of them are ready, and serve.',
    ['app'],
    ofApps((app) => [[app.ready, app.name]]),
  ),
  gauge(
    'app_min_workers',
    'The least that scaling goes down to.',
    ['app'],
    ofApps((app) => [[app.staffing.min, app.name]]),
  ),
  gauge(
    'app_max_workers',
    'The most that scaling goes up to; nothing where there is no limit.',
    ['app'],
    ofApps((app) => [[app.staffing.max, app.name]]),
  ),
  gauge(
    'app_goal_spares',
    'How many spares an app should have.',
    ['app'],
    ofApps((app) => [[app.spares.goal, app.name]]),
  ),
  gauge(
    'app_ready_spares',
    'How many spares are ready, and stand by.',
    ['app'],
    ofApps((app) => [[app.spares.ready, app.name]]),
  ),
  gauge(
    'app_revision',
    'The revision of an app.',
    ['app'],
    ofApps((app) => [[app.revision, app.name]]),
  ),
  gauge(
    'app_connections',
    'Client connections that the workers of an app hold.',
    ['app'],
    ofApps((app) => [[app.connections, app.name]]),
  ),
  gauge(
    'app_accept_queue',
    'Connections that wait to be accepted, at all addresses of an app.',
    ['app'],
    ofApps((app) => [[app.queue, app.name]]),
  ),
  gauge(
    'app_unbalanced',
    '1: the connections of an app pile up on one worker.',
    ['app'],
    ofApps((app, tally) => [[tally.isUnbalanced ? 1 : 0, app.name]]),
  ),
  counter(
    'app_warnings_total',
    'Warnings about an app.',
    ['app'],
    ofApps((app, tally) => [[tally.warnings, app.name]]),
  ),

  counter(
    'worker_starts_total',
    'Processes that were started for workers.',
    ['app'],
    ofApps((app, tally) => [[tally.starts, app.name]]),
  ),
  counter(
    'worker_boots_total',
    'Processes that became ready.',
    ['app'],
    ofApps((app, tally) => [[tally.boots, app.name]]),
  ),
  counter(
    'worker_boot_seconds_total',
    'Time from the start of these processes until they were ready.',
    ['app'],
    ofApps((app, tally) => [[seconds(tally.bootMs), app.name]]),
  ),
  counter(
    'worker_exits_total',
    'Processes of workers that have ended, by why.',
    ['app', 'cause'],
    ofApps(({ name }, { exits }) => causes.map((cause) => [exits.of(cause), name, cause])),
  ),
  counter(
    'worker_restarts_total',
    'Workers that were started again, by why their process before had ended.',
    ['app', 'cause'],
    ofApps(({ name }, { restarts }) => restartCauses.map((cause) => [restarts.of(cause), name, cause])),
  ),
  counter(
    'worker_ailments_total',
    'Workers that were found ill: hanging, not healthy, too big, too old, or in the way.',
    ['app', 'ailment'],
    ofApps(({ name }, tally) => ailments.map((ailment) => [tally.ailments.of(ailment), name, ailment])),
  ),
  counter(
    'app_cpu_seconds_total',
    'CPU time of the workers of an app with all their processes, from the samples.',
    ['app'],
    ({ snapshot, cpuSeconds }) => snapshot.apps.map(({ name }) => [cpuSeconds(name), name]),
  ),
  counter(
    'worker_promotions_total',
    'Spares that took a place.',
    ['app'],
    ofApps((app, tally) => [[tally.promotions, app.name]]),
  ),
  counter(
    'app_scalings_total',
    'Changes of how many workers an app should have. by: operator, supervise (auto, autoscaling, budget), dry-run (it was only said).',
    ['app', 'direction', 'by'],
    ofApps(({ name }, { scalings }) =>
      scalers.flatMap((by) =>
        (['up', 'down'] as const).map((direction): Sample => [scalings.of(`${direction} ${by}`), name, direction, by]),
      ),
    ),
  ),
  counter(
    'rollouts_total',
    'Rollouts of an app that have ended, by how.',
    ['app', 'result'],
    ofApps(({ name }, { rollouts }) => rolloutResults.map((result) => [rollouts.of(result), name, result])),
  ),
  gauge(
    'rollout_duration_seconds',
    'How long the last rollout of an app took.',
    ['app'],
    ofApps((app, tally) => [[seconds(tally.lastRolloutMs), app.name]]),
  ),
  gauge(
    'rollout_in_progress',
    '1: an app is being rolled out.',
    ['app'],
    ofApps((app, tally) => [[tally.rolloutStartedMs === null ? 0 : 1, app.name]]),
  ),

  gauge(
    'worker_ready',
    '1: the worker at this slot is ready.',
    ['app', 'slot'],
    ofWorkers((worker) => (worker.state === 'ready' ? 1 : 0)),
  ),
  gauge(
    'worker_start_time_seconds',
    'When its process started, since 1970; its uptime is time() - this.',
    ['app', 'slot'],
    ofWorkers((worker) => (worker.pid === null ? null : secondsAt(worker.startedAt))),
  ),
  gauge(
    'worker_revision',
    'The revision it runs.',
    ['app', 'slot'],
    ofWorkers((worker) => worker.revision),
  ),
  gauge(
    'worker_cpu_cores',
    'Busy cores of its process tree over the last sample.',
    ['app', 'slot'],
    ofWorkers(({ cpuPercent }) => (cpuPercent === null ? null : cpuPercent / 100)),
  ),
  gauge(
    'worker_memory_bytes',
    'Memory of its process tree. kind: pss (shared pages in parts) or rss (in full).',
    ['app', 'slot', 'kind'],
    ({ snapshot }) =>
      snapshot.apps.flatMap(({ name, workers }) =>
        workers.map((worker): Sample => [worker.memoryBytes, name, String(worker.slot), worker.memoryKind ?? 'rss']),
      ),
  ),
  gauge(
    'worker_processes',
    'Processes of its tree.',
    ['app', 'slot'],
    ofWorkers((worker) => worker.processes),
  ),
  gauge(
    'worker_connections',
    'Client connections that it holds.',
    ['app', 'slot'],
    ofWorkers((worker) => worker.connections),
  ),
  gauge(
    'worker_connection_share_ratio',
    "Its share of its app's connections, 0 to 1.",
    ['app', 'slot'],
    ofWorkers((worker, app) =>
      worker.connections === null || app.connections === null || app.connections === 0
        ? null
        : worker.connections / app.connections,
    ),
  ),
  gauge(
    'worker_accept_queue',
    'Connections that wait for it alone to be accepted.',
    ['app', 'slot'],
    ofWorkers((worker) => worker.queue),
  ),
];

function ofApps(read: (app: AppSnapshot, tally: AppTally) => readonly Sample[]): Family['read'] {
  return ({ snapshot, tally }: Scene) => snapshot.apps.flatMap((app) => read(app, tally.app(app.name)));
}

function ofWorkers(read: (worker: WorkerSnapshot, app: AppSnapshot) => number | null): Family['read'] {
  return ({ snapshot }: Scene) =>
    snapshot.apps.flatMap((app) =>
      app.workers.map((worker): Sample => [read(worker, app), app.name, String(worker.slot)]),
    );
}
