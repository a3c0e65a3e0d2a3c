/**
 * Log files over all apps. Several apps may write into one file: whole lines never cut each other. But it is rotated once,
 * so they have to agree on how; and no file may have the name that another one gets when it is rotated.
 */
import type { AppSpec, LogsSpec } from '../core/spec.ts';
import { report, type Building } from './building.ts';
import { realOf } from './real-path.ts';
import { formatOrigin, formatPath, originAt, quoted, type Path } from './tree.ts';

type ToFile = Extract<LogsSpec, { kind: 'captured' }> & { readonly file: string };

interface Written {
  readonly path: Path;
  readonly logs: ToFile;
  /** Of all slots, without links as far as they exist. */
  readonly files: ReadonlySet<string>;
}

/** Reports files that two apps cannot share. */
export function checkLogFiles(apps: readonly AppSpec[], building: Building): void {
  const seen: Written[] = [];
  for (const app of apps) {
    const { name, logs } = app;
    if (logs.kind !== 'captured' || logs.file === null) continue;
    const one = { path: ['apps', name, 'logs'], logs: { ...logs, file: logs.file }, files: filesOf(logs.file, app) };
    for (const other of seen) {
      checkSettings(one, other, building);
      checkNames(one, other, building);
    }
    seen.push(one);
  }
}

/** As long as nobody scales. */
function filesOf(file: string, { name, port, workers, reload }: AppSpec): ReadonlySet<string> {
  const slots = Array.from({ length: Math.max(1, workers + reload.maxSurge) }, (_, slot) => slot);
  const filledIn = slots.map((slot) =>
    file
      .replaceAll('{app}', name)
      .replaceAll('{slot}', String(slot))
      .replaceAll('{port}', String((port ?? 0) + slot)),
  );
  return new Set([...new Set(filledIn)].map(realOf));
}

function checkSettings(one: Written, other: Written, building: Building): void {
  const shared = [...one.files].find((file) => other.files.has(file));
  if (shared === undefined) return;
  const differs = (
    [
      ['max_size', 'maxSizeBytes'],
      ['keep', 'keep'],
      ['gzip', 'gzip'],
    ] as const
  ).find(([, key]) => one.logs[key] !== other.logs[key]);
  if (differs === undefined) return;
  const [name, key] = differs;
  const values = `found ${String(one.logs[key])} and ${String(other.logs[key])}`;
  const which = one.logs.file === other.logs.file ? 'the same file' : `the same file (${shared})`;
  report(
    building,
    [...one.path, 'file'],
    `expected the same ${name} as ${formatPath(other.path)} (${where(other, building)}), which writes ${which}, ${values}. Give both the same, or each a file of its own, with {app} in its name`,
  );
}

function checkNames(one: Written, other: Written, building: Building): void {
  if (!isRotated(one, other) && !isRotated(other, one)) return;
  report(
    building,
    [...one.path, 'file'],
    `expected a file of its own, found ${quoted(one.logs.file)}; beside ${quoted(other.logs.file)} of ${formatPath(other.path)} (${where(other, building)}) one of the two has a name that the other gets when it is rotated. Rename one`,
  );
}

/** Whether a file of the one has a name that a file of the other gets. */
function isRotated({ files }: Written, { files: others }: Written): boolean {
  return [...files].some((file) => {
    const rotated = /\.\d+(\.gz)?$/.exec(file);
    return rotated !== null && others.has(file.slice(0, rotated.index));
  });
}

function where({ path }: Written, building: Building): string {
  const origin = originAt(building.tree, [...path, 'file']);
  return origin.kind === 'file' ? `line ${origin.line}` : formatOrigin(origin);
}
