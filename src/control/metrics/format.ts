/** Which of the two text formats a scraper gets, from what it says it takes. */

export type MetricsFormat = 'prometheus' | 'openmetrics';

/**
 * OpenMetrics where the Accept header names it and does not prefer plain text; else the Prometheus text format 0.0.4, which also
 * gets whoever says nothing. A wildcard names nothing.
 */
export function metricsFormat(accept: string): MetricsFormat {
  const weight = weightIn(accept, 'application/openmetrics-text');
  return weight > 0 && weight >= weightIn(accept, 'text/plain') ? 'openmetrics' : 'prometheus';
}

/** The highest weight that a media type has in an Accept header, 1 where none is given; 0: it is not named. */
function weightIn(accept: string, type: string): number {
  const weights = accept.split(',').flatMap((range) => {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    if (name !== type) return [];
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? '1';
    return [Number(weight) || 0];
  });
  return Math.max(0, ...weights);
}
