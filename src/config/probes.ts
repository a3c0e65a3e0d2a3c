/** `ready` and `health` of one app: what to ask, and that it can be asked of one certain worker. */
import { listenProbed } from '../core/probed-listen.ts';
import type { HealthProbe, HealthSpec, ReadySpec } from '../core/spec.ts';
import { isBroken, ms, report, type Building } from './building.ts';
import { commandOf } from './command.ts';
import { listOf } from './fields.ts';
import { parseListen } from './listen.ts';
import type { AppSettings } from './schema.ts';
import { upperBound } from './staffing.ts';
import { quoted, type Path } from './tree.ts';

export function readyOf(app: AppSettings, path: Path, building: Building): ReadySpec {
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
    if (app.logs === 'inherit') {
      report(
        building,
        [...place, 'log'],
        'expected output that we read, found logs: inherit. Use another way to be ready, or a file or format in logs',
      );
    }
    return { kind: 'log', pattern: ready.log };
  }
  if (ready.delay !== undefined) return { kind: 'delay', delayMs: ms(ready.delay) };
  return networkProbe(ready, { app, place, building });
}

export function healthOf(app: AppSettings, path: Path, building: Building): HealthSpec | null {
  const { health } = app;
  if (health === null) return null;
  const place = [...path, 'health'];
  return {
    probe: health.exec === undefined ? networkProbe(health, { app, place, building }) : execProbe(health.exec),
    intervalMs: ms(health.interval),
    timeoutMs: ms(health.timeout),
    failures: health.failures,
  };

  function execProbe(exec: NonNullable<typeof health>['exec'] & {}): HealthProbe {
    const written = { kind: 'probe', path: [...place, 'exec'], shell: false, hasPort: app.port !== null } as const;
    return { kind: 'exec', argv: commandOf(exec, written, building), shell: false };
  }
}

// ---------------------------------------------------------------- http and tcp

type NetworkProbe = Extract<HealthProbe, { readonly kind: 'http' | 'tcp' }>;

interface Where {
  readonly app: AppSettings;
  /** Of `ready` or `health`. */
  readonly place: Path;
  readonly building: Building;
}

function networkProbe(
  { http, tcp }: Pick<NonNullable<AppSettings['health']>, 'http' | 'tcp'>,
  at: Where,
): NetworkProbe {
  if (http !== undefined) {
    const port = typeof http === 'string' ? null : (http.port ?? null);
    checkPort('http', port, at);
    return { kind: 'http', path: typeof http === 'string' ? http : http.path, port };
  }
  const port = typeof tcp === 'number' ? tcp : (tcp?.port ?? null);
  checkPort('tcp', port, at);
  return { kind: 'tcp', port };
}

/**
 * A probe has to reach one certain worker. On a steered address it does; of a socket that all workers share it is an error.
 * Any other port of the probe is that of slot 0; slot n has port + n, as with `port` of the app.
 */
function checkPort(kind: 'http' | 'tcp', port: number | null, { app, place, building }: Where): void {
  const path = [...place, kind];
  const texts = typeof app.listen === 'string' ? [app.listen] : app.listen;
  const addresses = texts.map(parseListen).filter((address) => 'kind' in address);
  const says = adviceFor(kind, place);
  if (listenProbed(addresses, port) !== null) {
    if (app.balance !== 'shared') return;
    const found = `expected balance: steered or auto, where a probe chooses its worker at the address of listen, found shared`;
    return report(building, path, `${found}. ${says.shared}`);
  }
  if (port === null) {
    if (addresses.length > 0 && addresses.length === texts.length) {
      const other = `only ${listOf(texts.map(quoted), 'and')}`;
      const expected = 'expected an IPv4 address in listen, at which a probe chooses its worker';
      report(building, path, `${expected}, found ${other}. ${says.shared}`);
    } else if (app.port === null && texts.length === 0 && !isBroken(building, [...place.slice(0, -1), 'port'])) {
      report(building, path, `expected a port to probe, found none. Set port of the app, or write ${says.own}`);
    }
    return;
  }
  const slots = slotsOf(app);
  const shared = texts.find((text) => {
    const address = parseListen(text);
    return 'kind' in address && address.kind === 'tcp' && address.port >= port && address.port < port + slots;
  });
  if (shared !== undefined) {
    const ports = slots > 1 ? `${port} (up to ${port + slots - 1} with slot ${slots - 1})` : String(port);
    const found = `${ports}, which all workers share through listen ${quoted(shared)}`;
    report(building, path, `expected a port of the worker's own, found ${found}. ${says.shared}`);
  }
  if (port + slots - 1 > 65_535) report(building, path, tooFewPorts(slots, port));
}

/** What to do instead of asking a shared socket, and why. */
function adviceFor(kind: 'http' | 'tcp', place: Path): { readonly own: string; readonly shared: string } {
  const own = kind === 'http' ? '{http: {path: /healthz, port: 9100}}' : '{tcp: {port: 9100}}';
  const [aim, other] =
    place.at(-1) === 'health'
      ? ['is healthy', 'an exec probe, or stall, which sees a worker that hangs from outside']
      : ['is ready', 'accepting'];
  const why = `Any worker may answer there, so the probe cannot tell which one ${aim}`;
  const instead = `Give the probe a port of the worker's own, as in ${own}, where slot n answers at 9100 + n, or use ${other}`;
  return { own, shared: `${why}. ${instead}` };
}

export function tooFewPorts(slots: number, port: number): string {
  return `expected room for ${slots} ports up to 65535 (workers, spares and max_surge), found ${port}`;
}

/** How many slots there are at most, as long as nobody scales; `auto` keeps to the ports that there are. */
export function slotsOf(app: AppSettings): number {
  return Math.max(1, upperBound(app) + app.spares + app.reload.max_surge);
}
