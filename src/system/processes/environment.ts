/**
 * What the environment of a worker or a hook is made of, and what a program is called in it.
 *
 *   master's env and the top-level env_file < HOME, USER, LOGNAME of a configured user < env_file < env < ours
 *
 * What concerns the master alone is taken out of the first: its notify socket, its watchdog, the sockets that systemd
 * gave to it, its own IPC channel, and what an outer supervise has set.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { SuperviseError } from '../../core/errors.ts';

export type Environment = Readonly<Record<string, string>>;

const ofTheMaster =
  /^(?:NOTIFY_SOCKET|NOTIFY_FD|WATCHDOG_.*|LISTEN_(?:FDS|PID|FDNAMES|PIDFDID)|NODE_CHANNEL_.*|NODE_UNIQUE_ID|SUPERVISE_.*)$/;

/** The environment without what concerns the master alone. */
export function inheritable(env: Environment): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !ofTheMaster.test(name)));
}

/**
 * Reads an env_file (`NAME=value` lines, `#` comments, quotes; the format of `node --env-file`).
 * @param of "app web", for the message
 * @throws SuperviseError launch-failed
 */
export function readEnvFile(file: string, cwd: string, of: string): Record<string, string> {
  const path = resolve(cwd, file);
  try {
    const entries = Object.entries(parseEnv(readFileSync(path, 'utf8')));
    return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it does not exist' : (error as Error).message;
    const hint = 'create it, or correct "env_file"; a relative path counts from the resolved cwd';
    throw new SuperviseError('launch-failed', `${of}: cannot read the env_file ${path}: ${why}`, { hint });
  }
}

/** What differs between the workers of an app. */
export interface Placeholders {
  readonly app: string;
  readonly slot: number;
  /** The number of inherited sockets: the first is fd 3. */
  readonly sockets: number;
  readonly port: number | null;
}

/** The first descriptor that is not stdin, stdout or stderr, where inherited sockets begin (as sd_listen_fds(3)). */
export const firstSocketFd = 3;

/** Replaces `{fd}`, `{fd1}` …, `{slot}`, `{port}` and `{app}`; every other brace stays as it is. */
export function fillIn(text: string, values: Placeholders): string {
  if (!text.includes('{')) return text;
  return text.replace(/\{(app|slot|port|fd(\d*))\}/g, (whole, name: string, index: string | undefined) => {
    if (name === 'app') return values.app;
    if (name === 'slot') return String(values.slot);
    if (name === 'port') return values.port === null ? whole : String(values.port);
    const nth = Number(index ?? '');
    return nth < values.sockets ? String(firstSocketFd + nth) : whole;
  });
}
