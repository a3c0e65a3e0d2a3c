/** Paths without links. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Without links, as far as it exists. */
export function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const folder = dirname(path);
    return folder === path ? path : join(realOf(folder), basename(path));
  }
}
