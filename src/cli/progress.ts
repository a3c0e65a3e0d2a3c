/**
 * Progress on stderr: on a screen one line that is written over, elsewhere a line for each change. `--quiet` shows
 * none of it.
 */
import type { Event } from '../core/protocol.ts';
import { printable } from './text.ts';
import type { Terminal } from './terminal.ts';

export class Progress {
  readonly #terminal: Terminal;
  readonly #shown: 'line' | 'lines' | 'none';
  #last = '';

  constructor(terminal: Terminal, quiet: boolean) {
    this.#terminal = terminal;
    this.#shown = quiet ? 'none' : terminal.errIsScreen ? 'line' : 'lines';
  }

  /** How far it is; replaces what it said before. */
  update(text: string): void {
    const line = printable(text);
    if (this.#shown === 'none' || line === this.#last) return;
    this.#last = line;
    this.#terminal.err(this.#shown === 'line' ? `\r\x1b[K${line.slice(0, this.#terminal.columns() - 1)}` : `${line}\n`);
  }

  /** Something that stays to be read. */
  keep(text: string): void {
    if (this.#shown === 'none') return;
    this.clear();
    this.#terminal.err(`${printable(text)}\n`);
  }

  /** Makes room for other output. */
  clear(): void {
    if (this.#shown === 'line' && this.#last !== '') this.#terminal.err('\r\x1b[K');
    this.#last = '';
  }
}

/** Shows an event of an operation's stream. How far a rollout is, its operation says too. */
export function showEvent(progress: Progress, event: Event): void {
  switch (event.type) {
    case 'operation.started':
    case 'operation.progress':
      return progress.update(event.message);
    case 'rollout.succeeded':
      return progress.keep(`${event.app}: revision ${event.to} serves`);
    case 'rollout.superseded':
      return progress.keep(`${event.app}: revision ${event.to} was superseded by a later reload`);
    case 'rollout.rolled_back':
      return progress.keep(`${event.app}: rolled back from revision ${event.to} to ${event.from}: ${event.reason}`);
    default:
  }
}
