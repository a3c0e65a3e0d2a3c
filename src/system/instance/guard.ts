/**
 * A process that outlives the kill -9 of its master and ends what the master has left.
 *
 * Rules
 * - It is a shell in a session of its own that ignores every signal it can. Its standard input is a socket whose other end only the
 *   master has (close-on-exec, so no child keeps it open): its end of file is the death of the master, however it died.
 * - At the end of file it asks every worker that is registered to stop, once (the signal goes to the leader and down its
 *   chain of only children, the accepting process being the last), waits until the group is gone or for the lesser of the
 *   worker's timeout and 5 s, and kills the tree. After a clean stop it is told so, and just ends.
 * - It never signals a stranger: a leader is its pid and its start time; members are found from there, by process group, session and
 *   descent. What has left all of these is known by the variable that `environment` gives to every worker and hook.
 * - It is told of many workers at once rather than of each: a write wakes it, which costs a master that starts hundreds of
 *   them more than the rest of it. What it has not been told yet when the master dies it finds by that variable.
 * - Everything registered also stands in a record file, for the next start to find when master and guard were both killed.
 * - If the guard dies, a new one is started and told everything.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Signal } from '../../core/spec.ts';
import { guardProgram } from './guard-script.ts';
import { openRecord, ownInstance } from './guard-record.ts';

export interface Guarded {
  /** Leads its own process group and session. */
  readonly pid: number;
  readonly startTimeTicks: number;
  /** How it is asked to stop. */
  readonly signal: Signal;
  readonly timeoutMs: number;
}

export interface Guard {
  /** To be put into the environment of every worker and hook: names this very master, for what leaves its worker's session. */
  readonly environment: Readonly<Record<string, string>>;
  add(entry: Guarded): void;
  /** Where the chain of stop signals of this worker ends: the process that accepts. */
  endsAt(pid: number, acceptingPid: number): void;
  /** It and all it left behind are gone. */
  remove(pid: number): void;
  /** For a clean end. What is still registered is ended as after a kill. `done` when the guard is gone. */
  close(done?: () => void): void;
}

export const instanceVariable = 'SUPERVISE_INSTANCE';

/** A guard that dies within this time does not count as having lived: the next one waits, each time twice as long, up to a minute. */
const tooSoonMs = 1000;
const longestWaitMs = 60_000;

/** Words for the guard go out at the end of the turn of the event loop, and within a longer turn after this time. */
const collectMs = 10;

/** `restarted` hears, as a sentence, that the guard has died and what happens next. The record is written to `recordFile`. */
export function startGuard(recordFile: string, restarted: (message: string) => void = () => undefined): Guard {
  const instance = ownInstance();
  const record = openRecord(recordFile, instance, restarted);
  const entries = new Map<number, { readonly add: string; ends: string }>();
  let child: ChildProcess;
  let closing: (() => void) | null = null;
  let waitMs = 0;

  let unsaid = '';
  let unsaidSinceMs = 0;

  const say = (): void => {
    // Goes to the kernel at once; a guard that is gone or does not read is noticed by its exit, not here.
    if (unsaid !== '') child.stdin?.write(unsaid);
    unsaid = '';
  };
  const tell = (text: string): void => {
    if (unsaid === '') {
      unsaidSinceMs = performance.now();
      setImmediate(say);
    }
    unsaid += text;
    if (performance.now() - unsaidSinceMs > collectMs) say();
  };
  const launch = (): void => {
    if (closing !== null) return;
    const startedAt = performance.now();
    child = startShell(instance);
    // Either `exit` or, when there is no shell, `error`.
    const ended = (how: string): void => {
      if (closing !== null) return closing();
      waitMs = performance.now() - startedAt < tooSoonMs ? Math.min(longestWaitMs, Math.max(tooSoonMs, waitMs * 2)) : 0;
      restarted(
        `the guard process (pid ${child.pid ?? 'none'}) ended: ${how}; a new one is started ${waitMs === 0 ? 'now' : `in ${waitMs} ms`}`,
      );
      setTimeout(launch, waitMs).unref();
    };
    child.on('error', (error) => ended(error.message));
    child.on('exit', (code, signal) => ended(signal ?? `exit code ${code}`));
    unsaid = [...entries.values()].map(({ add, ends }) => add + ends).join('');
    say();
  };
  launch();

  return {
    environment: { [instanceVariable]: instance },
    add({ pid, startTimeTicks: ticks, signal, timeoutMs }) {
      const number = constants.signals[signal as NodeJS.Signals] ?? constants.signals.SIGTERM;
      const add = `add ${pid} ${ticks} ${number} ${Math.round(timeoutMs)}\n`;
      entries.set(pid, { add, ends: '' });
      record.add(pid, ticks);
      tell(add);
    },
    endsAt(pid, acceptingPid) {
      const entry = entries.get(pid);
      if (entry === undefined) return;
      entry.ends = `ends ${pid} ${acceptingPid}\n`;
      tell(entry.ends);
    },
    remove(pid) {
      if (!entries.delete(pid)) return;
      record.remove(pid);
      tell(`del ${pid}\n`);
    },
    close(done = () => undefined) {
      closing = done;
      record.close();
      say();
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return done();
      child.ref();
      // A master that ends in order has nobody left to look for: looking takes a millisecond for each younger process.
      child.stdin?.end(entries.size === 0 ? 'bye\n' : '');
    },
  };
}

/**
 * The program travels in the environment, so that ps shows one short line; its name does not hold "supervise", so that a
 * hasty `pkill -9 -f supervise` takes the master only.
 * A clean environment besides: it is nobody's worker.
 */
function startShell(instance: string): ChildProcess {
  const path = `/usr/bin:/bin:${process.env.PATH ?? ''}`;
  const child = spawn('/bin/sh', ['-c', 'eval "$GUARD_PROGRAM"', 'worker-guard', instance], {
    cwd: '/',
    detached: true,
    env: { PATH: path, LC_ALL: 'C', GUARD_PROGRAM: guardProgram },
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.unref();
  child.stdin?.on('error', () => undefined);
  (child.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return child;
}
