/**
 * Starts a worker as a program of its own: every `command`, and every `script` with `listen`.
 *
 *   fd 0          /dev/null
 *   fd 1, 2       pipes to the output; with `logs: inherit` the master's own
 *   fd 3 …        the inherited sockets, in the order of `listen`
 *   then          NOTIFY_FD (ready: fd), the IPC channel (scripts; ready: ipc), copies of the sockets (scripts)
 *
 * It leads a session of its own (`detached`), so that Ctrl-C reaches the master alone, and its group can be killed.
 */
import type { AppSpec } from '../../core/spec.ts';
import type { Launch, WorkerListener, RunningProcess } from '../../ports.ts';
import { spawnFailure, stillborn, unborn } from './unborn.ts';
import { firstSocketFd } from './environment.ts';
import {
  markOf,
  outputOf,
  warnOfRevision,
  wordsOf,
  workerEnvironment,
  wrapWorker,
  type LaunchParts,
} from './launching.ts';
import { backlog } from '../sockets/listening.ts';
import { withPreload } from './preload-path.ts';
import { noSeat } from '../sockets/seat.ts';
import { socketTelling } from './socket-telling.ts';
import { whyGone } from './program.ts';
import { startProgram, type Child } from './start-program.ts';
import { beginWorker } from './worker-life.ts';

/** How often each configured socket can be listened on in one script (see preload.ts). */
const copiesOfSocket = 3;

/** The descriptors of a worker. */
interface Descriptors {
  readonly stdio: readonly unknown[];
  /** Variables that name them. */
  readonly env: Readonly<Record<string, string>>;
  readonly notifyFd: number | null;
}

/** Starts it. Never throws: what cannot be started is an `exited` with an error, after this has returned. */
export function spawnExecWorker(launch: Launch, parts: LaunchParts, listener: WorkerListener): RunningProcess {
  const { app, argv, cwd } = launch.pinned;
  const script = app.kind === 'script' ? (argv[1] ?? '') : null;
  const gone = whyGone(argv, cwd, script);
  if (gone !== null) return stillborn({ error: gone }, listener);
  const warn = warnOfRevision(launch, parts, listener);
  const seat = app.listen.length === 0 ? noSeat : parts.sockets.seat(app, launch.worker, warn);
  const descriptors = descriptorsOf(app, seat.fds);
  const words = wordsOf(launch);
  const telling = socketTelling(words, seat.fds.length, launch.pinned.env);
  const env = { ...workerEnvironment(launch, parts), ...descriptors.env, ...telling.env };
  const birth = parts.strays.announce(markOf(env, parts));
  let child: Child;
  try {
    const wrapped = wrapWorker(launch, script === null ? words : withPreload(words), telling.listenPid);
    for (const warning of wrapped.warnings) parts.warnOnce(warning, listener.warning);
    child = startProgram({ argv: wrapped.argv, cwd, env, stdio: descriptors.stdio, ids: wrapped.ids });
  } catch (error) {
    seat.end();
    return stillborn(spawnFailure(error, argv[0] ?? ''), listener);
  }
  if (child.pid === undefined) {
    seat.end();
    return unborn(child, argv[0] ?? '', listener);
  }
  const leader = parts.strays.adopt(birth, child.pid);
  return beginWorker({ child, leader, launch, seat, notifyFd: descriptors.notifyFd }, parts, listener).life;
}

function descriptorsOf(app: AppSpec, sockets: readonly number[]): Descriptors {
  const stdio: unknown[] = ['ignore', outputOf(app), outputOf(app), ...sockets];
  const env: Record<string, string> = {};
  const notifyFd = app.ready.kind === 'fd' ? stdio.push('pipe') - 1 : null;
  if (notifyFd !== null) env.NOTIFY_FD = String(notifyFd);
  if (app.kind === 'script' || app.ready.kind === 'ipc') stdio.push('ipc');
  if (app.kind === 'script') env.SUPERVISE_LISTEN = JSON.stringify({ backlog, sockets: copies(app, sockets, stdio) });
  return { stdio, env, notifyFd };
}

/** Adds copies of the sockets to the descriptors; the answer tells the preload what is where. */
function copies(app: AppSpec, sockets: readonly number[], stdio: unknown[]): unknown[] {
  return app.listen.map((each, index) => {
    const fds = [firstSocketFd + index];
    while (fds.length < copiesOfSocket) fds.push(stdio.push(sockets[index]) - 1);
    const where =
      each.kind === 'tcp'
        ? { host: each.host, port: each.port, path: null }
        : { host: '', port: null, path: each.path };
    return { url: each.url, ...where, fds };
  });
}
