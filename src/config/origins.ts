/**
 * Where each effective value came from, for `start --dry-run`: a default, a place in the file, a variable that was
 * expanded there, or a flag. Paths, commands and addresses are shown as they will be used; secrets are masked.
 */
import { isSecretName, mask, maskText, maskValue } from '../core/secrets.ts';
import type { AppSpec, HookSpec, Spec } from '../core/spec.ts';
import type { Variables } from './expand.ts';
import { watchDefaults, type AppSettings, type HookSettings, type Settings } from './schema.ts';
import { formatOrigin, formatPath, nodeAt, type Expanded, type Leaf, type Path, type Tree } from './tree.ts';
import { joinWords } from './words.ts';

export interface ExplainedLine {
  /** `apps.web.stop.timeout` */
  readonly path: string;
  /** As it is used, secrets masked; `none` where nothing is set. */
  readonly value: string;
  /** `default`, `supervise.yaml:4:5`, `supervise.yaml:4:5, ${N} from the environment`, `flag -w` */
  readonly origin: string;
}

/** What `explain` reads: the settings with their defaults, the tree they came from, and the Spec they became. */
export interface Explainable {
  readonly settings: Settings;
  readonly tree: Tree;
  readonly variables: Variables;
  /** The variables of commands, by path. */
  readonly expanded: ReadonlyMap<string, readonly Expanded[]>;
  readonly spec: Spec;
}

/** Every effective value with its origin, in the order of the documentation. */
export function explain(explainable: Explainable): readonly ExplainedLine[] {
  return flatten(effective(explainable), []).map(([path, value]) => {
    const source = sourceOf(path, explainable);
    const name = path.at(-2) === 'env' ? String(path.at(-1)) : '';
    return { path: formatPath(path), value: hide(value, name, { source, ...explainable }), origin: originOf(source) };
  });
}

type View = string | number | boolean | null | undefined | readonly View[] | { readonly [key: string]: View };

/** The settings with what became of them: absolute paths, words, urls, names. */
function effective({ settings, spec }: Explainable): View {
  const hooks = Object.values(spec.hooks)
    .flat()
    .map((hook) => ({ hook, written: settings.hooks[hook.phase][spec.hooks[hook.phase].indexOf(hook)] }));
  return {
    name: spec.name,
    env_file: settings.env_file,
    hooks: Object.fromEntries(
      Object.keys(spec.hooks).map((phase) => [
        phase,
        hooks.filter(({ hook }) => hook.phase === phase).map(({ hook, written }) => effectiveHook(hook, written)),
      ]),
    ),
    apps: Object.fromEntries(spec.apps.map((app) => [app.name, effectiveApp(app, settings.apps[app.name])])),
    resources: settings.resources,
    control: {
      socket: spec.controlSocket ?? 'control.sock in the runtime directory',
      http: spec.controlHttp?.url ?? null,
    },
  };
}

function effectiveHook(hook: HookSpec, written: Settings['hooks']['pre_start'][number] | undefined): View {
  const { timeout = '5m', retry_delay = '5s' }: Partial<HookSettings> =
    typeof written === 'object' && 'command' in written ? written : {};
  return {
    name: hook.name,
    command: hook.shell ? hook.argv[0] : joinWords(hook.argv),
    shell: hook.shell,
    timeout,
    retries: hook.retries,
    retry_delay,
    once_per: hook.oncePer === '' ? null : hook.oncePer,
    on_failure: hook.onFailure,
    env: hook.env,
    env_file: hook.envFile,
    cwd: hook.cwd,
    user: hook.user,
  };
}

function effectiveApp(app: AppSpec, written: AppSettings | undefined): View {
  if (written === undefined) return null;
  const { command: _command, script: _script, cwd: _cwd, ...others } = written;
  const { health, watch, stall, logs } = others;
  const exec = app.health?.probe.kind === 'exec' ? { exec: joinWords(app.health.probe.argv) } : {};
  return {
    [app.kind]: joinWords(app.argv),
    cwd: app.cwd,
    ...others,
    listen: app.listen.map(({ url }) => url),
    stop: { ...others.stop, signal: app.stop.signal },
    health: health && { ...health, ...exec },
    stall: stall && { ...stall, signal: app.stall?.signal ?? 'SIGABRT' },
    watch: app.watch && { ...watchDefaults, ...(Array.isArray(watch) ? { paths: watch } : watch) },
    logs:
      typeof logs === 'string' || app.logs.kind === 'inherit'
        ? logs
        : { ...logs, format: app.logs.format, file: app.logs.file },
  };
}

/** Every scalar of the view with its path; what is empty or not set is `none`. */
function flatten(view: View, path: Path): readonly (readonly [Path, string])[] {
  if (view === undefined) return [];
  if (view === null) return [[path, 'none']];
  if (typeof view !== 'object') return [[path, String(view)]];
  const children = Array.isArray(view)
    ? view.map((item: View, index): [string | number, View] => [index, item])
    : Object.entries<View>(view as { readonly [key: string]: View });
  if (children.length === 0) return [[path, 'none']];
  return children.flatMap(([key, child]) => flatten(child, [...path, key]));
}

interface ValueSource {
  readonly node: Leaf | null;
  readonly expanded: readonly Expanded[];
}

/**
 * The scalar that a value was written as. Short forms stand one level above: `listen: ":80"` is listen[0], and
 * `watch: [src]` is watch.paths.
 */
function sourceOf(path: Path, { tree, expanded }: Explainable): ValueSource {
  const key = path.at(-1);
  const isShort = typeof key === 'number' || key === 'command';
  const short = isShort ? nodeAt(tree, path.slice(0, -1)) : null;
  let node = nodeAt(tree, path) ?? short ?? (path.at(-2) === 'paths' ? nodeAt(tree, path.toSpliced(-2, 1)) : null);
  let commandPath = nodeAt(tree, path) === null && key === 'command' ? path.slice(0, -1) : path;
  if (node?.kind === 'list') {
    commandPath = path;
    node = node.items[0] ?? null;
  }
  const leaf = node?.kind === 'leaf' ? node : null;
  return { node: leaf, expanded: [...(leaf?.expanded ?? []), ...(expanded.get(formatPath(commandPath)) ?? [])] };
}

function originOf({ node, expanded }: ValueSource): string {
  if (node === null) return 'default';
  const sources = { environment: 'from the environment', env_file: 'from env_file', default: 'not set' };
  return [formatOrigin(node.origin), ...expanded.map(({ variable, from }) => `\${${variable}} ${sources[from]}`)].join(
    ', ',
  );
}

function hide(
  value: string,
  name: string,
  { source, variables }: { source: ValueSource; variables: Variables },
): string {
  let shown = value;
  for (const { variable, from } of source.expanded) {
    const secret = variables.environment[variable] ?? variables.envFile[variable] ?? '';
    if (from !== 'default' && secret !== '' && isSecretName(variable)) shown = shown.replaceAll(secret, mask);
  }
  return name === '' ? maskText(shown) : maskValue(name, shown);
}
