/**
 * Which master a client command means: `--name`, else the name that -c or the default config file gives, else the
 * only one that runs.
 *
 * Of the file only the name is read, and leniently: a config that is broken elsewhere must not keep anybody from
 * looking at the running master, or from stopping it.
 */
import { statSync } from 'node:fs';
import { homedir } from 'node:os';
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

/** An XDG_RUNTIME_DIR that is not there or not ours, as after a `su`, is as good as none: the master sees it so too. */
export function thisUser(): HostUser {
  const uid = process.getuid?.() ?? 0;
  const { XDG_RUNTIME_DIR: directory, ...others } = process.env;
  const isOurs = directory !== undefined && statSync(directory, { throwIfNoEntry: false })?.uid === uid;
  return { uid, home: process.env.HOME ?? homedir(), env: isOurs ? process.env : others };
}

/** The name of a config that is broken elsewhere can still be read. */
export async function wantedName({ name, config }: Globals): Promise<string | null> {
  if (name !== null) return name;
  const { findConfig, readName } = await import('../config/load.ts');
  const file = config ?? orNull(() => findConfig(null, process.cwd()));
  return file === null ? null : readName(file, process.env);
}

function orNull(find: () => string): string | null {
  try {
    return find();
  } catch (error) {
    if (error instanceof SuperviseError && error.code === 'config-not-found') return null;
    throw error;
  }
}
