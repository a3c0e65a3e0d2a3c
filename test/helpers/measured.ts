/** Samples as a story tells them: what each worker has, until it is said otherwise. */
import type { ScaledStaffing } from '../../src/core/spec.ts';
import type { World } from './world.ts';

export const mb = 1024 * 1024;

export const scaled: ScaledStaffing = {
  kind: 'scaled',
  min: 1,
  max: 4,
  targetCpu: 0.7,
  targetMemory: 0.8,
  scaleDownAfterMs: 300_000,
  dryRun: false,
};

/** From now on the worker has so much. `cpuPercent`: 100 = one core busy. */
export function has(world: World, worker: string, memoryBytes: number, cpuPercent = 1): void {
  world.samples.set(worker, { cpuPercent, memoryBytes, memoryKind: 'pss', processes: 1 });
}

/** Every worker that lives, and every one that comes, is like this, for so many samples (of 2 s). */
export function all(world: World, memoryBytes: number, cpuPercent: number, samples: number): World {
  for (let n = 0; n < samples; n++) {
    for (const process of world.live()) if (process.launch) has(world, process.name, memoryBytes, cpuPercent);
    world.after(2_000);
    world.allReady();
  }
  return world;
}
