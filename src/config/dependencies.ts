/** The order in which apps start: each after those that it depends on, else as they were written. */
import type { AppSpec } from '../core/spec.ts';
import { report, type Building } from './building.ts';
import { didYouMean, listOf } from './fields.ts';
import { quoted } from './tree.ts';

/** Reports names that no app has, and apps that wait for each other. */
export function inDependencyOrder(apps: readonly AppSpec[], building: Building): readonly AppSpec[] {
  const byName = new Map(apps.map((app) => [app.name, app]));
  for (const { name, dependsOn } of apps) {
    for (const [index, other] of dependsOn.entries()) {
      if (byName.has(other)) continue;
      const { hint } = didYouMean(other, [...byName.keys()]);
      const known = `the name of an app (${listOf([...byName.keys()], 'or')})`;
      report(
        building,
        ['apps', name, 'depends_on', index],
        `expected ${known}, found ${quoted(other)}${hint ? `. ${hint}` : ''}`,
      );
    }
  }
  const done = new Set<AppSpec>();
  /** Depth first; `above`: the apps that wait for this one. */
  const visit = (app: AppSpec, above: readonly AppSpec[]): void => {
    if (done.has(app)) return;
    const ring = above.indexOf(app);
    if (ring >= 0) return reportRing([...above.slice(ring), app], building);
    for (const name of app.dependsOn) {
      const other = byName.get(name);
      if (other !== undefined) visit(other, [...above, app]);
    }
    done.add(app);
  };
  for (const app of apps) visit(app, []);
  return [...done];
}

function reportRing(ring: readonly AppSpec[], building: Building): void {
  const [first, second] = ring;
  if (first === undefined || second === undefined) return;
  const chain = ring.map((app) => app.name).join(' -> ');
  const index = first.dependsOn.indexOf(second.name);
  const what = ring.length === 2 ? 'an app that waits for itself' : `apps that wait for each other: ${chain}`;
  report(building, ['apps', first.name, 'depends_on', index], `expected an order to start in, found ${what}`);
}
