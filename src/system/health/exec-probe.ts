/**
 * One run of a health command: healthy when it exits with 0.
 *
 *   running --exit--> its leftovers are killed --> answered
 *      '--timeout, cancel--> its whole tree is killed --> answered (not when it was cancelled)
 *
 * - It has the worker's pinned environment, cwd and user, but no socket, no control descriptor and no stdin.
 * - What it writes is kept shortly, for the words of its failure, and is not in the log.
 * - It carries the worker's mark and one of its own, so that neither of them is taken for a leftover of the other.
 */
import type { Readable } from 'node:stream';
import type { Exit } from '../../core/protocol.ts';
import type { HealthProbe, Signal } from '../../core/spec.ts';
import { formatDuration } from '../../core/units.ts';
import type { Cancel, Launch, RunningProcess } from '../../ports.ts';
import { ChildLife, type OutputPort } from '../processes/child-life.ts';
import { fillIn } from '../processes/environment.ts';
import { markOf, placeholdersOf, workerEnvironment, wrapWorker, type LaunchParts } from '../processes/launching.ts';
import { findProgram } from '../processes/program.ts';
import { startProgram, type Child } from '../processes/start-program.ts';
import { spawnFailure, unborn } from '../processes/unborn.ts';
import { noSeat } from '../sockets/seat.ts';

const keptCharacters = 4096;
/** A line of this length says enough. */
const shownCharacters = 200;
/** How it is ended when the master dies. */
const stop: { readonly signal: Signal; readonly timeoutMs: number } = { signal: 'SIGKILL', timeoutMs: 0 };

let runs = 0;

export interface ExecProbe {
  readonly launch: Launch;
  readonly parts: LaunchParts;
  readonly command: Extract<HealthProbe, { kind: 'exec' }>;
  readonly timeoutMs: number;
}

/** Runs it. `done` is called once, never at once: null, or why it is not healthy. Never throws. */
export function runExecProbe(probe: ExecProbe, done: (failure: string | null) => void): Cancel {
  let process: RunningProcess | null = null;
  let state: 'running' | 'late' | 'over' = 'running';
  const timer = setTimeout(() => {
    state = 'late';
    process?.kill();
  }, probe.timeoutMs);
  const end = (failure: string | null): void => {
    clearTimeout(timer);
    if (state !== 'over') done(failure);
    state = 'over';
  };
  const exited = (exit: Exit): void => {
    const late = `it did not end within ${formatDuration(probe.timeoutMs)}`;
    end(state === 'late' ? withLastLine(late, exit) : failureOf(exit));
  };
  try {
    process = start(probe, exited);
  } catch (error) {
    setImmediate(() => end(spawnFailure(error, probe.command.argv[0] ?? '').error));
  }
  return () => {
    state = 'over';
    clearTimeout(timer);
    process?.kill();
  };
}

/** @throws SuperviseError program-cannot-run, launch-failed, or what spawn throws */
function start({ launch, parts, command }: ExecProbe, exited: (exit: Exit) => void): RunningProcess {
  const { app, cwd } = launch.pinned;
  const env: Record<string, string> = { ...workerEnvironment(launch, parts), SUPERVISE_PROBE: String(++runs) };
  for (const name of ['LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  // It has none of the sockets.
  const words = command.argv.map((word) => fillIn(word, { ...placeholdersOf(launch), sockets: 0 }));
  const around = { of: `health of app ${app.name}`, givenCwd: app.cwd, cwd, env, user: app.identity.user };
  const argv = command.shell ? ['/bin/sh', '-c', ...words] : findProgram(words, around);
  const wrapped = wrapWorker(launch, argv, 'none');
  const birth = parts.strays.announce(markOf(env, parts));
  const child = startProgram({ argv: wrapped.argv, cwd, env, stdio: ['ignore', 'pipe', 'pipe'], ids: wrapped.ids });
  const { pid } = child;
  if (pid === undefined) return unborn(child, argv[0] ?? '', { exited });
  const leader = parts.strays.adopt(birth, pid);
  const source = { app: app.name, source: `${launch.worker}.health`, format: 'raw' } as const;
  return new ChildLife(
    child as Child & { pid: number },
    leader,
    { source, shape: 'chain', seat: noSeat, stop, probe: null },
    { ...parts, output: new LastWords(), listener: { exited } },
  );
}

function failureOf(exit: Exit): string | null {
  if (exit.error !== null) return exit.error;
  if (exit.code === 0) return null;
  return withLastLine(exit.code === null ? `ended by ${exit.signal}` : `exit code ${exit.code}`, exit);
}

function withLastLine(what: string, { lastLines }: Exit): string {
  const last = lastLines.findLast((line) => line.trim() !== '');
  return last === undefined ? what : `${what}: ${last.slice(0, shownCharacters)}`;
}

/** The end of what a probe has written, instead of the log. */
class LastWords implements OutputPort {
  #text = '';

  attach(stream: Readable): void {
    stream.setEncoding('utf8').on('data', (text: string) => (this.#text = (this.#text + text).slice(-keptCharacters)));
    stream.on('error', () => undefined);
  }

  tail(_source: string, lines: number): readonly string[] {
    return this.#text.trimEnd().split('\n').slice(-lines);
  }

  forget(): void {}
}
