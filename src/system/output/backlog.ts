/**
 * The lines that wait to be written, as bytes, first come first out. `peek` packs them into pieces of whole lines, so
 * that one write carries many, and so that a pipe (which takes up to 4 KiB whole or not at all) never holds a part of a
 * line while another process writes into it; only a line longer than a piece is spread over several.
 */
interface Entry {
  readonly bytes: Buffer;
  readonly lines: number;
}

const newline = 10;

export class Backlog {
  #entries: Entry[] = [];
  #first = 0;
  /** So many bytes of the first entry are written already. */
  #offset = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(bytes: Buffer, lines: number): void {
    this.#entries.push({ bytes, lines });
    this.#bytes += bytes.length;
  }

  /** The next bytes to write, `mostBytes` at most; they stay in until they are dropped. */
  peek(mostBytes: number): Buffer {
    const head = this.#entries[this.#first]?.bytes.subarray(this.#offset) ?? Buffer.alloc(0);
    if (head.length > mostBytes) return head.subarray(0, lineEndWithin(head, mostBytes));
    const parts = [head];
    let length = head.length;
    for (let at = this.#first + 1; at < this.#entries.length; at++) {
      const bytes = this.#entries[at]?.bytes;
      if (bytes === undefined || length + bytes.length > mostBytes) break;
      parts.push(bytes);
      length += bytes.length;
    }
    return parts.length === 1 ? head : Buffer.concat(parts, length);
  }

  drop(bytes: number): void {
    this.#bytes -= bytes;
    this.#offset += bytes;
    for (let entry = this.#entries[this.#first]; entry !== undefined && this.#offset >= entry.bytes.length;) {
      this.#offset -= entry.bytes.length;
      this.#first++;
      entry = this.#entries[this.#first];
    }
    if (this.#first > 64 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Forgets everything, and says how much that was; a line of which a part was written counts. */
  clear(): { lines: number; bytes: number } {
    const bytes = this.#bytes;
    let lines = 0;
    for (let at = this.#first; at < this.#entries.length; at++) lines += this.#entries[at]?.lines ?? 0;
    if (this.#offset > 0) lines -= countNewlines(this.#entries[this.#first]?.bytes.subarray(0, this.#offset));
    this.#entries = [];
    this.#first = this.#offset = this.#bytes = 0;
    return { lines, bytes };
  }
}

/** How many of the first `mostBytes` end with a line; all of them where no line ends in there. */
function lineEndWithin(bytes: Buffer, mostBytes: number): number {
  const end = bytes.lastIndexOf(newline, mostBytes - 1) + 1;
  return end > 0 ? end : mostBytes;
}

function countNewlines(bytes: Buffer | undefined): number {
  let count = 0;
  for (const byte of bytes ?? []) if (byte === newline) count++;
  return count;
}
