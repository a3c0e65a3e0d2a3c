/**
 * Starts the program of a worker, a hook or a probe, as the leader of a session of its own, with /dev/null as stdin: directly where it can
 * be had (Linux, koffi), else with node:child_process. That is the way too for whoever needs an IPC channel, a pipe of another
 * number, or another user where setpriv is missing; and where the direct way has failed: it then says why, or finds a way
 * (a script without a first line that names its interpreter).
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { loadNative } from '../native.ts';
import type { ProcessCalls } from '../process-calls.ts';
import { spawnDirectly, type DirectChild, type Stdio } from './direct-child.ts';

/** A child process, as far as it is used here; without a pid it could not be started, and its 'error' says why. */
export type Child = ChildProcess | DirectChild;

export interface Program {
  /** By its path, and its words. */
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdio: readonly unknown[];
  readonly ids: { readonly uid?: number; readonly gid?: number };
}

/** @throws what spawn throws */
export function startProgram({ argv, cwd, env, stdio, ids }: Program, calls = directCalls()): Child {
  const isPlain = ids.uid === undefined && ids.gid === undefined && stdio.every(isDirect);
  const direct = isPlain && calls !== null ? spawnDirectly({ argv, cwd, env }, stdio as Stdio[], calls) : null;
  if (direct !== null) return direct;
  const [file = '', ...words] = argv;
  return spawn(file, words, { cwd, env, stdio: stdio as StdioOptions, detached: true, ...ids });
}

function isDirect(each: unknown, number: number): boolean {
  return number === 0
    ? each === 'ignore'
    : typeof each === 'number' || each === 'inherit' || (each === 'pipe' && number < 3);
}

function directCalls(): ProcessCalls | null {
  return process.platform === 'linux' ? (loadNative()?.processes ?? null) : null;
}
