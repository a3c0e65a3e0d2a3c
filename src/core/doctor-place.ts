/** What `supervise doctor` says of a config, its ports, the masters that run, and what dead ones have left. Levels: see doctor.ts. */
import { note, ok, problem, type Finding } from './doctor.ts';
import { formatBytes } from './units.ts';

/** Who has an address of `listen`. */
export type PortFacts =
  | { readonly url: string; readonly state: 'free' }
  /** A master of ours. */
  | { readonly url: string; readonly state: 'ours'; readonly master: string }
  /** A start would fail, in the words it would use. */
  | { readonly url: string; readonly state: 'refused'; readonly why: string; readonly hint: string | null };

/** A RUNTIME directory of which no master lives, and something is there. */
export interface LeftFacts {
  readonly runtime: string;
  readonly name: string;
  /** That a killed master has left running: `pid 812 (uvicorn main:app)`. */
  readonly processes: readonly string[];
}

/** A master that was found, as far as this user may see it. */
export interface MasterFacts {
  readonly name: string;
  readonly pid: number | null;
  readonly access: 'open' | 'denied' | 'silent';
}

export interface DiskFacts {
  /** STATE, or the directory in which it will be made. */
  readonly directory: string;
  readonly freeBytes: number;
  readonly freeFiles: number | null;
}

/** Records of exits and results of hooks are a few MB; a detached master's log is there too. */
const littleBytes = 200 * 1024 * 1024;
const tooLittleBytes = 10 * 1024 * 1024;

export function judgePort(port: PortFacts): Finding {
  switch (port.state) {
    case 'free':
      return ok('port', `${port.url} is free`);
    case 'ours':
      return ok('port', `${port.url} is held by the master ${port.master}`);
    case 'refused':
      return problem('port', port.why, port.hint ?? 'choose another address');
  }
}

export function judgeMasters(masters: readonly MasterFacts[]): readonly Finding[] {
  if (masters.length === 0) return [ok('masters', 'none runs that this user can see')];
  return masters.map(({ name, pid, access }) => {
    const who = pid === null ? name : `${name} (pid ${pid})`;
    if (access === 'open') return ok('masters', `${who} runs`);
    if (access === 'denied')
      return note('masters', `${who} runs, and does not talk to this user`, 'ask as its user, or as root');
    return problem(
      'masters',
      `${who} runs, and does not answer`,
      `kill -CONT if it was stopped, else: supervise stop --name ${name} --now`,
    );
  });
}

export function judgeLeft({ runtime, name, processes }: LeftFacts): Finding {
  if (processes.length === 0)
    return note(
      'stale',
      `a master ${name} was killed: its files are left in ${runtime}`,
      'none: its next start takes them away',
    );
  const shown = processes.slice(0, 5).join(', ') + (processes.length > 5 ? ` and ${processes.length - 5} more` : '');
  const advice = `start ${name} again, which ends them first; or kill them`;
  return problem('stale', `a killed master ${name} has left ${processes.length} running: ${shown}`, advice);
}

export function judgeDisk({ directory, freeBytes, freeFiles }: DiskFacts): Finding {
  const message = `${formatBytes(freeBytes)} free for ${directory}`;
  const advice =
    'make room: what does not fit (records, results of once_per hooks, the log) is lost; the service goes on';
  if (freeFiles === 0) return problem('disk', `no more files can be made in ${directory} (inodes)`, advice);
  if (freeBytes < tooLittleBytes) return problem('disk', message, advice);
  return freeBytes < littleBytes ? note('disk', message, advice) : ok('disk', message);
}
