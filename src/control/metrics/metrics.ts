/** The metrics of one master: counts events from its start on, and answers scrapes. */
import type { Event } from '../../core/protocol.ts';
import type { Served } from '../face.ts';
import { CpuTime } from './cpu-time.ts';
import type { Exposition } from './exposition.ts';
import { metricsFormat, type MetricsFormat } from './format.ts';
import { Tally } from './tally.ts';

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

export class Metrics {
  readonly #served: Served;
  readonly #tally = new Tally();
  readonly #cpuTime = new CpuTime();
  readonly #expositions = new Map<MetricsFormat, Exposition>();

  constructor(served: Served) {
    this.#served = served;
    for (const event of served.master.recentEvents()) this.#tally.take(event);
  }

  /** Counts an event that comes after those that the stream had when this was made. */
  take(event: Event): void {
    this.#tally.take(event);
  }

  /** @param accept the Accept header, which chooses the format */
  async scrape(accept: string): Promise<MetricsText> {
    const exposition = await this.#exposition(metricsFormat(accept));
    const loopLagSeconds = await loopLag();
    const { master, own } = this.#served;
    const snapshot = master.snapshot();
    this.#cpuTime.keep(snapshot.apps.map((app) => app.name));
    const text = await exposition.render({
      snapshot,
      tally: this.#tally,
      own: own(),
      cpuSeconds: (app) => this.#cpuTime.secondsOf(master.history(app, 'fine')),
      loopLagSeconds,
    });
    return { contentType: exposition.contentType, text };
  }

  async #exposition(format: MetricsFormat): Promise<Exposition> {
    const loaded = await import('./exposition.ts');
    const known = this.#expositions.get(format) ?? new loaded.Exposition(format);
    this.#expositions.set(format, known);
    return known;
  }
}

function loopLag(): Promise<number> {
  const sinceMs = performance.now();
  return new Promise((resolve) => setImmediate(() => resolve((performance.now() - sinceMs) / 1000)));
}
