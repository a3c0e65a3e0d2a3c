/**
 * From checked settings to the Spec: paths become absolute, commands become words, units become numbers. What depends
 * on several keys, or on several apps, is checked here.
 */
import { resolve } from 'node:path';
import type { HookPhase, HookSpec, ListenSpec, Spec } from '../core/spec.ts';
import { buildApp } from './app.ts';
import { checkPolicies } from './balance.ts';
import { ms, report, share, tooLongSocketPath, type Building } from './building.ts';
import { commandOf, programName } from './command.ts';
import { inDependencyOrder } from './dependencies.ts';
import type { Variables } from './expand.ts';
import { checkLogFiles } from './log-files.ts';
import { memoryBudgetOf } from './staffing.ts';
import { collide, maxSocketPathBytes, parseControlAddress, tcpListenSpec } from './listen.ts';
import type { HookSettings, Settings } from './schema.ts';
import { describe, formatOrigin, formatPath, nodeAt, originAt, quoted, type Path } from './tree.ts';

/** Makes the Spec. Where a problem was reported, the answer is not fit for use. */
export function build(settings: Settings, building: Building): Spec {
  const apps = Object.entries(settings.apps).map(([name, app]) => buildApp(name, app, building));
  checkAddresses(apps, building);
  checkLogFiles(apps, building);
  checkPolicies(apps, building);
  const controlHttp = buildControlHttp(settings.control.http, apps, building);
  const ordered = inDependencyOrder(apps, building);
  const { socket } = settings.control;
  const controlSocket = socket === null ? null : resolve(building.dir, socket);
  if (controlSocket !== null && Buffer.byteLength(controlSocket) > maxSocketPathBytes) {
    report(building, ['control', 'socket'], tooLongSocketPath(controlSocket));
  }
  return {
    name: settings.name ?? building.defaultName,
    file: building.file,
    dir: building.dir,
    env: baseEnv(building.variables),
    hooks: {
      pre_start: buildPhase('pre_start', settings.hooks.pre_start, building),
      post_start: buildPhase('post_start', settings.hooks.post_start, building),
      pre_reload: buildPhase('pre_reload', settings.hooks.pre_reload, building),
      post_reload: buildPhase('post_reload', settings.hooks.post_reload, building),
      pre_stop: buildPhase('pre_stop', settings.hooks.pre_stop, building),
      post_stop: buildPhase('post_stop', settings.hooks.post_stop, building),
    },
    apps: ordered,
    sampleEveryMs: ms(settings.resources.sample_every),
    memoryBudget: memoryBudgetOf(settings),
    targetUtilisation: share(settings.resources.target_utilisation),
    controlSocket,
    controlHttp,
  };
}

/** The master's environment with the top-level env_file over it. What is meant for the master alone is taken out later. */
function baseEnv({ environment, envFile }: Variables): Record<string, string> {
  const inherited = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  return { ...Object.fromEntries(inherited), ...envFile };
}

function buildControlHttp(written: string | null, apps: Spec['apps'], building: Building): Spec['controlHttp'] {
  if (written === null) return null;
  const address = parseControlAddress(written);
  if (!('kind' in address)) return null;
  const spec = tcpListenSpec(address);
  for (const app of apps) {
    const other = app.listen.find((listen) => collide(listen, spec));
    if (other === undefined) continue;
    const message = `expected an address of its own, found ${quoted(written)}, which collides with ${other.url} of apps.${app.name}.listen`;
    report(building, ['control', 'http'], message);
  }
  return spec;
}

// ---------------------------------------------------------------- hooks

function buildPhase(phase: HookPhase, hooks: Settings['hooks'][HookPhase], building: Building): readonly HookSpec[] {
  const names = new Map<string, number>();
  const written = hooks.map((hook): Partial<HookSettings> =>
    typeof hook === 'object' && !Array.isArray(hook) ? hook : { command: hook },
  );
  for (const [index, { name }] of written.entries()) {
    if (name === undefined) continue;
    const other = names.get(name);
    if (other === undefined) names.set(name, index);
    else {
      const also = `which hooks.${phase}[${other}] has too`;
      report(
        building,
        ['hooks', phase, index, 'name'],
        `expected a name that no other hook of ${phase} has, found ${quoted(name)}, ${also}`,
      );
    }
  }
  return written.map((hook, index) => {
    const path: Path = ['hooks', phase, index];
    const isShort = nodeAt(building.tree, path)?.kind !== 'map';
    return buildHook({ phase, hook, path, commandPath: isShort ? path : [...path, 'command'], names }, building);
  });
}

interface WrittenHook {
  readonly phase: HookPhase;
  readonly hook: Partial<HookSettings>;
  readonly path: Path;
  readonly commandPath: Path;
  readonly names: Map<string, number>;
}

function buildHook({ phase, hook, path, commandPath, names }: WrittenHook, building: Building): HookSpec {
  const shell = hook.shell ?? false;
  const argv = commandOf(hook.command ?? '', { kind: 'hook', path: commandPath, shell, hasPort: false }, building);
  return {
    phase,
    name: hook.name ?? freeName(programName(argv, shell), Number(path.at(-1)), names),
    argv,
    shell,
    cwd: resolve(building.dir, hook.cwd ?? '.'),
    env: hook.env ?? {},
    envFile: hook.env_file ?? null,
    user: hook.user ?? null,
    timeoutMs: ms(hook.timeout ?? '5m'),
    retries: hook.retries ?? 0,
    retryDelayMs: ms(hook.retry_delay ?? '5s'),
    oncePer: hook.once_per ?? '',
    onFailure: hook.on_failure ?? (phase === 'pre_start' || phase === 'pre_reload' ? 'abort' : 'continue'),
  };
}

/** `alembic`, or `alembic-2` where the phase has one already. */
function freeName(wanted: string, index: number, names: Map<string, number>): string {
  let name = wanted;
  for (let count = 2; names.has(name); count++) name = `${wanted}-${count}`;
  names.set(name, index);
  return name;
}

// ---------------------------------------------------------------- between apps

/** No socket may be asked for twice, also not as a part of "all addresses". */
function checkAddresses(apps: Spec['apps'], building: Building): void {
  const seen: { readonly path: Path; readonly listen: ListenSpec }[] = [];
  for (const { name, listen } of apps) {
    for (const [index, socket] of listen.entries()) {
      const isList = nodeAt(building.tree, ['apps', name, 'listen'])?.kind === 'list';
      const path: Path = isList ? ['apps', name, 'listen', index] : ['apps', name, 'listen'];
      const other = seen.find((earlier) => collide(earlier.listen, socket));
      seen.push({ path, listen: socket });
      if (other === undefined) continue;
      const found = describe(nodeAt(building.tree, path));
      const origin = originAt(building.tree, other.path);
      const where = origin.kind === 'file' ? `line ${origin.line}` : formatOrigin(origin);
      const taken = other.listen.url === socket.url ? 'is used already' : 'collides with';
      const rest = `${taken} ${other.listen.url === socket.url ? 'by' : `${describe(nodeAt(building.tree, other.path))} of`} ${formatPath(other.path)} (${where})`;
      report(building, path, `expected an address of its own, found ${found}, which ${rest}`);
    }
  }
}
