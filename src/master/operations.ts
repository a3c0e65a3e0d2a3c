/**
 * Long commands (stop, reload, restart, scale): each has a number, reports progress on the stream, and ends once,
 * well or badly. What an operation waits for is asked again after every change; it never waits by itself.
 */
import type { Command, EventBody } from '../core/protocol.ts';

export type Progress =
  | { readonly type: 'going'; readonly message: string }
  | { readonly type: 'done'; readonly ok: boolean; readonly message: string; readonly lastLines?: readonly string[] };

interface Operation {
  readonly id: number;
  readonly name: Command['type'];
  readonly check: () => Progress;
  lastMessage: string;
}

export class Operations {
  readonly #emit: (body: EventBody) => void;
  readonly #going = new Map<number, Operation>();
  #last = 0;

  constructor(emit: (body: EventBody) => void) {
    this.#emit = emit;
  }

  /** @param check is asked at once and after every change until it says done. @returns the operation's number */
  begin(name: Command['type'], message: string, check: () => Progress): number {
    const id = ++this.#last;
    this.#going.set(id, { id, name, check, lastMessage: message });
    this.#emit({ type: 'operation.started', operation: id, name, message });
    return id;
  }

  /** Asks every operation how far it is. */
  review(): void {
    for (const operation of [...this.#going.values()]) {
      const progress = operation.check();
      if (progress.type === 'done') this.#finish(operation, progress);
      else if (progress.message !== operation.lastMessage) {
        operation.lastMessage = progress.message;
        this.#emit({
          type: 'operation.progress',
          operation: operation.id,
          name: operation.name,
          message: progress.message,
        });
      }
    }
  }

  /** Whether a command of this kind is under way. */
  isGoing(name: Command['type']): boolean {
    return [...this.#going.values()].some((operation) => operation.name === name);
  }

  /** Ends all operations but those of one kind: the master stops, so what they wait for will not come. */
  abandon(message: string, except: Command['type']): void {
    for (const operation of [...this.#going.values()]) {
      if (operation.name !== except) this.#finish(operation, { type: 'done', ok: false, message });
    }
  }

  #finish(operation: Operation, end: Extract<Progress, { type: 'done' }>): void {
    if (!this.#going.delete(operation.id)) return;
    const { id, name } = operation;
    this.#emit({
      type: 'operation.finished',
      operation: id,
      name,
      ok: end.ok,
      message: end.message,
      lastLines: end.lastLines ?? [],
    });
  }
}
