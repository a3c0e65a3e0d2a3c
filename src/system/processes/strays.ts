/**
 * Finds what a leader has left behind when it exits: members of its session or group, children that called setsid, and
 * those that were adopted by init meanwhile (a double fork).
 *
 * - A process belongs to a leader when it is in its session or group, was seen below it earlier (pid and start time), or
 *   carries its mark, which children inherit: the variables that name this master and the worker, or the hook.
 * - Only processes that started after the leader can be its own. Pids are given out in rising order, so as long as fewer
 *   processes than half of pid_max were made since, those are the pids after the leader's; the rest of /proc is not read.
 * - What a leader leaves behind is given to an ancestor of this process (the nearest subreaper, or init), or is below
 *   something that was. So the environment of a process with any other parent need not be read.
 * - All leaders that exit in one turn of the event loop share one look at /proc: 256 that are killed at once cost as much
 *   as one.
 * - Zombies are nothing. A pid whose start time differs is another process and is never touched.
 */
import { allPids, readText, statOf, type ProcStat } from '../procfs.ts';

/** A pid and its start time name one process for good. */
export interface ProcessId {
  readonly pid: number;
  readonly startTimeTicks: number;
}

/** Made before a spawn. */
export interface Birth {
  /** Entries of the environment, `NAME=value`, that together no other process of this host has. */
  readonly mark: readonly string[];
  readonly order: number;
  /** Processes that this host had made when it was not born yet. */
  readonly forksBefore: number;
}

export interface Leader extends ProcessId, Birth {}

/** So many pids are asked for one by one. */
const fewPids = 64;

interface Question {
  readonly leader: Leader;
  readonly seen: readonly ProcessId[];
  readonly answer: (rest: readonly ProcessId[]) => void;
}

/** Whose a process is; `unknown` when it cannot be looked into. */
type Owner = Leader | 'stranger' | 'unknown';

interface Look {
  readonly leaders: readonly Leader[];
  /** All processes that may have started after the oldest of them. */
  readonly stats: ReadonlyMap<number, ProcStat>;
  readonly owners: Map<number, Owner>;
}

export class Strays {
  readonly #leaders = new Map<number, Leader>();
  #questions: Question[] = [];
  #born = 0;
  #forks = { count: 0, atMs: -Infinity };

  /** To be called right before a spawn with that mark in its environment. */
  announce(mark: readonly string[]): Birth {
    return { mark, order: ++this.#born, forksBefore: this.#forksLately() };
  }

  /** Takes note of a process that was spawned with the mark; to be called at once, before its pid can be another's. */
  adopt(birth: Birth, pid: number): Leader {
    const leader = { ...birth, pid, startTimeTicks: statOf(pid)?.startTimeTicks ?? 0 };
    this.#leaders.set(pid, leader);
    return leader;
  }

  /** The leader and all its processes are gone. */
  forget(leader: Leader): void {
    if (this.#leaders.get(leader.pid)?.order === leader.order) this.#leaders.delete(leader.pid);
  }

  /** Answers in this turn of the event loop or the next with the processes that an exited leader has left, without itself. */
  ask(leader: Leader, seen: readonly ProcessId[], answer: Question['answer']): void {
    if (this.#questions.push({ leader, seen, answer }) === 1) setImmediate(() => this.#look());
  }

  #look(): void {
    const questions = this.#questions;
    this.#questions = [];
    const found = new Map<number, Map<number, ProcessId>>(questions.map(({ leader }) => [leader.order, new Map()]));
    for (const { leader, seen } of questions) {
      for (const one of seen) if (isAlive(one)) found.get(leader.order)?.set(one.pid, one);
    }
    const leaders = questions.map((question) => question.leader);
    const stats = new Map<number, ProcStat>();
    for (const pid of this.#younger(leaders)) {
      const stat = this.#leaders.has(pid) ? null : statOf(pid);
      if (stat !== null) stats.set(pid, stat);
    }
    const owners = new Map<number, Owner>();
    for (const stat of stats.values()) {
      const owner = this.#ownerOf(stat, { leaders, stats, owners });
      if (typeof owner === 'string' || isDead(stat) || !isProcess(stat.pid)) continue;
      found.get(owner.order)?.set(stat.pid, { pid: stat.pid, startTimeTicks: stat.startTimeTicks });
    }
    for (const { leader, answer } of questions) answer([...(found.get(leader.order)?.values() ?? [])]);
  }

  /** The pids that may have started after the oldest of the leaders. */
  #younger(leaders: readonly Leader[]): number[] {
    const oldest = leaders.reduce((one, other) => (one.order < other.order ? one : other));
    this.#forks = { count: forksOfHost(), atMs: performance.now() };
    const made = this.#forks.count - oldest.forksBefore;
    const last = lastPid();
    const others = () => allPids().filter((pid) => pid !== process.pid);
    if (last === null || Number.isNaN(made) || made > pidMax() / 2) return others();
    const first = oldest.pid;
    // A handful is asked for one by one, threads among them: cheaper than to list all of /proc.
    if (first <= last && last - first <= fewPids)
      return Array.from({ length: last - first }, (_, index) => first + 1 + index);
    return others().filter((pid) => (first <= last ? pid > first && pid <= last : pid > first || pid <= last));
  }

  #ownerOf(stat: ProcStat, look: Look): Owner {
    const known = look.owners.get(stat.pid);
    if (known !== undefined) return known;
    // Its parents are asked next: pids that were reused meanwhile must not make a ring.
    look.owners.set(stat.pid, 'stranger');
    const owner = this.#findOwner(stat, look);
    look.owners.set(stat.pid, owner);
    return owner;
  }

  #findOwner(stat: ProcStat, look: Look): Owner {
    const bySession = look.leaders.find((leader) => stat.session === leader.pid || stat.pgid === leader.pid);
    if (bySession !== undefined) return stat.startTimeTicks >= bySession.startTimeTicks ? bySession : 'stranger';
    // The session of a worker that lives is that worker's, whatever its members carry.
    if (this.#leaders.has(stat.session)) return 'stranger';
    const parent = look.stats.get(stat.ppid);
    // The adopter itself is among them where pids were given out from the start again, and is a stranger.
    const canBeLeft = adopters().has(stat.ppid) || (parent !== undefined && this.#ownerOf(parent, look) !== 'stranger');
    const older = canBeLeft ? look.leaders.filter((leader) => leader.startTimeTicks <= stat.startTimeTicks) : [];
    if (older.length === 0) return 'stranger';
    const text = readText(`/proc/${stat.pid}/environ`);
    if (text === null) return 'unknown';
    const environment = new Set(text.split('\0'));
    return older.find((leader) => leader.mark.every((entry) => environment.has(entry))) ?? 'stranger';
  }

  /** As it was at most a second ago: an older count only makes more pids be looked at. */
  #forksLately(): number {
    const nowMs = performance.now();
    if (nowMs - this.#forks.atMs > 1000) this.#forks = { count: forksOfHost(), atMs: nowMs };
    return this.#forks.count;
  }
}

/** Whether that very process lives and is not a zombie. */
export function isAlive(one: ProcessId): boolean {
  const stat = statOf(one.pid);
  return stat !== null && stat.startTimeTicks === one.startTimeTicks && !isDead(stat);
}

export function isDead(stat: ProcStat): boolean {
  return stat.state === 'Z' || stat.state === 'X';
}

/** Whether it is not one of the later threads of a process: those have an entry in /proc as well. */
function isProcess(pid: number): boolean {
  return readText(`/proc/${pid}/status`)?.includes(`\nTgid:\t${pid}\n`) ?? false;
}

let knownAdopters: ReadonlySet<number> | null = null;

/** This process, its ancestors and init. An ancestor that ends leaves us, and all else, to another one of them. */
function adopters(): ReadonlySet<number> {
  if (knownAdopters !== null) return knownAdopters;
  const pids = new Set([1]);
  for (let pid = process.pid; pid > 0 && !pids.has(pid); pid = statOf(pid)?.ppid ?? 0) pids.add(pid);
  knownAdopters = pids;
  return pids;
}

/** The number of processes and threads made since boot (`processes` in proc(5), /proc/stat); NaN when unknown. */
function forksOfHost(): number {
  return Number(/^processes (\d+)$/m.exec(readText('/proc/stat') ?? '')?.[1]);
}

/** The pid given out last, in our pid namespace (/proc/loadavg, field 5). */
function lastPid(): number | null {
  const field = readText('/proc/loadavg')?.trim().split(' ')[4];
  return field === undefined ? null : Number(field);
}

let mostPids: number | null = null;

function pidMax(): number {
  mostPids ??= Number(readText('/proc/sys/kernel/pid_max') ?? 32_768);
  return mostPids;
}
