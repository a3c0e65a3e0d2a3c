/**
 * Starts a worker of a script that chooses its ports itself, under node:cluster: the workers share what they listen on.
 *
 *   balance: auto, shared, steered   each accepts by itself (SCHED_NONE)
 *   balance: round-robin             the master accepts, and hands the connections out in turn (SCHED_RR)
 *
 * node:cluster knows neither `detached` nor umask nor niceness. So its program is not node but a chain
 * that ends in node, each of which execs the next, with the pid and the IPC channel kept:
 *
 *   setsid, [nice], setpriv, [sh], node --import PRELOAD SCRIPT
 *
 * - The preload lets the IPC channel go, which would keep a finished script alive.
 * - The settings of node:cluster merge: every key is passed each time, or one app's would be the next one's.
 * - Its workers inherit process.env besides what they are given: each of the master's variables is named, as unset.
 * - The policy is that of the process: the first fork sets it for good. Another one needs another master.
 */
import type clusterModule from 'node:cluster';
import type { Worker } from 'node:cluster';
import { SuperviseError } from '../../core/errors.ts';
import type { AppSpec } from '../../core/spec.ts';
import type { Launch, WorkerListener, RunningProcess } from '../../ports.ts';
import { spawnFailure, stillborn, unborn } from './unborn.ts';
import { markOf, outputOf, wordsOf, workerEnvironment, wrapWorker, type LaunchParts } from './launching.ts';
import { withPreload } from './preload-path.ts';
import { roundRobinSeat } from './round-robin-seat.ts';
import { noSeat } from '../sockets/seat.ts';
import { whyGone } from './program.ts';
import { beginWorker } from './worker-life.ts';
import { findTools, type Wrapped } from './wrapping.ts';

type Cluster = typeof clusterModule;
type Policy = 'each accepts' | 'round-robin';

/** Of node:cluster in this process; null: nothing was forked yet. */
let policy: Policy | null = null;

/** Whether an app runs under node:cluster. */
export function isClustered({ kind, listen }: Pick<AppSpec, 'kind' | 'listen'>): boolean {
  return kind === 'script' && listen.length === 0;
}

/** @throws SuperviseError launch-failed: this process hands out connections in the other way already */
export function checkPolicy(app: AppSpec): void {
  const wanted = policyOf(app);
  if (!isClustered(app) || policy === null || policy === wanted) return;
  const [runs, wants] = wanted === 'round-robin' ? ['without', 'with'] : ['with', 'without'];
  throw new SuperviseError(
    'launch-failed',
    `app ${app.name}: expected scripts ${runs} balance: round-robin, as this master has begun to run them, found one ${wants}`,
    { hint: `node:cluster has one policy per process: restart the master (supervise stop, supervise start)` },
  );
}

function policyOf({ balance }: AppSpec): Policy {
  return balance === 'round-robin' ? 'round-robin' : 'each accepts';
}

/** Starts it. Never throws: what cannot be started is an `exited` with an error, after this has returned. */
export function spawnClusterWorker(launch: Launch, parts: LaunchParts, listener: WorkerListener): RunningProcess {
  const { argv, cwd } = launch.pinned;
  const [node = '', script = '', ...args] = wordsOf(launch);
  const gone = whyGone(argv, cwd, script);
  if (gone !== null) return stillborn({ error: gone }, listener);
  const env = { ...workerEnvironment(launch, parts), SUPERVISE_CHANNEL: String(process.pid) };
  const birth = parts.strays.announce(markOf(env, parts));
  let forked: Worker;
  let wrapped: Wrapped;
  try {
    checkPolicy(launch.pinned.app);
    wrapped = wrapWorker(launch, withPreload([node]), 'none');
    const chain = ownSession(wrapped.argv, (message) => parts.warnOnce(message, listener.warning));
    for (const warning of wrapped.warnings) parts.warnOnce(warning, listener.warning);
    const { app } = launch.pinned;
    policy = policyOf(app);
    forked = fork({ policy, chain, script, args, cwd, env, ids: wrapped.ids, output: outputOf(app) });
  } catch (error) {
    return stillborn(spawnFailure(error, script), listener);
  }
  const child = forked.process;
  // It repeats the errors of the process, which are handled there.
  forked.on('error', () => undefined);
  if (child.pid === undefined) return unborn(child, script, listener);
  const leader = parts.strays.adopt(birth, child.pid);
  const seat = policy === 'round-robin' ? roundRobinSeat(forked) : noSeat;
  const { life, ready } = beginWorker({ child, leader, launch, seat, notifyFd: null }, parts, listener);
  forked.on('listening', () => ready.listens());
  return life;
}

function ownSession(argv: readonly string[], warn: (message: string) => void): readonly string[] {
  const { setsid } = findTools();
  if (setsid !== null) return [setsid, ...argv];
  warn(
    'setsid is not installed (util-linux): script workers without "listen" stay in the session of the master, and Ctrl-C reaches them too',
  );
  return argv;
}

interface Fork {
  readonly policy: Policy;
  readonly chain: readonly string[];
  readonly script: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly ids: Wrapped['ids'];
  readonly output: 'pipe' | 'inherit';
}

function fork({ policy: wanted, chain, script, args, cwd, env, ids, output }: Fork): Worker {
  const cluster = process.getBuiltinModule('node:cluster') as unknown as Cluster;
  const [program = '', ...words] = chain;
  cluster.schedulingPolicy = wanted === 'round-robin' ? cluster.SCHED_RR : cluster.SCHED_NONE;
  cluster.setupPrimary({
    exec: script,
    args: [...args],
    execArgv: words,
    cwd,
    serialization: 'json',
    silent: false,
    stdio: ['ignore', output, output, 'ipc'],
    windowsHide: false,
    uid: ids.uid,
    gid: ids.gid,
    inspectPort: undefined,
  });
  const unset = Object.fromEntries(Object.keys(process.env).map((name) => [name, undefined]));
  const { execPath } = process;
  process.execPath = program;
  try {
    return cluster.fork({ ...unset, ...env });
  } finally {
    process.execPath = execPath;
  }
}
