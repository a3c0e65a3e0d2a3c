/**
 * The effective configuration as plain data: every default filled in, every unit a number, nothing resolved
 * against the running machine yet (symlinks, env files and the program are, when a revision is pinned).
 */

export const hookPhases = ['pre_start', 'post_start', 'pre_reload', 'post_reload', 'pre_stop', 'post_stop'] as const;
export type HookPhase = (typeof hookPhases)[number];

export interface Spec {
  readonly name: string;
  /** The config file, absolute; null when the flags alone made this. */
  readonly file: string | null;
  /** What relative paths count from: the folder of the config file, or the working directory. */
  readonly dir: string;
  /** The master's environment and the top-level env_file under it: what hooks and workers start from. */
  readonly env: Readonly<Record<string, string>>;
  readonly hooks: Readonly<Record<HookPhase, readonly HookSpec[]>>;
  /** Each after those that it depends on, else in the order of the config: started in it, stopped in reverse. */
  readonly apps: readonly AppSpec[];
  readonly sampleEveryMs: number;
  /** How much of the memory that the master may use its workers may have, all apps together. */
  readonly memoryBudget: MemoryBudgetSpec;
  /** 0..1: what capacity aims at. */
  readonly targetUtilisation: number;
  /** The control socket, absolute; null means RUNTIME/control.sock. */
  readonly controlSocket: string | null;
  /** Where the control API is served over TCP as well; null: nowhere. */
  readonly controlHttp: TcpListenSpec | null;
}

export type MemoryBudgetSpec =
  /** 0..1 of the usable memory */
  { readonly kind: 'share'; readonly share: number } | { readonly kind: 'bytes'; readonly bytes: number };

export interface HookSpec {
  readonly phase: HookPhase;
  readonly name: string;
  /** One string for /bin/sh -c when `shell`, else the words. */
  readonly argv: readonly string[];
  readonly shell: boolean;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly envFile: string | null;
  readonly user: string | null;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly retryDelayMs: number;
  /** Empty means: run always. */
  readonly oncePer: string;
  readonly onFailure: 'abort' | 'continue';
}

export interface AppSpec {
  readonly name: string;
  readonly kind: 'command' | 'script';
  /** The words of the command, or the script and its arguments. `{placeholders}` are still in them. */
  readonly argv: readonly string[];
  /** How many it starts with: N; 1 where `staffing` is auto, the least where it is scaled. */
  readonly workers: number;
  readonly staffing: StaffingSpec;
  /** Ready workers besides these, out of the rotation. */
  readonly spares: number;
  readonly listen: readonly ListenSpec[];
  /** A script without `listen` chooses its ports itself and runs under node:cluster; the rest is spawned. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Relative to the resolved cwd, or absolute. */
  readonly envFile: string | null;
  readonly identity: IdentitySpec;
  /** Apps that must serve before this one starts. */
  readonly dependsOn: readonly string[];
  /** Slot n gets port + n; null: the program binds nothing of its own, or we do not know of it. */
  readonly port: number | null;
  readonly ready: ReadySpec;
  readonly readyTimeoutMs: number;
  readonly startAttempts: number;
  readonly restart: RestartPolicy;
  readonly backoff: BackoffSpec;
  readonly stop: StopSpec;
  readonly reload: ReloadSpec;
  readonly balance: Balance;
  readonly health: HealthSpec | null;
  readonly stall: StallSpec | null;
  readonly limits: LimitsSpec;
  readonly watch: WatchSpec | null;
  /** Relative to the resolved cwd, or absolute. A change of one is a reason to reload. */
  readonly tlsFiles: readonly string[];
  readonly logs: LogsSpec;
}

/** Who says how many workers there are. */
export type StaffingSpec =
  /** `workers`, or whoever scales by hand. */
  | { readonly kind: 'fixed' }
  /** The usable CPUs, lowered to what fits the memory budget. */
  | { readonly kind: 'auto' }
  | ScaledStaffing;

/** Between two bounds, by what the workers have to do. */
export interface ScaledStaffing {
  readonly kind: 'scaled';
  readonly min: number;
  readonly max: number;
  /** 0..1 of one core per worker, above 1 for workers of several busy threads. */
  readonly targetCpu: number;
  /** 0..1 of the usable memory: what would need more is not added. */
  readonly targetMemory: number;
  readonly scaleDownAfterMs: number;
  /** It is only said what would be done. */
  readonly dryRun: boolean;
}

export interface TcpListenSpec {
  readonly kind: 'tcp';
  /** '': IPv6 and IPv4. */
  readonly host: string;
  readonly port: number;
  readonly url: string;
}

export type ListenSpec =
  | TcpListenSpec
  | {
      readonly kind: 'unix';
      readonly path: string;
      readonly mode: number;
      readonly group: string | null;
      readonly url: string;
    };

export interface IdentitySpec {
  readonly user: string | null;
  readonly group: string | null;
  readonly umask: number | null;
  readonly nice: number | null;
}

export type ReadySpec =
  | { readonly kind: 'auto' }
  | { readonly kind: 'spawned' }
  | { readonly kind: 'listening' }
  | { readonly kind: 'accepting' }
  | { readonly kind: 'fd' }
  | { readonly kind: 'ipc' }
  /** Which port: see probed-listen.ts. */
  | { readonly kind: 'http'; readonly path: string; readonly port: number | null }
  | { readonly kind: 'tcp'; readonly port: number | null }
  | { readonly kind: 'log'; readonly pattern: string }
  | { readonly kind: 'delay'; readonly delayMs: number };

export type RestartPolicy = 'always' | 'on-failure' | 'never';

export interface BackoffSpec {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor: number;
  /** 0..1: the delay is shortened by up to this share of itself. */
  readonly jitter: number;
  readonly stableAfterMs: number;
  readonly maxCrashes: number;
  readonly retryFailedEveryMs: number;
}

export interface StopSpec {
  readonly signal: Signal;
  readonly timeoutMs: number;
}

export interface ReloadSpec {
  readonly maxSurge: number;
  readonly maxUnavailable: number;
  readonly canaryMs: number;
}

/**
 * How connections find a worker: `steered` by the kernel to a listener of each slot, `shared` from one socket, `round-robin` (of
 * scripts without `listen`) handed out by the master.
 */
export type Balance = 'auto' | 'steered' | 'shared' | 'round-robin';

/** Probes of a ready worker. Each has `timeoutMs` to succeed; so many `failures` in a row and it is unhealthy. */
export interface HealthSpec {
  readonly probe: HealthProbe;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failures: number;
}

export type HealthProbe =
  /** Which port: see probed-listen.ts. */
  | { readonly kind: 'http'; readonly path: string; readonly port: number | null }
  | { readonly kind: 'tcp'; readonly port: number | null }
  /** Healthy when it exits with 0. Run with the worker's user, cwd and environment. `{placeholders}` are still in it. */
  | { readonly kind: 'exec'; readonly argv: readonly string[]; readonly shell: boolean };

export interface StallSpec {
  readonly afterMs: number;
  readonly action: 'warn' | 'restart';
  /** What a stalled worker is ended with, for a dump of its stacks; null: SIGABRT. */
  readonly signal: Signal | null;
}

export interface LimitsSpec {
  /** Of the worker's whole tree; null: none. */
  readonly memoryBytes: number | null;
  readonly lifetimeMs: number | null;
  /** 0..1: a lifetime is shortened by up to this share of itself. */
  readonly jitter: number;
}

export interface WatchSpec {
  /** Files and folders, relative to the resolved cwd, or absolute. */
  readonly paths: readonly string[];
  /** Globs, relative to the resolved cwd. */
  readonly ignore: readonly string[];
  readonly debounceMs: number;
}

export type LogsSpec =
  /** The worker has the master's own stdout and stderr: nothing is read, prefixed or kept. */
  | { readonly kind: 'inherit' }
  | {
      readonly kind: 'captured';
      readonly format: LogFormat;
      /** Absolute. `{app}`, `{slot}` and `{port}` are still in it; null: the master's stdout. */
      readonly file: string | null;
      /** Above zero; where it is never to be rotated here, a size that no file reaches. */
      readonly maxSizeBytes: number;
      /** How many rotated files are kept. */
      readonly keep: number;
      readonly gzip: boolean;
    };

export type LogFormat = 'auto' | 'prefix' | 'json' | 'raw';

/** A signal's name with SIG, as in os.constants.signals. */
export type Signal = `SIG${string}`;
