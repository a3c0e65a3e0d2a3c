/**
 * One answer that is a stream of JSON lines, with a bounded buffer.
 *
 * - A reader that is slower than what happens is dropped once `maxBufferedBytes` wait for it, or once it has taken
 *   nothing for `stallMs` while something waits. Nothing else ever waits for a reader.
 * - What is there at the start (`seed`) may be larger than the buffer: it is written at the reader's pace.
 * - The head of the answer is written with the first line, so that an error can still be an error until then.
 */
import type { ServerResponse } from 'node:http';
import { ndjsonType } from './face.ts';

export interface StreamLimits {
  readonly maxBufferedBytes: number;
  readonly stallMs: number;
}

/** Lines are joined up to this size before they are written. */
const pieceBytes = 32 * 1024;

export class LineStream {
  readonly #response: ServerResponse;
  readonly #limits: StreamLimits;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #seedBytes = 0;
  #state: 'open' | 'ending' | 'closed' = 'open';
  #stall: NodeJS.Timeout | null = null;
  #onClose: (() => void)[] = [];

  constructor(response: ServerResponse, limits: StreamLimits) {
    this.#response = response;
    this.#limits = limits;
    response.on('close', () => this.#closed());
    response.on('drain', () => this.#drained());
  }

  /** Called once, when the reader is gone or all is written. */
  onClose(fn: () => void): void {
    this.#onClose.push(fn);
  }

  /** Begins with these lines, however many they are. */
  seed(values: readonly unknown[]): void {
    const lines = values.map(lineOf);
    this.#seedBytes += lines.reduce((sum, line) => sum + line.length, 0);
    this.#add(lines);
  }

  write(value: unknown): void {
    this.#add([lineOf(value)]);
  }

  /** Writes what waits, then ends the answer. */
  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#pump();
  }

  #add(lines: readonly string[]): void {
    if (this.#state !== 'open') return;
    for (const line of lines) {
      this.#waiting.push(line);
      this.#waitingBytes += line.length;
    }
    this.#pump();
    if (this.#waitingBytes > this.#limits.maxBufferedBytes + this.#seedBytes) this.#response.destroy();
  }

  #pump(): void {
    this.#head();
    while (this.#waiting.length > 0 && this.#stall === null) {
      const piece = this.#nextPiece();
      if (!this.#response.write(piece)) this.#watchStall();
    }
    if (this.#waiting.length > 0) return;
    this.#seedBytes = 0;
    if (this.#state === 'ending') this.#response.end();
  }

  #nextPiece(): string {
    let count = 0;
    let bytes = 0;
    while (count < this.#waiting.length && bytes < pieceBytes) bytes += this.#waiting[count++]?.length ?? 0;
    const piece = this.#waiting.slice(0, count).join('');
    this.#waiting = this.#waiting.slice(count);
    this.#waitingBytes -= piece.length;
    return piece;
  }

  #head(): void {
    if (this.#response.headersSent) return;
    this.#response.writeHead(200, { 'content-type': ndjsonType, 'cache-control': 'no-store', 'connection': 'close' });
    this.#response.flushHeaders();
  }

  #watchStall(): void {
    this.#stall = setTimeout(() => this.#response.destroy(), this.#limits.stallMs);
    this.#stall.unref();
  }

  #drained(): void {
    this.#clearStall();
    if (this.#state !== 'closed') this.#pump();
  }

  #clearStall(): void {
    if (this.#stall !== null) clearTimeout(this.#stall);
    this.#stall = null;
  }

  #closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#clearStall();
    this.#waiting = [];
    for (const fn of this.#onClose) fn();
  }
}

function lineOf(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
