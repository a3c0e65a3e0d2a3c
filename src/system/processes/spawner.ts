/**
 * The one who starts processes: chooses the way by the kind of app, and holds what all of them share.
 *
 *   command                 exec-worker      child_process.spawn, inherited sockets
 *   script with listen      exec-worker      the same, with the preload
 *   script without listen   cluster-worker   node:cluster
 *   hook                    hook-process
 */
import type { Spawner } from '../../ports.ts';
import type { GuardPort, LifeParts, OutputPort } from './child-life.ts';
import { checkPolicy, isClustered, spawnClusterWorker } from './cluster-worker.ts';
import { spawnExecWorker } from './exec-worker.ts';
import { spawnHook } from './hook-process.ts';
import type { LaunchParts } from './launching.ts';
import { OomWitness } from './oom.ts';
import { pin } from './pin.ts';
import { Strays } from './strays.ts';

export interface SpawnerParts {
  readonly sockets: LaunchParts['sockets'];
  readonly guard: GuardPort;
  readonly output: OutputPort;
  readonly masterName: string;
}

/** Starts workers and hooks as real processes. */
export function createSpawner({ sockets, guard, output, masterName }: SpawnerParts): Spawner {
  const warned = new Set<string>();
  const life: LifeParts = { guard, output, strays: new Strays(), oom: new OomWitness() };
  const parts: LaunchParts = {
    ...life,
    sockets,
    masterName,
    warnOnce: (message, warn, per = '') => {
      const key = `${per} ${message}`;
      if (warned.has(key)) return;
      warned.add(key);
      setImmediate(() => warn(message));
    },
  };
  return {
    pin: (app, revision, baseEnv) => {
      checkPolicy(app);
      return pin(app, revision, baseEnv);
    },
    spawn: (launch, listener) =>
      isClustered(launch.pinned.app)
        ? spawnClusterWorker(launch, parts, listener)
        : spawnExecWorker(launch, parts, listener),
    runHook: (hook, baseEnv, listener) => spawnHook(hook, baseEnv, parts, listener),
  };
}
