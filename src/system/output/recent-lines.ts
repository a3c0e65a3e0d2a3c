/**
 * The last lines of each source, for `logs`, for messages about a failed start and for the record of an exit.
 *
 * - Per source and stream at most 200 lines and 32 Ki characters; a longer line keeps its beginning.
 * - A new process of the same worker begins anew for `tail`, while `recent` still shows what its predecessors wrote.
 * - Of retired sources the last 32 are kept.
 */
import type { LogLine } from '../../core/protocol.ts';
import type { LineSource } from './line-format.ts';

const mostLines = 200;
const mostChars = 32 * 1024;
const mostRetired = 32;

/** null or missing: any. */
export interface LogFilter {
  readonly app?: string | null;
  readonly source?: string | null;
}

interface Entry {
  /** Counts over all sources: the order in which lines came. */
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

  /** A process begins to write; the answer takes its lines. */
  begin(from: LineSource): (lines: readonly string[], atMs: number) => void {
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
    return (lines, atMs) => {
      for (let at = Math.max(0, lines.length - mostLines); at < lines.length; at++)
        ring.add({ seq: this.#seq++, atMs, line: lines[at] ?? '' });
    };
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

class Ring {
  #entries: Entry[] = [];
  #first = 0;
  #chars = 0;
  #beginSeq = 0;

  begin(seq: number): void {
    this.#beginSeq = seq;
  }

  add(entry: Entry): void {
    const kept = entry.line.length > mostChars ? { ...entry, line: beginningOf(entry.line) } : entry;
    this.#entries.push(kept);
    this.#chars += kept.line.length;
    while (this.#entries.length - this.#first > mostLines || this.#chars > mostChars) {
      this.#chars -= this.#entries[this.#first]?.line.length ?? 0;
      this.#first++;
    }
    if (this.#first >= mostLines) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  all(): Entry[] {
    return this.#entries.slice(this.#first);
  }

  current(): string[] {
    return this.all()
      .filter((entry) => entry.seq >= this.#beginSeq)
      .map((entry) => entry.line);
  }
}

/** A copy, so that the long line itself can be freed. */
function beginningOf(line: string): string {
  const note = ` … (${line.length} characters)`;
  return Buffer.from(line.slice(0, mostChars - note.length)).toString() + note;
}

function lastOf<T>(items: readonly T[], count: number): T[] {
  return count <= 0 ? [] : items.slice(-count);
}
