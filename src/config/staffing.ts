/** How many workers an app has and who says so, and how much memory all of them may have. */
import type { AppSpec, MemoryBudgetSpec, StaffingSpec } from '../core/spec.ts';
import { bytes, isBroken, ms, report, share, type Building } from './building.ts';
import type { AppSettings, Settings } from './schema.ts';
import type { Path } from './tree.ts';

export function memoryBudgetOf({ resources }: Settings): MemoryBudgetSpec {
  const written = resources.memory_budget;
  if (written.includes('%')) return { kind: 'share', share: share(written) };
  return { kind: 'bytes', bytes: bytes(written) };
}

/** How many it starts with, and who says how many there are. Reports what does not go together. */
export function staffingOf(
  app: AppSettings,
  path: Path,
  building: Building,
): { readonly workers: AppSpec['workers']; readonly staffing: StaffingSpec } {
  const { workers } = app;
  if (typeof workers === 'number') return { workers, staffing: { kind: 'fixed' } };
  if (typeof workers === 'string') return { workers: 1, staffing: { kind: 'auto' } };
  const { min, max } = workers;
  checkScaled(app, path, building);
  return {
    workers: min,
    staffing: {
      ...{ kind: 'scaled', min, max },
      targetCpu: share(workers.target_cpu),
      targetMemory: share(workers.target_memory),
      scaleDownAfterMs: ms(workers.scale_down_after),
      dryRun: workers.dry_run,
    },
  };
}

function checkScaled({ workers, restart }: AppSettings, path: Path, building: Building): void {
  if (typeof workers !== 'object') return;
  const place = [...path, 'workers'];
  const { min, max } = workers;
  if (min > max && !isBroken(building, [...place, 'min']) && !isBroken(building, [...place, 'max'])) {
    report(building, [...place, 'min'], `expected at most max, which is ${max}, found ${min}`);
  }
  if (restart === 'always' || isBroken(building, [...path, 'restart'])) return;
  const why = 'A worker that has ended for good does no work, and would be counted as idle';
  report(building, place, `expected restart: always, because of min and max, found ${restart}. ${why}`);
}

/** The most workers that there may be, as far as the config says. Of `auto` it does not. */
export function upperBound({ workers }: AppSettings): number {
  return typeof workers === 'number' ? workers : typeof workers === 'string' ? 1 : workers.max;
}
