/** What has changed between two inventories, and how that is told. */
import type { FileMark } from './inventory.ts';

export interface Change {
  readonly path: string;
  readonly how: 'changed' | 'added' | 'removed';
  /** null: it is gone. */
  readonly changedMs: number | null;
}

type Files = ReadonlyMap<string, FileMark>;

/** In the order of their paths. */
export function changesBetween(before: Files, after: Files): Change[] {
  const kept = [...after].flatMap(([path, { mark, changedMs }]): Change[] => {
    const earlier = before.get(path);
    if (earlier?.mark === mark) return [];
    return [{ path, how: earlier ? 'changed' : 'added', changedMs }];
  });
  const gone = [...before.keys()].filter((path) => !after.has(path));
  const removed = gone.map((path): Change => ({ path, how: 'removed', changedMs: null }));
  return [...kept, ...removed].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** "src/app.py changed", "src/a.py and src/b.py changed", "src/a.py and 199 more changed". */
export function inWords(changes: readonly { readonly path: string; readonly how: Change['how'] }[]): string {
  const [first, second] = changes;
  if (!first) return 'nothing changed';
  const how = changes.every((change) => change.how === first.how) ? first.how : 'changed';
  if (!second) return `${first.path} ${how}`;
  return `${first.path} and ${changes.length === 2 ? second.path : `${changes.length - 1} more`} ${how}`;
}
