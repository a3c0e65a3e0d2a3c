/**
 * What stands for a process that could not be started, and why it could not, in words.
 */
import { SuperviseError } from '../../core/errors.ts';
import type { Exit } from '../../core/protocol.ts';
import type { ProcessListener, RunningProcess } from '../../ports.ts';
import type { Child } from './start-program.ts';

/** No pid, and an `exited` with the error after this has returned. */
export function stillborn(failure: SpawnFailure, listener: Pick<ProcessListener, 'exited'>): RunningProcess {
  setImmediate(() => listener.exited({ code: null, signal: null, ...failure, lastLines: [] }));
  return withoutProcess;
}

/** As stillborn, for a child that node:child_process has made without a pid: its 'error' says why. */
export function unborn(child: Child, program: string, listener: Pick<ProcessListener, 'exited'>): RunningProcess {
  child.once('error', (error) =>
    listener.exited({ code: null, signal: null, ...spawnFailure(error, program), lastLines: [] }),
  );
  // Without a descriptor left (EMFILE) there are no streams at all, whatever the types say.
  for (const stream of (child.stdio as typeof child.stdio | undefined) ?? []) stream?.destroy();
  return withoutProcess;
}

const withoutProcess: RunningProcess = {
  pid: null,
  admit: () => undefined,
  sharesListener: false,
  terminate: () => undefined,
  kill: () => undefined,
  signal: () => undefined,
  probe: () => () => undefined,
  bindsOwnPort: () => false,
};

type SpawnFailure = Pick<Exit, 'error' | 'transient'>;

/** What may be there again in a moment. */
const comesBack: ReadonlySet<string | undefined> = new Set(['EAGAIN', 'EMFILE', 'ENFILE', 'ENOMEM']);

/** In words, why spawn failed, and whether trying again may help. */
export function spawnFailure(error: unknown, program: string): SpawnFailure {
  if (error instanceof SuperviseError)
    return { error: error.hint === null ? error.message : `${error.message}: ${error.hint}` };
  const { code, message } = error as NodeJS.ErrnoException;
  const known: Record<string, string> = {
    ENOENT: 'it, or the interpreter that its first line names, does not exist',
    EACCES: 'permission denied: it is not executable, or a directory above it is closed to this user',
    EAGAIN: 'no more processes are allowed (ulimit -u, TasksMax of the unit, pids.max of the cgroup)',
    EMFILE: 'the master has no more file descriptors (ulimit -n, LimitNOFILE of the unit)',
    ENFILE: 'the host has no more file descriptors (fs.file-max)',
    ENOMEM: 'the host has no memory for another process',
    E2BIG: 'its arguments and environment are too long',
  };
  const words = `${program} cannot be started: ${known[code ?? ''] ?? message}${code === undefined ? '' : ` (${code})`}`;
  return { error: words, ...(comesBack.has(code) && { transient: true }) };
}
