/** Says what is new of one app, once: the state that it has come to, and how far a rollout is. */
import type { AppState, EventBody } from '../core/protocol.ts';
import { rolloutStep } from './describe.ts';
import type { RunningRollout } from './revisions.ts';
import type { WorkerRunner } from './worker-runner.ts';

export class AppNews {
  readonly #app: string;
  readonly #emit: (body: EventBody) => void;
  #state: AppState | null = null;
  #line = '';

  constructor(app: string, emit: (body: EventBody) => void) {
    this.#app = app;
    this.#emit = emit;
  }

  /** The last line about a rollout: "2 of 4 replaced; web.7 starts". */
  get rolloutLine(): string {
    return this.#line;
  }

  /** `ready`, `goal`: workers that serve, and that should. */
  tellState(state: AppState, ready: number, goal: number): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit({ type: `app.${state}`, app: this.#app, ready, goal });
  }

  /** @param up the workers that are not leaving  @param total how many are wanted, spares among them */
  tellRollout(rollout: RunningRollout, up: readonly WorkerRunner[], total: number): void {
    const fresh = up.filter(({ pinned }) => pinned.revision === rollout.to);
    const replaced = fresh.filter((runner) => runner.state === 'ready' || runner.state === 'completed').length;
    const step = rolloutStep(rollout, fresh);
    const line = `${replaced} of ${total} replaced; ${step}`;
    if (line === this.#line) return;
    this.#line = line;
    this.#emit({ type: 'rollout.progress', app: this.#app, to: rollout.to, replaced, total, step });
  }
}
