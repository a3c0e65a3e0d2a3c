/** Paths without links. */
import { realpathSync } from 'node:fs';

/** Without links; as it is, where it does not exist. */
export function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
