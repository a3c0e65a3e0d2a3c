/** The client connections of one app, as they were counted last, and what follows: whether they pile up on one worker. */
import { describeImbalance, unwatched, watchBalance, type Imbalance, type Share } from '../core/balance.ts';
import type { AppSnapshot, EventBody } from '../core/protocol.ts';
import type { AppConnections, WorkerConnections } from '../ports.ts';
import { isoTime } from './stream.ts';

type Figures = Pick<AppSnapshot, 'connections' | 'queue' | 'countedAt'>;

/** Of an app that was not counted yet, or has no sockets. */
export const uncounted: Figures = { connections: null, queue: null, countedAt: null };

export class Connections {
  readonly #app: string;
  readonly #emit: (body: EventBody) => void;
  #counted: { readonly what: AppConnections; readonly atMs: number } | null = null;
  #watch = unwatched;

  constructor(app: string, emit: (body: EventBody) => void) {
    this.#app = app;
    this.#emit = emit;
  }

  /** @param ready those that serve, with their pids */
  take(counted: AppConnections, ready: ReadonlyMap<string, number | null>, atMs: number): void {
    this.#counted = { what: counted, atMs };
    const before = this.#watch.state;
    const shares = [...ready].map(([worker, pid]): Share => ({
      worker,
      connections: this.of(worker, pid)?.connections ?? null,
    }));
    this.#watch = watchBalance(this.#watch, shares);
    const { state, seen } = this.#watch;
    if (state === before) return;
    if (seen === null) return this.#emit({ type: 'app.balanced', app: this.#app });
    const { worker, connections, total, workers } = seen;
    const message = this.#inWords(seen);
    this.#emit({ type: 'app.unbalanced', app: this.#app, worker, connections, total, workers, message });
  }

  /** null: nothing is known of that process. */
  of(worker: string, pid: number | null): WorkerConnections | null {
    const found = this.#counted?.what.workers.get(worker);
    return found !== undefined && found.pid === pid ? found : null;
  }

  get figures(): Figures {
    if (this.#counted === null) return uncounted;
    const { what, atMs } = this.#counted;
    let connections: number | null = 0;
    for (const worker of what.workers.values())
      connections = connections === null || worker.connections === null ? null : connections + worker.connections;
    return { connections, queue: what.queue, countedAt: isoTime(atMs) };
  }

  /** How many wait to be accepted, and when they were counted; null: not known. */
  get waiting(): { readonly waiting: number; readonly atMs: number } | null {
    const queue = this.#counted?.what.queue ?? null;
    return queue === null ? null : { waiting: queue, atMs: this.#counted!.atMs };
  }

  /** What an operator should know. */
  get note(): string | null {
    const { state, seen } = this.#watch;
    return state === 'balanced' || seen === null ? null : this.#inWords(seen);
  }

  #inWords(seen: Imbalance): string {
    const queues = [...(this.#counted?.what.workers.values() ?? [])].map(({ queue }) => queue);
    return describeImbalance(seen, queues.includes(null) ? 'shared' : 'own');
  }
}
