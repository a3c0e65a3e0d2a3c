/**
 * Holds a settled tree against the schema and reports everything that is wrong in the words of the schema's fields:
 *
 *   expected a duration such as 250ms, 30s, 5m or 1m30s, found 30. Did you mean "30s"?
 *
 * A value that is wrong is then left out and the rest is checked again, so that the checks between keys, which come
 * later, can run on everything else, and one look at the config shows all of its problems.
 */
import type * as z from 'zod/mini';
import { didYouMean, listOf, type Wrong } from './fields.ts';
import { nearest } from './problems.ts';
import { configSchema, type Settings } from './schema.ts';
import type { Settling } from './settle.ts';
import { keyPaths, keysAt } from './shape.ts';
import { describe, formatPath, keyOrigin, nodeAt, originAt, quoted, type Path, type Tree } from './tree.ts';

/** @returns the settings, with defaults in place of what is broken; null when too little is left */
export function validate(tree: Tree, { problems, broken }: Settling): Settings | null {
  const root = plain(tree);
  if (root === null || typeof root !== 'object') return null;
  for (const path of brokenPaths(tree, broken)) prune(root, path, broken);
  const reported = new Set(broken);
  // each round takes at least one value away
  for (let round = 0; ; round++) {
    const result = configSchema.safeParse(root);
    if (result.success) return result.data;
    const found = result.error.issues.flatMap((issue) => findings(issue, tree, []));
    for (const { meant } of found) {
      if (meant === null || nodeAt(tree, meant) !== null) continue;
      for (const places of [broken, reported]) places.add(formatPath(meant));
    }
    const gone = new Set(round === 0 ? broken : []);
    for (const { path, key, message } of found) {
      const place = key === null ? path : [...path, key];
      // what is missing in later rounds was taken away here
      if (round === 0 && !isWithin(place, reported)) {
        problems.add(key === null ? originAt(tree, path) : keyOrigin(tree, place), path, message);
      }
      if (isWithin(place, gone)) continue;
      const pruned = prune(root, place, broken);
      if (pruned === null) return null;
      gone.add(pruned);
    }
  }
}

function isWithin(path: Path, places: ReadonlySet<string>): boolean {
  return path.some((_, index) => places.has(formatPath(path.slice(0, index + 1))));
}

interface Finding {
  readonly path: Path;
  /** The key itself is wrong, not a value. */
  readonly key: string | null;
  /** The path of the key that a wrong key was most likely meant to be: nothing is said about its absence. */
  readonly meant: Path | null;
  readonly message: string;
}

function findings(issue: z.core.$ZodIssue, tree: Tree, prefix: Path): readonly Finding[] {
  const path: Path = [...prefix, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))];
  const node = nodeAt(tree, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(key, path, issue.message));
    case 'invalid_key': {
      const key = String(path.at(-1));
      return issue.issues.map((inner) => ({
        path: path.slice(0, -1),
        key,
        meant: null,
        message: sentence(quoted(key), wrongOf(inner)),
      }));
    }
    case 'invalid_union': {
      const fitting = issue.errors.filter((branch) => !branch.some(isMismatch));
      const [branch] = fitting.length === 1 ? fitting : issue.errors.filter((errors) => errors.some(isUnsupported));
      if (branch !== undefined) return branch.flatMap((inner) => findings(inner, tree, path));
      return [about(path, sentence(describe(node), { expected: issue.message }))];
    }
    case 'invalid_value': {
      const hint = node?.kind === 'leaf' ? didYouMean(node.text, issue.values.map(String)) : {};
      return [about(path, sentence(describe(node), { expected: issue.message, ...hint }))];
    }
    default: {
      const wrong = wrongOf(issue);
      const isWhole = 'unsupported' in wrong && node?.kind !== 'leaf';
      return [about(path, isWhole ? `not supported yet. ${wrong.unsupported}` : sentence(describe(node), wrong))];
    }
  }
}

function about(path: Path, message: string): Finding {
  return { path, key: null, meant: null, message };
}

function wrongOf(issue: z.core.$ZodIssue): Wrong {
  return issue.code === 'custom' && issue.params !== undefined ? (issue.params as Wrong) : { expected: issue.message };
}

/** "expected X, found Y. Hint" */
export function sentence(found: string, wrong: Wrong): string {
  if ('unsupported' in wrong) return `${found} is not supported yet. ${wrong.unsupported}`;
  return `expected ${wrong.expected}, found ${wrong.found ?? found}${wrong.hint === undefined ? '' : `. ${wrong.hint}`}`;
}

/** Whether the value is of another kind than this branch of a union is about. */
function isMismatch(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return false;
  return (
    issue.code === 'invalid_type' ||
    (issue.code === 'invalid_union' && issue.errors.every((branch) => branch.some(isMismatch)))
  );
}

function isUnsupported(issue: z.core.$ZodIssue): boolean {
  return 'unsupported' in wrongOf(issue);
}

function unknownKey(key: string, path: Path, expected: string): Finding {
  const known = keysAt(configSchema, path);
  const other = otherWords[key.toLowerCase()];
  const meant = other !== undefined && known.includes(other) ? other : nearest(key, known);
  const hint =
    meant === null ? (elsewhere(key) ?? `It has: ${listOf(known, 'and')}`) : `Did you mean ${quoted(meant)}?`;
  const message = sentence(quoted(key), { expected, hint });
  return { path, key, meant: meant === null ? null : [...path, meant], message };
}

/** What other programs call it. */
const otherWords: Readonly<Record<string, string>> = {
  after: 'depends_on',
  args: 'command',
  autorestart: 'restart',
  bind: 'listen',
  cmd: 'command',
  directory: 'cwd',
  entrypoint: 'command',
  environment: 'env',
  exec: 'command',
  healthcheck: 'health',
  instances: 'workers',
  max_memory_restart: 'limits',
  numprocs: 'workers',
  processes: 'workers',
  program: 'command',
  replicas: 'workers',
  requires: 'depends_on',
  run: 'command',
  stdout_logfile: 'logs',
  working_directory: 'cwd',
};

function elsewhere(key: string): string | null {
  const [place, ...others] = keyPaths(configSchema).filter(
    (path) => path.endsWith(`.${key}`) && !path.startsWith('hooks.'),
  );
  return place === undefined || others.length > 0 ? null : `It belongs elsewhere: ${place}`;
}

// ---------------------------------------------------------------- plain data

type Plain = string | number | boolean | null | Plain[] | { [key: string]: Plain };

function plain(tree: Tree): Plain {
  if (tree.kind === 'leaf') return tree.value;
  if (tree.kind === 'list') return tree.items.map(plain);
  const map: { [key: string]: Plain } = Object.create(null);
  for (const [key, { value }] of tree.entries) map[key] = plain(value);
  return map;
}

/**
 * Takes the value at `path` away; a whole list with an item of it, so that the others keep their numbers, and what
 * holds it when it is not there.
 * @returns the path of what was taken away; null when nothing is left
 */
function prune(root: Plain, path: Path, broken: Set<string>): string | null {
  for (let last = path.length - 1; last >= 0; last--) {
    const key = path[last];
    const parent = path.slice(0, last).reduce<Plain | undefined>((node, step) => childIn(node, step), root);
    if (
      typeof key !== 'string' ||
      typeof parent !== 'object' ||
      parent === null ||
      Array.isArray(parent) ||
      !(key in parent)
    )
      continue;
    delete parent[key];
    const pruned = formatPath(path.slice(0, last + 1));
    broken.add(pruned);
    return pruned;
  }
  return null;
}

function childIn(node: Plain | undefined, step: string | number): Plain | undefined {
  if (typeof node !== 'object' || node === null) return undefined;
  return Array.isArray(node) ? node[Number(step)] : node[String(step)];
}

function brokenPaths(tree: Tree, broken: ReadonlySet<string>, path: Path = []): readonly Path[] {
  if (broken.has(formatPath(path))) return [path];
  if (tree.kind === 'map')
    return [...tree.entries].flatMap(([key, { value }]) => brokenPaths(value, broken, [...path, key]));
  if (tree.kind === 'list') return tree.items.flatMap((item, index) => brokenPaths(item, broken, [...path, index]));
  return [];
}
