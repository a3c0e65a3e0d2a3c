/**
 * The three files of prom-client that are used, with the types of the whole. Its index would bring all the rest into the program, five
 * times as much text, which every start reads: default metrics, histograms, a push gateway, OpenTelemetry's API.
 */
declare module 'prom-client/lib/registry.js' {
  export { Registry as default } from 'prom-client';
}
declare module 'prom-client/lib/counter.js' {
  export { Counter as default } from 'prom-client';
}
declare module 'prom-client/lib/gauge.js' {
  export { Gauge as default } from 'prom-client';
}
