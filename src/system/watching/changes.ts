/** What has changed between two inventories, and how that is told. */
import { dirname } from 'node:path';
import type { Inventory } from './inventory.ts';

export interface Change {
  readonly path: string;
  readonly how: 'changed' | 'added' | 'removed';
  /** When, at the latest; null: not known. */
  readonly changedMs: number | null;
}

/** In the order of their paths. */
export function changesBetween(
  before: Inventory['files'],
  { files: after, changedMs: folders }: Pick<Inventory, 'files' | 'changedMs'>,
): Change[] {
  const kept = [...after].flatMap(([path, { mark, changedMs }]): Change[] => {
    const earlier = before.get(path);
    if (earlier?.mark === mark) return [];
    const latestMs = Math.max(changedMs, folderMs(path, folders) ?? 0);
    return [{ path, how: earlier ? 'changed' : 'added', changedMs: latestMs }];
  });
  const gone = [...before.keys()].filter((path) => !after.has(path));
  const removed = gone.map((path): Change => ({ path, how: 'removed', changedMs: folderMs(path, folders) }));
  return [...kept, ...removed].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** The last folder above it that is still there knows. */
function folderMs(path: string, folders: Inventory['changedMs']): number | null {
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    const changedMs = folders.get(folder);
    if (changedMs !== undefined) return changedMs;
  }
  return null;
}

/** "src/app.py changed", "src/a.py and src/b.py changed", "src/a.py and 199 more changed". */
export function inWords(changes: readonly { readonly path: string; readonly how: Change['how'] }[]): string {
  const [first, second] = changes;
  if (!first) return 'nothing changed';
  const how = changes.every((change) => change.how === first.how) ? first.how : 'changed';
  if (!second) return `${first.path} ${how}`;
  return `${first.path} and ${changes.length === 2 ? second.path : `${changes.length - 1} more`} ${how}`;
}
