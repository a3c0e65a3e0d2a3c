/**
 * What the master needs from outside. system/ implements these against the real OS, test/helpers/ against
 * a fake clock and fake processes. Nothing here is async: what takes time reports through a listener.
 */
import type { Exit, HostSample, MemoryKind, Target } from './core/protocol.ts';
import type { StoredHistory } from './core/history.ts';
import type { ExitRecord } from './core/record.ts';
import type { AppSpec, HealthSpec, HookSpec, ListenSpec, Signal } from './core/spec.ts';

export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since the epoch that never go backwards (a monotonic clock, anchored once). */
  now(): number;
  /** Calls `fn` once, `delayMs` from now (0 or more; fractions are fine). */
  schedule(delayMs: number, fn: () => void): Cancel;
  /** A number in [0, 1). */
  random(): number;
}

/** The listening sockets of all apps, shared by URL (`tcp://127.0.0.1:8000`, `unix:/run/x.sock`). */
export interface Sockets {
  /** Binds what is not bound yet, all or nothing. @throws SuperviseError socket-in-use, socket-cannot-bind */
  bind(wanted: readonly ListenSpec[]): void;
  /** Makes everything bound really listen, also for programs that only accept. */
  listen(): void;
  /** Closes everything that is not in `urls`. */
  retain(urls: readonly string[]): void;
}

/** An app as it was when its revision was made: argv, env and cwd resolved. Respawns use it unchanged. */
export interface Pinned {
  readonly app: AppSpec;
  readonly revision: number;
  /** The program's absolute path, then its words; placeholders that differ per worker are still in. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Symlinks resolved. */
  readonly cwd: string;
}

/** One process to start for a worker. */
export interface Launch {
  readonly pinned: Pinned;
  readonly worker: string;
  readonly slot: number;
}

export interface ProcessListener {
  /** Once at most: it is ready in the sense of the app's `ready`. */
  ready(): void;
  /** Exactly once, when the process and all that it left behind are gone. */
  exited(exit: Exit): void;
  /** Something an operator should know (a probe that had to fall back), of this worker or of all of its revision. Any number of times. */
  warning(message: string, about?: 'revision'): void;
}

export interface WorkerListener extends ProcessListener {
  /** Once, when its leader has exited, and before `exited`: it serves no more, and what it left behind is still being ended. */
  gone(): void;
  /** Ready before, it was seen to hang (why, in words), or to go on again (null). Only for an app with `stall`. */
  stalled(reason: string | null): void;
}

export interface RunningProcess {
  /** null when it could not be started; `exited` follows. */
  readonly pid: number | null;
  /** Lets new connections come to it, now that it is ready. Until then they go to others. */
  admit(): void;
  /** Whether it accepts from a socket that others have too: then connections come to it without being admitted. */
  readonly sharesListener: boolean;
  /** Sends a stop signal to the leader and down the chain of only children. */
  terminate(signal: Signal): void;
  /** Kills the whole tree, processes that left the group included. */
  kill(): void;
  /** Sends a signal to the real program (through wrappers), as `supervise signal` asks. */
  signal(signal: Signal): void;
  /** Probes its health once. `done` is called once, unless it is cancelled: null, or why it is not healthy, in words. */
  probe(health: HealthSpec, done: (failure: string | null) => void): Cancel;
  /** Whether a process of its tree has a listening TCP socket that is not one of the app's `listen`. */
  bindsOwnPort(): boolean;
  /** What it has written last, as in its `Exit`, while it still runs. */
  lastLines(): readonly string[];
}

export interface Spawner {
  /** Resolves the cwd's symlinks, reads env_file, finds the program. @throws SuperviseError program-cannot-run, launch-failed */
  pin(app: AppSpec, revision: number, baseEnv: Readonly<Record<string, string>>): Pinned;
  /** Never throws: what cannot be started is an `exited` with an error, after this has returned. */
  spawn(launch: Launch, listener: WorkerListener): RunningProcess;
  /** A hook has no sockets, no control fd, and its own output prefix. Never throws, as spawn. */
  runHook(hook: HookSpec, baseEnv: Readonly<Record<string, string>>, listener: ProcessListener): RunningProcess;
}

/** CPU and memory of one worker's whole process tree. */
export interface TreeSample {
  /** 100 = one core busy; null at the first sample of a tree. */
  readonly cpuPercent: number | null;
  readonly memoryBytes: number;
  readonly memoryKind: MemoryKind;
  readonly processes: number;
}

export interface Sampler {
  /** Samples the trees below these leaders in one pass; a leader that is gone is missing from the answer. */
  sample(
    leaders: ReadonlyMap<string, number>,
    done: (trees: ReadonlyMap<string, TreeSample>, host: HostSample) => void,
  ): void;
}

/** An app with `listen`, whose connections are to be counted. */
export interface CountedApp {
  readonly name: string;
  readonly urls: readonly string[];
  /** The leader of each worker that has a process, by the worker's id. */
  readonly workers: ReadonlyMap<string, number>;
}

export interface WorkerConnections {
  /** Whose: that of an earlier process is of no use. */
  readonly pid: number;
  /** Client connections that its tree holds; null: not known. */
  readonly connections: number | null;
  /** Connections that wait for it alone to be accepted; null: others accept from a socket of it as well, or not known. */
  readonly queue: number | null;
}

export interface AppConnections {
  /** All that wait to be accepted at the app's addresses; null: not known. */
  readonly queue: number | null;
  /** Those of them that wait at a listener that no worker has; null: not known. */
  readonly stranded: number | null;
  readonly workers: ReadonlyMap<string, WorkerConnections>;
}

export interface ConnectionCounter {
  /** Counts all of them in one reading; `done` is called once, at once or later. While one is under way a further call does nothing. */
  count(apps: readonly CountedApp[], done: (apps: ReadonlyMap<string, AppConnections>) => void): void;
}

/** What has to outlive the master: results of hooks with once_per; and the lock that lets one process at a time run hooks. */
export interface HookLedger {
  /** When a hook of this name last succeeded for this key (ISO 8601), or null. */
  succeededAt(hook: string, key: string): string | null;
  record(hook: string, key: string, at: string): void;
  /** Calls `granted` once the lock is held, after `waiting` (at most once, who holds it) if it had to wait. The answer gives it up. */
  lock(waiting: (holder: string) => void, granted: () => void): Cancel;
}

/** The records of exits. They outlive the master. */
export interface Records {
  /** Never throws, and never waits: it is made and written soon, together with others, after what an exit leads to. */
  append(make: () => ExitRecord): void;
  /** The last `n` of an app or a worker, newest first, those of earlier masters among them. */
  recent(target: Target, n: number): readonly ExitRecord[];
  /** The apps of which there are records. */
  apps(): readonly string[];
}

/** The day of the host and of the apps, as an earlier master has left it. */
export interface HistoryStore {
  /** null: none was left, or it is of no use; that has been said. */
  load(): StoredHistory | null;
  /** Never throws, and never waits: it is made and written soon. */
  save(make: () => StoredHistory): void;
}

/** CPUs and memory that this process, and what it starts, may use. */
export interface Usable {
  /** With the fractions of a quota. */
  readonly cpus: number;
  /** What sets that number, in words. */
  readonly cpuSource: string;
  readonly memoryBytes: number;
  /** What sets that number, in words. */
  readonly memorySource: string;
}

export interface UsableHost {
  /** As it is now, at once and without a sample. Cheap: 0.1 ms, the first time 1 ms. */
  usable(): Usable;
}

export interface Ports {
  readonly clock: Clock;
  readonly host: UsableHost;
  readonly sockets: Sockets;
  readonly spawner: Spawner;
  readonly sampler: Sampler;
  readonly connections: ConnectionCounter;
  readonly ledger: HookLedger;
  readonly records: Records;
  readonly history: HistoryStore;
}
