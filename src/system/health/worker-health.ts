/**
 * The health probes of one worker, of whatever kind: http and tcp at its port or at its socket, exec as a process.
 *
 * - Nothing is answered once the worker has been asked to end, or has ended: then it is cancelled.
 * - Late, and its connection has not even been accepted: the connection is kept, and as long as it is not accepted every
 *   further probe fails without another one. So a worker that hangs is not left with a queue of dead connections.
 * - Where no probe can reach this worker alone it is not probed: an answer of another one would say nothing about it. It counts
 *   as healthy, and a warning says so.
 */
import type { HealthSpec } from '../../core/spec.ts';
import type { Cancel, Launch } from '../../ports.ts';
import { fillIn } from '../processes/environment.ts';
import { placeholdersOf, type LaunchParts } from '../processes/launching.ts';
import type { Seat } from '../sockets/seat.ts';
import { runExecProbe } from './exec-probe.ts';
import type * as PortProbes from './port-probes.ts';
import { aimAt, type PortProbed, type WorkerAim } from './worker-aim.ts';

export interface ProbedWorker {
  readonly launch: Launch;
  readonly parts: LaunchParts;
  readonly seat: Pick<Seat, 'reach'>;
  /** Told why it is not probed, each time. */
  warn(message: string): void;
}

type Done = (failure: string | null) => void;

export class WorkerHealth {
  readonly #worker: ProbedWorker;
  /** A connection that has not been accepted since an earlier probe. */
  #waiting: { readonly failure: string; readonly cancel: Cancel } | null = null;

  constructor(worker: ProbedWorker) {
    this.#worker = worker;
  }

  /** Probes once. `done` is called once, never at once, unless it is cancelled: null, or why it is not healthy. Never throws. */
  probe({ probe, timeoutMs }: HealthSpec, done: Done): Cancel {
    const { launch, parts, seat, warn } = this.#worker;
    if (probe.kind === 'exec') return runExecProbe({ launch, parts, command: probe, timeoutMs }, done);
    const { app } = launch.pinned;
    const aiming = aimAt(probe, app, { slot: launch.slot, seat });
    if (aiming === null) return soon(done, `health.${probe.kind} needs a port of the worker's own: set "port"`);
    const aim = aiming();
    if (typeof aim === 'string') {
      warn(`health of ${app.name} is not probed as long as ${aim}`);
      return soon(done, null);
    }
    if ('failure' in aim) return soon(done, aim.failure);
    if (this.#waiting !== null) return soon(done, this.#waiting.failure);
    return this.#ask(probe, { ...aim, timeoutMs }, done);
  }

  /** The worker is asked to end, or has ended. */
  end(): void {
    this.#waiting?.cancel();
    this.#waiting = null;
  }

  #ask(probe: PortProbed, aim: WorkerAim & { timeoutMs: number }, done: Done): Cancel {
    let cancel: Cancel | null = null;
    let state: 'asked' | 'answered' | 'cancelled' = 'asked';
    const tell = (failure: string | null): void => {
      if (state === 'asked') done(failure);
      state = 'answered';
    };
    const begin = ({ httpProbe, tcpProbe }: typeof PortProbes): void => {
      if (state === 'cancelled') return;
      const path = probe.kind === 'http' ? fillIn(probe.path, placeholdersOf(this.#worker.launch)) : '';
      const one = probe.kind === 'http' ? httpProbe({ ...aim, path }) : tcpProbe(aim);
      cancel = one((failure, then) => {
        this.#waiting = then === 'waiting' && cancel !== null ? { failure: failure ?? '', cancel } : null;
        tell(failure);
      });
    };
    // node:http is worth 7 ms and 3 MB: only for those who probe.
    import('./port-probes.ts').then(begin).catch((error: unknown) => tell(`it cannot be probed: ${String(error)}`));
    return () => {
      if (state === 'asked') cancel?.();
      state = 'cancelled';
    };
  }
}

function soon(done: Done, failure: string | null): Cancel {
  const immediate = setImmediate(() => done(failure));
  return () => clearImmediate(immediate);
}
