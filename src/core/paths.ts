/**
 * Where a master keeps its files and where a client looks for them. Pure: who asks is passed in.
 *
 * | who | RUNTIME (socket, pid, lock) | STATE (once_per results, exits.ndjson, history.json, token, master.log) |
 * | --- | --- | --- |
 * | under systemd | $RUNTIME_DIRECTORY | $STATE_DIRECTORY |
 * | root | /run/supervise/NAME | /var/lib/supervise/NAME |
 * | with XDG | $XDG_RUNTIME_DIR/supervise/NAME | $XDG_STATE_HOME/supervise/NAME |
 * | else | /tmp/supervise-UID/NAME | ~/.local/state/supervise/NAME |
 *
 * systemd gives several directories separated by colons; the first is meant. A relative XDG path is ignored, as its
 * specification asks.
 */

export const controlSocketName = 'control.sock';
export const masterLogName = 'master.log';
export const recordsName = 'exits.ndjson';
export const historyName = 'history.json';

/** The user a master runs as, or a client acts for. */
export interface HostUser {
  readonly uid: number;
  readonly home: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** RUNTIME of the master that is called `name`. */
export function runtimeDirectory(name: string, user: HostUser): string {
  const given = givenDirectory(user.env.RUNTIME_DIRECTORY);
  if (given !== null) return given;
  if (user.uid === 0) return `/run/supervise/${name}`;
  const xdg = absolute(user.env.XDG_RUNTIME_DIR);
  return xdg === null ? `/tmp/supervise-${user.uid}/${name}` : `${xdg}/supervise/${name}`;
}

/** STATE of the master that is called `name`. */
export function stateDirectory(name: string, user: HostUser): string {
  const given = givenDirectory(user.env.STATE_DIRECTORY);
  if (given !== null) return given;
  if (user.uid === 0) return `/var/lib/supervise/${name}`;
  const xdg = absolute(user.env.XDG_STATE_HOME);
  return xdg === null ? `${user.home}/.local/state/supervise/${name}` : `${xdg}/supervise/${name}`;
}

/**
 * The directories that are a RUNTIME themselves, whatever the name of their master is. A client has to ask the
 * master for its name before it believes one of them.
 */
export function namelessRuntimes(name: string | null, user: HostUser): readonly string[] {
  const given = givenDirectory(user.env.RUNTIME_DIRECTORY);
  // RuntimeDirectory=NAME in a unit
  const bare = name === null ? null : `/run/${name}`;
  return unique([given, bare]);
}

/** The directories in which each entry is the RUNTIME of the master of that name, best first. */
export function runtimeParents(user: HostUser): readonly string[] {
  const xdg = absolute(user.env.XDG_RUNTIME_DIR);
  return unique([
    user.uid === 0 ? '/run/supervise' : null,
    xdg === null ? null : `${xdg}/supervise`,
    `/run/user/${user.uid}/supervise`,
    `/tmp/supervise-${user.uid}`,
    '/run/supervise',
  ]);
}

function givenDirectory(value: string | undefined): string | null {
  return absolute(value?.split(':')[0]);
}

function absolute(value: string | undefined): string | null {
  if (value === undefined || !value.startsWith('/')) return null;
  return value.length > 1 && value.endsWith('/') ? value.slice(0, -1) : value;
}

function unique(paths: readonly (string | null)[]): readonly string[] {
  return [...new Set(paths.filter((path) => path !== null))];
}
