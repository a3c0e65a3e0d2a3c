/**
 * The processes of one worker or hook: where a signal goes, and how all of them are killed.
 *
 *   leader -> only child -> only child …      the chain that a stop signal goes down (sh -c, npm, uv run)
 *                              ^ ends with the first that waits on a listener, never below it
 *
 * - Without inherited listeners the chain ends with the first process that listens on a socket of its own.
 * - A script's leader is the program itself: its chain is the leader.
 * - No signal ever goes to a reused pid: start times are compared right before each one. The group is signalled as a
 *   whole only while its leader's pid is still the leader's.
 * - What leaves the group is remembered while it is still attached (`note`), and searched for afterwards (strays.ts).
 * - Without /proc (macOS) the group is all that is known; the tree below the leader is killed by tree-kill where there is
 *   a `ps`, without which that package would end the master.
 */
import { existsSync } from 'node:fs';
import type { Signal } from '../../core/spec.ts';
import { acceptingPid, listeningSockets, livingTree } from '../readiness/accepting.ts';
import { ownReader, viewProcess } from '../readiness/process-view.ts';
import { childrenOf, hasProcfs, readText, statOf, statsOfTree } from '../procfs.ts';
import { isAlive, isDead, type Leader, type ProcessId } from './strays.ts';

/** `leader`: it is the program itself. `chain`: it may be a wrapper around the program. */
export type Shape = 'leader' | 'chain';

export class ProcessTree {
  readonly leader: Leader;
  readonly #shape: Shape;
  /** `socket:[inode]` of the sockets that were passed to it. */
  readonly #listeners: readonly string[];
  readonly #seen = new Map<number, ProcessId>();

  constructor(leader: Leader, shape: Shape, listeners: readonly string[]) {
    this.leader = leader;
    this.#shape = shape;
    this.#listeners = listeners;
  }

  /** Remembers which processes are attached to the leader now, and to those that were. */
  note(): void {
    for (const root of [this.leader, ...this.#seen.values()]) {
      if (!isAlive(root)) continue;
      for (const stat of statsOfTree(root.pid)) {
        if (stat.pid !== this.leader.pid && !isDead(stat))
          this.#seen.set(stat.pid, { pid: stat.pid, startTimeTicks: stat.startTimeTicks });
      }
    }
  }

  /** What was seen below the leader, dead or alive. */
  get seen(): readonly ProcessId[] {
    return [...this.#seen.values()];
  }

  /** Which process waits on the listeners now, or null. */
  acceptingPid(): number | null {
    if (this.#listeners.length === 0) return null;
    return this.#shape === 'leader' ? this.leader.pid : acceptingPid(this.leader.pid, this.#listeners);
  }

  /** Whether one of its processes has a listening TCP socket that was not passed to it. */
  bindsOwnPort(): boolean {
    const own = listeningTcp(this.leader.pid);
    for (const socket of this.#listeners) own.delete(socket);
    return own.size > 0 && livingTree(this.leader.pid).some((pid) => holds(pid, own));
  }

  /** Sends a stop signal to the leader and down the chain. */
  terminate(signal: Signal): void {
    this.note();
    for (const one of this.#chain()) send(one, signal);
  }

  /** As `terminate`, for a dump of stacks: one that is stopped (state T) goes on with it, or it would never handle it. */
  terminateWithDump(signal: Signal): void {
    this.note();
    for (const one of this.#chain()) {
      send(one, signal);
      if (statOf(one.pid)?.state === 'T') send(one, 'SIGCONT');
    }
  }

  /** Sends a signal to the end of the chain alone: the real program. */
  signal(signal: Signal): void {
    const end = this.#chain().at(-1);
    if (end !== undefined) send(end, signal);
  }

  /** Kills all that is known to belong to it, the leader's group first and at once. */
  kill(): void {
    if (!hasProcfs()) return killWithoutProcfs(this.leader.pid);
    this.note();
    if (statOf(this.leader.pid)?.startTimeTicks === this.leader.startTimeTicks) sendToGroup(this.leader.pid, 'SIGKILL');
    send(this.leader, 'SIGKILL');
    this.killThese(this.seen);
  }

  /** Kills what has outlived the leader. */
  killThese(rest: readonly ProcessId[]): void {
    if (!hasProcfs()) return void sendToGroup(this.leader.pid, 'SIGKILL');
    for (const one of rest) send(one, 'SIGKILL');
  }

  /** The chain from the leader down; the leader alone when it cannot be looked into. */
  #chain(): ProcessId[] {
    const chain: ProcessId[] = [this.leader];
    if (this.#shape === 'leader') return chain;
    let isServer: ((pid: number) => boolean) | null = null;
    for (let last: ProcessId = this.leader; ;) {
      const children = liveChildren(last.pid);
      const [only] = children;
      if (only === undefined || children.length > 1 || chain.some((one) => one.pid === only.pid)) return chain;
      // Costly, so it is asked only of what has a child.
      isServer ??= this.#serverTest();
      if (isServer(last.pid)) return chain;
      chain.push(only);
      last = only;
    }
  }

  /** What tells the program that serves from a wrapper around it. */
  #serverTest(): (pid: number) => boolean {
    if (this.#listeners.length > 0) {
      const accepting = acceptingPid(this.leader.pid, this.#listeners);
      return (pid) => pid === accepting;
    }
    const sockets = listeningSockets(this.leader.pid);
    return (pid) => holds(pid, sockets);
  }
}

function liveChildren(pid: number): ProcessId[] {
  const stats = childrenOf(pid).map((child) => statOf(child));
  return stats
    .filter((stat) => stat !== null && !isDead(stat))
    .map((stat) => ({ pid: stat!.pid, startTimeTicks: stat!.startTimeTicks }));
}

/** Whether it holds one of these sockets (`socket:[inode]`). */
function holds(pid: number, sockets: ReadonlySet<string>): boolean {
  return viewProcess(ownReader, process.arch, pid, []).sockets.some((socket) => sockets.has(socket));
}

/** `socket:[inode]` of the TCP sockets that listen in its network namespace (state 0A; the inode is field 10). */
function listeningTcp(pid: number): Set<string> {
  const rows = ['tcp', 'tcp6'].flatMap((file) => (readText(`/proc/${pid}/net/${file}`) ?? '').split('\n').slice(1));
  const listening = rows.map((row) => row.trim().split(/\s+/)).filter((fields) => fields[3] === '0A');
  return new Set(listening.map((fields) => `socket:[${fields[9]}]`));
}

/** Whether the group still has a member: all that can be told without /proc. */
export function groupExists(pgid: number): boolean {
  try {
    process.kill(-pgid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Signals that very process, or nobody. */
function send(one: ProcessId, signal: Signal): void {
  if (hasProcfs() && !isAlive(one)) return;
  try {
    process.kill(one.pid, signal);
  } catch {
    // ESRCH: it is gone meanwhile. EPERM: a setuid program; it stays visible as a worker that does not end.
  }
}

function sendToGroup(pgid: number, signal: Signal): void {
  try {
    process.kill(-pgid, signal);
  } catch {
    // ESRCH: the group is empty, or the wrapper that makes it (setsid) has not run yet.
  }
}

function killWithoutProcfs(pid: number): void {
  const path = (process.env.PATH ?? '').split(':');
  if (!path.some((directory) => existsSync(`${directory}/ps`))) return killGroupAndLeader(pid);
  import('tree-kill').then(
    ({ default: killTree }) => killTree(pid, 'SIGKILL', () => killGroupAndLeader(pid)),
    () => killGroupAndLeader(pid),
  );
}

function killGroupAndLeader(pid: number): void {
  sendToGroup(pid, 'SIGKILL');
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ESRCH: gone.
  }
}
