/**
 * The one door and the one stream. Signals, CLI and HTTP all send these commands to the master;
 * log, control clients and systemd all subscribe to these events. Names and fields are stable:
 * adding is fine, renaming is a breaking change.
 */
import type { SuperviseError } from './errors.ts';
import type { HookPhase, Signal, Spec, StaffingSpec } from './spec.ts';

// ---------------------------------------------------------------- states

export const masterStates = ['starting', 'running', 'reloading', 'stopping'] as const;
export type MasterState = (typeof masterStates)[number];

export const appStates = [
  'waiting',
  'starting',
  'running',
  'degraded',
  'failed',
  'stopping',
  'stopped',
  'completed',
] as const;
export type AppState = (typeof appStates)[number];

export const workerStates = [
  'starting',
  'ready',
  'stopping',
  'killing',
  'backoff',
  'failed',
  'completed',
  'stopped',
] as const;
export type WorkerState = (typeof workerStates)[number];

export const hookStates = ['pending', 'running', 'succeeded', 'failed', 'timed-out', 'skipped', 'cancelled'] as const;
export type HookState = (typeof hookStates)[number];

/** Why a process ended, or is being ended. */
export const causes = [
  'crash', // it exited by itself with a code other than 0, or 0 too soon
  'signal', // a signal from outside of supervise ended it
  'exit', // it exited by itself with 0
  'spawn-failed', // it could not be executed
  'start-timeout', // not ready within ready_timeout
  'oom', // the kernel ended it for want of memory; proved, never guessed
  'memory-limit', // limits.memory
  'memory-budget', // resources.memory_budget was used up, and it had grown most
  'lifetime', // limits.lifetime
  'stranded', // it made room for a worker that serves what waited at a listener that no worker had
  'health', // its probes failed
  'stall', // it hung
  'asked', // `supervise signal`
  'stop', // the master stops
  'scale-down',
  'restart',
  'reload',
  'rollback',
] as const;
export type Cause = (typeof causes)[number];

/** How a process ended. `error`: it could not be executed. `lastLines`: its last lines of stderr (of stdout where stderr is empty). */
export interface Exit {
  readonly code: number | null;
  readonly signal: Signal | null;
  readonly error: string | null;
  /** It could not be executed for want of processes, descriptors or memory: trying again may work. */
  readonly transient?: true;
  /** What proves that the kernel ended it for want of memory, in words. */
  readonly oom?: string;
  readonly lastLines: readonly string[];
}

// ---------------------------------------------------------------- the door

/** `web` (an app) or `web.3` (a worker). */
export type Target = { readonly app: string; readonly worker: string | null };

export type Command =
  | { readonly type: 'stop'; readonly how: 'graceful' | 'quick' | 'now' }
  | ReloadCommand
  | { readonly type: 'restart'; readonly target: Target }
  | { readonly type: 'scale'; readonly app: string | null; readonly change: ScaleChange }
  | { readonly type: 'retry'; readonly target: Target | null }
  | { readonly type: 'signal'; readonly target: Target; readonly signal: Signal };

export interface ReloadCommand {
  readonly type: 'reload';
  /** The config, read again by whoever sends the command; null: as it was. */
  readonly spec: Spec | null;
  /** null: all of them. */
  readonly apps: readonly string[] | null;
  /** Only what differs in the config; else all of `apps`, because code changes without the config. */
  readonly changedOnly?: boolean;
  /** What is not done by then is rolled back. Without it there is no limit but those of the apps. */
  readonly timeoutMs?: number;
  /** Why, when it was not asked for by an operator: a file that changed. */
  readonly reason?: string;
}

export type ScaleChange = { readonly to: number } | { readonly by: number; readonly atLeast: number };

/** `operation`: the id under which progress and the end of a long operation are reported; null: done already. */
export type Reply =
  | { readonly ok: true; readonly operation: number | null; readonly message: string }
  | { readonly ok: false; readonly error: SuperviseError };

// ---------------------------------------------------------------- the stream

/** What stands in every event; the master adds seq (from 1, without gaps) and at (ISO 8601, UTC). */
export type Event = { readonly seq: number; readonly at: string } & EventBody;

export interface WorkerRef {
  readonly app: string;
  readonly worker: string;
  readonly slot: number;
}

export type EventBody =
  | ({
      readonly type: 'worker.starting';
      readonly pid: number | null;
      readonly revision: number;
      readonly attempt: number;
    } & WorkerRef)
  | ({ readonly type: 'worker.ready'; readonly pid: number | null; readonly bootMs: number } & WorkerRef)
  /** A spare until now, it serves. `of`: in whose place; null: in a new one. */
  | ({ readonly type: 'worker.promoted'; readonly pid: number | null; readonly of: string | null } & WorkerRef)
  | ({
      readonly type: 'worker.stopping' | 'worker.killing';
      readonly pid: number | null;
      readonly cause: Cause;
    } & WorkerRef)
  /** `inherited`: it has had no process yet, the crashes are those of the workers whose place it takes. */
  | ({
      readonly type: 'worker.backoff';
      readonly delayMs: number;
      readonly crashes: number;
      readonly inherited?: true;
    } & WorkerRef)
  | ({
      readonly type: 'worker.failed';
      readonly crashes: number;
      readonly delayMs: number | null;
      readonly inherited?: true;
    } & WorkerRef)
  | ({ readonly type: 'worker.completed' | 'worker.stopped' } & WorkerRef)
  | ({
      readonly type: 'worker.exited';
      readonly pid: number | null;
      readonly code: number | null;
      readonly signal: Signal | null;
      readonly cause: Cause;
      readonly uptimeMs: number;
      readonly error: string | null;
      /** What proves that the kernel ended it for want of memory. */
      readonly oom?: string;
      readonly lastLines: readonly string[];
    } & WorkerRef)
  | ({ readonly type: 'worker.signalled'; readonly signal: Signal } & WorkerRef)
  /** It is to be replaced, or it would be if `action` were restart. */
  | ({
      readonly type:
        | 'worker.stalled'
        | 'worker.unhealthy'
        | 'worker.over_memory'
        | 'worker.over_budget'
        | 'worker.over_lifetime'
        | 'worker.makes_room';
      readonly reason: string;
      readonly action: 'warn' | 'replace';
    } & WorkerRef)
  /** Stalled or unhealthy before, it is well again. */
  | ({ readonly type: 'worker.recovered'; readonly from: 'stall' | 'health' } & WorkerRef)
  | { readonly type: `app.${AppState}`; readonly app: string; readonly ready: number; readonly goal: number }
  /** `reason`: the arithmetic, where supervise itself decided it; null: somebody asked, or the config says so. */
  | {
      readonly type: 'app.scaled' | 'app.would_scale';
      readonly app: string;
      readonly from: number;
      readonly to: number;
      readonly reason: string | null;
    }
  | { readonly type: 'app.warning'; readonly app: string; readonly message: string }
  /** Its connections pile up on one worker. `total`: of all its ready workers. */
  | {
      readonly type: 'app.unbalanced';
      readonly app: string;
      readonly worker: string;
      readonly connections: number;
      readonly total: number;
      readonly workers: number;
      readonly message: string;
    }
  | { readonly type: 'app.balanced'; readonly app: string }
  /** The memory of all workers against `resources.memory_budget`. `message`: the arithmetic. */
  | {
      readonly type: `budget.${BudgetLevel}`;
      readonly budgetBytes: number | null;
      readonly usedBytes: number | null;
      readonly message: string;
    }
  | { readonly type: `master.${MasterState}`; readonly pid: number }
  | { readonly type: 'master.stopped'; readonly exitCode: number }
  | { readonly type: 'master.warning'; readonly message: string }
  /** The control API is served over TCP as well. */
  | { readonly type: 'control.listening'; readonly url: string; readonly tokenFile: string }
  | {
      readonly type: `hook.${HookState}`;
      readonly phase: HookPhase;
      readonly hook: string;
      readonly attempt: number;
      readonly message: string;
      readonly durationMs: number | null;
      readonly exitCode: number | null;
      readonly signal: Signal | null;
      readonly lastLines: readonly string[];
    }
  | {
      readonly type: 'config.changed';
      readonly added: readonly string[];
      readonly removed: readonly string[];
      readonly rescaled: readonly string[];
      readonly changed: readonly string[];
    }
  | {
      readonly type: 'rollout.started' | 'rollout.succeeded' | 'rollout.superseded';
      readonly app: string;
      readonly from: number;
      readonly to: number;
    }
  | {
      readonly type: 'rollout.progress';
      readonly app: string;
      readonly to: number;
      readonly replaced: number;
      readonly total: number;
      readonly step: string;
    }
  | {
      readonly type: 'rollout.rolled_back';
      readonly app: string;
      readonly from: number;
      readonly to: number;
      readonly worker: string | null;
      readonly reason: string;
      readonly lastLines: readonly string[];
    }
  | {
      readonly type: 'operation.started' | 'operation.progress';
      readonly operation: number;
      readonly name: Command['type'];
      readonly message: string;
    }
  | {
      readonly type: 'operation.finished';
      readonly operation: number;
      readonly name: Command['type'];
      readonly ok: boolean;
      readonly message: string;
      readonly lastLines: readonly string[];
    }
  | {
      readonly type: 'logs.dropped';
      readonly sink: string;
      readonly lines: number;
      readonly bytes: number;
      readonly reason: string;
    };

export type EventType = EventBody['type'];

// ---------------------------------------------------------------- the snapshot

export interface Snapshot {
  readonly name: string;
  readonly version: string;
  readonly pid: number;
  readonly state: MasterState;
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly configFile: string | null;
  readonly hooks: readonly HookResult[];
  readonly host: HostSample;
  readonly budget: BudgetSnapshot;
  readonly apps: readonly AppSnapshot[];
}

export interface HookResult {
  readonly phase: HookPhase;
  readonly name: string;
  readonly state: HookState;
  readonly attempts: number;
  readonly durationMs: number | null;
  readonly exitCode: number | null;
  readonly signal: Signal | null;
  /** "succeeded for KEY at T" of a skipped hook; why it failed of a failed one. */
  readonly reason: string | null;
}

/** The host as far as this master may use it: within its affinity and its cgroups. */
export interface HostSample {
  /** Whole CPUs that threads may run on. */
  readonly cpus: number;
  /** CPUs that may be used, with the fractions of a quota. */
  readonly usableCpus: number;
  /** What sets that number, in words: "2 CPUs online", "cgroup quota of 1.5 CPUs (/sys/fs/cgroup/...)". */
  readonly cpuSource: string;
  /** 0..1 of the usable CPUs since the sample before; null: not known yet. */
  readonly cpuUtilisation: number | null;
  /** Memory that may be used. */
  readonly memoryBytes: number;
  /** What sets that number, in words. */
  readonly memorySource: string;
  /** 0..1 of it is in use, without what the kernel would give back. */
  readonly memoryUtilisation: number | null;
}

/** The memory of all workers against `resources.memory_budget`. */
export interface BudgetSnapshot {
  /** null: not known before the first sample. */
  readonly budgetBytes: number | null;
  readonly usedBytes: number | null;
  readonly level: BudgetLevel;
}

/** near: nothing is added any more; over: the biggest worker is replaced. */
export const budgetLevels = ['ok', 'near', 'over'] as const;
export type BudgetLevel = (typeof budgetLevels)[number];

export interface AppSnapshot {
  readonly name: string;
  readonly kind: 'command' | 'script';
  readonly state: AppState;
  /** Wanted workers, and those of them that are ready and serve. */
  readonly goal: number;
  readonly ready: number;
  /** Who says how many workers there are, and between which bounds; `reason`: the arithmetic of the last decision. */
  readonly staffing: {
    readonly kind: StaffingSpec['kind'];
    readonly min: number;
    readonly max: number | null;
    readonly reason: string | null;
  };
  /** Wanted spares, and those that are ready and stand by. */
  readonly spares: { readonly goal: number; readonly ready: number };
  readonly revision: number;
  readonly listen: readonly string[];
  /** Client connections that its workers hold, as counted at `countedAt`; null: not known. */
  readonly connections: number | null;
  /** Connections that wait to be accepted, at all its addresses together. */
  readonly queue: number | null;
  /** null: not yet, or it has no `listen`. */
  readonly countedAt: string | null;
  /** What an operator should know, as a sentence each: a reload in progress, a degraded probe. */
  readonly notes: readonly string[];
  readonly workers: readonly WorkerSnapshot[];
}

export interface WorkerSnapshot {
  readonly id: string;
  readonly slot: number;
  readonly pid: number | null;
  readonly state: WorkerState;
  /** It is ready, and out of the rotation until a place is free. */
  readonly spare: boolean;
  /** What it is waiting for or why it is so, in words; null when there is nothing to say. */
  readonly reason: string | null;
  readonly revision: number;
  readonly restarts: number;
  readonly startedAt: string | null;
  readonly readyAt: string | null;
  readonly uptimeMs: number | null;
  /** 100 = one core busy; the whole tree; null until two samples were taken. */
  readonly cpuPercent: number | null;
  readonly memoryBytes: number | null;
  /** pss: pages that processes share are counted once, in parts; rss: in each of them; null: not known. */
  readonly memoryKind: MemoryKind | null;
  readonly processes: number | null;
  /** Client connections that its tree holds, as counted at the app's `countedAt`; null: not known. */
  readonly connections: number | null;
  /** Connections that wait for it alone to be accepted; null where it shares a socket with others. */
  readonly queue: number | null;
  readonly lastExit: {
    readonly at: string;
    readonly code: number | null;
    readonly signal: Signal | null;
    readonly cause: Cause;
  } | null;
}

export type MemoryKind = 'pss' | 'rss';

/** One line of a worker, a hook, or the master itself, as `logs` shows it. */
export interface LogLine {
  readonly at: string;
  readonly app: string;
  /** The worker's id, or `hook.NAME`. */
  readonly source: string;
  readonly stream: 'stdout' | 'stderr';
  readonly line: string;
}
