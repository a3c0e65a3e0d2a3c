/** One app: from its checked settings to its AppSpec, with the checks between its keys. */
import { resolve } from 'node:path';
import type { AppSpec, ListenSpec, LogsSpec, WatchSpec } from '../core/spec.ts';
import { checkBalance } from './balance.ts';
import { bytes, isBroken, ms, report, tooLongSocketPath, type Building } from './building.ts';
import { commandOf } from './command.ts';
import { signalName } from './fields.ts';
import { listenSpec, maxSocketPathBytes, parseListen } from './listen.ts';
import { checkPlaceholders } from './placeholders.ts';
import { healthOf, readyOf, slotsOf, tooFewPorts } from './probes.ts';
import { watchDefaults, type AppSettings } from './schema.ts';
import { staffingOf } from './staffing.ts';
import { nodeAt, quoted, type Path } from './tree.ts';

/** Makes the AppSpec and reports what does not go together. */
export function buildApp(name: string, app: AppSettings, building: Building): AppSpec {
  const path: Path = ['apps', name];
  const { backoff, reload } = app;
  const kind = app.script !== undefined && app.command === undefined ? 'script' : 'command';
  checkProgram(app, path, building);
  const written = { path: [...path, kind], shell: false, hasPort: app.port !== null };
  const argv = commandOf(app[kind] ?? [], { ...written, kind: kind === 'script' ? 'script' : 'app' }, building);
  checkPort(app, path, building);
  checkBalance(app, path, building);
  checkReload(app, path, building);
  checkBackoff(app, path, building);
  checkStall(app, path, building);
  checkSpares(app, path, building);
  const spec: AppSpec = {
    name,
    kind,
    argv,
    ...staffingOf(app, path, building),
    spares: app.spares,
    listen: listenOf(app, path, building),
    cwd: resolve(building.dir, app.cwd ?? '.'),
    env: app.env,
    envFile: app.env_file,
    identity: {
      user: app.user,
      group: app.group,
      umask: app.umask === null ? null : octalValue(app.umask),
      nice: app.nice,
    },
    dependsOn: app.depends_on,
    port: app.port,
    ready: readyOf(app, path, building),
    readyTimeoutMs: ms(app.ready_timeout),
    startAttempts: app.start_attempts,
    restart: app.restart,
    backoff: {
      initialMs: ms(backoff.initial),
      maxMs: ms(backoff.max),
      factor: backoff.factor,
      jitter: backoff.jitter,
      stableAfterMs: ms(backoff.stable_after),
      maxCrashes: backoff.max_crashes,
      retryFailedEveryMs: ms(backoff.retry_failed_every),
    },
    stop: { signal: signalName(app.stop.signal), timeoutMs: ms(app.stop.timeout) },
    reload: { maxSurge: reload.max_surge, maxUnavailable: reload.max_unavailable, canaryMs: ms(reload.canary) },
    balance: app.balance,
    health: healthOf(app, path, building),
    stall: app.stall && {
      afterMs: ms(app.stall.after),
      action: app.stall.action,
      signal: app.stall.signal === null ? null : signalName(app.stall.signal),
    },
    limits: {
      memoryBytes: app.limits.memory === null ? null : bytes(app.limits.memory),
      lifetimeMs: app.limits.lifetime === null ? null : ms(app.limits.lifetime),
      jitter: app.limits.jitter,
    },
    watch: watchOf(app),
    tlsFiles: app.tls_files,
    logs: logsOf(app, path, building),
  };
  checkPlaceholders(app, spec, building);
  return spec;
}

/** A list is a short form of its paths; an empty one watches nothing. */
function watchOf({ watch }: AppSettings): WatchSpec | null {
  if (watch === null || (Array.isArray(watch) && watch.length === 0)) return null;
  const { paths, ignore, debounce } = { ...watchDefaults, ...(Array.isArray(watch) ? { paths: watch } : watch) };
  return { paths, ignore, debounceMs: ms(debounce) };
}

function logsOf({ logs }: AppSettings, path: Path, building: Building): LogsSpec {
  if (typeof logs === 'string') return { kind: 'inherit' };
  if (logs.file?.endsWith('/'))
    report(building, [...path, 'logs', 'file'], `expected a file, found the folder ${quoted(logs.file)}`);
  return {
    kind: 'captured',
    format: logs.format ?? 'auto',
    file: logs.file === null ? null : resolve(building.dir, logs.file),
    maxSizeBytes: bytes(logs.max_size) || Number.MAX_SAFE_INTEGER,
    keep: logs.keep,
    gzip: logs.gzip,
  };
}

/** A command is watched at our socket, a script at its main thread. */
function checkStall(app: AppSettings, path: Path, building: Building): void {
  if (app.stall === null || app.command === undefined || app.script !== undefined) return;
  if (app.listen.length > 0 || isBroken(building, [...path, 'listen']) || isBroken(building, [...path, 'script']))
    return;
  report(
    building,
    [...path, 'stall'],
    'expected listen, because a command that hangs is seen at our socket, found none. Add listen, or use health',
  );
}

/** A ready worker is kept out of the rotation by its listener, which only a TCP address gives it. */
function checkSpares(app: AppSettings, path: Path, building: Building): void {
  const isWrong = (key: string) => isBroken(building, [...path, key]);
  if (app.spares === 0 || isWrong('listen') || isWrong('balance')) return;
  const written = typeof app.listen === 'string' ? [app.listen] : app.listen;
  const unix = written.find((text) => text.startsWith('unix:'));
  const [expected, found] =
    app.port !== null
      ? ['listen instead of port', 'port. Clients choose a worker by its port, so a spare cannot take its place']
      : written.length === 0
        ? ['a TCP listen', 'none. Connections can be kept from a ready worker only at our socket']
        : unix !== undefined
          ? [
              'TCP addresses alone in listen',
              `${quoted(unix)}. A unix socket has one listener, so spares would accept there`,
            ]
          : app.balance === 'shared'
            ? ['balance: auto or steered', 'shared. Spares would accept from the shared socket like the others']
            : app.restart !== 'always'
              ? ['restart: always', `${app.restart}. A spare that has taken a place could not be made good`]
              : [];
  if (expected !== undefined)
    report(building, [...path, 'spares'], `expected ${expected}, because of spares, found ${found}`);
}

function checkReload({ reload }: AppSettings, path: Path, building: Building): void {
  if (reload.max_surge > 0 || reload.max_unavailable > 0 || isBroken(building, [...path, 'reload', 'max_surge']))
    return;
  report(
    building,
    [...path, 'reload'],
    'expected max_surge or max_unavailable above 0, found 0 for both. Nothing could ever be replaced',
  );
}

function checkBackoff({ backoff }: AppSettings, path: Path, building: Building): void {
  if (ms(backoff.max) >= ms(backoff.initial)) return;
  const place = [...path, 'backoff'];
  if (nodeAt(building.tree, [...place, 'initial']) !== null) {
    report(
      building,
      [...place, 'initial'],
      `expected at most backoff.max, which is ${backoff.max}, found ${quoted(backoff.initial)}`,
    );
  } else {
    report(
      building,
      [...place, 'max'],
      `expected at least backoff.initial, which is ${backoff.initial}, found ${quoted(backoff.max)}`,
    );
  }
}

function checkProgram(app: AppSettings, path: Path, building: Building): void {
  const given = (['command', 'script'] as const).filter(
    (key) => app[key] !== undefined || isBroken(building, [...path, key]),
  );
  if (given.length === 0)
    report(building, path, 'expected command or script, found neither. An app needs something to run');
  if (given.length === 2)
    report(building, [...path, 'script'], 'expected command or script, found both. Take one of them out');
}

function listenOf(app: AppSettings, path: Path, building: Building): readonly ListenSpec[] {
  const { listen } = app;
  const written = typeof listen === 'string' ? [listen] : listen;
  const unix = { dir: building.dir, mode: octalValue(app.socket_mode), group: app.socket_group };
  return written.flatMap((text, index) => {
    const address = parseListen(text);
    if (!('kind' in address)) return [];
    const spec = listenSpec(address, unix);
    if (spec.kind === 'unix' && Buffer.byteLength(spec.path) > maxSocketPathBytes) {
      const place = typeof listen === 'string' ? [...path, 'listen'] : [...path, 'listen', index];
      report(building, place, tooLongSocketPath(spec.path));
    }
    return [spec];
  });
}

function checkPort(app: AppSettings, path: Path, building: Building): void {
  if (app.port === null) return;
  if (app.listen.length > 0) {
    report(
      building,
      [...path, 'port'],
      'expected listen or port, found both. With listen all workers share our socket; with port each binds its own',
    );
  }
  const slots = slotsOf(app);
  if (app.port + slots - 1 > 65_535) report(building, [...path, 'port'], tooFewPorts(slots, app.port));
}

function octalValue(text: string): number {
  return Number.parseInt(text.replace(/^0o?/, '') || '0', 8);
}
