/**
 * The last lines of each source, for `logs`, for messages about a failed start and for the record of an exit.
 *
 * - Per source and stream at most 200 lines and 32 KiB; a longer line keeps its beginning.
 * - They are kept as they came, in blocks of many lines, and become single lines only when somebody asks for them.
 * - A new process of the same worker begins anew for `tail`, while `recent` still shows what its predecessors wrote.
 * - Of retired sources the last 32 are kept.
 */
import type { LogLine } from '../../core/protocol.ts';
import type { LineSource } from './line-format.ts';
import { linesOf } from './lines.ts';

const mostLines = 200;
const mostBytes = 32 * 1024;
const mostRetired = 32;

/** null or missing: any. */
export interface LogFilter {
  readonly app?: string | null;
  readonly source?: string | null;
}

interface Entry {
  /** Counts over the blocks of all sources: the order in which lines came. */
  readonly seq: number;
  readonly atMs: number;
  readonly line: string;
}

interface Rings {
  readonly stdout: Ring;
  readonly stderr: Ring;
  readonly app: string;
  readonly source: string;
}

export class RecentLines {
  readonly #sources = new Map<string, Rings>();
  /** In the order of their retirement. */
  readonly #retired = new Set<string>();
  #seq = 0;

  /** A process begins to write; the answer takes its lines, whose bytes are not to be written into. */
  begin(from: LineSource): (bytes: Buffer, atMs: number) => void {
    this.#retired.delete(from.source);
    const rings = this.#sources.get(from.source) ?? {
      stdout: new Ring(),
      stderr: new Ring(),
      app: from.app,
      source: from.source,
    };
    this.#sources.set(from.source, rings);
    const ring = rings[from.stream];
    ring.begin(this.#seq);
    return (bytes, atMs) => ring.add(bytes, this.#seq++, atMs);
  }

  /** The last lines of the source's present process: stderr's, or stdout's where stderr has none. */
  tail(source: string, count: number): readonly string[] {
    const rings = this.#sources.get(source);
    if (rings === undefined) return [];
    const lines = rings.stderr.current();
    return lastOf(lines.length > 0 ? lines : rings.stdout.current(), count);
  }

  /** The last `count` lines of all that fit, in the order in which they came. */
  recent(filter: LogFilter, count: number): LogLine[] {
    const found: { entry: Entry; rings: Rings; stream: LogLine['stream'] }[] = [];
    for (const rings of this.#sources.values()) {
      if (filter.app != null && rings.app !== filter.app) continue;
      if (filter.source != null && rings.source !== filter.source) continue;
      for (const stream of ['stdout', 'stderr'] as const) {
        for (const entry of lastOf(rings[stream].all(), count)) found.push({ entry, rings, stream });
      }
    }
    found.sort((one, other) => one.entry.seq - other.entry.seq);
    return lastOf(found, count).map(({ entry, rings, stream }) => {
      return { at: new Date(entry.atMs).toISOString(), app: rings.app, source: rings.source, stream, line: entry.line };
    });
  }

  /** The source will write no more. */
  forget(source: string): void {
    if (!this.#sources.has(source)) return;
    this.#retired.delete(source);
    this.#retired.add(source);
    for (const oldest of this.#retired) {
      if (this.#retired.size <= mostRetired) break;
      this.#retired.delete(oldest);
      this.#sources.delete(oldest);
    }
  }
}

interface Kept {
  readonly seq: number;
  readonly atMs: number;
  readonly content: Buffer | string;
  readonly bytes: number;
  /** What the content lies in, to be used again. */
  readonly room: Buffer | null;
}

type Content = Pick<Kept, 'content' | 'room'>;

class Ring {
  /** Each has one line at least. */
  readonly #blocks: Kept[] = [];
  #bytes = 0;
  #beginSeq = 0;
  /** Where the ends of large blocks were kept that are gone: used again, or a fast writer would fill the memory with them. */
  readonly #freeRooms: Buffer[] = [];

  begin(seq: number): void {
    this.#beginSeq = seq;
  }

  add(bytes: Buffer, seq: number, atMs: number): void {
    const { content, room } = bytes.length > mostBytes ? this.#endOf(bytes) : { content: held(bytes), room: null };
    this.#blocks.push({ seq, atMs, content, bytes: content.length, room });
    this.#bytes += content.length;
    for (let oldest = this.#blocks[0]; oldest !== undefined && this.#blocks.length > 1; oldest = this.#blocks[0]) {
      if (this.#blocks.length <= mostLines && this.#bytes - oldest.bytes < mostBytes) return;
      this.#bytes -= oldest.bytes;
      this.#blocks.shift();
      if (oldest.room !== null) this.#freeRooms.push(oldest.room);
    }
  }

  all(): Entry[] {
    const entries: Entry[] = [];
    let leftBytes = mostBytes;
    for (const { seq, atMs, content } of this.#blocks.toReversed()) {
      for (const line of linesOf(content.toString()).toReversed()) {
        leftBytes -= Buffer.byteLength(line);
        if (entries.length === mostLines || (leftBytes < 0 && entries.length > 0)) return entries.reverse();
        entries.push({ seq, atMs, line });
      }
    }
    return entries.reverse();
  }

  current(): string[] {
    return this.all()
      .filter((entry) => entry.seq >= this.#beginSeq)
      .map((entry) => entry.line);
  }

  /** The last lines of a large block, or the beginning of its last line. */
  #endOf(bytes: Buffer): Content {
    const length = bytes.at(-1) === newline ? bytes.length - 1 : bytes.length;
    const from = bytes.indexOf(newline, length - mostBytes) + 1;
    if (from === 0 || from > length)
      return { content: beginningOf(bytes.subarray(bytes.lastIndexOf(newline, length - 1) + 1, length)), room: null };
    const end = bytes.subarray(from, length);
    // Of those that fill half a room the ring holds two or three.
    if (end.length * 2 < mostBytes) return { content: end.toString(), room: null };
    const room = this.#freeRooms.pop() ?? Buffer.allocUnsafeSlow(mostBytes);
    return { content: room.subarray(0, end.copy(room)), room };
  }
}

const newline = 10;

/** As it is where it makes up most of its chunk, which it holds on to; a small part of a large one as text of its own. */
function held(bytes: Buffer): Buffer | string {
  return bytes.length * 2 >= bytes.buffer.byteLength ? bytes : bytes.toString();
}

function beginningOf(line: Buffer): Buffer {
  const text = line.toString();
  const note = ` … (${text.length} characters)`;
  return Buffer.from(text.slice(0, mostBytes - note.length) + note); // as many characters
}

function lastOf<T>(items: readonly T[], count: number): T[] {
  return count <= 0 ? [] : items.slice(-count);
}
