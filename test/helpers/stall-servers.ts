/** Real servers that hang or work on request, each as a worker that is watched for stalls. */
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { resolve } from 'node:path';
import type { AppSpec, ListenSpec } from '../../src/core/spec.ts';
import { freePort, plainEnv, type Spawning, type Tried } from './spawning.ts';

const directory = resolve('test/fixtures/stall');

/** The least that a config may say, so that tests are quick. */
export const afterMs = 1000;

let unixSockets = 0;

export type ServerKind = 'node' | 'node:cluster' | 'uvicorn' | 'uvicorn unix' | 'gunicorn' | 'gunicorn threads';

const uvicorn = ['/usr/bin/uvicorn', '--app-dir', directory, '--log-level', 'warning', 'asgi:app', '--fd', '{fd}'];
const gunicorn = [
  '/usr/bin/gunicorn',
  '--chdir',
  directory,
  '--bind',
  'fd://{fd}',
  '--log-level',
  'warning',
  '-t',
  '600',
];
const specs: Record<ServerKind, (port: number) => Pick<AppSpec, 'kind' | 'argv'>> = {
  'node': (port) => ({ kind: 'script', argv: [`${directory}/server.mjs`, String(port)] }),
  'node:cluster': (port) => ({ kind: 'script', argv: [`${directory}/server.mjs`, String(port)] }),
  'uvicorn': () => ({ kind: 'command', argv: uvicorn }),
  'uvicorn unix': () => ({ kind: 'command', argv: uvicorn }),
  'gunicorn': () => ({ kind: 'command', argv: [...gunicorn, 'wsgi:app'] }),
  'gunicorn threads': () => ({ kind: 'command', argv: [...gunicorn, '-k', 'gthread', '--threads', '4', 'wsgi:app'] }),
};

/** As options of a request. */
export type Address = { readonly host: string; readonly port: number } | { readonly socketPath: string };

/** Why this server cannot be tested here; false: it can. */
export function missing(kind: ServerKind): string | false {
  const [program] = specs[kind](0).argv;
  return kind !== 'node' && kind !== 'node:cluster' && !existsSync(program ?? '') && `${program} is not installed`;
}

export interface StallServer {
  readonly tried: Tried;
  readonly port: number;
  /** Where to ask it. */
  readonly address: Address;
  /** Asks for a path, without waiting for the answer. */
  ask(path: string): void;
  /** What was told of stalls so far. */
  stalls(): string[];
}

/** Starts it; it is ready when this returns. */
export async function startServer(
  world: Spawning,
  kind: ServerKind,
  more: Partial<AppSpec> = {},
): Promise<StallServer> {
  const inherited = kind === 'node:cluster' ? [] : [kind === 'uvicorn unix' ? listenUnix(world) : await world.listen()];
  const [listen] = inherited;
  const port = listen?.kind === 'tcp' ? listen.port : await freePort();
  const address = listen?.kind === 'unix' ? { socketPath: listen.path } : { host: '127.0.0.1', port };
  const stall = { afterMs, action: 'warn', signal: null } as const;
  const tried = world.start(
    { ...specs[kind](port), listen: inherited, stall, ...more },
    { env: { ...plainEnv, PYTHONDONTWRITEBYTECODE: '1', PYTHONFAULTHANDLER: '1' } },
  );
  await tried.ready;
  return {
    tried,
    port,
    address,
    ask: (path) =>
      void request({ ...address, path, agent: false })
        .on('error', () => undefined)
        .end(),
    stalls: () => tried.reports.filter((report) => report !== 'ready' && report !== 'exited'),
  };
}

function listenUnix(world: Spawning): ListenSpec {
  const path = `${world.directory}/${++unixSockets}.sock`;
  const spec = { kind: 'unix', path, mode: 0o600, group: null, url: `unix:${path}` } as const;
  world.listenOn([spec]);
  return spec;
}
