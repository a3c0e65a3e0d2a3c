/**
 * Which master a client command means: `--name`, else the name that -c or the default config file gives, else the
 * only one that runs.
 *
 * Of the file only the name is read, and leniently: a config that is broken elsewhere must not keep anybody from
 * looking at the running master, or from stopping it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { ControlClient, runningMaster } from '../control/client.ts';
import { SuperviseError } from '../core/errors.ts';
import type { HostUser } from '../core/paths.ts';
import type { Globals, Invocation } from './invocation.ts';

export interface Connection {
  readonly client: ControlClient;
  readonly name: string;
}

/** @throws SuperviseError no-master, usage (several run), config-not-found */
export async function connectionFor({ globals }: Invocation): Promise<Connection> {
  const { name, socketPath } = await runningMaster(await wantedName(globals), thisUser());
  return { client: new ControlClient(socketPath), name };
}

export function thisUser(): HostUser {
  return { uid: process.getuid?.() ?? 0, home: process.env.HOME ?? homedir(), env: process.env };
}

async function wantedName({ name, config }: Globals): Promise<string | null> {
  if (name !== null) return name;
  if (config === null) {
    const found = defaultFiles.map((file) => resolve(file)).find((file) => existsSync(file));
    return found === undefined ? null : nameIn(found);
  }
  const file = resolve(config);
  if (existsSync(file)) return nameIn(file);
  throw new SuperviseError('config-not-found', `there is no config file ${config}`, { hint: 'or say which master is meant with --name' });
}

/** The `name` of a config file, read leniently; else the name of its folder. */
export async function nameIn(file: string): Promise<string | null> {
  const written = await writtenName(file);
  if (written !== null) return written;
  const { nameLike } = await import('../config/schema.ts');
  return nameLike(basename(dirname(file)));
}

/** null where there is none, or it cannot be made out. */
async function writtenName(file: string): Promise<string | null> {
  try {
    const { parseDocument } = await import('yaml');
    const value: unknown = parseDocument(readFileSync(file, 'utf8'), { logLevel: 'silent' }).get('name');
    if (typeof value !== 'string' && typeof value !== 'number') return null;
    const { expand } = await import('../config/expand.ts');
    const expansion = expand(String(value), { environment: process.env, envFile: {} });
    return expansion.ok && expansion.text !== '' ? expansion.text : null;
  } catch {
    return null;
  }
}

const defaultFiles = ['supervise.yaml', 'supervise.yml', 'supervise.json', '/etc/supervise/supervise.yaml'];
