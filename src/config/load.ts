/**
 * Where a Spec comes from: a config file, flags alone, or a file with flags over it. All three make a tree first and
 * then take the same way: expand variables, check, build. A start from flags never loads the YAML parser.
 */
import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { SuperviseError } from '../core/errors.ts';
import type { Spec } from '../core/spec.ts';
import { build } from './build.ts';
import type { Building } from './building.ts';
import { programName } from './command.ts';
import { readConfigText } from './config-file.ts';
import type { Variables } from './expand.ts';
import type { Explainable } from './origins.ts';
import { Problems } from './problems.ts';
import { appNameLike, nameLike, namePattern } from './names.ts';
import { configSchema } from './schema.ts';
import { settle, type Settling } from './settle.ts';
import { leaf, nodeAt, originAt, type Branch, type Entry, type Leaf, type Origin, type Tree } from './tree.ts';
import { validate } from './validate.ts';
import { parseYaml } from './yaml.ts';

export { findConfig } from './config-file.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** A config that is valid, and what `explain` and `applyFlags` need of how it was written. */
export interface Loaded {
  readonly spec: Spec;
  readonly origins: Explainable;
  readonly written: Written;
}

/** A config before anything is expanded. */
interface Written {
  readonly tree: Branch;
  /** Absolute; null when there is none. */
  readonly file: string | null;
  readonly dir: string;
  readonly environment: Environment;
}

/** Flags beside a config; what is null or empty was not given. */
export interface Flags {
  /** -w */
  readonly workers?: string | number | null;
  /** -b */
  readonly bind?: readonly string[];
  /** --name */
  readonly name?: string | null;
}

/** Flags in place of a config. */
export interface StandaloneFlags extends Flags {
  /** --pre-start */
  readonly preStart?: readonly string[];
  /** The program and its words, after `--`. They are taken as they are: the caller's shell has expanded them. */
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Environment;
}

/**
 * Reads, checks and builds a config file. `file` may be relative to the working directory.
 * @throws ConfigError (config-invalid) with all problems; SuperviseError config-not-found
 */
export async function loadConfig(file: string, env: Environment): Promise<Loaded> {
  const text = readConfigText(file);
  const problems = new Problems();
  const tree = await parseYaml({ shown: file, text }, problems);
  problems.throwIfAny();
  const absolute = resolve(file);
  return assemble({ tree: tree ?? emptyTree, file: absolute, dir: dirname(absolute), environment: env });
}

/**
 * The name of the master that a config file stands for, also when the rest of the file is broken: for clients, which
 * need nothing else.
 * @throws SuperviseError config-not-found; config-invalid when there is no text or the name itself is unusable
 */
export async function readName(file: string, env: Environment): Promise<string> {
  const text = readConfigText(file);
  const absolute = resolve(file);
  const byDefault = defaultName(dirname(absolute));
  const tree = await parseYaml({ shown: file, text }, new Problems());
  if (tree === null) {
    const [, written = ''] = /^name:[ \t]*["']?([A-Za-z0-9][A-Za-z0-9._-]*)["']?[ \t]*(?:#.*)?$/m.exec(text) ?? [];
    return namePattern.test(written) ? written : byDefault;
  }
  const problems = new Problems();
  const entries = new Map([...tree.entries].filter(([key]) => key === 'name' || key === 'env_file'));
  const variables = readVariables(
    { ...tree, entries },
    { dir: dirname(absolute), environment: env, problems: new Problems() },
  );
  const settled = settle({ ...tree, entries }, configSchema, { variables, problems, broken: new Set() });
  problems.throwIfAny();
  const name = nodeAt(settled, ['name']);
  if (name?.kind !== 'leaf' || typeof name.value !== 'string') return byDefault;
  return namePattern.test(name.value) ? name.value : byDefault;
}

/**
 * Makes a Spec without a file: one app, named after its program.
 * @throws ConfigError (usage)
 */
export function specFromFlags({ argv, cwd, env, preStart = [], ...flags }: StandaloneFlags): Loaded {
  const origin = flag('--');
  const hooks = preStart.map((command) => leaf(command, flag('--pre-start')));
  const app = appNameLike(programName(argv, false)) ?? 'app';
  const program: Tree = { kind: 'list', origin, items: argv.map((word) => leaf(word.replaceAll('$', '$$$$'), origin)) };
  const entries = {
    ...(hooks.length > 0
      ? {
          hooks: branch(
            { pre_start: { kind: 'list', items: hooks, origin: flag('--pre-start') } },
            flag('--pre-start'),
          ),
        }
      : {}),
    apps: branch({ [app]: branch({ command: program }, origin) }, origin),
  };
  const tree = withFlags(branch(entries, origin), app, flags);
  return assemble({ tree, file: null, dir: resolve(cwd), environment: env });
}

/**
 * A config with flags over it. `workers` and `bind` need it to have one app.
 * @throws SuperviseError usage; ConfigError when the flags make it invalid
 */
export function applyFlags({ spec, written }: Loaded, flags: Flags): Loaded {
  const forOneApp = [...(isGiven(flags.workers) ? ['-w'] : []), ...(flags.bind?.length ? ['-b'] : [])];
  if (forOneApp.length > 0 && spec.apps.length !== 1) {
    const names = spec.apps.map(({ name }) => name).join(', ');
    throw new SuperviseError(
      'usage',
      `flag ${forOneApp.join(' and ')}: expected a config with one app, found ${spec.apps.length}: ${names}`,
      {
        hint: 'Set workers and listen of each app in the config, or use `supervise scale` later.',
      },
    );
  }
  return assemble({ ...written, tree: withFlags(written.tree, spec.apps[0]?.name ?? '', flags) });
}

// ---------------------------------------------------------------- trees from flags

const emptyTree: Branch = { kind: 'map', entries: new Map(), origin: { kind: 'flag', flag: '--' } };

function flag(name: string): Origin {
  return { kind: 'flag', flag: name };
}

function branch(children: Readonly<Record<string, Tree>>, origin: Origin): Branch {
  return {
    kind: 'map',
    origin,
    entries: new Map(Object.entries(children).map(([key, value]) => [key, { keyOrigin: origin, value }])),
  };
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}

function withFlags(tree: Branch, app: string, { workers, bind, name }: Flags): Branch {
  let result = tree;
  if (isGiven(name)) result = withEntry(result, ['name'], leaf(name.replaceAll('$', '$$$$'), flag('--name')));
  if (isGiven(workers)) result = withEntry(result, ['apps', app, 'workers'], numberOrText(workers));
  if (bind !== undefined && bind.length > 0) {
    const items = bind.map((address) => leaf(address.replaceAll('$', '$$$$'), flag('-b')));
    result = withEntry(result, ['apps', app, 'listen'], { kind: 'list', items, origin: flag('-b') });
  }
  return result;
}

function numberOrText(written: string | number): Leaf {
  const text = String(written);
  return leaf(/^[-+]?\d+(\.\d+)?$/.test(text) ? Number(text) : text, flag('-w'), text);
}

/** The tree with `value` at `path`; what is missing on the way there is made. */
function withEntry(tree: Tree | undefined, [key, ...rest]: readonly string[], value: Tree): Branch {
  const map: Branch = tree?.kind === 'map' ? tree : { kind: 'map', entries: new Map(), origin: value.origin };
  if (key === undefined) return map;
  const child = rest.length === 0 ? value : withEntry(map.entries.get(key)?.value, rest, value);
  const entry: Entry = {
    keyOrigin: rest.length === 0 ? value.origin : (map.entries.get(key)?.keyOrigin ?? value.origin),
    value: child,
  };
  return { ...map, entries: new Map([...map.entries, [key, entry]]) };
}

// ---------------------------------------------------------------- from a tree to a Spec

function assemble(written: Written): Loaded {
  const { tree, file, dir, environment } = written;
  const problems = new Problems();
  const variables = readVariables(tree, { dir, environment, problems });
  // without the env_file, half of the variables would be reported as not set
  problems.throwIfAny();
  const settling: Settling = { variables, problems, broken: new Set() };
  const settled = settle(tree, configSchema, settling);
  const settings = validate(settled, settling);
  const expanded: Building['expanded'] = new Map();
  const building: Building = { ...settling, tree: settled, file, dir, defaultName: defaultName(dir), expanded };
  const spec = settings === null ? null : build(settings, building);
  problems.throwIfAny();
  if (settings === null || spec === null) throw new Error('a config without settings has no problems');
  return { spec, origins: { settings, tree: settled, variables, expanded, spec }, written };
}

function defaultName(dir: string): string {
  return nameLike(basename(dir)) ?? 'supervise';
}

/** The variables for `${VAR}`: the environment, and the top-level env_file, whose own path may use the environment only. */
function readVariables(
  tree: Branch,
  { dir, environment, problems }: { dir: string; environment: Environment; problems: Problems },
): Variables {
  const entry = tree.entries.get('env_file');
  const alone: Variables = { environment, envFile: {} };
  if (entry === undefined) return alone;
  const settled = settle(branch({ env_file: entry.value }, tree.origin), configSchema, {
    variables: alone,
    problems,
    broken: new Set(),
  });
  const file = nodeAt(settled, ['env_file']);
  if (file?.kind !== 'leaf' || typeof file.value !== 'string' || file.value === '' || file.value.includes('\0'))
    return alone;
  const path = resolve(dir, file.value);
  try {
    const parsed = parseEnv(readFileSync(path, 'utf8')) as Record<string, string>;
    return { environment, envFile: { ...parsed } };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const found =
      { ENOENT: 'nothing of that name', EISDIR: 'a directory', EACCES: 'one that this user may not read' }[
        code ?? ''
      ] ?? message;
    problems.add(originAt(tree, ['env_file']), ['env_file'], `expected a file of variables at ${path}, found ${found}`);
    return alone;
  }
}
