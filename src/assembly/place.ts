/** What a master holds for itself on this host: its directories, and the lock that makes it the only one of its name. */
import { directoriesFor, prepareDirectories } from '../system/instance/directories.ts';
import { takeInstanceLock } from '../system/instance/instance.ts';
import { createLocks, type Locks } from '../system/instance/locks.ts';
import type { Spec } from '../core/spec.ts';
import type { Cancel } from '../ports.ts';

/** What a master holds for itself on this host. */
export interface Place {
  readonly runtime: string;
  readonly state: string;
  readonly locks: Locks;
  readonly release: Cancel;
}

/** @throws SuperviseError directory-unsafe, already-running */
export function takePlace(spec: Spec): Place {
  const { runtime, state } = prepareDirectories(directoriesFor(spec.name, process.env), process.env);
  const locks = createLocks();
  const release = takeInstanceLock(locks, runtime);
  return { runtime, state, locks, release };
}
