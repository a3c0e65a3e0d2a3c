/** The metrics of the master itself, of the host, and of what the master does: hooks, operations, logs. */
import { budgetLevels, masterStates } from '../../core/protocol.ts';
import { counter, gauge, oneOf, seconds, secondsAt, type Family, type Sample, type Scene } from './family.ts';
import { hookResults } from './tally.ts';

const operations = ['reload', 'restart', 'scale', 'stop'] as const;

export const masterFamilies: readonly Family[] = [
  gauge('build_info', 'Always 1; the versions of supervise and of Node.', ['version', 'node'], ({ snapshot }) => [
    [1, snapshot.version, process.versions.node],
  ]),
  gauge('master_state', 'The state of the master: 1 for the one it is in.', ['state'], ({ snapshot }) =>
    oneOf(masterStates, snapshot.state),
  ),
  gauge(
    'master_start_time_seconds',
    'When the master started, since 1970; its uptime is time() - this.',
    [],
    ({ snapshot }) => [[secondsAt(snapshot.startedAt)]],
  ),
  counter('master_cpu_seconds_total', 'CPU time of the master itself, without its workers.', [], ({ own }) => [
    [own.cpuSeconds],
  ]),
  gauge('master_resident_memory_bytes', 'Resident memory of the master itself.', [], ({ own }) => [
    [own.residentBytes],
  ]),
  gauge('master_open_fds', 'Open file descriptors of the master.', [], ({ own }) => [[own.openFiles]]),
  gauge(
    'master_event_loop_lag_seconds',
    'How late the event loop of the master came to a callback that was due at once, measured at the scrape.',
    [],
    ({ loopLagSeconds }) => [[loopLagSeconds]],
  ),
  counter(
    'master_event_loop_busy_seconds_total',
    'Time in which the event loop of the master did not wait; its rate is the utilisation of the loop.',
    [],
    ({ own }) => [[own.loopBusySeconds]],
  ),
  counter('master_warnings_total', 'Warnings about the master.', [], ({ tally }) => [[tally.warnings]]),
  counter(
    'operations_total',
    'Operations that have ended, those of supervise itself (a changed file) included.',
    ['operation', 'result'],
    ({ tally }) =>
      operations.flatMap((name) =>
        ['ok', 'failed'].map((result): Sample => [tally.operations.of(`${name} ${result}`), name, result]),
      ),
  ),

  counter('hook_runs_total', 'Runs of a hook, each attempt of it, by how they ended.', hookLabels('result'), (scene) =>
    scene.snapshot.hooks.flatMap(({ phase, name }) =>
      hookResults.map((result): Sample => [scene.tally.hook(phase, name).runs.of(result), phase, name, result]),
    ),
  ),
  gauge('hook_duration_seconds', 'How long the last run of a hook took, its retries included.', hookLabels(), (scene) =>
    scene.snapshot.hooks.map(({ phase, name, durationMs }) => [
      seconds(durationMs ?? scene.tally.hook(phase, name).lastMs),
      phase,
      name,
    ]),
  ),
  gauge(
    'hook_succeeded',
    '1: the last run of a hook succeeded, or was not needed. 0: it did not. Nothing: it has not ended yet.',
    hookLabels(),
    hookSuccess,
  ),

  gauge('host_cpus', 'CPUs that threads of the master may run on.', [], ({ snapshot }) => [
    [ifKnown(snapshot.host.cpus)],
  ]),
  gauge('host_usable_cpus', 'CPUs that may be used, with the fraction of a quota.', [], ({ snapshot }) => [
    [ifKnown(snapshot.host.usableCpus)],
  ]),
  gauge('host_cpu_utilisation_ratio', 'Used CPU of the usable CPUs, 0 to 1.', [], ({ snapshot }) => [
    [snapshot.host.cpuUtilisation],
  ]),
  gauge('host_memory_bytes', 'Memory that may be used.', [], ({ snapshot }) => [[ifKnown(snapshot.host.memoryBytes)]]),
  gauge('host_memory_utilisation_ratio', 'Used memory of the usable memory, 0 to 1.', [], ({ snapshot }) => [
    [snapshot.host.memoryUtilisation],
  ]),
  gauge('memory_budget_bytes', 'resources.memory_budget in bytes.', [], ({ snapshot }) => [
    [snapshot.budget.budgetBytes],
  ]),
  gauge('memory_budget_used_bytes', 'Memory of all workers, as the budget counts it.', [], ({ snapshot }) => [
    [snapshot.budget.usedBytes],
  ]),
  gauge(
    'memory_budget_level',
    'How the memory of all workers stands to the budget: 1 for the level it is at.',
    ['level'],
    ({ snapshot }) => oneOf(budgetLevels, snapshot.budget.level),
  ),

  counter('log_lines_dropped_total', 'Lines that a sink did not take.', ['sink'], ({ tally }) =>
    [...tally.dropped].map(([sink, { lines }]) => [lines, sink]),
  ),
  counter('log_bytes_dropped_total', 'Bytes of lines that a sink did not take.', ['sink'], ({ tally }) =>
    [...tally.dropped].map(([sink, { bytes }]) => [bytes, sink]),
  ),
];

function hookLabels(...more: readonly string[]): readonly string[] {
  return ['phase', 'hook', ...more];
}

function hookSuccess({ snapshot }: Scene): Sample[] {
  return snapshot.hooks.flatMap(({ phase, name, state }): Sample[] => {
    if (state === 'pending' || state === 'running') return [];
    return [[state === 'succeeded' || state === 'skipped' ? 1 : 0, phase, name]];
  });
}

/** What the first sample has not told yet stands in the snapshot as 0. */
function ifKnown(figure: number): number | null {
  return figure === 0 ? null : figure;
}
