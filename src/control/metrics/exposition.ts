/**
 * The metrics as a text, by prom-client: loaded at the first scrape, so that a master that nobody scrapes neither waits nor pays
 * for it. What stands in it is read anew at each scrape; a worker that is gone leaves no series behind.
 */
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Registry from 'prom-client/lib/registry.js';
import { appFamilies } from './app-families.ts';
import type { Family, Scene } from './family.ts';
import type { MetricsFormat } from './format.ts';
import { masterFamilies } from './master-families.ts';

export const families: readonly Family[] = [...masterFamilies, ...appFamilies];

/** One format, with metrics of its own: for OpenMetrics prom-client changes the names of counters in place. */
export class Exposition {
  readonly contentType: string;
  readonly #registry: Registry;
  readonly #metrics: readonly { readonly family: Family; readonly metric: Counter | Gauge }[];

  constructor(format: MetricsFormat) {
    const registry = new Registry();
    registry.setContentType(
      // the type of the parameter is that of the format that a registry begins with
      (format === 'openmetrics'
        ? Registry.OPENMETRICS_CONTENT_TYPE
        : Registry.PROMETHEUS_CONTENT_TYPE) as typeof Registry.PROMETHEUS_CONTENT_TYPE,
    );
    this.contentType = registry.contentType;
    this.#registry = registry;
    this.#metrics = families.map((family) => {
      const { name, help, labels } = family;
      const options = { name, help, labelNames: labels, registers: [registry] };
      return { family, metric: family.type === 'counter' ? new Counter(options) : new Gauge(options) };
    });
  }

  render(scene: Scene): Promise<string> {
    for (const { family, metric } of this.#metrics) {
      metric.reset();
      // one without labels is 0 after that, which is not so where nothing is known
      if (family.labels.length === 0) metric.remove();
      for (const [value, ...labels] of family.read(scene)) {
        if (value === null) continue;
        metric.inc(Object.fromEntries(family.labels.map((label, index) => [label, labels[index] ?? ''])), value);
      }
    }
    return this.#registry.metrics();
  }
}
