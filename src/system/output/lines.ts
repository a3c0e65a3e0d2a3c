/**
 * Cuts a stream of chunks into whole lines, however the chunks fall.
 *
 * - It works on bytes: a newline is never part of another UTF-8 character, so text is decoded only when it is whole.
 * - Many lines of one chunk leave as one block: whoever writes them on needs one write.
 * - The last line counts without its newline too, at `end()`.
 * - A line longer than the cap leaves in pieces of (almost) the cap, cut between characters, each marked 'piece' but the
 *   last. Where a line is cut depends on its bytes alone, never on the chunks.
 * - Every byte is copied a bounded number of times: a long line does not cost the square of its length.
 */

/** A line longer than this (1 MiB) is passed on in pieces of the same source. */
export const lineCapBytes = 1024 * 1024;

/** 'line': one or more whole lines. 'piece': a part of one overlong line, whose rest follows. */
export type Ending = 'line' | 'piece';

export type Emit = (bytes: Buffer, ending: Ending) => void;

const newline = 10;
const sliceBytes = 64 * 1024;

export class LineSplitter {
  readonly #emit: Emit;
  readonly #capBytes: number;
  /** The line that has begun; its first `#heldBytes` bytes count, the rest is room. */
  #held: Buffer = Buffer.alloc(0);
  #heldBytes = 0;

  constructor(emit: Emit, capBytes: number = lineCapBytes) {
    this.#emit = emit;
    this.#capBytes = capBytes;
  }

  push(chunk: Buffer): void {
    for (let from = 0; from < chunk.length; from += sliceBytes) {
      const slice = chunk.length <= sliceBytes ? chunk : chunk.subarray(from, from + sliceBytes);
      if (this.#heldBytes + slice.length <= this.#capBytes) this.#pushShort(slice);
      else this.#pushLong(slice);
    }
  }

  /** The stream has ended: what is held is the last line. */
  end(): void {
    if (this.#heldBytes > 0) this.#emit(this.#takeHeld(Buffer.alloc(0)), 'line');
  }

  /** No line in here can be above the cap: everything up to the last newline is one block. */
  #pushShort(slice: Buffer): void {
    const end = slice.lastIndexOf(newline) + 1;
    // Only the line that has begun is copied, not the block after it.
    const from = end > 0 && this.#heldBytes > 0 ? slice.indexOf(newline) + 1 : 0;
    if (from > 0) this.#emit(this.#takeHeld(slice.subarray(0, from)), 'line');
    if (end > from) this.#emit(slice.subarray(from, end), 'line');
    if (end < slice.length) this.#hold(slice.subarray(end));
  }

  /** Line by line, because one of them may be above the cap. */
  #pushLong(slice: Buffer): void {
    let from = 0;
    while (from < slice.length) {
      const found = slice.indexOf(newline, from);
      const end = found === -1 ? slice.length : found;
      while (this.#heldBytes + (end - from) > this.#capBytes) {
        const missing = this.#capBytes - this.#heldBytes;
        this.#hold(slice.subarray(from, from + missing));
        from += missing;
        this.#emitPiece();
      }
      if (found === -1) this.#hold(slice.subarray(from));
      else this.#emit(this.#takeHeld(slice.subarray(from, found + 1)), 'line');
      from = end + 1;
    }
  }

  #emitPiece(): void {
    const cut = wholeCharacters(this.#held.subarray(0, this.#heldBytes));
    const rest = Buffer.from(this.#held.subarray(cut, this.#heldBytes));
    this.#heldBytes = cut;
    this.#emit(this.#takeHeld(Buffer.alloc(0)), 'piece');
    this.#hold(rest);
  }

  #hold(bytes: Buffer): void {
    const needed = this.#heldBytes + bytes.length;
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(this.#held.length * 2, this.#capBytes), 256));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#heldBytes);
    this.#heldBytes = needed;
  }

  /** What is held, followed by `more`, as bytes that nobody writes into again. */
  #takeHeld(more: Buffer): Buffer {
    if (this.#heldBytes === 0) return more;
    const taken = Buffer.concat([this.#held.subarray(0, this.#heldBytes), more]);
    this.#heldBytes = 0;
    if (this.#held.length > sliceBytes) this.#held = Buffer.alloc(0);
    return taken;
  }
}

/** The lines of what was emitted, as text, without their ends (LF or CRLF). Bytes that are no UTF-8 become U+FFFD. */
export function decodeLines(bytes: Buffer): readonly string[] {
  return linesOf(bytes.toString());
}

/** The lines of a text, without their ends (LF or CRLF). */
export function linesOf(text: string): readonly string[] {
  const lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
  return text.includes('\r') ? lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line)) : lines;
}

/** How many of the bytes form whole characters: up to three at the end may begin one that is cut. All, if it is no UTF-8. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length - 1); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue; // in the middle of a character: its first byte is further back
    const characterBytes = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return characterBytes > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
