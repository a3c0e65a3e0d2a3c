/**
 * Which masters run, seen from a client: by their sockets in the RUNTIME directories, in this order: the caller's
 * own (core/paths), and for root those of all other users. A socket counts when it accepts a connection, or when it
 * refuses this user (there is something, but not for us).
 *
 * Nobody else may pose as a master: a client that is not root takes only sockets that belong to itself or to root.
 */
import type { Stats } from 'node:fs';
import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { HostUser } from '../core/paths.ts';
import { controlSocketName, namelessRuntimes, runtimeDirectory, runtimeParents } from '../core/paths.ts';
import { SuperviseError } from '../core/errors.ts';
import { probeSocket } from './socket-file.ts';

export interface RunningMaster {
  readonly name: string;
  readonly socketPath: string;
  readonly ownerUid: number;
  /** `denied`: it runs, but this user may not talk to it. `closed`: its directory is, so it may run or not. */
  readonly access: 'open' | 'denied' | 'closed';
}

/** Asks what listens there for its name. */
export type AskName = (socketPath: string) => Promise<string>;

/** All masters of this name, or (null) all; the caller's own come first. */
export async function locateMasters(
  name: string | null,
  user: HostUser,
  askName: AskName,
): Promise<readonly RunningMaster[]> {
  const found: RunningMaster[] = [];
  const seen = new Set<string>();
  const add = (master: RunningMaster | null) => {
    if (master === null) return;
    const id = fileId(master.socketPath);
    if (!seen.has(id)) found.push(master);
    seen.add(id);
  };
  for (const directory of namelessRuntimes(name, user))
    add(await confirmed(await masterIn(directory, name ?? '', user), name, askName));
  for (const directory of namedRuntimes(name, user)) add(await masterIn(directory, basename(directory), user));
  return name === null ? found.filter((one) => one.access !== 'closed') : found;
}

/** @throws SuperviseError no-master; usage when several could be meant; operation-failed when it is not ours to ask */
export function chooseMaster(wanted: string | null, all: readonly RunningMaster[], user: HostUser): RunningMaster {
  const open = all.filter((one) => one.access === 'open');
  const own = open.filter((one) => one.ownerUid === user.uid);
  const candidates = wanted !== null && own.length > 0 ? own.slice(0, 1) : open;
  const [first, ...others] = candidates;
  if (first === undefined) throw noMaster(wanted, all, user);
  if (others.length === 0) return first;
  const list = candidates.map((one) => `${one.name} (${one.socketPath})`);
  throw new SuperviseError('usage', `several masters run: ${list.join(', ')}`, { hint: hintFor(candidates) });
}

function hintFor(candidates: readonly RunningMaster[]): string {
  const names = new Set(candidates.map((one) => one.name));
  return names.size > 1
    ? `choose one with --name ${[...names][0]}`
    : 'they differ in their user only: run this as that user';
}

function noMaster(wanted: string | null, denied: readonly RunningMaster[], user: HostUser): SuperviseError {
  const [first] = denied;
  if (first !== undefined) {
    const found = first.access === 'denied' ? `the master ${first.name} runs` : `a master ${first.name} may run`;
    return new SuperviseError('operation-failed', `${found}, but you are not allowed to open ${first.socketPath}`, {
      hint: `it belongs to uid ${first.ownerUid}: run this as that user or as root`,
    });
  }
  const message = wanted === null ? 'no master runs' : `no master named ${wanted} runs`;
  const looked =
    wanted === null ? runtimeParents(user).join(', ') : join(runtimeDirectory(wanted, user), controlSocketName);
  return new SuperviseError('no-master', message, { hint: `looked at ${looked}; start one with: supervise start` });
}

function namedRuntimes(name: string | null, user: HostUser): readonly string[] {
  const parents = user.uid === 0 ? [...runtimeParents(user), ...parentsOfOthers()] : runtimeParents(user);
  if (name !== null) return parents.map((parent) => join(parent, name));
  return parents.flatMap((parent) => entries(parent).map((entry) => join(parent, entry)));
}

/** Where the masters of other users are; only root looks there. */
function parentsOfOthers(): readonly string[] {
  const sessions = entries('/run/user').map((uid) => join('/run/user', uid, 'supervise'));
  const temporary = entries('/tmp').filter((entry) => /^supervise-\d+$/.test(entry));
  return [...sessions, ...temporary.map((entry) => join('/tmp', entry))];
}

function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}

async function masterIn(directory: string, name: string, user: HostUser): Promise<RunningMaster | null> {
  const socketPath = join(directory, controlSocketName);
  const owner = ownerOf(socketPath) ?? closedOwner(directory);
  if (owner === null || !mayTalkTo(owner.uid, user)) return null;
  const master = { name, socketPath, ownerUid: owner.uid };
  if (owner.access === 'closed') return { ...master, access: 'closed' };
  const condition = await probeSocket(socketPath);
  if (condition !== 'live' && condition !== 'denied') return null;
  return { ...master, access: condition === 'live' ? 'open' : 'denied' };
}

async function confirmed(
  master: RunningMaster | null,
  wanted: string | null,
  askName: AskName,
): Promise<RunningMaster | null> {
  if (master === null || master.access !== 'open') return null;
  try {
    const name = await askName(master.socketPath);
    return wanted === null || name === wanted ? { ...master, name } : null;
  } catch {
    // it is no master, or it is ending
    return null;
  }
}

function mayTalkTo(ownerUid: number, user: HostUser): boolean {
  return user.uid === 0 || ownerUid === user.uid || ownerUid === 0;
}

interface Owner {
  readonly uid: number;
  readonly access: 'open' | 'closed';
}

/** Of what the path leads to, symlinks followed; null: nothing is there, or the directory is closed to us. */
function ownerOf(socketPath: string): Owner | null {
  const stat = statOrCode(socketPath);
  return typeof stat === 'string' ? null : { uid: stat.uid, access: 'open' };
}

/** The owner of a directory that does not let us look for the socket. */
function closedOwner(directory: string): Owner | null {
  if (statOrCode(join(directory, controlSocketName)) !== 'EACCES') return null;
  const stat = statOrCode(directory);
  return typeof stat === 'string' ? null : { uid: stat.uid, access: 'closed' };
}

function statOrCode(path: string): Stats | string {
  try {
    return statSync(path);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

/** Two paths may lead to the same socket. */
function fileId(path: string): string {
  const stat = statOrCode(path);
  return typeof stat === 'string' ? path : `${stat.dev}:${stat.ino}`;
}
