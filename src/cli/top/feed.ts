/**
 * What the dashboard learns from the master, and what it asks of it. Everything comes back as an input of the model.
 *
 * - The snapshot each second; the events as they come. Without a master both are tried again each second: one that comes
 *   back under the same name is shown.
 * - The curves of what is on the screen, once; those of the day again each minute.
 * - What was asked for goes on in the master when the dashboard ends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient, OperationLine } from '../../control/client.ts';
import { resultOf } from '../../control/client.ts';
import { SuperviseError } from '../../core/errors.ts';
import { minuteMs, type HistorySpan } from '../../core/history.ts';
import type { Event } from '../../core/protocol.ts';
import type { Why } from '../../core/record.ts';
import { logLine, whyLines } from './page.ts';
import type { Effect, Input, PaneLine } from './state.ts';

const everyMs = 1000;
const whyEveryMs = 2000;
const logLines = 1000;
const whyExits = 20;
/** Lines and events that come faster than this are taken together. */
const gatherMs = 50;
/** So many curves are asked for at a time: the master has others to answer. */
const mostCurves = 8;

export class Feed {
  readonly #client: ControlClient;
  readonly #take: (input: Input) => void;
  readonly #failed: (error: unknown) => void;
  readonly #ending = new AbortController();
  #pane = new AbortController();
  /** When the curve of a target was asked for, by ring. */
  readonly #asked: Readonly<Record<HistorySpan, Map<string, number>>> = { fine: new Map(), day: new Map() };
  #curves: 'idle' | 'busy' = 'idle';

  /** `failed`: a bug, for the master's and the user's mistakes are inputs. */
  constructor(client: ControlClient, take: (input: Input) => void, failed: (error: unknown) => void) {
    this.#client = client;
    this.#take = take;
    this.#failed = failed;
  }

  start(): void {
    this.#run(this.#poll());
    this.#run(this.#follow());
  }

  stop(): void {
    this.#ending.abort();
    this.#pane.abort();
  }

  /** Sees to the curves of these. */
  wantCurves(targets: readonly string[], ring: HistorySpan): void {
    if (this.#curves === 'busy' || this.#ending.signal.aborted) return;
    const asked = this.#asked[ring];
    const staleMs = ring === 'day' ? Date.now() - minuteMs : -Infinity;
    const due = targets.filter((target) => (asked.get(target) ?? -Infinity) <= staleMs).slice(0, mostCurves);
    if (due.length === 0) return;
    for (const target of due) asked.set(target, Date.now());
    this.#run(this.#curvesOf(due, ring));
  }

  perform(effect: Exclude<Effect, { type: 'quit' | 'redraw' | 'suspend' }>): void {
    switch (effect.type) {
      case 'restart':
        return this.#operate(`restart of ${effect.target}`, this.#client.restart(effect.target));
      case 'reload':
        return this.#operate(
          `reload of ${effect.app ?? 'all apps'}`,
          this.#client.reload({ apps: effect.app === null ? null : [effect.app] }),
        );
      case 'scale':
        return this.#operate(`scaling of ${effect.app}`, this.#client.scale(effect.app, effect.change));
      case 'close-pane':
        return this.#pane.abort();
      case 'logs':
        return this.#run(this.#logs(effect, this.#page()));
      case 'why':
        return this.#run(this.#why(effect, this.#page()));
    }
  }

  /** The life of a new page. */
  #page(): AbortSignal {
    this.#pane = new AbortController();
    return this.#pane.signal;
  }

  /** A promise that rejects is a bug, unless all is ending anyway. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!this.#ending.signal.aborted) this.#failed(error);
    });
  }

  // -------------------------------------------------------------- what is so

  async #poll(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      try {
        const snapshot = await this.#client.status();
        this.#take({ type: 'snapshot', snapshot, nowMs: Date.now() });
      } catch (error) {
        this.#forgetCurves();
        this.#take({ type: 'silence', message: messageOf(error), nowMs: Date.now() });
      }
      await this.#wait(everyMs, this.#ending.signal);
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      let fresh = true;
      const send = (events: readonly Event[]) => {
        this.#take({ type: 'events', events, fresh });
        fresh = false;
      };
      try {
        await gathered(this.#client.events({ since: 0, follow: true }, { signal }), send);
      } catch (error) {
        // The snapshot says that nobody answers.
        messageOf(error);
      }
      await this.#wait(everyMs, signal);
    }
  }

  async #curvesOf(targets: readonly string[], ring: HistorySpan): Promise<void> {
    this.#curves = 'busy';
    try {
      for (const target of targets) {
        const history = await this.#client.history(target, ring);
        this.#take({ type: 'history', span: ring, history });
      }
    } catch (error) {
      // It is gone, or its master is an older one: the bars grow from the snapshots.
      messageOf(error);
    } finally {
      this.#curves = 'idle';
    }
  }

  /** The next master has other curves. */
  #forgetCurves(): void {
    this.#asked.fine.clear();
    this.#asked.day.clear();
  }

  // -------------------------------------------------------------- pages

  async #logs({ target, pane }: { target: string; pane: number }, signal: AbortSignal): Promise<void> {
    const send = (lines: readonly PaneLine[]) => this.#take({ type: 'lines', pane, lines, how: 'append' });
    const told = (text: string) => send([{ text, tone: 'red' }]);
    try {
      const lines = this.#client.logs({ target, n: logLines, follow: true }, { signal });
      await gathered(lines, (some) => send(some.map((one) => logLine(one, target))));
      told('no more lines: the master has ended');
    } catch (error) {
      const message = messageOf(error);
      if (!signal.aborted) told(`no more lines (l follows again): ${message}`);
    }
  }

  async #why({ target, pane }: { target: string; pane: number }, signal: AbortSignal): Promise<void> {
    let last = '';
    while (!signal.aborted) {
      const lines = await this.#whyLines(target);
      // The same again would only cost.
      const now = JSON.stringify(lines);
      if (now !== last) this.#take({ type: 'lines', pane, lines, how: 'replace' });
      last = now;
      await this.#wait(whyEveryMs, signal);
    }
  }

  async #whyLines(target: string): Promise<readonly PaneLine[]> {
    try {
      return whyLines(JSON.parse(await this.#client.whyJson(target, whyExits)) as Why);
    } catch (error) {
      return [{ text: messageOf(error), tone: 'red' }];
    }
  }

  // -------------------------------------------------------------- what is asked for

  #operate(what: string, lines: AsyncIterable<OperationLine>): void {
    const told = (text: string, tone: 'plain' | 'green' | 'red') =>
      this.#take({ type: 'notice', notice: { text, tone } });
    told(`${what} …`, 'plain');
    const work = async () => {
      try {
        const { ok, message } = await resultOf(lines, (event) => {
          if (event.type === 'operation.progress') told(event.message, 'plain');
        });
        told(message, ok ? 'green' : 'red');
      } catch (error) {
        told(`${what}: ${messageOf(error)}`, 'red');
      }
    };
    this.#run(work());
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    await sleep(ms, undefined, { signal }).catch(() => {});
  }
}

/** @throws what is no failure of the master or of what was asked for */
function messageOf(error: unknown): string {
  if (!(error instanceof SuperviseError)) throw error;
  return error.hint === null ? error.message : `${error.message} (${error.hint})`;
}

/** Hands on what comes: the first at once, then all of a short while together. */
async function gathered<T>(source: AsyncIterable<T>, send: (some: readonly T[]) => void): Promise<void> {
  let held: T[] = [];
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    timer = undefined;
    const some = held;
    held = [];
    if (some.length > 0) send(some);
  };
  try {
    for await (const one of source) {
      held.push(one);
      timer ??= setTimeout(flush, gatherMs);
    }
  } finally {
    clearTimeout(timer);
    flush();
  }
}
