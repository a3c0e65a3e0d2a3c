/**
 * What a reload of the config means, app by app: which are new, which are gone, which only have another number of
 * workers, and which differ in anything else (those must be rolled).
 */
import type { AppSpec, Spec } from '../core/spec.ts';

export interface SpecDiff {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly rescaled: readonly string[];
  readonly changed: readonly string[];
}

/** Compares the apps of two specs by name. The content of env files is not looked at. */
export function diffSpecs(before: Spec, after: Spec): SpecDiff {
  const old = new Map(before.apps.map((app) => [app.name, app]));
  const names = new Set(after.apps.map((app) => app.name));
  const pairs = after.apps.flatMap((app) => {
    const was = old.get(app.name);
    return was ? [[was, app] as const] : [];
  });
  return {
    added: after.apps.filter((app) => !old.has(app.name)).map((app) => app.name),
    removed: before.apps.filter((app) => !names.has(app.name)).map((app) => app.name),
    rescaled: pairs.filter(([was, app]) => was.workers !== app.workers).map(([, app]) => app.name),
    changed: pairs.filter(([was, app]) => fingerprint(was) !== fingerprint(app)).map(([, app]) => app.name),
  };
}

function fingerprint(app: AppSpec): string {
  return JSON.stringify({ ...app, workers: 0 });
}
