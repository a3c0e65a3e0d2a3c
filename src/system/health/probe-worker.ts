/**
 * One health probe of one worker, of whatever kind: http and tcp on a port of the worker's own, exec as a process.
 * Nothing is answered once the worker has been asked to end, or has ended: then it is cancelled.
 */
import type { HealthSpec } from '../../core/spec.ts';
import type { Cancel, Launch } from '../../ports.ts';
import { fillIn } from '../processes/environment.ts';
import { placeholdersOf, type LaunchParts } from '../processes/launching.ts';
import { runExecProbe } from './exec-probe.ts';
import type * as PortProbes from './port-probes.ts';

/** Probes once. `done` is called once, never at once, unless it is cancelled: null, or why it is not healthy. Never throws. */
export function probeWorker(
  launch: Launch,
  parts: LaunchParts,
  { probe, timeoutMs }: HealthSpec,
  done: (failure: string | null) => void,
): Cancel {
  if (probe.kind === 'exec') return runExecProbe({ launch, parts, command: probe, timeoutMs }, done);
  const { port: appPort } = launch.pinned.app;
  const firstPort = probe.port ?? appPort;
  if (firstPort === null) {
    const soon = setImmediate(() => done(`health.${probe.kind} needs a port of the worker's own: set "port"`));
    return () => clearImmediate(soon);
  }
  const aim = { port: firstPort + launch.slot, timeoutMs };
  let cancel: Cancel | null = null;
  let over = false;
  const begin = ({ httpProbe, tcpProbe }: typeof PortProbes): void => {
    if (over) return;
    const path = probe.kind === 'http' ? fillIn(probe.path, placeholdersOf(launch)) : '';
    const one = probe.kind === 'http' ? httpProbe({ ...aim, path }) : tcpProbe(aim);
    cancel = one(done);
  };
  // node:http is worth 7 ms and 3 MB: only for those who probe.
  void import('./port-probes.ts').then(begin);
  return () => {
    over = true;
    cancel?.();
  };
}
