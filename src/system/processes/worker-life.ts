/**
 * Joins the life of a spawned worker with its readiness, its health and the watch for stalls; the same for spawned workers and those of node:cluster.
 */
import type { Readable } from 'node:stream';
import type { AppSpec } from '../../core/spec.ts';
import type { Launch, WorkerListener } from '../../ports.ts';
import { ChildLife, type LifeSpec } from './child-life.ts';
import { logFileOf, warnOfRevision, type LaunchParts } from './launching.ts';
import type { Seat } from '../sockets/seat.ts';
import type { Child } from './start-program.ts';
import { isAlive, type Leader } from './strays.ts';
import { WorkerHealth } from '../health/worker-health.ts';
import { StallWatch } from '../stall/stall-watch.ts';
import { WorkerReady } from './worker-ready.ts';

export interface Spawned {
  readonly child: Child;
  readonly leader: Leader;
  readonly launch: Launch;
  readonly seat: Seat;
  /** The index of its NOTIFY_FD among the child's descriptors. */
  readonly notifyFd: number | null;
}

/** Takes over a worker that has just been spawned. */
export function beginWorker(
  spawned: Spawned,
  parts: LaunchParts,
  listener: WorkerListener,
): { readonly life: ChildLife; readonly ready: WorkerReady } {
  const { child, leader, launch, seat } = spawned;
  const { app, revision } = launch.pinned;
  const warn = (message: string): void => parts.warnOnce(message, listener.warning, `${app.name} ${revision}`);
  const warnOfAll = warnOfRevision(launch, parts, listener);
  const health = new WorkerHealth({ launch, parts, seat, warn: warnOfAll });
  const ready = new WorkerReady(app, {
    ready: (waiting) => {
      if (!life.isRunning) return;
      life.becameReady(waiting);
      if (app.stall !== null) watchForStall(app, app.stall.afterMs);
      listener.ready();
    },
    warning: warn,
  });
  const { onLine } = ready;
  const spec: LifeSpec = {
    source: {
      app: app.name,
      source: launch.worker,
      format: app.logs.kind === 'captured' ? app.logs.format : 'auto',
      file: logFileOf(launch),
    },
    shape: app.kind === 'script' ? 'leader' : 'chain',
    seat,
    stop: app.stop,
    probe: (spec, done) => health.probe(spec, done),
    ...(onLine === undefined ? {} : { onLine }),
  };
  const life = new ChildLife(child as Child & { pid: number }, leader, spec, { ...parts, listener });
  life.onceEnding(() => {
    health.end();
    if (isAlive(leader)) ready.giveUp();
  });
  const watchForStall = (watched: AppSpec, afterMs: number): void => {
    const watch = new StallWatch({ pid: life.pid, kind: watched.kind, listeners: seat.inodes }, afterMs, {
      stalled: (reason) => listener.stalled(reason),
      warning: warnOfAll,
    });
    life.onceEnding(() => watch.end());
  };
  child.once('exit', () => ready.end());
  child.on('message', (message) => ready.message(message));
  if (spawned.notifyFd !== null) ready.readNotify(child.stdio[spawned.notifyFd] as Readable);
  ready.watch({ app, pid: life.pid, seat, slot: launch.slot });
  return { life, ready };
}
