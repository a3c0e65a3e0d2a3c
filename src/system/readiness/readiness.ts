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
 * | http, tcp         | its own port on 127.0.0.1 answers 2xx or 3xx, or takes a connection |
 * | fd, ipc, log      | the process adapter sees it; nothing to watch here |
 *
 * Rules
 * - `ready` is called once at most, never before watchReadiness has returned, and nothing is called after a cancel.
 * - A process that is gone is not ready and not an error: its exit is somebody else's message.
 * - What cannot be seen falls back to `spawned`, with a warning that says so: no /proc (macOS), another uid's /proc without
 *   CAP_SYS_PTRACE and without the right to become that uid. A worker that may wait in a way that cannot be seen
 *   (io_uring) is never taken for ready; after 10 s a warning names the alternatives.
 */
import type { ReadySpec } from '../../core/spec.ts';
import { SuperviseError } from '../../core/errors.ts';
import type { Cancel } from '../../ports.ts';
import { delayForAge, polls } from './poll-schedule.ts';
import type { PortProbe } from '../health/port-probes.ts';
import { hasProcfs, statOf } from '../procfs.ts';
import { TreeWatch, type TreeTarget } from './tree-watch.ts';

export { acceptingPid } from './accepting.ts';

const spawnedMs = 1000;
/** How long one try of a probe may take. */
const tryMs = 1000;

export interface ReadinessTarget extends TreeTarget {
  /** The worker's own port, where it has one. */
  readonly port: number | null;
  readonly kind: 'command' | 'script';
}

export interface ReadinessListener {
  /** @param waiting the process of the tree that was seen to wait for connections, where that was what made it ready */
  ready(waiting: number | null): void;
  warning(message: string): void;
}

/**
 * Watches until the worker is ready in the sense of `target.ready`, or until it is cancelled.
 * @throws SuperviseError bug: an http or tcp probe without a port
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
      return watchPort(target, ready, on);
    case 'fd':
    case 'ipc':
    case 'log':
      return nothing;
  }
}

function nothing(): void {}

// ---------------------------------------------------------------- spawned, delay

function watchAlive(pid: number, afterMs: number, on: ReadinessListener): Cancel {
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

function watchPort(
  target: ReadinessTarget,
  ready: ReadySpec & { kind: 'http' | 'tcp' },
  on: ReadinessListener,
): Cancel {
  const port = ready.port ?? target.port;
  if (port === null) {
    throw new SuperviseError(
      'bug',
      `ready: {${ready.kind}: ..} needs a port of the worker's own, and neither the probe nor the app has one`,
    );
  }
  const sinceMs = performance.now();
  let over = false;
  let stop: Cancel = nothing;
  const again = (probe: PortProbe): void => {
    stop = polls.add(delayForAge(performance.now() - sinceMs), () => {
      stop = probe((failure) => {
        if (failure !== null || !isAlive(target.pid)) return again(probe);
        over = true;
        on.ready(null);
      });
    });
  };
  // node:http is worth 7 ms and 3 MB: only for those who probe.
  void import('../health/port-probes.ts').then(({ httpProbe, tcpProbe }) => {
    if (!over)
      again(
        ready.kind === 'http'
          ? httpProbe({ port, path: ready.path, timeoutMs: tryMs })
          : tcpProbe({ port, timeoutMs: tryMs }),
      );
  });
  return () => {
    over = true;
    stop();
  };
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

const alternatives = 'set ready: {log: REGEX}, ready: fd, or ready: {http: PATH} on a port of its own';
