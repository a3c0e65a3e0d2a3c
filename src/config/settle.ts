/**
 * From what was written to what it means: expands `${VAR}` and then gives every scalar the type that the schema asks
 * for at its place, so `workers: ${N:-4}` is a number, and `name: 42` and `umask: 022` are the texts that were written.
 *
 * - A key without a value is a key that is not set, where the schema can do without it.
 * - Commands are left as they are: they are split into words before their variables are expanded.
 * - Below unknown keys nothing is touched.
 */
import type * as z from 'zod/mini';
import { expand, isExpandable, type Variables } from './expand.ts';
import { isCommandPart } from './fields.ts';
import type { Problems } from './problems.ts';
import { childOf, primitivesOf, unwrapped } from './shape.ts';
import { formatPath, type Branch, type Entry, type Leaf, type Path, type Scalar, type Tree } from './tree.ts';

export interface Settling {
  readonly variables: Variables;
  readonly problems: Problems;
  /** Paths whose values are no use because of a problem that has been reported. */
  readonly broken: Set<string>;
}

/** The tree with its variables expanded and its scalars typed. Reports what cannot be expanded. */
export function settle(tree: Tree, schema: z.core.$ZodType, settling: Settling, path: Path = []): Tree {
  if (tree.kind === 'leaf') return settleLeaf(tree, schema, settling, path);
  if (tree.kind === 'map') return settleMap(tree, schema, settling, path);
  const items = tree.items.map((item, index) => {
    const child = childOf(schema, 'list', index);
    return child === null ? item : settle(item, child, settling, [...path, index]);
  });
  return { ...tree, items };
}

function settleMap(tree: Branch, schema: z.core.$ZodType, settling: Settling, path: Path): Branch {
  const entries = new Map<string, Entry>();
  for (const [key, entry] of tree.entries) {
    const child = childOf(schema, 'map', key);
    const value = child === null ? entry.value : settle(entry.value, child, settling, [...path, key]);
    const isNotSet = child !== null && value.kind === 'leaf' && value.value === null && canDoWithout(child);
    if (!isNotSet) entries.set(key, { ...entry, value });
  }
  return { ...tree, entries };
}

function canDoWithout(schema: z.core.$ZodType): boolean {
  return unwrapped(schema) !== schema && !primitivesOf(schema).has('null');
}

function settleLeaf(node: Leaf, schema: z.core.$ZodType, { variables, problems, broken }: Settling, path: Path): Leaf {
  const accepted = primitivesOf(schema);
  if (node.text.includes('\0')) {
    problems.add(node.origin, path, 'expected a text, found one with a zero byte in it');
    broken.add(formatPath(path));
    return node;
  }
  const delayed = accepted.has('command') || isCommandPart(schema);
  if (delayed || typeof node.value !== 'string' || !isExpandable(node.value)) {
    const isText =
      node.value !== null &&
      !accepted.has('any') &&
      !accepted.has(typeof node.value as Primitive) &&
      accepted.has('string');
    return isText ? { ...node, value: node.text } : node;
  }
  const expansion = expand(node.value, variables);
  if (!expansion.ok) {
    problems.add(node.origin, path, expansion.problem);
    broken.add(formatPath(path));
    return node;
  }
  const { text, expanded } = expansion;
  return { ...node, text, expanded, value: typed(text, accepted) };
}

type Primitive = 'string' | 'number' | 'boolean';

/** An expanded text as the first type that the schema accepts and that the text can stand for. */
function typed(text: string, accepted: ReadonlySet<string>): Scalar {
  const anything = accepted.has('any');
  if (text === '' && (accepted.has('null') || accepted.has('number') || !accepted.has('string'))) return null;
  if ((anything || accepted.has('number')) && /^[-+]?\d+(\.\d+)?(e[-+]?\d+)?$/i.test(text)) return Number(text);
  if ((anything || accepted.has('boolean')) && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
