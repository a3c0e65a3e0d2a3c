/**
 * `start -d`: the same start as a process of its own session, whose output goes to STATE/master.log. It returns 0 when
 * every app serves (1 where some do, and the others never will), or with what the failed start said and the exit code it had. Ctrl-C ends the wait, not the master.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient, runningMaster } from '../../control/client.ts';
import { ExitCode, SuperviseError } from '../../core/errors.ts';
import { masterLogName, stateDirectory } from '../../core/paths.ts';
import type { AppState, Snapshot } from '../../core/protocol.ts';
import { complaintText } from '../complaint.ts';
import type { ReadConfig } from '../config.ts';
import type { Invocation } from '../invocation.ts';
import { listOption, textOption } from '../invocation.ts';
import { Progress } from '../progress.ts';
import { thisUser } from '../which.ts';

/** @throws SuperviseError directory-unsafe, launch-failed */
export async function detach(invocation: Invocation, { loaded, file }: ReadConfig): Promise<number> {
  const { name } = loaded.spec;
  const log = openLog(name);
  const child = launch(detachedArgs(invocation, { file, name, logFile: log.path }), log.fd);
  closeSync(log.fd);
  const progress = new Progress(invocation.terminal, invocation.globals.quiet);
  const end = await Promise.race([endOf(child), serving({ child, name, progress }), interruption()]);
  progress.clear();
  child.unref();
  if (end.type === 'serves') return reportServing(invocation, end.snapshot);
  if (end.type === 'partly') throw partOnly(end.snapshot, log.path);
  if (end.type === 'interrupted')
    return reportInterrupted(invocation, { name, pid: child.pid, log: log.path, signal: end.signal });
  return reportEnd(invocation, { name, exitCode: end.exitCode, lines: linesSince(log.path, log.size) });
}

// ---------------------------------------------------------------- the process

/** The command line of the master: what was given, without -d, made from what was parsed. */
export function detachedArgs(
  invocation: Invocation,
  { file, name, logFile }: { file: string | null; name: string; logFile: string },
): readonly string[] {
  const { globals, afterDashes } = invocation;
  const workers = textOption(invocation, 'workers');
  return [
    'start',
    '--log-file',
    logFile,
    '--name',
    name,
    ...(file === null ? [] : ['--config', file]),
    ...(globals.json ? ['--json'] : []),
    ...(globals.quiet ? ['--quiet'] : []),
    ...(workers === null ? [] : ['--workers', workers]),
    ...listOption(invocation, 'bind').flatMap((address) => ['--bind', address]),
    ...listOption(invocation, 'preStart').flatMap((command) => ['--pre-start', command]),
    ...(afterDashes === null ? [] : ['--', ...afterDashes]),
  ];
}

function launch(args: readonly string[], fd: number): ChildProcess {
  const script = process.argv[1];
  if (script === undefined)
    throw new SuperviseError('launch-failed', 'start -d needs to know its own program, and there is no script name');
  return spawn(process.execPath, [...process.execArgv, script, ...args], { detached: true, stdio: ['ignore', fd, fd] });
}

interface Log {
  readonly path: string;
  readonly fd: number;
  /** What was there before. */
  readonly size: number;
}

/** @throws SuperviseError directory-unsafe */
function openLog(name: string): Log {
  const user = thisUser();
  const state = stateDirectory(name, user);
  const path = join(state, masterLogName);
  try {
    mkdirSync(dirname(state), { recursive: true, mode: user.uid === 0 ? 0o755 : 0o700 });
    mkdirSync(state, { recursive: true, mode: 0o700 });
    const fd = openSync(
      path,
      constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW,
      0o600,
    );
    return { path, fd, size: fstatSync(fd).size };
  } catch (error) {
    throw new SuperviseError('directory-unsafe', `the log ${path} cannot be written: ${(error as Error).message}`, {
      hint: 'set STATE_DIRECTORY to a directory of yours',
    });
  }
}

function linesSince(path: string, size: number): readonly string[] {
  try {
    return readFileSync(path)
      .subarray(size)
      .toString('utf8')
      .split('\n')
      .filter((line) => line !== '');
  } catch {
    return [];
  }
}

// ---------------------------------------------------------------- the ways the wait can end

type End =
  | { readonly type: 'ended'; readonly exitCode: number }
  | { readonly type: 'serves'; readonly snapshot: Snapshot }
  | { readonly type: 'partly'; readonly snapshot: Snapshot }
  | { readonly type: 'interrupted'; readonly signal: 'SIGINT' | 'SIGTERM' };

function endOf(child: ChildProcess): Promise<End> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) =>
      reject(new SuperviseError('launch-failed', `the master could not be started: ${error.message}`)),
    );
    child.once('exit', (code, signal) =>
      resolve({ type: 'ended', exitCode: code ?? 128 + (signal === null ? 0 : os.signals[signal]) }),
    );
  });
}

const askEveryMs = 100;

async function serving({
  child,
  name,
  progress,
}: {
  child: ChildProcess;
  name: string;
  progress: Progress;
}): Promise<End> {
  while (child.exitCode === null && child.signalCode === null) {
    await sleep(askEveryMs, undefined, { ref: false });
    const snapshot = await snapshotOf(name);
    // another master of this name is not ours
    if (snapshot === null || snapshot.pid !== child.pid) continue;
    if (serves(snapshot)) return { type: 'serves', snapshot };
    if (servesPartly(snapshot)) return { type: 'partly', snapshot };
    progress.update(`${name}: ${waitsFor(snapshot)}`);
  }
  return new Promise(() => {});
}

async function snapshotOf(name: string): Promise<Snapshot | null> {
  try {
    return await new ControlClient((await runningMaster(name, thisUser())).socketPath).status();
  } catch {
    return null;
  }
}

/** The start is over, and nothing that should serve does not. */
export function serves({ state, apps }: Pick<Snapshot, 'state' | 'apps'>): boolean {
  return (state === 'running' || state === 'reloading') && apps.every((app) => served.includes(app.state));
}

const served: readonly AppState[] = ['running', 'completed', 'degraded'];
/** Nothing follows from these but by an operator's hand: it has failed, or waits for one that has. */
const stuck: readonly AppState[] = ['failed', 'waiting'];

/** The start is over, and what does not serve will not. */
export function servesPartly({ state, apps }: Pick<Snapshot, 'state' | 'apps'>): boolean {
  return (
    state === 'running' && !serves({ state, apps }) && apps.every((app) => [...served, ...stuck].includes(app.state))
  );
}

function waitsFor({ hooks, apps, state }: Snapshot): string {
  const hook = hooks.find((one) => one.state === 'running');
  if (hook !== undefined) return `${hook.phase} hook ${hook.name} runs`;
  return apps.length === 0 ? state : apps.map((app) => `${app.name} ${app.ready}/${app.goal} ready`).join(', ');
}

function interruption(): Promise<End> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => resolve({ type: 'interrupted', signal }));
  });
}

// ---------------------------------------------------------------- what is said

function reportServing({ terminal, globals }: Invocation, snapshot: Snapshot): number {
  if (globals.json) terminal.out(`${JSON.stringify(snapshot)}\n`);
  else terminal.out(`${snapshot.name} runs (pid ${snapshot.pid}): ${waitsFor(snapshot)}\n`);
  return ExitCode.ok;
}

/** The master goes on: others serve. */
function partOnly({ name, pid, apps }: Snapshot, log: string): SuperviseError {
  const bad = apps.filter((app) => stuck.includes(app.state));
  const words = bad.map((app) => [`${app.name} ${app.state}`, ...app.notes].join(', '));
  return new SuperviseError('operation-failed', `${name} runs (pid ${pid}), but not all of it: ${words.join('; ')}`, {
    hint: `ask: supervise why ${bad[0]?.name}; its log is ${log}; end all of it with: supervise stop --name ${name}`,
  });
}

interface Left {
  readonly name: string;
  readonly pid: number | undefined;
  readonly log: string;
  readonly signal: 'SIGINT' | 'SIGTERM';
}

function reportInterrupted({ terminal }: Invocation, { name, pid, log, signal }: Left): number {
  const message = `the wait was ended; ${name} goes on starting as pid ${pid}`;
  terminal.err(
    complaintText({ message, hint: `its log is ${log}; end it with: supervise stop --name ${name}`, lastLines: [] }),
  );
  return 128 + os.signals[signal];
}

interface Ended {
  readonly name: string;
  readonly exitCode: number;
  readonly lines: readonly string[];
}

/** The master has said why it ended: its complaint is the end of its log, in the form that was asked for. */
function reportEnd({ terminal, globals }: Invocation, { name, exitCode, lines }: Ended): number {
  if (exitCode === ExitCode.ok) {
    terminal.out(`${name} has ended already, with exit code 0\n`);
    return exitCode;
  }
  const start = globals.json ? '{"error":' : 'supervise: ';
  const at = lines.findLastIndex((line) => line.startsWith(start));
  const message = `${name} ended with exit code ${exitCode} before every app served`;
  const error = { message, hint: null, lastLines: lines.slice(-10) };
  if (globals.json)
    terminal.out(
      `${at === -1 ? JSON.stringify({ error: { code: 'operation-failed', ...error, exitCode } }) : lines[at]}\n`,
    );
  else terminal.err(at === -1 ? complaintText(error) : `${lines.slice(at).join('\n')}\n`);
  return exitCode;
}
