/**
 * The loop of the dashboard: what comes in goes through the model, what it asks for is done, and the screen is drawn when
 * something has changed, a few times a second at most.
 */
import type { ControlClient } from '../../control/client.ts';
import { ExitCode } from '../../core/errors.ts';
import { hostTarget } from '../../core/history.ts';
import type { Charset } from '../sparkline.ts';
import { Feed } from './feed.ts';
import { step, visibleTargets } from './model.ts';
import { initialState, type Effect, type Input, type State } from './state.ts';
import { spans } from './tracks.ts';
import { Tty } from './tty.ts';
import { view } from './view.ts';

export interface Look {
  readonly charset: Charset;
  readonly styles: 'coloured' | 'none';
}

const tickMs = 1000;
/** What comes within this time is one picture. */
const drawWithinMs = 25;
/** 128 + SIGINT, as shells have it. */
const interruptedCode = 130;

export class Dashboard {
  readonly #look: Look;
  readonly #tty: Tty;
  readonly #feed: Feed;
  #state: State;
  #drawing: NodeJS.Timeout | undefined;
  #end: (exitCode: number) => void = () => {};
  #fail: (error: unknown) => void = () => {};

  constructor(client: ControlClient, look: Look) {
    this.#look = look;
    const failed = (error: unknown) => this.#fail(error);
    const take = (input: Input) => this.#take(input);
    this.#tty = new Tty(
      {
        key: (key) => take({ type: 'key', key }),
        size: (size) => take({ type: 'size', size }),
        end: (exitCode) => this.#end(exitCode),
        failed,
      },
      look.styles,
    );
    this.#feed = new Feed(client, take, failed);
    this.#state = initialState(this.#tty.size, Date.now());
  }

  /** Until somebody quits. @returns the exit code; rejects with a bug, and the terminal is given back all the same */
  async run(): Promise<number> {
    const ended = new Promise<number>((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    const ticking = setInterval(() => this.#take({ type: 'tick', nowMs: Date.now() }), tickMs);
    try {
      this.#tty.open();
      this.#feed.start();
      return await ended;
    } finally {
      clearInterval(ticking);
      clearTimeout(this.#drawing);
      this.#feed.stop();
      this.#tty.close();
    }
  }

  #take(input: Input): void {
    try {
      const { state, effects } = step(this.#state, input);
      this.#state = state;
      for (const effect of effects) this.#perform(effect);
      if (input.type === 'snapshot')
        this.#feed.wantCurves([hostTarget, ...visibleTargets(state)], spans[state.span].ring);
      this.#drawing ??= setTimeout(() => this.#draw(), drawWithinMs);
    } catch (error) {
      this.#fail(error);
    }
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'quit':
        return this.#end(effect.how === 'asked' ? ExitCode.ok : interruptedCode);
      case 'suspend':
        return this.#tty.suspend();
      case 'redraw':
        return this.#tty.screen.forget();
      default:
        return this.#feed.perform(effect);
    }
  }

  #draw(): void {
    this.#drawing = undefined;
    try {
      this.#tty.screen.draw(view(this.#state, this.#look.charset));
    } catch (error) {
      this.#fail(error);
    }
  }
}
