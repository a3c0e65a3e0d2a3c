/**
 * The terminal of this process while the dashboard has it: keys unread by the shell, the alternate screen, its size, and
 * that all of it is given back, whatever ends the program.
 *
 * | what | becomes |
 * | --- | --- |
 * | a key | `key`; what may be the begin of a sequence waits for its rest |
 * | WINCH | `size` |
 * | TERM, HUP, INT | `end` with the exit code that shells have for it |
 * | TSTP (Ctrl-Z sends it to the whole job) | the terminal is given back, the process stops |
 * | CONT | the terminal is taken again |
 * | an exception that nobody caught | `failed` |
 * | the end of the process, whatever the cause | the terminal is given back |
 */
import { decode } from './keys.ts';
import { Screen } from './screen.ts';
import type { Size } from './state.ts';

export interface TtyListener {
  key(key: string): void;
  size(size: Size): void;
  end(exitCode: number): void;
  failed(error: unknown): void;
}

/** How long the rest of an escape sequence may take; ssh sends it in one piece nearly always. */
const sequenceWithinMs = 50;

/** 128 + the number of the signal, as shells have it. */
const endSignals = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export class Tty {
  readonly screen: Screen;
  readonly #listener: TtyListener;
  readonly #handlers = new Map<string, (error: unknown) => void>();
  #rest = '';
  #restTimer: NodeJS.Timeout | undefined;

  constructor(listener: TtyListener, styles: 'coloured' | 'none') {
    this.#listener = listener;
    // Written at once on every Unix: nothing is left to write when the process stops or ends.
    this.screen = new Screen((text) => void process.stdout.write(text), styles);
  }

  get size(): Size {
    return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
  }

  open(): void {
    const { stdin, stdout } = process;
    for (const [signal, exitCode] of Object.entries(endSignals)) this.#on(signal, () => this.#listener.end(exitCode));
    this.#on('SIGTSTP', () => this.#stop());
    this.#on('SIGCONT', () => this.#goOn());
    this.#on('uncaughtException', (error) => this.#listener.failed(error));
    this.#on('exit', () => this.#giveBack());
    stdout.on('resize', this.#resized);
    // The terminal is gone: there is nothing to give back and nobody to tell.
    stdout.on('error', this.#gone);
    stdin.on('error', this.#gone);
    stdin.on('end', this.#gone);
    stdin.setEncoding('utf8');
    stdin.on('data', this.#read);
    this.#take();
  }

  /** Gives all back. Again does nothing. */
  close(): void {
    const { stdin, stdout } = process;
    this.#giveBack();
    clearTimeout(this.#restTimer);
    for (const [name, handler] of this.#handlers) process.removeListener(name, handler);
    this.#handlers.clear();
    stdin.off('data', this.#read).off('error', this.#gone).off('end', this.#gone);
    stdin.pause();
    stdout.off('resize', this.#resized).off('error', this.#gone);
  }

  /** As Ctrl-Z does outside of here: the job stops, not this process alone. */
  suspend(): void {
    process.kill(0, 'SIGTSTP');
  }

  #take(): void {
    process.stdin.setRawMode(true);
    process.stdin.resume();
    this.screen.enter();
    this.#resized();
  }

  #giveBack(): void {
    this.screen.leave();
    try {
      process.stdin.setRawMode(false);
    } catch {
      // The terminal is gone.
    }
  }

  #stop(): void {
    this.#giveBack();
    process.kill(process.pid, 'SIGSTOP');
  }

  /** STOP does not ask: then nothing was given back, and the shell has set the terminal as it likes it. */
  #goOn(): void {
    this.#giveBack();
    this.#take();
  }

  readonly #resized = (): void => {
    this.screen.forget();
    this.#listener.size(this.size);
  };

  readonly #gone = (): void => this.#listener.end(endSignals.SIGHUP);

  readonly #read = (text: string): void => {
    clearTimeout(this.#restTimer);
    const { keys, rest } = decode(this.#rest + text);
    this.#rest = rest;
    for (const key of keys) this.#listener.key(key);
    if (rest === '') return;
    this.#restTimer = setTimeout(() => {
      this.#rest = '';
      this.#listener.key('escape');
    }, sequenceWithinMs);
  };

  #on(name: string, handler: (error: unknown) => void): void {
    this.#handlers.set(name, handler);
    process.on(name, handler);
  }
}
