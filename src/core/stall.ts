/**
 * Whether a worker hangs, judged from what was seen of its remembered threads: those that were once seen waiting for
 * connections (or, in a script, for its event loop).
 *
 *   fine    --no sign of progress since it was last fine, for `after`--> stalled
 *   stalled --a sign of progress--> fine
 *
 * A thread makes progress when it waits where it was remembered, or when since the look before
 * - it gave up the CPU by its own will (voluntary context switches), or
 * - it made calls that read or write, or
 * - its process took, closed, read or wrote a socket: a server under full load never waits at all.
 *
 * Rules
 * - One thread that makes progress is enough. No thread, no verdict.
 * - A look at a thread that was not seen before is a beginning, never evidence against it.
 * - Looks that are too far apart prove nothing (we were stopped ourselves, or the host was): the wait begins anew. Between
 *   two looks no more than twice the usual time counts.
 * - A thread that wants to run and gets little of the CPU is starved, not hung: to count as spinning, the threads must have
 *   used the CPU for half of `after`.
 */
import { formatDuration } from './units.ts';

/** What a thread does: `there`: it waits where it was remembered. `traced`: a debugger holds it. */
export type Posture = 'there' | 'stopped' | 'traced' | 'running' | 'elsewhere';

export interface ThreadLook {
  /** Names it among all threads of the worker. */
  readonly thread: string;
  readonly isMain: boolean;
  readonly posture: Posture;
  /** How often it gave up the CPU by its own will, since it started. */
  readonly switches: number;
  /** What costs more to read; null while something simpler shows progress. */
  readonly detail: ThreadDetail | null;
}

export interface ThreadDetail {
  /** Calls that read or write, since it started. */
  readonly calls: number;
  /** CPU time since it started. */
  readonly cpuMs: number;
  /** Where the kernel holds it, in words; null: not known. */
  readonly place: string | null;
}

export interface StallLooks {
  readonly atMs: number;
  readonly looks: readonly ThreadLook[];
  /** Something else that shows progress: their sockets (see `socketsMoved`), or a thread that was not known yet. */
  readonly otherProgress: boolean;
}

export interface StallRule {
  readonly afterMs: number;
  /** How often it is looked at. */
  readonly everyMs: number;
  /** Where the threads were seen: "its listener". */
  readonly home: string;
}

export interface StallState {
  readonly lastAtMs: number;
  /** For how long no progress has been seen since it was last fine. */
  readonly quietMs: number;
  /** The CPU time of all threads at the first look after that; null: there was none. */
  readonly cpuMs: number | null;
  readonly seen: ReadonlyMap<string, ThreadLook>;
  readonly verdict: 'fine' | 'stalled';
}

/** A worker counts as fine when the watch begins. */
export function beginStall(atMs: number): StallState {
  return { lastAtMs: atMs, quietMs: 0, cpuMs: null, seen: new Map(), verdict: 'fine' };
}

/** How often a worker is to be looked at: a quarter of `after`, at least every 2 s. */
export function stallEveryMs(afterMs: number): number {
  return Math.min(afterMs / 4, 2000);
}

/**
 * Judges one round of looks.
 * @returns the new state, and what is to be told: why it is stalled, null that it goes on again, undefined nothing
 */
export function judgeStall(
  state: StallState,
  round: StallLooks,
  rule: StallRule,
): { readonly state: StallState; readonly told: string | null | undefined } {
  const seen = new Map(state.seen);
  for (const look of round.looks) seen.set(look.thread, look);
  const next = { ...state, seen, lastAtMs: round.atMs };
  const fine = { ...next, quietMs: 0, cpuMs: null };
  const passedMs = round.atMs - state.lastAtMs;
  if (round.looks.length === 0 || round.otherProgress || round.looks.some((look) => progressed(state, look))) {
    return { state: { ...fine, verdict: 'fine' }, told: state.verdict === 'stalled' ? null : undefined };
  }
  if (passedMs > tooFarMs(rule)) return { state: fine, told: undefined };
  const cpuMs = sum(round.looks.map((look) => look.detail?.cpuMs ?? 0));
  const quietMs = state.quietMs + Math.min(passedMs, 2 * rule.everyMs);
  const waiting = { ...next, quietMs, cpuMs: state.cpuMs ?? cpuMs };
  const usedMs = cpuMs - waiting.cpuMs;
  const isStarved = round.looks.some((look) => look.posture === 'running') && usedMs < rule.afterMs / 2;
  if (state.verdict === 'stalled' || isStarved || quietMs < rule.afterMs) {
    return { state: waiting, told: undefined };
  }
  return { state: { ...waiting, verdict: 'stalled' }, told: stallReason(round.looks, rule) };
}

/** A busy master is late by a second at times; more than that and it was stopped. */
function tooFarMs({ everyMs }: StallRule): number {
  return Math.max(3 * everyMs, 1500);
}

/** Whether this look at a thread, after those before, shows that it goes on. */
export function progressed({ seen }: StallState, look: ThreadLook): boolean {
  const before = seen.get(look.thread);
  if (look.posture === 'there' || before === undefined || before.switches !== look.switches) return true;
  return before.detail !== null && look.detail !== null && before.detail.calls !== look.detail.calls;
}

/** The state without a thread that is gone. */
export function forgetThread(state: StallState, thread: string): StallState {
  return { ...state, seen: new Map([...state.seen].filter(([known]) => known !== thread)) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** Why a worker with these threads is stalled, as it stands after "web.1 hangs: ". */
function stallReason(looks: readonly ThreadLook[], rule: StallRule): string {
  const [first] = looks;
  const worst = looks.find((look) => look.posture === 'stopped' || look.posture === 'traced') ?? first;
  if (worst?.posture === 'stopped') return 'stopped by a signal (state T)';
  if (worst?.posture === 'traced') return 'stopped by a debugger (state t)';
  const who =
    looks.length > 1
      ? `none of its ${looks.length} threads has come back`
      : `its ${first?.isMain === true ? 'main thread' : `thread ${first?.thread}`} has not come back`;
  const one = looks.length > 1 ? 'the first' : 'it';
  const how =
    first?.posture === 'running'
      ? `${one} runs on the CPU all the time`
      : `${one} waits in ${first?.detail?.place ?? 'a place that the kernel does not tell'}`;
  return `${who} to ${rule.home} for ${formatDuration(rule.afterMs)}; ${how}`;
}

// ---------------------------------------------------------------- sockets

/** What is known of a socket; null: nothing (a connection that was reset). */
export type SocketUse = {
  /** The bytes that wait in it. */
  readonly readableBytes: number;
  readonly unsentBytes: number;
  /** What its process has read from it and written to it, ever; null: not counted (a unix socket). */
  readonly usedBytes: number | null;
} | null;

/**
 * Whether a process has used its sockets between two looks: another set of sockets, or bytes read or written. Where those
 * are not counted, what waits must tell. The peers alone can only make more bytes readable, and fewer unsent, so fewer to
 * read or more to send is its own work; but a server in a steady rhythm may look the same each time.
 */
export function socketsMoved(before: ReadonlyMap<string, SocketUse>, now: ReadonlyMap<string, SocketUse>): boolean {
  if (before.size !== now.size) return true;
  for (const [socket, use] of now) {
    const then = before.get(socket);
    if (then === undefined) return true;
    if (then !== null && use !== null && isUsed(then, use)) return true;
  }
  return false;
}

function isUsed(before: NonNullable<SocketUse>, now: NonNullable<SocketUse>): boolean {
  if (before.usedBytes !== null && now.usedBytes !== null) return before.usedBytes !== now.usedBytes;
  return now.readableBytes < before.readableBytes || now.unsentBytes > before.unsentBytes;
}
