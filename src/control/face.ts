/**
 * The shapes that pass between the control server, its client, and the two things it serves: the master and the
 * log lines. The server knows the master by these few methods only, so that tests can put another one there.
 */
import type { Command, Event, LogLine, Reply, Snapshot, Target } from '../core/protocol.ts';
import type { History, HistorySpan } from '../core/history.ts';
import type { CapacityReport } from '../core/capacity.ts';
import type { Why } from '../core/record.ts';
import type { Spec } from '../core/spec.ts';

export interface MasterFace {
  snapshot(): Snapshot;
  /** Answers at once; what takes longer is reported under the reply's operation number. */
  handle(command: Command): Reply;
  subscribe(listener: (event: Event) => void): () => void;
  recentEvents(): readonly Event[];
  /** With the last `n` exits. @throws SuperviseError unknown-target */
  why(target: Target, n: number): Why;
  /** CPU and memory of `host`, an app or a worker. @throws SuperviseError unknown-target */
  history(target: string, span: HistorySpan): History;
  /** How the host was used in the last `spanMs`, and what follows. */
  capacity(spanMs: number): CapacityReport;
}

/** Both null: every line. `source`: a worker's id or `hook.NAME`. */
export interface LogFilter {
  readonly app: string | null;
  readonly source: string | null;
}

export interface LogFace {
  /** The last `n` lines that match, oldest first. */
  recent(filter: LogFilter, n: number): readonly LogLine[];
  subscribe(listener: (line: LogLine) => void): () => void;
}

/** Reads the config that the master was started with again. @throws SuperviseError config-invalid, config-not-found */
export type Reread = () => Promise<Spec>;

/** What the master's own process uses. */
export interface OwnUsage {
  /** User and system time since its start. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** null: not known. */
  readonly openFiles: number | null;
  /** Time in which its event loop did not wait. */
  readonly loopBusySeconds: number;
}

/** What the routes work with. `reread` is null when the master was started without a config file. */
export interface Served {
  readonly master: MasterFace;
  readonly logs: LogFace;
  readonly reread: Reread | null;
  own(): OwnUsage;
}

/** The body of every answer that is not a success. `code` is one of `errorCodes`. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
    readonly exitCode: number;
    readonly lastLines: readonly string[];
  };
}

/** The last line of every operation's stream. */
export interface OperationResult {
  readonly type: 'result';
  readonly ok: boolean;
  readonly exitCode: number;
  readonly message: string;
  readonly lastLines: readonly string[];
}

/** How a route of an operation answers, line by line: what happens on the way, then the result. */
export type OperationLine = Event | OperationResult;

export const ndjsonType = 'application/x-ndjson';
