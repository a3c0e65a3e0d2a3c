/**
 * `start`: in the foreground the master runs in this process, and its end is ours. Nothing is loaded before it that
 * the first worker does not need.
 */
import { readConfig } from '../config.ts';
import type { Invocation } from '../invocation.ts';
import { hasOption } from '../invocation.ts';

/** @throws SuperviseError whatever makes a start fail */
export async function start(invocation: Invocation): Promise<number> {
  const config = await readConfig(invocation);
  if (hasOption(invocation, 'dryRun')) return (await import('./dry-run.ts')).dryRun(invocation, config);
  if (hasOption(invocation, 'detach')) return (await import('./detach.ts')).detach(invocation, config);
  const { startOptions } = await import('../start-options.ts');
  const master = await import('../../index.ts');
  return master.start(config.loaded.spec, startOptions(invocation, config.reread));
}
