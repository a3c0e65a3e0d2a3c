/** One app: from its checked settings to its AppSpec, with the checks between its keys. */
import { resolve } from 'node:path';
import type { AppSpec, Balance, HealthProbe, HealthSpec, ListenSpec, LogsSpec, ReadySpec } from '../core/spec.ts';
import { bytes, isBroken, ms, report, tooLongSocketPath, type Building } from './building.ts';
import { commandOf } from './command.ts';
import { listOf, signalName } from './fields.ts';
import { listenSpec, maxSocketPathBytes, parseListen } from './listen.ts';
import type { AppSettings } from './schema.ts';
import { nodeAt, quoted, type Path } from './tree.ts';

/** Makes the AppSpec and reports what does not go together. */
export function buildApp(name: string, app: AppSettings, building: Building): AppSpec {
  const path: Path = ['apps', name];
  const kind = app.script !== undefined && app.command === undefined ? 'script' : 'command';
  checkProgram(app, path, building);
  const written = { path: [...path, kind], shell: false, hasPort: app.port !== null };
  const argv = commandOf(app[kind] ?? [], { ...written, kind: kind === 'script' ? 'script' : 'app' }, building);
  const listen = listenOf(app, path, building);
  checkPort(app, path, building);
  checkPlaceholders({ app, argv, kind, sockets: listen.length }, path, building);
  const { backoff, reload } = app;
  if (reload.max_surge === 0 && reload.max_unavailable === 0 && !isBroken(building, [...path, 'reload', 'max_surge'])) {
    report(
      building,
      [...path, 'reload'],
      'expected max_surge or max_unavailable above 0, found 0 for both. Nothing could ever be replaced',
    );
  }
  checkBackoff(app, path, building);
  return {
    name,
    kind,
    argv,
    workers: app.workers,
    listen,
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
    balance: app.balance as Balance,
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
    watch: app.watch && { paths: app.watch.paths, ignore: app.watch.ignore, debounceMs: ms(app.watch.debounce) },
    tlsFiles: app.tls_files,
    logs: logsOf(app, path, building),
  };
}

function logsOf({ logs, port }: AppSettings, path: Path, building: Building): LogsSpec {
  if (typeof logs === 'string') return { kind: 'inherit' };
  if (logs.file?.includes('{port}') && port === null && !isBroken(building, [...path, 'port'])) {
    report(
      building,
      [...path, 'logs', 'file'],
      'expected a port for {port}, found none. Use {slot}, or set port of the app',
    );
  }
  return {
    kind: 'captured',
    format: logs.format ?? 'auto',
    file: logs.file === null ? null : resolve(building.dir, logs.file),
    maxSizeBytes: bytes(logs.max_size),
    keep: logs.keep,
    gzip: logs.gzip,
  };
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
  if (app.port + slots - 1 > 65_535) {
    report(
      building,
      [...path, 'port'],
      `expected room for ${slots} ports up to 65535 (workers and max_surge), found ${app.port}`,
    );
  }
}

interface Placeholders {
  readonly app: AppSettings;
  readonly argv: readonly string[];
  readonly kind: 'command' | 'script';
  readonly sockets: number;
}

/** {fd} needs a socket and {port} a port; everything else in braces is the program's own. */
function checkPlaceholders({ app, argv, kind, sockets }: Placeholders, path: Path, building: Building): void {
  const texts: (readonly [Path, string])[] = [
    ...argv.map((word) => [[...path, kind], word] as const),
    ...Object.entries(app.env).map(([name, value]) => [[...path, 'env', name], value] as const),
  ];
  const listenIsKnown = !isBroken(building, [...path, 'listen']);
  for (const [place, text] of texts) {
    for (const [placeholder, fd, number] of text.matchAll(/\{(?:(fd)(\d*)|port)\}/g)) {
      if (fd === undefined && app.port === null && !isBroken(building, [...path, 'port'])) {
        report(building, place, `expected a port for {port}, found none. Set port of the app, to 9000 for example`);
      }
      if (fd === undefined || !listenIsKnown || Number(number) < sockets) continue;
      const found = sockets === 0 ? 'none' : `${sockets} (${listOf(fdNames(sockets), 'and')})`;
      report(
        building,
        place,
        `expected a listen address for ${placeholder}, found ${found}. Add one to listen of the app, or with -b`,
      );
    }
  }
}

function fdNames(sockets: number): readonly string[] {
  return Array.from({ length: sockets }, (_, index) => (index === 0 ? '{fd}' : `{fd${index}}`));
}

// ---------------------------------------------------------------- ready

function readyOf(app: AppSettings, path: Path, building: Building): ReadySpec {
  const { ready } = app;
  const place = [...path, 'ready'];
  if (typeof ready === 'string') {
    if (ready === 'accepting' && app.listen.length === 0 && !isBroken(building, [...path, 'listen'])) {
      report(
        building,
        place,
        'expected listen, because accepting means to accept on our socket, found none. Add listen, or use listening or spawned',
      );
    }
    return { kind: ready as 'auto' | 'spawned' | 'listening' | 'accepting' | 'fd' | 'ipc' };
  }
  if (ready.log !== undefined) {
    if (app.logs === 'inherit')
      report(
        building,
        [...place, 'log'],
        'expected logs other than inherit, because nobody reads inherited output, found inherit. Take logs: inherit out, or use another ready',
      );
    return { kind: 'log', pattern: ready.log };
  }
  if (ready.delay !== undefined) return { kind: 'delay', delayMs: ms(ready.delay) };
  if (ready.http !== undefined) {
    const { http } = ready;
    const port = typeof http === 'string' ? null : (http.port ?? null);
    checkProbe('http', port, { app, place, building });
    return { kind: 'http', path: typeof http === 'string' ? http : http.path, port };
  }
  const { tcp = {} } = ready;
  const port = typeof tcp === 'number' ? tcp : (tcp.port ?? null);
  checkProbe('tcp', port, { app, place, building });
  return { kind: 'tcp', port };
}

function healthOf(app: AppSettings, path: Path, building: Building): HealthSpec | null {
  const { health } = app;
  if (health === null) return null;
  const rest = { intervalMs: ms(health.interval), timeoutMs: ms(health.timeout), failures: health.failures };
  return { probe: healthProbeOf(health, app, path, building), ...rest };
}

function healthProbeOf(
  { http, tcp, exec }: NonNullable<AppSettings['health']>,
  app: AppSettings,
  path: Path,
  building: Building,
): HealthProbe {
  const place = [...path, 'health'];
  if (exec !== undefined) {
    const written = { kind: 'app', path: [...place, 'exec'], shell: false, hasPort: app.port !== null } as const;
    return { kind: 'exec', argv: commandOf(exec, written, building), shell: false };
  }
  if (http !== undefined) {
    const port = typeof http === 'string' ? null : (http.port ?? null);
    checkProbe('http', port, { app, place, building });
    return { kind: 'http', path: typeof http === 'string' ? http : http.path, port };
  }
  const port = typeof tcp === 'number' ? tcp : (tcp?.port ?? null);
  checkProbe('tcp', port, { app, place, building });
  return { kind: 'tcp', port };
}

/**
 * A probe has to reach one certain worker, which a socket that all workers share cannot do. A port of the probe is
 * that of slot 0; slot n has port + n, as with `port` of the app.
 */
function checkProbe(
  kind: 'http' | 'tcp',
  port: number | null,
  at: { app: AppSettings; place: Path; building: Building },
): void {
  const { app, place, building } = at;
  const path = [...place, kind];
  const own = kind === 'http' ? '{http: {path: /healthz, port: 9100}}' : '{tcp: {port: 9100}}';
  const addresses = typeof app.listen === 'string' ? [app.listen] : app.listen;
  const aim = place.at(-1) === 'health' ? 'is healthy' : 'is ready';
  const why = `Any worker may answer there, so the probe cannot tell which one ${aim}`;
  const other = place.at(-1) === 'health' ? 'exec' : 'accepting';
  const instead = `Give the probe a port of the worker's own, as in ${own}, where slot n answers at 9100 + n, or use ${other}`;
  if (port === null) {
    if (addresses.length > 0) {
      const shared = listOf(addresses.map(quoted), 'and');
      report(
        building,
        path,
        `expected a port of the worker's own, found only the shared listen ${shared}. ${why}. ${instead}`,
      );
    } else if (app.port === null && !isBroken(building, [...place.slice(0, -1), 'port'])) {
      report(building, path, `expected a port to probe, found none. Set port of the app, or write ${own}`);
    }
    return;
  }
  const slots = slotsOf(app);
  const shared = addresses.find((text) => {
    const address = parseListen(text);
    return 'kind' in address && address.kind === 'tcp' && address.port >= port && address.port < port + slots;
  });
  if (shared !== undefined) {
    const ports = slots > 1 ? `${port} (up to ${port + slots - 1} with slot ${slots - 1})` : String(port);
    report(
      building,
      path,
      `expected a port of the worker's own, found ${ports}, which all workers share through listen ${quoted(shared)}. ${why}. ${instead}`,
    );
  }
  if (port + slots - 1 > 65_535)
    report(building, path, `expected room for ${slots} ports up to 65535 (workers and max_surge), found ${port}`);
}

/** How many slots there are at most, as long as nobody scales. */
function slotsOf(app: AppSettings): number {
  return Math.max(1, app.workers + app.reload.max_surge);
}

function octalValue(text: string): number {
  return Number.parseInt(text.replace(/^0o?/, '') || '0', 8);
}
