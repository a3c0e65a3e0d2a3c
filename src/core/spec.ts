/**
 * The effective configuration as plain data: every default filled in, every unit a number, nothing resolved
 * against the running machine yet (symlinks, env files and the program are, when a revision is pinned).
 */

export const hookPhases = ['pre_start', 'post_start', 'pre_stop', 'post_stop'] as const;
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
  /** In the order of the config: started in it, stopped in reverse. */
  readonly apps: readonly AppSpec[];
  readonly sampleEveryMs: number;
  /** The control socket, absolute; null means RUNTIME/control.sock. */
  readonly controlSocket: string | null;
}

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
  readonly workers: number;
  readonly listen: readonly ListenSpec[];
  /** A script without `listen` chooses its ports itself and runs under node:cluster; the rest is spawned. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Relative to the resolved cwd, or absolute. */
  readonly envFile: string | null;
  readonly identity: IdentitySpec;
  /** Slot n gets port + n; null: the program binds nothing of its own, or we do not know of it. */
  readonly port: number | null;
  readonly ready: ReadySpec;
  readonly readyTimeoutMs: number;
  readonly startAttempts: number;
  readonly restart: RestartPolicy;
  readonly backoff: BackoffSpec;
  readonly stop: StopSpec;
  readonly reload: ReloadSpec;
  readonly logFormat: LogFormat;
}

export type ListenSpec =
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      /** '' host: IPv6 and IPv4. */ readonly url: string;
    }
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
  /** A port of null is the worker's own `port`. */
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

export type LogFormat = 'auto' | 'prefix' | 'json' | 'raw';

/** A signal's name with SIG, as in os.constants.signals. */
export type Signal = `SIG${string}`;
