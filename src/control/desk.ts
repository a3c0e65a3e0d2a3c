/**
 * Where requests arrive: finds the route, reads the fields, answers; knows the open streams. Whatever goes wrong with a
 * request is the answer to it, and nothing of it goes further.
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Served } from './face.ts';
import type { StreamLimits } from './line-stream.ts';
import { LineStream } from './line-stream.ts';
import { Metrics } from './metrics/metrics.ts';
import type { Exchange } from './routes.ts';
import { answer, pathFields, routeFor } from './routes.ts';
import type { Fields } from './wire.ts';
import { HttpError, errorAnswer, parseBody } from './wire.ts';

export interface DeskLimits extends StreamLimits {
  readonly maxFollowers: number;
  readonly maxBodyBytes: number;
  /** How long one snapshot serves all who ask, unless something happens before. */
  readonly snapshotAgeMs: number;
}

/** Takes requests and answers them; knows the open streams. */
export class Desk {
  readonly #served: Served;
  readonly #limits: DeskLimits;
  readonly #streams = new Set<LineStream>();
  readonly #metrics: Metrics;
  readonly #forget: () => void;
  #followers = 0;
  #snapshot: { readonly json: string; readonly atMs: number } | null = null;

  constructor(served: Served, limits: DeskLimits) {
    this.#served = served;
    this.#limits = limits;
    this.#metrics = new Metrics(served);
    this.#forget = served.master.subscribe((event) => {
      this.#snapshot = null;
      this.#metrics.take(event);
    });
  }

  close(): void {
    this.#forget();
    for (const stream of this.#streams) stream.end();
  }

  /** Never rejects. `admit` throws where this request is not to be answered. */
  async receive(
    request: IncomingMessage,
    response: ServerResponse,
    admit: (request: IncomingMessage, path: string) => void = () => {},
  ): Promise<void> {
    request.on('error', () => {});
    response.on('error', () => {});
    response.setTimeout(this.#limits.stallMs * 3, () => {
      if (!response.headersSent || response.writableEnded) response.destroy();
    });
    try {
      const url = urlOf(request);
      admit(request, url.pathname);
      const route = routeFor(request.method ?? '', url.pathname);
      const fields = route.method === 'GET' ? Object.fromEntries(url.searchParams) : await this.#body(request);
      const params = pathFields(route, url.pathname) ?? {};
      await answer(route, this.#exchange({ fields, params }, request, response));
    } catch (error) {
      sendError(response, error);
    }
  }

  async #body(request: IncomingMessage): Promise<Fields> {
    return parseBody(await readBody(request, this.#limits.maxBodyBytes));
  }

  #exchange(asked: Pick<Exchange, 'fields' | 'params'>, request: IncomingMessage, response: ServerResponse): Exchange {
    return {
      served: this.#served,
      ...asked,
      snapshotJson: () => this.#snapshotJson(),
      json: (text) => send(response, 200, text),
      text: (contentType, text) => write(response, 200, { 'content-type': contentType }, text),
      metrics: () => this.#metrics.scrape(request.headers.accept ?? ''),
      open: (kind) => this.#open(kind, response),
    };
  }

  #open(kind: 'short' | 'follow', response: ServerResponse): LineStream {
    const follows = kind === 'follow';
    if (follows && this.#followers >= this.#limits.maxFollowers) {
      throw new HttpError(
        503,
        `${this.#followers} clients follow events or logs already`,
        'end one of them, or ask without follow',
      );
    }
    const stream = new LineStream(response, this.#limits);
    this.#streams.add(stream);
    if (follows) this.#followers += 1;
    stream.onClose(() => {
      this.#streams.delete(stream);
      if (follows) this.#followers -= 1;
    });
    return stream;
  }

  #snapshotJson(): string {
    const nowMs = performance.now();
    if (this.#snapshot === null || nowMs - this.#snapshot.atMs > this.#limits.snapshotAgeMs) {
      this.#snapshot = { json: JSON.stringify(this.#served.master.snapshot()), atMs: nowMs };
    }
    return this.#snapshot.json;
  }
}

function urlOf(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'http://supervise');
  } catch {
    throw new HttpError(400, 'expected a path as /v1/status');
  }
}

/** @throws HttpError 413 as soon as it is known to be too large */
function readBody(request: IncomingMessage, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const tooLarge = () => {
      request.removeAllListeners('data');
      request.pause();
      reject(new HttpError(413, `expected a body of at most ${maxBytes} bytes, found more`));
    };
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) return tooLarge();
    request.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > maxBytes) return tooLarge();
      pieces.push(piece);
    });
    request.on('end', () => resolve(Buffer.concat(pieces).toString('utf8')));
    request.on('close', () => reject(new HttpError(400, 'the request was cut')));
  });
}

function send(response: ServerResponse, status: number, text: string): void {
  write(response, status, { 'content-type': 'application/json' }, `${text}\n`);
}

function write(response: ServerResponse, status: number, headers: OutgoingHttpHeaders, body: string): void {
  response.writeHead(status, {
    ...headers,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'connection': 'close',
  });
  response.end(body);
}

function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const { status, body } = errorAnswer(error);
  const challenge = status === 401 ? { 'www-authenticate': 'Bearer realm="supervise"' } : {};
  write(response, status, { 'content-type': 'application/json', ...challenge }, `${JSON.stringify(body)}\n`);
}
