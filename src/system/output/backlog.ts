/**
 * The lines that wait to be written, as bytes, first come first out. They are copied into a few large chunks, so that one
 * write carries many lines and nothing is left to the garbage collector: a chunk that was written is used again.
 *
 * A piece that `peek` gives out ends with a line wherever it can, so that a pipe (which takes up to 4 KiB whole or not at
 * all) never holds a part of a line while another process writes into it; only a line longer than a piece is spread.
 */

interface Chunk {
  readonly room: Buffer;
  from: number;
  to: number;
}

const newline = 10;
const smallestChunkBytes = 16 * 1024;
const largestChunkBytes = 512 * 1024;

export class Backlog {
  #chunks: Chunk[] = [];
  /** A chunk that was written, for the next lines. */
  #spare: Buffer | null = null;
  #bytes = 0;
  #chunkBytes = smallestChunkBytes;

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a copy of whole lines; they stay together where they fit into one chunk. */
  add(bytes: Buffer): void {
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || chunk.room.length - chunk.to < bytes.length) {
      chunk = { room: this.#roomFor(bytes.length), from: 0, to: 0 };
      this.#chunks.push(chunk);
    }
    chunk.room.set(bytes, chunk.to);
    chunk.to += bytes.length;
    this.#bytes += bytes.length;
  }

  /** The next bytes to write, `mostBytes` at most; they stay in, and as they are, until they are dropped. */
  peek(mostBytes: number): Buffer {
    const chunk = this.#chunks[0];
    if (chunk === undefined) return Buffer.alloc(0);
    const bytes = chunk.room.subarray(chunk.from, chunk.to);
    return bytes.length > mostBytes ? bytes.subarray(0, lineEndWithin(bytes, mostBytes)) : bytes;
  }

  /** Forgets the first bytes: they are written, and nobody reads them from what `peek` has given any more. */
  drop(bytes: number): void {
    this.#bytes -= bytes;
    for (let left = bytes, chunk = this.#chunks[0]; chunk !== undefined && left > 0; chunk = this.#chunks[0]) {
      const taken = Math.min(left, chunk.to - chunk.from);
      chunk.from += taken;
      left -= taken;
      if (chunk.from < chunk.to) return;
      this.#chunks.shift();
      if (chunk.room.length <= largestChunkBytes) this.#spare = chunk.room;
    }
  }

  /** Forgets everything, and says how much that was; a line of which a part was written counts. */
  clear(): { lines: number; bytes: number } {
    const bytes = this.#bytes;
    const lines = this.#chunks.reduce((sum, { room, from, to }) => sum + countLines(room.subarray(from, to)), 0);
    this.#chunks = [];
    this.#spare = null;
    this.#bytes = 0;
    return { lines, bytes };
  }

  /** Small where little is written; each time that one does not suffice, the next is twice as large. */
  #roomFor(bytes: number): Buffer {
    if (this.#bytes > 0) this.#chunkBytes = Math.min(largestChunkBytes, this.#chunkBytes * 2);
    const needed = Math.max(this.#chunkBytes, bytes);
    const spare = this.#spare;
    this.#spare = null;
    return spare !== null && spare.length >= needed ? spare : Buffer.allocUnsafeSlow(needed);
  }
}

/** How many lines end in these bytes. */
export function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(newline); at !== -1; at = bytes.indexOf(newline, at + 1)) count++;
  return count;
}

/** How many of the first `mostBytes` end with a line; all of them where no line ends in there. */
function lineEndWithin(bytes: Buffer, mostBytes: number): number {
  const end = bytes.lastIndexOf(newline, mostBytes - 1) + 1;
  return end > 0 ? end : mostBytes;
}
