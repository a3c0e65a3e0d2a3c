/**
 * When a process that was just spawned counts as ready: by what it says itself (a newline on NOTIFY_FD, an IPC message, a
 * line of its output), or by what readiness.ts sees from outside.
 *
 * - Ready at most once, and never after it was asked to end.
 * - A script under `auto` or `listening` is ready when it listens on a configured socket (its preload tells) or, under
 *   node:cluster, on any; `process.send('ready')` counts for `auto` too.
 * - A script that only listens elsewhere is told so after 3 s: a wrong port is the likely reason.
 */
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import type { AppSpec } from '../../core/spec.ts';
import type { Cancel } from '../../ports.ts';
import { aimAt } from '../health/worker-aim.ts';
import { watchReadiness, type ReadinessListener } from '../readiness/readiness.ts';
import type { Seat } from '../sockets/seat.ts';

const elsewhereAfterMs = 3_000;

export interface ReadyTarget {
  readonly app: AppSpec;
  readonly pid: number;
  readonly seat: Pick<Seat, 'inodes' | 'reach'>;
  readonly slot: number;
}

export class WorkerReady {
  readonly #app: AppSpec;
  readonly #pattern: RegExp | null;
  readonly #listener: ReadinessListener;
  #cancelWatch: Cancel = () => undefined;
  #elsewhere: NodeJS.Timeout | null = null;
  #state: 'waiting' | 'over' = 'waiting';
  /** Why the last try of http or tcp has failed. */
  #lastFailure: string | null = null;

  constructor(app: AppSpec, listener: ReadinessListener) {
    this.#app = app;
    this.#listener = listener;
    this.#pattern = app.ready.kind === 'log' ? new RegExp(app.ready.pattern) : null;
  }

  /** What is to see each line of both streams; undefined: nothing is. */
  get onLine(): ((line: string) => void) | undefined {
    const pattern = this.#pattern;
    return pattern === null
      ? undefined
      : (line) => void (this.#state === 'waiting' && pattern.test(line) && this.#ready());
  }

  /** Watches from outside where that is what `ready` asks for. */
  watch({ app, pid, seat, slot }: ReadyTarget): void {
    const { ready, kind } = app;
    const aim = ready.kind === 'http' || ready.kind === 'tcp' ? aimAt(ready, app, { slot, seat }) : null;
    this.#cancelWatch = watchReadiness(
      { pid, ready, listeners: seat.inodes, aim, kind },
      {
        ready: (waiting) => this.#ready(waiting),
        failed: (why) => (this.#lastFailure = why),
        warning: (message) => this.#listener.warning(message),
      },
    );
    if (this.#state === 'over') this.#cancelWatch();
  }

  /** Reads NOTIFY_FD: it is ready at the first newline. Read to its end, so that a later writer is never stopped. */
  readNotify(pipe: Readable): void {
    pipe.on('data', (chunk: Buffer) => void (chunk.includes(10) && this.#ready()));
    pipe.on('error', () => undefined);
  }

  /** A message of its IPC channel. */
  message(message: unknown): void {
    const { kind } = this.#app.ready;
    if (message === 'ready') {
      if (kind === 'ipc' || (kind === 'auto' && this.#app.kind === 'script')) this.#ready();
    } else if (isOurs(message)) {
      if (message.supervise === 'listening') this.listens();
      else this.#listensElsewhere(message.at);
    }
  }

  /** A script listens. */
  listens(): void {
    const { kind } = this.#app.ready;
    if (this.#app.kind === 'script' && (kind === 'auto' || kind === 'listening')) this.#ready();
  }

  /** It is asked to end: where a probe has failed until now, that is why it was not ready. */
  giveUp(): void {
    if (this.#state === 'waiting' && this.#lastFailure !== null)
      this.#listener.warning(`it had to end before it was ready; its last probe: ${this.#lastFailure}`);
    this.end();
  }

  /** Nothing is reported any more. */
  end(): void {
    this.#state = 'over';
    this.#cancelWatch();
    if (this.#elsewhere !== null) clearTimeout(this.#elsewhere);
  }

  #ready(waiting: number | null = null): void {
    if (this.#state === 'over') return;
    this.end();
    this.#listener.ready(waiting);
  }

  #listensElsewhere(at: AddressInfo | string | null): void {
    if (this.#state === 'over' || this.#elsewhere !== null) return;
    const where = at !== null && typeof at === 'object' ? `port ${at.port}` : String(at);
    const { name, listen } = this.#app;
    const wanted = listen.map((each) => each.url).join(', ');
    const message = `it listens on ${where}, which is not in "listen" of ${name} (${wanted}): only a listen() with that port or path gets the shared socket`;
    this.#elsewhere = setTimeout(() => this.#listener.warning(message), elsewhereAfterMs);
    this.#elsewhere.unref();
  }
}

type OurMessage =
  | { readonly supervise: 'listening'; readonly url: string }
  | { readonly supervise: 'elsewhere'; readonly at: AddressInfo | string | null };

function isOurs(message: unknown): message is OurMessage {
  return (
    typeof message === 'object' &&
    message !== null &&
    ['listening', 'elsewhere'].includes((message as { supervise?: string }).supervise ?? '')
  );
}
