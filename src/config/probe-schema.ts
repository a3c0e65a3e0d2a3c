/**
 * The forms of `ready`, a word or a map with the one thing to wait for, and of `health`, a map with the one thing to
 * ask for and how often.
 */
import * as z from 'zod/mini';
import {
  command,
  didYouMean,
  duration,
  given,
  jsonHasOneOf,
  judged,
  listOf,
  maybe,
  section,
  shaped,
  text,
  usual,
  whole,
  type Wrong,
} from './fields.ts';

const readyWords = ['auto', 'spawned', 'listening', 'accepting', 'fd', 'ipc'] as const;
const readyExamples: Readonly<Record<string, string>> = {
  http: '{http: /healthz}',
  tcp: '{tcp: {}}',
  log: '{log: "server started"}',
  delay: '{delay: 1s}',
};
const readyKinds = Object.keys(readyExamples);
const readyForms = `${listOf(readyWords, 'or')}, or a map with one of ${listOf(readyKinds, 'and')}`;

function readyWord(value: string): Wrong | null {
  if (readyWords.some((known) => known === value)) return null;
  if (value === 'notify') return { unsupported: 'Use auto, or fd' };
  const example = readyExamples[value];
  if (example !== undefined) return { expected: `a map here, such as ${example}` };
  return { expected: readyForms, ...didYouMean(value, readyWords) };
}

function regularExpression(value: string): Wrong | null {
  try {
    new RegExp(value);
    return null;
  } catch (error) {
    return { expected: 'a regular expression', hint: whyNoPattern(error) };
  }
}

/** "Unterminated group" */
export function whyNoPattern(error: unknown): string {
  return error instanceof Error ? error.message.replace(/^Invalid regular expression: .*: /, '') : String(error);
}

/** Checks that a map has exactly one of these keys. */
function oneOf(kinds: readonly string[]) {
  return judged((value: Readonly<Record<string, unknown>>) => {
    const found = kinds.filter((kind) => kind in value);
    if (found.length === 1) return null;
    return { expected: `one of ${listOf(kinds, 'and')}`, found: found.length === 0 ? 'none' : listOf(found, 'and') };
  });
}

// ---------------------------------------------------------------- http and tcp, for both

const httpPath = () => shaped('a path that starts with /', /^\/\S*$/);
const ownPort = () =>
  maybe(
    "A port of the worker's own: slot n answers at this + n; or that of an address of `listen`. Default: the worker's `port`, or the first IPv4 address of `listen`.",
    whole(1, 65_535),
  );

const httpProbe = (of: string) =>
  z.union([httpPath(), section(`${of}.http`, { path: given('The path to ask for.', httpPath()), port: ownPort() })], {
    error: 'a path, or a map with path and port',
  });
const tcpProbe = (of: string) =>
  z.union([whole(1, 65_535), section(`${of}.tcp`, { port: ownPort() })], { error: 'a port, or a map with a port' });

// ---------------------------------------------------------------- ready

const readyMap = section('ready', {
  http: maybe('Ready when a GET answers with 2xx or 3xx.', httpProbe('ready')),
  tcp: maybe('Ready when a connection is accepted.', tcpProbe('ready')),
  log: maybe(
    'Ready when a line of output matches.',
    text('a regular expression', regularExpression, { format: 'regex' }),
  ),
  delay: maybe('Ready when still alive after this time.', duration()),
}).check(oneOf(readyKinds));
jsonHasOneOf(readyMap, readyKinds);

export const readySchema = z.union([text(readyForms, readyWord, { enum: readyWords }), readyMap], {
  error: readyForms,
});

// ---------------------------------------------------------------- health

const healthKinds = ['http', 'tcp', 'exec'];

export const healthSchema = section('health', {
  http: maybe('Healthy when a GET answers with 2xx or 3xx.', httpProbe('health')),
  tcp: maybe('Healthy when a connection is accepted.', tcpProbe('health')),
  exec: maybe(
    "Healthy when this command exits with 0; run with the worker's user, cwd and environment, without a shell. {slot}, {port} and {app} are filled in.",
    command('a command, as one text or a list of words'),
  ),
  interval: usual('The time from one probe to the next.', duration('above zero'), '10s'),
  timeout: usual('A probe that takes longer has failed.', duration('above zero'), '2s'),
  failures: usual('So many failed probes in a row and the worker is unhealthy.', whole(1, 1000), 3),
}).check(oneOf(healthKinds));
jsonHasOneOf(healthSchema, healthKinds);
