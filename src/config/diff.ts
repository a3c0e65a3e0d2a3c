/**
 * What changed between two configs, by app. The content of env files is not looked at: it is read when workers start.
 *
 * Any difference but the number of workers is a change, also of what concerns the master alone (health, limits, watch):
 * a revision is one whole spec, so a rollback takes all of it back, and nobody has to know which key is of which kind.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AppSpec, Spec } from '../core/spec.ts';

/** Names of apps, each in one list at most, in the order of the config. */
export interface SpecDiff {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Only the number of workers differs. */
  readonly rescaled: readonly string[];
  readonly changed: readonly string[];
}

/** Compares the apps of two specs. */
export function diffSpecs(before: Spec, after: Spec): SpecDiff {
  const earlier = new Map(before.apps.map((app) => [app.name, app]));
  const names = new Set(after.apps.map(({ name }) => name));
  const kept = after.apps.flatMap((app) => {
    const other = earlier.get(app.name);
    return other === undefined ? [] : [{ name: app.name, change: changeOf(other, app) }];
  });
  return {
    added: after.apps.filter(({ name }) => !earlier.has(name)).map(({ name }) => name),
    removed: before.apps.filter(({ name }) => !names.has(name)).map(({ name }) => name),
    rescaled: kept.filter(({ change }) => change === 'rescaled').map(({ name }) => name),
    changed: kept.filter(({ change }) => change === 'changed').map(({ name }) => name),
  };
}

function changeOf(before: AppSpec, after: AppSpec): 'none' | 'rescaled' | 'changed' {
  const { workers, staffing } = after;
  if (!isDeepStrictEqual({ ...before, workers, staffing }, after)) return 'changed';
  return changesStaffing(before, after) ? 'rescaled' : 'none';
}

type Staffed = Pick<AppSpec, 'workers' | 'staffing'>;

/** Whether the number of workers, or who decides on it, differs. */
export function changesStaffing(before: Staffed, after: Staffed): boolean {
  return !isDeepStrictEqual([before.workers, before.staffing], [after.workers, after.staffing]);
}
