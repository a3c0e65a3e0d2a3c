/** Runs the pre-start hooks alone, in this process: what a deploy step or a Kubernetes Job does before the rollout. */
import { join } from 'node:path';
import { ExitCode } from '../core/errors.ts';
import type { Spec } from '../core/spec.ts';
import { Hooks, type HooksOutcome } from '../master/hooks.ts';
import { EventStream } from '../master/stream.ts';
import { createClock } from '../system/clock.ts';
import { directoriesFor, prepareDirectories } from '../system/instance/directories.ts';
import { startGuard } from '../system/instance/guard.ts';
import { createLedger } from '../system/instance/ledger.ts';
import { createLocks } from '../system/instance/locks.ts';
import { Output } from '../system/output/output.ts';
import { takeSignals } from '../system/signals.ts';
import { noSeat } from '../system/sockets/seat.ts';
import { createSpawner } from '../system/processes/spawner.ts';
import { openStandardSinks } from '../system/output/standard-sinks.ts';
import { followLog } from './log-follower.ts';
import type { StartOptions } from './run-master.ts';

/**
 * @returns 0, or 1 when a signal ended them
 * @throws SuperviseError hook-failed for a hook that failed and whose on_failure is abort
 */
export async function runHooks(spec: Spec, options: StartOptions): Promise<number> {
  const { runtime, state } = prepareDirectories(directoriesFor(spec.name, process.env), process.env);
  const clock = createClock();
  const stream = new EventStream(clock);
  const warn = (message: string) => stream.emit({ type: 'master.warning', message });
  const sinks = openStandardSinks();
  const output = new Output({ sink: sinks.out, colors: options.color ?? sinks.out.kind === 'tty' });
  const log = followLog((listener) => stream.subscribe(listener), {
    sink: sinks.err,
    colors: options.color ?? sinks.err.kind === 'tty',
    level: options.quiet ? 'warn' : 'info',
    name: spec.name,
  });
  // A record of its own: that of a running master is not ours to write.
  const guard = startGuard(join(runtime, `hooks-run.${process.pid}`), warn);
  const spawner = createSpawner({ sockets: { seat: () => noSeat }, guard, output, masterName: spec.name });
  const hooks = new Hooks(spec, {
    clock,
    spawner,
    ledger: createLedger(state, createLocks(), warn),
    emit: (body) => stream.emit(body),
  });
  const none = () => undefined;
  const ignoreSignals = takeSignals({
    stop: (how) => hooks.cancel(how === 'graceful' ? how : 'now'),
    reload: none,
    reopen: none,
    upgrade: none,
    scaleBy: none,
  });
  try {
    const outcome = await new Promise<HooksOutcome>((done) => hooks.run('pre_start', done));
    if (outcome.type === 'failed') throw outcome.error;
    return outcome.type === 'succeeded' ? ExitCode.ok : ExitCode.failed;
  } finally {
    ignoreSignals();
    await new Promise<void>((done) => guard.close(done));
    await log.flushed();
    await new Promise<void>((done) => output.close(done));
    if (sinks.err !== sinks.out) await new Promise<void>((done) => sinks.err.close(done));
  }
}
