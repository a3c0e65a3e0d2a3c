/**
 * A config as it was written: maps, lists and scalars, each with the place it stands at. Everything that is reported
 * about a config, errors and origins, finds its place here. Files and flags both become such a tree.
 */
import { isSecretName, mask, maskText } from '../core/secrets.ts';

/** Where a value was written. `file` is shown as the user named it; lines and columns count from 1. */
export type Origin =
  | { readonly kind: 'file'; readonly file: string; readonly line: number; readonly column: number }
  | { readonly kind: 'flag'; readonly flag: string };

/** A variable that a value was made of, and what gave it its content. */
export interface Expanded {
  readonly variable: string;
  readonly from: 'environment' | 'env_file' | 'default';
}

export type Scalar = string | number | boolean | null;

export interface Leaf {
  readonly kind: 'leaf';
  readonly value: Scalar;
  /** As written, without quotes: `0022` where the value is 22. */
  readonly text: string;
  readonly expanded: readonly Expanded[];
  readonly origin: Origin;
}

export interface List {
  readonly kind: 'list';
  readonly items: readonly Tree[];
  readonly origin: Origin;
}

export interface Branch {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, Entry>;
  readonly origin: Origin;
}

export interface Entry {
  readonly keyOrigin: Origin;
  readonly value: Tree;
}

export type Tree = Leaf | List | Branch;

export type Path = readonly (string | number)[];

export function leaf(value: Scalar, origin: Origin, text: string = String(value ?? '')): Leaf {
  return { kind: 'leaf', value, text, expanded: [], origin };
}

/** The node at `path`, or null when there is none. */
export function nodeAt(tree: Tree, path: Path): Tree | null {
  let node: Tree | undefined = tree;
  for (const step of path) {
    if (node.kind === 'map') node = node.entries.get(String(step))?.value;
    else if (node.kind === 'list') node = node.items[Number(step)];
    else node = undefined;
    if (node === undefined) return null;
  }
  return node;
}

/** Where the key that ends `path` is written, or where the node is when a list holds it. */
export function keyOrigin(tree: Tree, path: Path): Origin {
  const parent = nodeAt(tree, path.slice(0, -1));
  const key = path.at(-1);
  const entry = parent?.kind === 'map' && key !== undefined ? parent.entries.get(String(key)) : undefined;
  return entry?.keyOrigin ?? nodeAt(tree, path)?.origin ?? keyOrigin(tree, path.slice(0, -1));
}

/** Where to point at for a problem with the value at `path`: a scalar, the key of anything else, or what should hold it. */
export function originAt(tree: Tree, path: Path): Origin {
  const node = nodeAt(tree, path);
  return node?.kind === 'leaf' && node.value !== null
    ? node.origin
    : path.length === 0
      ? tree.origin
      : keyOrigin(tree, path);
}

/** `apps.web.listen[0]`; keys that are no plain words are quoted. */
export function formatPath(path: Path): string {
  return path
    .map((step) => {
      if (typeof step === 'number') return `[${step}]`;
      return /^[\w-]+$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
    })
    .join('')
    .replace(/^\./, '');
}

/** `supervise.yaml:4:5`, or `flag -w`. */
export function formatOrigin(origin: Origin): string {
  return origin.kind === 'file' ? `${origin.file}:${origin.line}:${origin.column}` : `flag ${origin.flag}`;
}

/** What was found there, for an error message; secrets are masked and long texts cut. */
export function describe(node: Tree | null): string {
  if (node === null || (node.kind === 'leaf' && node.value === null)) return 'nothing';
  if (node.kind === 'map') return node.entries.size === 0 ? 'an empty map' : 'a map';
  if (node.kind === 'list') return node.items.length === 0 ? 'an empty list' : 'a list';
  const shown = typeof node.value === 'string' ? quoted(hideSecrets(node)) : node.text;
  const variables = node.expanded.map(({ variable }) => `\${${variable}}`);
  return variables.length === 0 ? shown : `${shown} (from ${variables.join(', ')})`;
}

/** The text of a scalar as it may be shown: masked where it came from a variable with a secret's name. */
export function hideSecrets(node: Leaf): string {
  const secret = node.expanded.some(({ variable, from }) => from !== 'default' && isSecretName(variable));
  return secret && node.value !== '' ? mask : maskText(String(node.value ?? ''));
}

/** A text in double quotes, cut to a length that fits a line. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}
