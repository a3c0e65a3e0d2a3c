/**
 * The words that stand before a program so that it starts with the right user, niceness, umask and LISTEN_PID. Pure: which
 * tools there are is passed in (see `findTools`). A plain program has none.
 *
 *   nice -n N        before the user changes: a negative N needs root
 *   setpriv [ids]    util-linux; sets the supplementary groups too, which spawn cannot
 *   sh -c 'check; umask; …; exec "$@"'
 *
 * Each of them execs the next, so the pid stays, and costs most of a millisecond, so it stands there only where it has something to do.
 * The shell also ends a program whose master died at its spawn: then its parent is another one. That matters for another user's
 * process, whose environment the guard may not read. No parent-death signal is set: docs/decisions/0004 says why. What the shell
 * says of a program that it cannot execute begins with `supervise:`, by which `wrapperFailure` knows it from a program's own exit codes 126 and 127.
 */
import { accessSync, constants } from 'node:fs';
import type { Account } from './accounts.ts';

/** Absolute paths; null: this host does not have it. */
export interface Tools {
  readonly setpriv: string | null;
  readonly nice: string | null;
  readonly setsid: string | null;
}

export interface Wrapping {
  /** The program and its words. */
  readonly argv: readonly string[];
  readonly masterPid: number;
  readonly account: Account | null;
  readonly niceness: number | null;
  readonly umask: number | null;
  /** Whether LISTEN_PID is to be the program's own pid. */
  readonly listenPid: 'set' | 'none';
}

export interface Wrapped {
  readonly argv: readonly string[];
  /** For spawn's options: only where setpriv is missing. */
  readonly ids: { readonly uid?: number; readonly gid?: number };
  readonly warnings: readonly string[];
}

/** Puts the needed words before a program. */
export function wrap(what: Wrapping, tools: Tools): Wrapped {
  const warnings: string[] = [];
  const account = what.account?.change === 'needed' ? what.account : null;
  const inner = shellWords(what, account !== null);
  const outer: string[] = [];
  if (what.niceness !== null) {
    if (tools.nice === null) warnings.push('nice is not installed (coreutils): "nice" has no effect');
    else outer.push(tools.nice, '-n', String(what.niceness));
  }
  if (tools.setpriv !== null && account !== null) outer.push(tools.setpriv, ...idWords(account), '--');
  else if (account !== null)
    warnings.push('setpriv is not installed (util-linux): the user is set, but without its supplementary groups');
  const ids = tools.setpriv === null && account !== null ? { uid: account.uid, gid: account.gid } : {};
  return { argv: [...outer, ...inner, ...what.argv], ids, warnings };
}

function idWords(account: Account): string[] {
  const groups = { 'of-account': '--init-groups', 'none': '--clear-groups', 'kept': '--keep-groups' }[account.groups];
  return ['--reuid', String(account.uid), '--regid', String(account.gid), groups];
}

/** The shell and its script, or nothing where it has nothing to do. A guard may not look into another user's process. */
function shellWords(what: Wrapping, otherUser: boolean): string[] {
  const steps: string[] = [];
  if (what.umask !== null) steps.push(`umask ${what.umask.toString(8).padStart(4, '0')}`);
  if (what.listenPid === 'set') steps.push('export LISTEN_PID=$$');
  if (steps.length === 0 && !otherUser) return [];
  // 143: as if SIGTERM had ended it. Nobody is left to read it.
  steps.unshift(`[ "$PPID" = ${what.masterPid} ] || exit 143`);
  return ['/bin/sh', '-c', [...steps, 'exec "$@"'].join('; '), shellName];
}

/** What the shell calls itself when it complains. */
const shellName = 'supervise';
const complaint = /^(?:supervise|setpriv|nice|setsid|\/[\w/.-]*\/(?:setpriv|nice|setsid)): /;

/**
 * Why the program was not even executed, in the words of the wrapper that failed; null when the program itself ran.
 * @param lastLines what was written to stderr; the program has written nothing when it never ran
 */
export function wrapperFailure(code: number | null, lastLines: readonly string[]): string | null {
  // setpriv ends with 1 where it was given a name that it does not know, and with 127 for the rest.
  const known = code === 126 || code === 127 || (code === 1 && /setpriv: /.test(lastLines[0] ?? ''));
  if (!known || lastLines.length === 0 || !lastLines.every((line) => complaint.test(line))) return null;
  return lastLines.join('; ');
}

let foundTools: Tools | null = null;

/** Looks for the tools once, at their usual places: a look at a file each, no process. */
export function findTools(): Tools {
  foundTools ??= {
    setpriv: firstExecutable('setpriv'),
    nice: firstExecutable('nice'),
    setsid: firstExecutable('setsid'),
  };
  return foundTools;
}

function firstExecutable(name: string): string | null {
  for (const directory of ['/usr/bin', '/bin', '/usr/local/bin', '/run/current-system/sw/bin']) {
    if (isExecutable(`${directory}/${name}`)) return `${directory}/${name}`;
  }
  return null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
