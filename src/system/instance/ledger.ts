/**
 * STATE/hooks.json: when a hook with `once_per` has succeeded for which key; and the lock that lets one process at a time
 * run hooks.
 *
 * Rules
 * - It is read anew for every question: `hooks run` in another process may have written since.
 * - Written by rename after an fsync, so a power cut leaves the old or the new one. What is not readable is moved aside and
 *   said, never fatal: the hook then runs once more, as without the file.
 * - A result that cannot be stored is a warning: the hook has succeeded, and the service can start.
 * - The lock is held by a living process only. Whoever waits looks again five times a second.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Cancel, HookLedger } from '../../ports.ts';
import { describeHolder } from '../holders.ts';
import type { Locks } from './locks.ts';

interface Success {
  readonly hook: string;
  readonly key: string;
  /** ISO 8601, UTC. */
  readonly at: string;
}

export const ledgerName = 'hooks.json';

const pollMs = 200;
/** Per hook; the oldest are forgotten first. */
const keysKept = 1000;

/** `state` is a directory that exists. `warn` hears sentences. */
export function createLedger(state: string, locks: Locks, warn: (message: string) => void): HookLedger {
  const file = join(state, ledgerName);
  return {
    succeededAt: (hook, key) => read(file, warn).find((one) => one.hook === hook && one.key === key)?.at ?? null,
    record(hook, key, at) {
      const others = read(file, warn).filter((one) => one.hook !== hook || one.key !== key);
      const surplus = others.filter((one) => one.hook === hook).slice(0, -(keysKept - 1));
      try {
        writeDurably(file, [...others.filter((one) => !surplus.includes(one)), { hook, key, at }]);
      } catch (error) {
        warn(
          `cannot store in ${file} that hook ${hook} has succeeded for ${key}: ${(error as Error).message}; it will run again at the next start`,
        );
      }
    },
    lock: (waiting, granted) => waitFor(locks, `hooks/${process.getuid?.() ?? 0}${state}`, waiting, granted),
  };
}

/** `granted` is never called before this has returned. */
function waitFor(locks: Locks, name: string, waiting: (holder: string) => void, granted: () => void): Cancel {
  let state: 'new' | 'waiting' | 'ended' = 'new';
  let release: Cancel = () => undefined;
  const attempt = (): void => {
    if (state === 'ended') return;
    const result = locks.take(name);
    if (result.taken) {
      release = result.release;
      granted();
      return;
    }
    if (state === 'new') waiting(describeHolder(result.holder));
    // The listener may have given up.
    if ((state as string) !== 'ended') state = 'waiting';
    timer = setTimeout(attempt, pollMs);
  };
  let timer = setTimeout(attempt, 0);
  return () => {
    if (state === 'ended') return;
    state = 'ended';
    clearTimeout(timer);
    release();
  };
}

function read(file: string, warn: (message: string) => void): readonly Success[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      warn(`cannot read ${file}: ${(error as Error).message}; every hook counts as not yet run`);
    return [];
  }
  try {
    return parse(text);
  } catch (error) {
    const aside = `${file}.corrupt-${new Date().toISOString().replace(/[:.]/g, '')}`;
    warn(
      `${file} is not what supervise writes (${(error as Error).message}); it is moved to ${aside}, and every hook counts as not yet run`,
    );
    try {
      renameSync(file, aside);
    } catch {
      // Then the next record overwrites it.
    }
    return [];
  }
}

function parse(text: string): readonly Success[] {
  const value = JSON.parse(text) as { succeeded?: unknown } | null;
  const list = value?.succeeded;
  if (!Array.isArray(list)) throw new Error('expected a list as "succeeded"');
  const isSuccess = (one: Partial<Success> | null): boolean =>
    [one?.hook, one?.key, one?.at].every((field) => typeof field === 'string');
  if (!list.every(isSuccess)) throw new Error('expected hook, key and at in every entry');
  return list as readonly Success[];
}

function writeDurably(file: string, succeeded: readonly Success[]): void {
  const temporary = `${file}.${process.pid}`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, `${JSON.stringify({ version: 1, succeeded }, null, 1)}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
  const directory = openSync(join(file, '..'), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
