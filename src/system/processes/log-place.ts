/**
 * Looks, when a revision is made, whether its log file can be written, so that a mistake in the config is an error of the
 * start or of the reload and not lost lines. Nothing is created; later failures (a full disk) stop nobody.
 */
import { accessSync, constants, statSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { SuperviseError } from '../../core/errors.ts';
import type { AppSpec } from '../../core/spec.ts';
import { fillIn } from './environment.ts';

/** @throws SuperviseError launch-failed */
export function checkLogFile(app: AppSpec, of: string): void {
  if (app.logs.kind === 'inherit' || app.logs.file === null) return;
  const path = fillIn(app.logs.file, { app: app.name, slot: 0, port: app.port, sockets: 0 });
  const found = fileAt(path);
  const why = found === null ? whyNotIn(dirname(path)) : whyNot(path, found);
  if (why === null) return;
  throw new SuperviseError('launch-failed', `${of}: the log file ${path} cannot be written: ${why}`, {
    hint: 'correct "logs.file", or leave it out: lines go to the stdout of the master then',
  });
}

function whyNot(path: string, found: Stats): string | null {
  if (found.isDirectory()) return 'it is a directory';
  if (!found.isFile() && path !== '/dev/null') return 'it is no regular file';
  return mayWrite(path, constants.W_OK) ? null : 'permission denied';
}

/** Missing directories are made when the file is opened. */
function whyNotIn(directory: string): string | null {
  const found = fileAt(directory);
  if (found === null) return whyNotIn(dirname(directory));
  if (!found.isDirectory()) return `${directory} is not a directory`;
  return mayWrite(directory, constants.W_OK | constants.X_OK) ? null : `no file may be made in ${directory}`;
}

function fileAt(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

function mayWrite(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
