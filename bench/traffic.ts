/**
 * The load generator of tests, soak and bench: new connections at a given rate, whatever becomes of them, clients that
 * keep their connection and ask one request after the other, and clients in a hurry. It counts what went wrong:
 *
 *   refused   nobody listened               status    an answer other than 200
 *   reset     the connection was reset      timeout   no whole answer in time
 *   eof       it ended too early            other     anything else
 *
 * `reused` counts apart: a request on a connection that had been used before, which was reset or closed before a byte of the
 * answer. A server may close a kept connection while it is idle, and the request crosses that on its way; RFC 9112 9.3.1 has
 * clients send it again on a new connection, and so does this one. Only when that fails too it is a failure. From the client's side
 * this cannot be told from a server that died over such a request; requests on new connections can, and there are many.
 *
 * `stall` is the longest time without any answered request.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection, failureKinds, RequestFailure, type FailureKind, type Target } from './traffic-connection.ts';

export interface TrafficOptions extends Partial<Target> {
  readonly port: number;
  /** New connections per second, evenly spread. */
  readonly newPerSecond: number;
  /** Clients that keep their connection. */
  readonly keptAlive: number;
  /** Of each of these, between two requests. */
  readonly pauseMs?: number;
  /** Clients that ask one request after the other at full speed, each on a new connection. */
  readonly hurried?: number;
}

export interface Tally {
  readonly seconds: number;
  readonly answered: number;
  /** All that are not answered. */
  readonly failed: number;
  readonly failures: Readonly<Record<FailureKind, number>>;
  readonly reused: number;
  readonly stallMs: number;
  /** The reasons of some failures, to look into. */
  readonly examples: readonly string[];
}

const tickMs = 10;
const mostExamples = 10;

export class Traffic {
  readonly #target: Target;
  readonly #options: TrafficOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #clients: Promise<void>[];
  readonly #inHand = new Set<Promise<void>>();
  #state: 'runs' | 'pauses' | 'ends' = 'runs';
  #startedMs = performance.now();
  #sinceMs = performance.now();
  /** Connections opened since the beginning or the last pause. */
  #opened = 0;
  #counts = noCounts();
  #lastAnswerMs = performance.now();

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#target = { host: '127.0.0.1', path: '/', timeoutMs: 5_000, ...options };
    this.#timer = setInterval(() => this.#openNew(), tickMs);
    const kept = Array.from({ length: options.keptAlive }, (_, index) => this.#client(index));
    this.#clients = [...kept, ...Array.from({ length: options.hurried ?? 0 }, () => this.#hurriedClient())];
  }

  /** How many requests were answered since the start or the last `take`. */
  get answered(): number {
    return this.#counts.answered;
  }

  /** What has happened since the start or the last `take`. */
  take(): Tally {
    const nowMs = performance.now();
    this.#noteGap(nowMs);
    const { answered, reused, failures, stallMs, examples } = this.#counts;
    const seconds = (nowMs - this.#sinceMs) / 1000;
    const failed = Object.values(failures).reduce((sum, each) => sum + each, 0);
    this.#sinceMs = nowMs;
    this.#counts = noCounts();
    return { seconds, answered, failed, failures, reused, stallMs, examples };
  }

  /** Calls `act` at a moment at which no request is in hand, then goes on. */
  async outsideOfRequests(act: () => void): Promise<void> {
    this.#state = 'pauses';
    while (this.#inHand.size > 0) await Promise.all(this.#inHand);
    act();
    this.#state = 'runs';
    this.#startedMs = performance.now();
    this.#opened = 0;
  }

  /** No new requests; waits for those in hand. */
  async end(): Promise<Tally> {
    this.#state = 'ends';
    clearInterval(this.#timer);
    await Promise.all([...this.#clients, ...this.#inHand]);
    return this.take();
  }

  #openNew(): void {
    if (this.#state !== 'runs') return;
    const due = Math.floor(((performance.now() - this.#startedMs) / 1000) * this.#options.newPerSecond);
    for (; this.#opened < due; this.#opened++) void this.#askNew();
  }

  #askNew(): Promise<void> {
    const connection = new Connection(this.#target);
    return this.#track(this.#count(connection.request('close')).finally(() => connection.destroy()));
  }

  async #hurriedClient(): Promise<void> {
    while (this.#state !== 'ends') {
      if (this.#state === 'runs') await this.#askNew();
      else await sleep(tickMs);
    }
  }

  async #client(index: number): Promise<void> {
    const { pauseMs = 10, keptAlive } = this.#options;
    let connection: Connection | null = null;
    await sleep((pauseMs * index) / keptAlive);
    while (this.#state !== 'ends') {
      if (this.#state === 'runs') {
        if (!connection?.isOpen) connection = new Connection(this.#target);
        await this.#track(this.#count(this.#askKept(connection)));
      }
      await sleep(pauseMs);
    }
    connection?.destroy();
  }

  /** Asks on a kept connection; once more on a new one where that has crossed its end. */
  async #askKept(connection: Connection): Promise<void> {
    try {
      await connection.request('keep-alive');
    } catch (error) {
      const isLegal =
        error instanceof RequestFailure && error.onReused && (error.kind === 'reset' || error.kind === 'eof');
      if (!isLegal) throw error;
      this.#counts.reused++;
      const again = new Connection(this.#target);
      await again.request('close').finally(() => again.destroy());
    }
  }

  async #count(request: Promise<unknown>): Promise<void> {
    try {
      await request;
      this.#counts.answered++;
      this.#noteGap(performance.now());
      this.#lastAnswerMs = performance.now();
    } catch (error) {
      const kind = error instanceof RequestFailure ? error.kind : 'other';
      this.#counts.failures[kind]++;
      if (this.#counts.examples.length < mostExamples)
        this.#counts.examples.push(`${new Date().toISOString()} ${kind}: ${(error as Error).message}`);
    }
  }

  #noteGap(nowMs: number): void {
    this.#counts.stallMs = Math.max(this.#counts.stallMs, nowMs - Math.max(this.#lastAnswerMs, this.#sinceMs));
  }

  async #track(request: Promise<void>): Promise<void> {
    this.#inHand.add(request);
    await request;
    this.#inHand.delete(request);
  }
}

function noCounts(): {
  answered: number;
  reused: number;
  stallMs: number;
  failures: Record<FailureKind, number>;
  examples: string[];
} {
  const failures = Object.fromEntries(failureKinds.map((kind) => [kind, 0])) as Record<FailureKind, number>;
  return { answered: 0, reused: 0, stallMs: 0, failures, examples: [] };
}
