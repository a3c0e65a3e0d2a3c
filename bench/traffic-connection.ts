/**
 * One HTTP/1.1 connection of the load generator. It is no http.Agent, because what counts is what an agent hides: how a
 * connection ends, and whether a byte of the answer had come by then.
 */
import { connect, type Socket } from 'node:net';

/** How a request can fail. */
export const failureKinds = ['refused', 'reset', 'eof', 'status', 'timeout', 'other'] as const;
export type FailureKind = (typeof failureKinds)[number];

/** A request that got no whole 200. */
export class RequestFailure extends Error {
  readonly kind: FailureKind;
  /** It was sent on a connection that had been used before, and nothing of the answer had come. */
  readonly onReused: boolean;

  constructor(kind: FailureKind, onReused: boolean, why: string) {
    super(why);
    this.kind = kind;
    this.onReused = onReused;
  }
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** From the request (the connecting included) to the last byte of the answer. */
  readonly timeoutMs: number;
}

interface Pending {
  readonly answered: (body: string) => void;
  readonly failed: (failure: RequestFailure) => void;
}

export class Connection {
  readonly #target: Target;
  readonly #socket: Socket;
  #localPort: number | null = null;
  #received = '';
  #answered = 0;
  #isOpen = true;
  #pending: Pending | null = null;

  constructor(target: Target) {
    this.#target = target;
    this.#socket = connect({ host: target.host, port: target.port, noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.once('connect', () => (this.#localPort = this.#socket.localPort ?? null));
    this.#socket.on('data', (text) => this.#read(String(text)));
    this.#socket.on('end', () => this.#ended());
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(kindOf(error), error.message));
    this.#socket.on('close', () => this.#fail('eof', 'closed'));
  }

  /** Whether another request can be sent on it. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The port of the client's end, also when it is closed; null: it was never connected. */
  get localPort(): number | null {
    return this.#localPort;
  }

  /** Sends a request and waits for all of its answer. @returns the body, as it was sent @throws RequestFailure */
  async request(connection: 'keep-alive' | 'close'): Promise<string> {
    const { host, port, path, timeoutMs } = this.#target;
    const done = new Promise<string>((answered, failed) => (this.#pending = { answered, failed }));
    const timer = setTimeout(() => this.#fail('timeout', `no answer within ${timeoutMs} ms`), timeoutMs);
    this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: ${connection}\r\n\r\n`);
    try {
      return await done;
    } finally {
      clearTimeout(timer);
    }
  }

  destroy(): void {
    this.#isOpen = false;
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#received += text;
    const answer = readAnswer(this.#received);
    if (answer === null || answer.length === 'until the end') return;
    this.#finish(answer);
  }

  #ended(): void {
    const answer = readAnswer(this.#received);
    if (answer?.length === 'until the end') this.#finish(answer);
    else this.#fail('eof', 'the connection was closed before the answer was complete');
  }

  #finish({ status, keepsAlive, body }: Answer): void {
    const pending = this.#pending;
    if (pending === null) return this.destroy();
    if (status !== 200) return this.#fail('status', `status ${status}`);
    this.#pending = null;
    this.#received = '';
    this.#answered++;
    if (!keepsAlive) this.destroy();
    pending.answered(body);
  }

  #fail(kind: FailureKind, why: string): void {
    const pending = this.#pending;
    const onReused = this.#answered > 0 && this.#received === '';
    this.#pending = null;
    this.destroy();
    pending?.failed(new RequestFailure(kind, onReused, why));
  }
}

interface Answer {
  readonly status: number;
  readonly keepsAlive: boolean;
  /** Without a length it ends with the connection. */
  readonly length: 'known' | 'until the end';
  readonly body: string;
}

/** The answer at the beginning of `text`; null: not all of it is there. RFC 9112, as far as servers use it. */
function readAnswer(text: string): Answer | null {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const head = text.slice(0, end);
  const from = end + 4;
  const body = text.slice(from);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  const isChunked = /^transfer-encoding:.*\bchunked/im.test(head);
  const answer = (keepsAlive: boolean): Answer => ({ status, keepsAlive, length: 'known', body });
  const keepsAlive = !/^connection:.*\bclose/im.test(head) && head.startsWith('HTTP/1.1');
  if (isChunked) return hasAllChunks(text, from) ? answer(keepsAlive) : null;
  if (length !== undefined) return body.length >= Number(length) ? answer(keepsAlive) : null;
  return { status, keepsAlive: false, length: 'until the end', body };
}

function hasAllChunks(text: string, from: number): boolean {
  for (let at = from; ;) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd < 0) return false;
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (text.length < next) return false;
    if (size === 0) return true;
    at = next;
  }
}

function kindOf({ code }: NodeJS.ErrnoException): FailureKind {
  if (code === 'ECONNREFUSED' || code === 'ENOENT') return 'refused';
  return code === 'ECONNRESET' || code === 'EPIPE' ? 'reset' : 'other';
}
