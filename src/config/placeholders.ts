/**
 * The `{placeholders}` of an app, and where each of them means something:
 *
 * | | command, script, env | health.exec | logs.file |
 * | --- | --- | --- | --- |
 * | {app}, {slot} | yes | yes | yes |
 * | {port} | with `port` | with `port` | with `port` |
 * | {fd}, {fd1} | with as many addresses in `listen` | no: it is given no sockets | no |
 *
 * Everything else in braces is the program's own.
 */
import type { AppSpec } from '../core/spec.ts';
import { isBroken, report, type Building } from './building.ts';
import { listOf } from './fields.ts';
import type { AppSettings } from './schema.ts';
import type { Path } from './tree.ts';

interface Place {
  readonly path: Path;
  readonly text: string;
  /** Why there is no {fd} here, and what to do; null: there is. */
  readonly noSockets: string | null;
}

/** Reports placeholders that nothing could be filled in for. */
export function checkPlaceholders(app: AppSettings, spec: AppSpec, building: Building): void {
  const path: Path = ['apps', spec.name];
  const sockets = spec.listen.length;
  for (const { path: place, text, noSockets } of placesOf(app, spec, path)) {
    for (const [placeholder, fd, number] of text.matchAll(/\{(?:(fd)(\d*)|port)\}/g)) {
      if (fd === undefined) {
        if (app.port === null && !isBroken(building, [...path, 'port']))
          report(building, place, 'expected a port for {port}, found none. Set port of the app, to 9000 for example');
      } else if (noSockets !== null) {
        report(building, place, `expected {slot}, {port} or {app}, found ${placeholder}. ${noSockets}`);
      } else if (Number(number) >= sockets && !isBroken(building, [...path, 'listen'])) {
        const found = sockets === 0 ? 'none' : `${sockets} (${listOf(fdNames(sockets), 'and')})`;
        const what = `expected a listen address for ${placeholder}, found ${found}`;
        report(building, place, `${what}. Add one to listen of the app, or with -b`);
      }
    }
  }
}

function placesOf(app: AppSettings, { kind, argv, health }: AppSpec, path: Path): readonly Place[] {
  const words = argv.map((text) => ({ path: [...path, kind], text, noSockets: null }));
  const variables = Object.entries(app.env).map(([name, text]) => ({
    path: [...path, 'env', name],
    text,
    noSockets: null,
  }));
  const probed = health?.probe.kind === 'exec' ? health.probe.argv : [];
  const probe = probed.map((text) => ({
    path: [...path, 'health', 'exec'],
    text,
    noSockets: "A probe's command is given no sockets: let it connect to an address",
  }));
  const file = typeof app.logs === 'string' ? null : app.logs.file;
  const noSockets = 'The number of a socket is the same for all workers: use {slot} for a file of each';
  return [
    ...words,
    ...variables,
    ...probe,
    ...(file === null ? [] : [{ path: [...path, 'logs', 'file'], text: file, noSockets }]),
  ];
}

function fdNames(sockets: number): readonly string[] {
  return Array.from({ length: sockets }, (_, index) => (index === 0 ? '{fd}' : `{fd${index}}`));
}
