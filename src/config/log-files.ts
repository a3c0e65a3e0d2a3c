/**
 * Log files over all apps. Several apps may write into one file: whole lines never cut each other. But it is rotated once,
 * so they have to agree on how; and no file may have the name that another one gets when it is rotated.
 */
import type { AppSpec, LogsSpec } from '../core/spec.ts';
import { report, type Building } from './building.ts';
import { formatOrigin, formatPath, originAt, quoted, type Path } from './tree.ts';

type ToFile = Extract<LogsSpec, { kind: 'captured' }> & { readonly file: string };

interface Written {
  readonly path: Path;
  readonly logs: ToFile;
  /** {app} filled in, so that the same text is the same file (or the same files, where {slot} or {port} is left). */
  readonly file: string;
}

/** Reports files that two apps cannot share. */
export function checkLogFiles(apps: readonly AppSpec[], building: Building): void {
  const seen: Written[] = [];
  for (const { name, logs } of apps) {
    if (logs.kind !== 'captured' || logs.file === null) continue;
    const path = ['apps', name, 'logs'];
    const one = { path, logs: { ...logs, file: logs.file }, file: logs.file.replaceAll('{app}', name) };
    for (const other of seen) {
      checkSettings(one, other, building);
      checkNames(one, other, building);
    }
    seen.push(one);
  }
}

function checkSettings(one: Written, other: Written, building: Building): void {
  if (one.file !== other.file) return;
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
  report(
    building,
    [...one.path, 'file'],
    `expected the same ${name} as ${formatPath(other.path)} (${where(other, building)}), which writes the same file, ${values}. Give both the same, or each a file of its own, with {app} in its name`,
  );
}

function checkNames(one: Written, other: Written, building: Building): void {
  if (!isRotated(one.file, other.file) && !isRotated(other.file, one.file)) return;
  report(
    building,
    [...one.path, 'file'],
    `expected a file of its own, found ${quoted(one.logs.file)}; beside ${quoted(other.logs.file)} of ${formatPath(other.path)} (${where(other, building)}) one of the two has a name that the other gets when it is rotated. Rename one`,
  );
}

function isRotated(file: string, of: string): boolean {
  return file.startsWith(`${of}.`) && /^\d+(\.gz)?$/.test(file.slice(of.length + 1));
}

function where({ path }: Written, building: Building): string {
  const origin = originAt(building.tree, [...path, 'file']);
  return origin.kind === 'file' ? `line ${origin.line}` : formatOrigin(origin);
}
