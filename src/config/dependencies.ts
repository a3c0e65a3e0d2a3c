/** The order in which apps start: each after those that it depends on, else as they were written. */
import type { AppSpec } from '../core/spec.ts';
import { isBroken, report, type Building } from './building.ts';
import { didYouMean, listOf } from './fields.ts';
import { quoted, type Path } from './tree.ts';

/** Reports names that no app has, apps that depend on themselves, and apps that wait for each other. */
export function inDependencyOrder(apps: readonly AppSpec[], building: Building): readonly AppSpec[] {
  const byName = new Map(apps.map((app) => [app.name, app]));
  for (const app of apps) checkNames(app, [...byName.keys()], building);
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

function checkNames({ name, dependsOn }: AppSpec, known: readonly string[], building: Building): void {
  const others = known.filter((other) => other !== name);
  for (const [index, other] of dependsOn.entries()) {
    // an app that is there, but so broken that nothing is left of it, has been reported itself
    if (others.includes(other) || isBroken(building, ['apps', other])) continue;
    const path: Path = ['apps', name, 'depends_on', index];
    if (other === name) {
      report(building, path, `expected another app, found ${quoted(other)}, which is this app itself. Take it out`);
    } else {
      const expected =
        others.length === 0 ? 'no app, because there is no other' : `another app (${listOf(others, 'or')})`;
      const { hint } = didYouMean(other, others);
      report(building, path, `expected ${expected}, found ${quoted(other)}${hint ? `. ${hint}` : ''}`);
    }
  }
}

function reportRing(ring: readonly AppSpec[], building: Building): void {
  const [first, second] = ring;
  if (first === undefined || second === undefined || first === second) return;
  const path: Path = ['apps', first.name, 'depends_on', first.dependsOn.indexOf(second.name)];
  const chain = ring.map((app) => app.name).join(' -> ');
  report(
    building,
    path,
    `expected an order to start in, found apps that wait for each other: ${chain}. Take one of them out`,
  );
}
