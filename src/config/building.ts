/** What the parts of a Spec are built with, and how they report what does not go together. */
import { parseDuration, parsePercent, parseSize } from '../core/units.ts';
import { maxSocketPathBytes } from './listen.ts';
import type { Settling } from './settle.ts';
import { formatPath, originAt, quoted, type Expanded, type Path, type Tree } from './tree.ts';

/** What building needs besides the settings, and where it reports to. */
export interface Building extends Settling {
  readonly tree: Tree;
  readonly file: string | null;
  /** Absolute; relative paths count from it. */
  readonly dir: string;
  readonly defaultName: string;
  /** The variables that commands were made of, by path. */
  readonly expanded: Map<string, readonly Expanded[]>;
}

/** Reports a problem with the value at `path`. */
export function report(building: Building, path: Path, message: string): void {
  building.problems.add(originAt(building.tree, path), path, message);
}

/** Whether a problem with the value at `path` has been reported, so that nothing follows from its absence. */
export function isBroken(building: Building, path: Path): boolean {
  return building.broken.has(formatPath(path));
}

/** A duration that the schema has accepted, in milliseconds. */
export function ms(text: string): number {
  const parsed = parseDuration(text);
  return parsed.ok ? parsed.value : 0;
}

/** A size that the schema has accepted, in bytes. */
export function bytes(text: string): number {
  const parsed = parseSize(text);
  return parsed.ok ? parsed.value : 0;
}

/** A percentage that the schema has accepted, as a share: 0.7. */
export function share(text: string): number {
  const parsed = parsePercent(text, 0, Infinity);
  return parsed.ok ? parsed.value : 0;
}

export function tooLongSocketPath(path: string): string {
  return (
    `expected a socket path of at most ${maxSocketPathBytes} bytes, found one of ${Buffer.byteLength(path)}: ` +
    `${quoted(path)}. Longer ones cannot be bound`
  );
}
