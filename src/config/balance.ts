/**
 * Where `balance: round-robin` can be had: node:cluster hands connections to Node scripts that listen by themselves, and it has
 * one policy for all of them.
 */
import type { AppSpec } from '../core/spec.ts';
import { isBroken, report, type Building } from './building.ts';
import { listOf } from './fields.ts';
import type { AppSettings } from './schema.ts';
import type { Path } from './tree.ts';

/** Reports a round robin of an app to which node:cluster cannot hand connections. */
export function checkBalance(app: AppSettings, path: Path, building: Building): void {
  if (app.balance !== 'round-robin') return;
  const place = [...path, 'balance'];
  const isCommand = app.command !== undefined && app.script === undefined && !isBroken(building, [...path, 'script']);
  if (isCommand) {
    report(
      building,
      place,
      'expected auto, steered or shared for a command, found "round-robin", which hands connections to a script of Node. Use script, or leave balance out',
    );
  } else if (app.listen.length > 0) {
    report(
      building,
      place,
      'expected auto, steered or shared beside listen, found "round-robin", for which the script opens its port itself. Take listen out, or leave balance out',
    );
  }
}

/** Reports scripts without `listen` that want different policies. */
export function checkPolicies(apps: readonly AppSpec[], building: Building): void {
  const scripts = apps.filter(
    ({ name, kind, listen }) =>
      kind === 'script' && listen.length === 0 && !isBroken(building, ['apps', name, 'listen']),
  );
  const others = scripts.filter(({ balance }) => balance !== 'round-robin').map(({ name }) => name);
  const [first] = scripts.filter(({ balance }) => balance === 'round-robin');
  if (first === undefined || others.length === 0) return;
  report(
    building,
    ['apps', first.name, 'balance'],
    `expected the same of all scripts without listen, because node:cluster has one policy for them, found "round-robin" here and not ` +
      `in ${listOf(others, 'and')}. Give it to all of them or to none`,
  );
}
