/**
 * Turns `user` and `group` of the config into numbers, and decides whether this master may use them.
 *
 * - Names are looked up in /etc/passwd and /etc/group, then with `getent` (LDAP, systemd-homed); digits are ids.
 * - Only root may become somebody else. A user that the master is already needs nothing.
 * - A program that runs as a configured user gets that user's HOME, USER and LOGNAME.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { SuperviseError } from '../../core/errors.ts';
import type { AppSpec } from '../../core/spec.ts';

/** Who a program runs as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  /**
   * The supplementary groups: those of this account, none (a uid that no account has), or the master's (only `group`
   * is configured).
   */
  readonly groups: 'of-account' | 'none' | 'kept';
  /** HOME, USER and LOGNAME; empty without a configured user. */
  readonly env: Readonly<Record<string, string>>;
  /** The master has to change its ids for it. */
  readonly change: 'needed' | 'none';
}

/** What stands in the config, and where, for the message. */
export interface AccountWish {
  readonly user: string | null;
  readonly group: string | null;
  /** "app web", "hook migrate" */
  readonly of: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** null: it runs as the master does. @throws SuperviseError launch-failed */
export function accountOf(wish: AccountWish): Account | null {
  if (wish.user === null && wish.group === null) return null;
  const entry = wish.user === null ? null : passwdEntry(wish.user);
  const numeric = wish.user !== null && /^\d+$/.test(wish.user);
  if (wish.user !== null && entry === null && !numeric) {
    const hint = `create it ("useradd --system ${wish.user}"), or correct "user"`;
    throw new SuperviseError(
      'launch-failed',
      `${wish.of}: user "${wish.user}" was not found in /etc/passwd or by getent`,
      { hint },
    );
  }
  const [masterUid, masterGid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
  const uid = entry?.uid ?? (numeric ? Number(wish.user) : masterUid);
  const gid = wish.group !== null ? groupId(wish.group, wish.of) : (entry?.gid ?? (numeric ? uid : masterGid));
  const change = uid === masterUid && gid === masterGid && masterUid !== 0 ? 'none' : 'needed';
  if (change === 'needed' && masterUid !== 0) refuse(wish, { uid, gid, masterUid });
  const env = entry === null ? {} : { HOME: entry.home, USER: entry.name, LOGNAME: entry.name };
  return { uid, gid, groups: entry !== null ? 'of-account' : numeric ? 'none' : 'kept', env, change };
}

const ofApps = new WeakMap<AppSpec, Account | null>();

/** As accountOf, asked once per spec: a respawn does not wait for a directory service. @throws SuperviseError launch-failed */
export function accountOfApp(app: AppSpec): Account | null {
  const known = ofApps.get(app);
  if (known !== undefined) return known;
  const account = accountOf({ user: app.identity.user, group: app.identity.group, of: `app ${app.name}` });
  ofApps.set(app, account);
  return account;
}

function refuse(wish: AccountWish, ids: { uid: number; gid: number; masterUid: number }): never {
  const wanted =
    wish.user === null
      ? `group "${wish.group}" (gid ${ids.gid})`
      : `user "${wish.user}" (uid ${ids.uid}, gid ${ids.gid})`;
  const hint =
    'start supervise as root, or remove "user" and "group"; under systemd, User= of the unit does it for all';
  throw new SuperviseError(
    'launch-failed',
    `${wish.of}: expected to run as ${wanted}, but the master runs as uid ${ids.masterUid}, and only root may change that`,
    { hint },
  );
}

function groupId(group: string, of: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  const fields = entryIn('group', group);
  if (fields !== null) return Number(fields[2]);
  const hint = `create it ("groupadd --system ${group}"), or correct "group"`;
  throw new SuperviseError('launch-failed', `${of}: group "${group}" was not found in /etc/group or by getent`, {
    hint,
  });
}

function passwdEntry(user: string): PasswdEntry | null {
  const fields = entryIn('passwd', user);
  if (fields === null) return null;
  return { name: fields[0] ?? user, uid: Number(fields[2]), gid: Number(fields[3]), home: fields[5] ?? '/' };
}

/** The fields of the line with that name or id. passwd and group both have the name first and the id third. */
function entryIn(database: 'passwd' | 'group', wanted: string): string[] | null {
  let text = '';
  try {
    text = readFileSync(`/etc/${database}`, 'utf8');
  } catch {
    // A system without the file may still know the account: getent is asked below.
  }
  return findLine(text, wanted) ?? findLine(askGetent(database, wanted), wanted);
}

function findLine(text: string, wanted: string): string[] | null {
  const rows = text.split('\n').map((line) => line.split(':'));
  return rows.find((fields) => fields.length >= 4 && (fields[0] === wanted || fields[2] === wanted)) ?? null;
}

function askGetent(database: string, wanted: string): string {
  const answer = spawnSync('getent', [database, wanted], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 5_000,
  });
  return answer.stdout ?? '';
}
