/**
 * When a worker is ready, judged from outside: no library in the worker is needed.
 *
 * | ready             | the worker is ready when |
 * |-------------------|--------------------------|
 * | auto              | command with listeners: as accepting; command without: as spawned; script: its adapter reports it |
 * | spawned           | it still lives 1 s after the spawn |
 * | delay             | it still lives after that time |
 * | accepting         | a process of its tree waits on an inherited listener; without listeners: on a socket that it opened itself |
 * | listening         | a process of its tree has a listening socket of its own (TCP or unix), or accepts on an inherited one: that one listens before the worker starts, so taking it is what counts |
 * | http, tcp         | it answers 2xx or 3xx, or takes a connection: at a port of its own on 127.0.0.1, or at its socket, see below |
 * | fd, ipc, log      | the process adapter sees it; nothing to watch here |
 *
 * Rules
 * - `ready` is called once at most, never before watchReadiness has returned, and nothing is called after a cancel.
 * - A process that is gone is not ready and not an error: its exit is somebody else's message.
 * - What cannot be seen falls back to `spawned`, with a warning that says so: no /proc (macOS), another uid's /proc without
 *   CAP_SYS_PTRACE and without the right to become that uid. A worker that may wait in a way that cannot be seen
 *   (io_uring) is never taken for ready; after 10 s a warning names the alternatives.
 *
 * http and tcp at the app's socket. It listens before the worker starts, so a try that comes early is not refused: it would stand
 * in the queue, also when it is given up, until somebody accepts it. Therefore
 * - the first try is made when the worker accepts (seen as above; where that cannot be seen, after half a second, of io_uring 10 s),
 *   so a worker that crashes in its boot leaves nothing in the queue;
 * - one that accepts, but not yet (Go waits on the socket before it serves), has one connection in its queue at most: a try is not
 *   given up before it is accepted, and is answered as soon as it can be;
 * - where a try cannot reach this worker alone (see health/worker-aim.ts), it is ready when it accepts, and a warning says so.
 */
import { SuperviseError } from '../../core/errors.ts';
import type { Cancel } from '../../ports.ts';
import { delayForAge, polls } from './poll-schedule.ts';
import type * as PortProbes from '../health/port-probes.ts';
import type { Aiming, NoAim, WorkerAim } from '../health/worker-aim.ts';
import { hasProcfs, statOf } from '../procfs.ts';
import { TreeWatch, type TreeTarget } from './tree-watch.ts';

export { acceptingPid } from './accepting.ts';

const spawnedMs = 1000;
/** How long one try of a probe may take. */
const tryMs = 1000;

export interface ReadinessTarget extends TreeTarget {
  /** The way of http and tcp to this worker; null: the others need none. */
  readonly aim: Aiming | null;
  readonly kind: 'command' | 'script';
}

export interface ReadinessListener {
  /** @param waiting the process of the tree that was seen to wait for connections, where that was what made it ready */
  ready(waiting: number | null): void;
  /** A try of http or tcp that has failed. */
  failed?(why: string): void;
  warning(message: string): void;
}

/**
 * Watches until the worker is ready in the sense of `target.ready`, or until it is cancelled.
 * @throws SuperviseError bug: an http or tcp probe without an aim
 */
export function watchReadiness(target: ReadinessTarget, on: ReadinessListener): Cancel {
  const { ready, pid } = target;
  const listens = target.listeners.length > 0;
  switch (ready.kind) {
    case 'auto':
      if (target.kind === 'script') return nothing;
      return listens ? watchTree(target, on) : watchAlive(pid, spawnedMs, on);
    case 'spawned':
      return watchAlive(pid, spawnedMs, on);
    case 'delay':
      return watchAlive(pid, ready.delayMs, on);
    case 'listening':
      return target.kind === 'script' ? nothing : watchTree(target, on);
    case 'accepting':
      return watchTree(target, on);
    case 'http':
    case 'tcp':
      return watchPort({ ...target, ready }, on);
    case 'fd':
    case 'ipc':
    case 'log':
      return nothing;
  }
}

function nothing(): void {}

// ---------------------------------------------------------------- spawned, delay

function watchAlive(pid: number, afterMs: number, on: Pick<ReadinessListener, 'ready'>): Cancel {
  const timer = setTimeout(() => isAlive(pid) && on.ready(null), afterMs);
  return () => clearTimeout(timer);
}

function isAlive(pid: number): boolean {
  const stat = statOf(pid);
  if (stat !== null) return stat.state !== 'Z' && stat.state !== 'X';
  if (hasProcfs()) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

// ---------------------------------------------------------------- http, tcp

type PortTarget = ReadinessTarget & { readonly ready: { readonly kind: 'http' | 'tcp' } };

function watchPort(target: PortTarget, on: ReadinessListener): Cancel {
  const { aim, ready } = target;
  if (aim === null) {
    throw new SuperviseError(
      'bug',
      `ready: {${ready.kind}: ..} needs a port of the worker's own, and neither the probe nor the app has one`,
    );
  }
  let over = false;
  let stop: Cancel = nothing;
  const begin = (waiting: number | null): void => {
    // node:http is worth 7 ms and 3 MB: only for those who probe.
    void import('../health/port-probes.ts').then((probes) => {
      if (!over) stop = tryUntilReady({ ...target, aim, probes }, waiting, on);
    });
  };
  const first = aim();
  if (typeof first !== 'string' && ('failure' in first || first.listener === 'worker')) begin(null);
  else stop = onceAccepting(target, begin);
  return () => {
    over = true;
    stop();
  };
}

function tryUntilReady(
  target: PortTarget & { readonly aim: Aiming; readonly probes: typeof PortProbes },
  waiting: number | null,
  on: ReadinessListener,
): Cancel {
  const { ready, aim, probes } = target;
  const sinceMs = performance.now();
  let stop: Cancel = nothing;
  const again = (): void => {
    stop = polls.add(delayForAge(performance.now() - sinceMs), look);
  };
  const look = (): void => {
    const to = aim();
    if (typeof to === 'string') {
      on.warning(`instead of when ${ready.kind} succeeds, a worker is ready when it accepts, as long as ${to}`);
      return on.ready(waiting);
    }
    try {
      stop = tryOnce(to, (failure) => {
        if (failure === null && isAlive(target.pid)) return on.ready(waiting);
        if (failure !== null) on.failed?.(failure);
        again();
      });
    } catch (error) {
      on.failed?.(String(error));
      again();
    }
  };
  const tryOnce = (to: WorkerAim | NoAim, done: (failure: string | null) => void): Cancel => {
    if ('failure' in to) {
      done(to.failure);
      return stop;
    }
    const at = { ...to, timeoutMs: tryMs };
    const probe = ready.kind === 'http' ? probes.httpProbe({ ...at, path: ready.path }) : probes.tcpProbe(at);
    return probe((failure, state) => void (state === 'over' && done(failure)));
  };
  again();
  return () => stop();
}

/** Calls `begin` once: when it accepts, or may and nobody can see it. */
function onceAccepting(target: PortTarget, begin: (waiting: number | null) => void): Cancel {
  if (!hasProcfs()) return watchAlive(target.pid, spawnedMs, { ready: begin });
  const blindly = (): void => {
    watch.end();
    begin(null);
  };
  const how = { ...target, ready: { kind: 'accepting' } } as const;
  const watch = new TreeWatch(how, { ready: begin, unseen: blindly, closed: blindly });
  return () => watch.end();
}

// ---------------------------------------------------------------- accepting, listening

function watchTree(target: ReadinessTarget, on: ReadinessListener): Cancel {
  const sinceMs = performance.now();
  let stop: Cancel = nothing;
  const fallBack = (why: string): void => {
    stop = watchAlive(target.pid, Math.max(0, spawnedMs - (performance.now() - sinceMs)), on);
    on.warning(`${why}; it counts as ready when it is alive 1 s after its start; to know better, ${alternatives}`);
  };
  if (hasProcfs()) {
    const watch = new TreeWatch(target, {
      ready: (waiting) => on.ready(waiting),
      unseen: (why) => on.warning(`${why}; still waiting, until ready_timeout; if it serves already, ${alternatives}`),
      closed: fallBack,
    });
    stop = () => watch.end();
  } else {
    const soon = setImmediate(() =>
      fallBack(`cannot see whether process ${target.pid} accepts connections: there is no /proc here`),
    );
    stop = () => clearImmediate(soon);
  }
  return () => stop();
}

const alternatives = 'set ready: {log: REGEX}, ready: fd, or ready: {http: PATH}';
