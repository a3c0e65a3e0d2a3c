/**
 * The control API as a table: what can be asked, with which fields, and what answers.
 *
 * Reading routes answer at once; with `follow` they stay open and stream JSON lines. Operations stream JSON lines and
 * end with `{"type":"result", ...}`. Every error is `{"error": {code, message, hint, exitCode, lastLines}}`.
 */
import { capacitySpan } from '../core/capacity.ts';
import { SuperviseError } from '../core/errors.ts';
import { historySpans, hostTarget, type HistorySpan } from '../core/history.ts';
import type { Command, LogLine, Snapshot } from '../core/protocol.ts';
import type { LogFilter, Served } from './face.ts';
import type { LineStream } from './line-stream.ts';
import type { MetricsText } from './metrics/metrics.ts';
import { runOperation } from './operations.ts';
import type { Fields } from './wire.ts';
import { HttpError, flagFrom, namesFrom, numberFrom, onlyKnown, scaleFrom, signalFrom, targetFrom } from './wire.ts';

/** One request, and the ways to answer it. */
export interface Exchange {
  readonly served: Served;
  /** The query of a GET, the body of a POST. */
  readonly fields: Fields;
  /** The fields in the path. */
  readonly params: Fields;
  /** The snapshot as JSON; shared by requests that come close together. */
  snapshotJson(): string;
  json(text: string): void;
  text(contentType: string, text: string): void;
  /** The metrics, in the format that the client prefers. */
  metrics(): Promise<MetricsText>;
  /** `short`: it ends by itself. `follow`: it stays open, and only so many may. @throws HttpError 503 */
  open(kind: 'short' | 'follow'): LineStream;
}

export interface Route {
  readonly method: 'GET' | 'POST';
  /** A segment in braces, as `{target}`, is a field. */
  readonly path: string;
  readonly summary: string;
  readonly fields: readonly string[];
  handler(exchange: Exchange): void | Promise<void>;
}

export const routes: readonly Route[] = [
  {
    method: 'GET',
    path: '/',
    summary: 'what is to be found here, as text',
    fields: [],
    handler: ({ text }) => text(plainText, frontPage),
  },
  {
    method: 'GET',
    path: '/metrics',
    summary: 'metrics for Prometheus, in its text format or as OpenMetrics',
    fields: [],
    handler: async ({ metrics, text }) => {
      const found = await metrics();
      text(found.contentType, found.text);
    },
  },
  {
    method: 'GET',
    path: '/v1',
    summary: 'this list of routes',
    fields: [],
    handler: ({ json }) =>
      json(
        JSON.stringify({
          routes: routes.map(({ method, path, summary, fields }) => ({ method, path, summary, fields })),
        }),
      ),
  },
  {
    method: 'GET',
    path: '/v1/status',
    summary: 'the snapshot: master, hooks, host, apps and workers',
    fields: [],
    handler: ({ json, snapshotJson }) => json(snapshotJson()),
  },
  {
    method: 'GET',
    path: '/v1/hooks',
    summary: 'the results of the hooks',
    fields: [],
    handler: ({ json, served }) => json(JSON.stringify({ hooks: served.master.snapshot().hooks })),
  },
  {
    method: 'GET',
    path: '/v1/events',
    summary: 'recent events with a seq above `since`; with `follow` also those to come',
    fields: ['since', 'follow'],
    handler: events,
  },
  {
    method: 'GET',
    path: '/v1/logs',
    summary: 'the last `n` lines of all, an app, a worker or a hook (`target`); with `follow` also those to come',
    fields: ['target', 'n', 'follow'],
    handler: logs,
  },
  {
    method: 'GET',
    path: '/v1/why/{target}',
    summary: 'what is wrong with an app or a worker, why it was started, and the records of its last `n` exits',
    fields: ['n'],
    handler: why,
  },
  {
    method: 'GET',
    path: '/v1/history',
    summary: 'CPU and memory of `target` (host, an app or a worker); `span`: fine, the last 10 minutes, or day',
    fields: ['target', 'span'],
    handler: history,
  },
  {
    method: 'GET',
    path: '/v1/capacity',
    summary: 'how well the host was used in the last `lastMs`, and what follows: figures, what binds, advice',
    fields: ['lastMs'],
    handler: capacity,
  },
  {
    method: 'POST',
    path: '/v1/stop',
    summary: 'stops the master: how = graceful (default), quick or now',
    fields: ['how'],
    handler: (exchange) => operate(exchange, { type: 'stop', how: howFrom(exchange.fields.how) }),
  },
  {
    method: 'POST',
    path: '/v1/reload',
    summary:
      'reads the config again and replaces the workers of `apps` (null: all) one after the other; `changedOnly`: what differs in the config; after `timeoutMs` it is rolled back',
    fields: ['apps', 'changedOnly', 'timeoutMs'],
    handler: reload,
  },
  {
    method: 'POST',
    path: '/v1/restart',
    summary: 'stops and starts an app or a worker (`target`)',
    fields: ['target'],
    handler: (exchange) => operate(exchange, { type: 'restart', target: targetFrom(exchange.fields.target) }),
  },
  {
    method: 'POST',
    path: '/v1/scale',
    summary: 'changes the number of workers of `app`: `to` a number or `by` a difference',
    fields: ['app', 'to', 'by'],
    handler: (exchange) =>
      operate(exchange, { type: 'scale', app: appFrom(exchange.fields.app), change: scaleFrom(exchange.fields) }),
  },
  {
    method: 'POST',
    path: '/v1/retry',
    summary: 'ends a backoff or a failed state now, of `target` or (null) of everything',
    fields: ['target'],
    handler: (exchange) => {
      const { target } = exchange.fields;
      operate(exchange, { type: 'retry', target: target === undefined || target === null ? null : targetFrom(target) });
    },
  },
  {
    method: 'POST',
    path: '/v1/signal',
    summary: 'sends `signal` (TERM, SIGTERM, 15) to an app or a worker (`target`)',
    fields: ['target', 'signal'],
    handler: (exchange) => {
      const { target, signal } = exchange.fields;
      operate(exchange, { type: 'signal', target: targetFrom(target), signal: signalFrom(signal) });
    },
  },
];

const plainText = 'text/plain; charset=utf-8';

const frontPage = `This is supervise: the control API of one master.

GET /v1         lists the routes
GET /v1/status  the master, its apps and workers
GET /metrics    metrics for Prometheus

Over TCP all of these need the header "Authorization: Bearer TOKEN"; the master's log says where the token is.
`;

/** @throws HttpError 404 no such path, 405 no such method there */
export function routeFor(method: string, path: string): Route {
  const there = routes.filter((route) => pathFields(route, path) !== null);
  const route = there.find((one) => one.method === method);
  if (route !== undefined) return route;
  if (there.length > 0)
    throw new HttpError(405, `${path} is asked with ${there.map((one) => one.method).join(' or ')}, found ${method}`);
  throw new HttpError(404, `there is no route ${method} ${path.slice(0, 100)}`, 'GET /v1 lists the routes');
}

/** What stands in the path in place of the names in braces; null: it is not the path of this route. */
export function pathFields({ path: pattern }: Route, path: string): Fields | null {
  const [wanted, found] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== found.length) return null;
  const fields: Record<string, string> = {};
  for (const [index, segment] of wanted.entries()) {
    const given = decoded(found[index] ?? '');
    const name = /^\{(\w+)\}$/.exec(segment)?.[1];
    if (name === undefined ? segment !== given : given === '') return null;
    if (name !== undefined) fields[name] = given;
  }
  return fields;
}

/** Empty when it is no valid encoding. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return '';
  }
}

/** Checks the fields, then answers. @throws SuperviseError */
export async function answer(route: Route, exchange: Exchange): Promise<void> {
  onlyKnown(exchange.fields, route.fields, route.method === 'GET' ? 'query' : 'body');
  await route.handler(exchange);
}

function operate({ served, open }: Exchange, command: Command): void {
  runOperation({ master: served.master, command, open: () => open('short') });
}

/** The config is read first: while it is invalid nothing is touched. */
async function reload(exchange: Exchange): Promise<void> {
  const { served, fields } = exchange;
  const apps = namesFrom(fields.apps, 'apps');
  const changedOnly = flagFrom(fields.changedOnly, 'changedOnly');
  const range = { least: 1, most: 2 ** 31 - 1, absent: 0 };
  const timeoutMs = numberFrom(fields.timeoutMs, 'timeoutMs', range);
  const spec = served.reread === null ? null : await served.reread();
  operate(exchange, {
    type: 'reload',
    spec,
    apps,
    ...(changedOnly && { changedOnly }),
    ...(timeoutMs > 0 && { timeoutMs }),
  });
}

function events({ served, fields, open }: Exchange): void {
  const since = numberFrom(fields.since, 'since', { least: 0, most: Number.MAX_SAFE_INTEGER, absent: 0 });
  const follow = flagFrom(fields.follow, 'follow');
  const stream = open(follow ? 'follow' : 'short');
  stream.seed(served.master.recentEvents().filter((event) => event.seq > since));
  if (!follow) return stream.end();
  stream.onClose(served.master.subscribe((event) => event.seq > since && stream.write(event)));
}

const mostRecords = 1_000;

function why({ served, fields, params, json }: Exchange): void {
  const n = numberFrom(fields.n, 'n', { least: 0, most: mostRecords, absent: 10 });
  json(JSON.stringify(served.master.why(targetFrom(params.target), n)));
}

function history({ served, fields, json }: Exchange): void {
  const { target } = fields;
  const name = target === undefined || target === hostTarget ? hostTarget : targetName(target);
  json(JSON.stringify(served.master.history(name, spanFrom(fields.span))));
}

function targetName(value: unknown): string {
  const { app, worker } = targetFrom(value);
  return worker ?? app;
}

function spanFrom(value: unknown): HistorySpan {
  const span = historySpans.find((one) => one === (value ?? 'fine'));
  if (span !== undefined) return span;
  throw new HttpError(400, `span: expected fine or day, found ${String(JSON.stringify(value)).slice(0, 60)}`);
}

function capacity({ served, fields, json }: Exchange): void {
  const { leastMs, mostMs } = capacitySpan;
  const lastMs = numberFrom(fields.lastMs, 'lastMs', { least: leastMs, most: mostMs, absent: mostMs });
  json(JSON.stringify(served.master.capacity(lastMs)));
}

const mostLines = 100_000;

function logs({ served, fields, open }: Exchange): void {
  const n = numberFrom(fields.n, 'n', { least: 0, most: mostLines, absent: 100 });
  const follow = flagFrom(fields.follow, 'follow');
  const filter = filterFrom(fields.target);
  const lines = served.logs.recent(filter, n);
  if (lines.length === 0) refuseUnknown(filter, served.master.snapshot());
  const stream = open(follow ? 'follow' : 'short');
  stream.seed(lines);
  if (!follow) return stream.end();
  stream.onClose(served.logs.subscribe((line) => matches(line, filter) && stream.write(line)));
}

function filterFrom(value: unknown): LogFilter {
  if (value === undefined || value === '') return { app: null, source: null };
  const { app, worker } = targetFrom(value);
  return worker === null ? { app, source: null } : { app: null, source: worker };
}

function matches(line: LogLine, { app, source }: LogFilter): boolean {
  return (app === null || line.app === app) && (source === null || line.source === source);
}

/** A target that has no line yet is fine; one that cannot have any is a mistake. */
function refuseUnknown({ app, source }: LogFilter, { apps, hooks }: Snapshot): void {
  const wanted = app ?? source;
  if (wanted === null) return;
  const names = [...apps.map((one) => one.name), ...hooks.map((one) => `hook.${one.name}`)];
  if (names.includes(wanted) || names.includes(wanted.split('.')[0] ?? '')) return;
  throw new SuperviseError('unknown-target', `there is no app, worker or hook ${wanted}`, {
    hint: `known here: ${names.join(', ')}`,
  });
}

function howFrom(value: unknown): 'graceful' | 'quick' | 'now' {
  if (value === undefined) return 'graceful';
  if (value === 'graceful' || value === 'quick' || value === 'now') return value;
  throw new HttpError(400, `how: expected graceful, quick or now, found ${String(JSON.stringify(value)).slice(0, 60)}`);
}

function appFrom(value: unknown): string {
  const { app, worker } = targetFrom(value, 'app');
  if (worker === null) return app;
  throw new HttpError(400, `app: expected the name of an app, found the worker ${worker}`, `its app is ${app}`);
}
