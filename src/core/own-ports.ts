/** Ports of the workers' own: slot 0 has the port that the config names, slot n that plus n. */
import { SuperviseError } from './errors.ts';
import { listenProbed } from './probed-listen.ts';
import type { AppSpec } from './spec.ts';

export const lastPort = 65_535;

type Ported = Pick<AppSpec, 'name' | 'listen' | 'port' | 'ready' | 'health' | 'reload'>;

/** @throws SuperviseError usage: an app of so many workers, and `max_surge` more during a reload, would need ports that do not exist */
export function checkRoom(app: Ported, workers: number): void {
  const most = mostWorkers(app);
  if (most === null || workers <= most) return;
  const port = Math.max(0, ...portsOf(app));
  const { maxSurge } = app.reload;
  const surge = maxSurge === 0 ? '' : `; ${maxSurge} more ${maxSurge === 1 ? 'runs' : 'run'} during a reload`;
  throw new SuperviseError(
    'usage',
    `${app.name}: expected at most ${most} workers, found ${workers}: slot n has port ${port} + n, and ${lastPort} is the last${surge}`,
    { hint: 'lower the port in the config' },
  );
}

/** How many workers there are ports for, and `max_surge` more during a reload; null: it has no ports of its own, so no bound. */
export function mostWorkers(app: Ported): number | null {
  const port = Math.max(0, ...portsOf(app));
  return port === 0 ? null : Math.max(0, lastPort + 1 - port - app.reload.maxSurge);
}

/** Those of slot 0. */
function portsOf({ listen, port, ready, health }: Ported): readonly number[] {
  const probes = [ready, health?.probe].map((probe) => {
    if (probe?.kind !== 'http' && probe?.kind !== 'tcp') return null;
    return listenProbed(listen, probe.port) === null ? probe.port : null;
  });
  return [port, ...probes].filter((one) => one !== null);
}
