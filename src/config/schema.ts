/**
 * Every key of the config with its kind, default and documentation: the one source of checks, of the JSON Schema in
 * schema/ and of the reference. What depends on several keys is checked in build.ts.
 *
 * Keys in the order in which the documentation shows them.
 */
import * as z from 'zod';
import { command, complain, decimal, didYouMean, duration, filled, flag, later, laterPercent, listOf, octal } from './fields.ts';
import { section, shaped, signal, text, whole, word, type Wrong } from './fields.ts';
import { parseListen } from './listen.ts';

/** Names of masters and hooks: they become file names. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** Names of apps: without dots, because `web.3` is a worker. */
export const appNamePattern = /^[A-Za-z][A-Za-z0-9_-]{0,62}$/;

const name = () => shaped('a name of letters, digits, ., _ and - (at most 63)', namePattern);
const path = () => filled('a path');

const env = () =>
  z
    .record(
      text('the name of a variable', variableName, { pattern: '^[^=]+$' }),
      z.string({ error: 'a text (for an empty one write "")' }).meta({ type: ['string', 'number', 'boolean'] }),
      { error: 'a map of variables, such as {LOG_LEVEL: info}' },
    )
    .default({});

function variableName(key: string): Wrong | null {
  return /^[^=\s]+$/.test(key) ? null : { expected: 'the name of a variable, without = and blanks' };
}

const envFile = () => path().nullable().default(null);
const user = () => filled('the name or number of a user').nullable().default(null);

// ---------------------------------------------------------------- hooks

const hookKeys = section('a hook', {
  name: name()
    .optional()
    .describe('Shown in status and logs, and what once_per is recorded under. Default: the name of the program.'),
  command: command('a command, as one text or a list of words').describe(
    'The program and its words. A text is split into words as a shell would, but run without one.',
  ),
  shell: flag().default(false).describe('true: the command is one text for /bin/sh -c, which also expands its ${VAR}.'),
  timeout: duration('above zero').default('5m').describe('The whole process tree is killed after it, and the hook has failed.'),
  retries: whole(0, 100).default(0).describe('How often a failed hook is tried again.'),
  retry_delay: duration().default('5s').describe('The time between two attempts.'),
  once_per: z
    .string({ error: 'a text' })
    .default('')
    .describe('Skip the hook where it has succeeded for this key already, a release for example. Empty: run it always.'),
  lock: text('a text', (value) => (value === '' ? null : { unsupported: 'Leave it out; hooks are locked on this host' }), { enum: [''] })
    .default('')
    .describe('Not supported yet. Once across a fleet: the URL of a database that holds the lock.'),
  on_failure: z
    .enum(['abort', 'continue'], { error: 'abort or continue' })
    .optional()
    .describe('abort: stop here, exit code 1. continue: report it and go on. Default: abort in pre_start, else continue.'),
  env: env().describe('Variables for this hook, over those of env_file.'),
  env_file: envFile().describe("A file of variables, relative to the hook's cwd."),
  cwd: path().optional().describe('The working directory. Default: the folder of the config file.'),
  user: user().describe('The user who runs it.'),
});

const hook = z
  .union([command('a command'), hookKeys], { error: 'a hook: a command, or a map with a command' })
  .meta({ id: 'hook' });

const phase = () => z.array(hook, { error: 'a list of hooks, each after a "- "' }).default([]);

const hooks = section('hooks', {
  pre_start: phase().describe('Run once, in order, one process at a time, before the first worker starts.'),
  post_start: phase().describe('Run when all apps are ready.'),
  pre_reload: later([null, []]).describe('Not supported yet. Before a reload.'),
  post_reload: later([null, []]).describe('Not supported yet. After a reload.'),
  pre_stop: phase().describe('Run before the workers are stopped.'),
  post_stop: phase().describe('Run after the last worker has ended.'),
});

// ---------------------------------------------------------------- apps

const readyWords = ['auto', 'spawned', 'listening', 'accepting', 'fd', 'ipc'];
const readyKinds = ['http', 'tcp', 'log', 'delay'];

const readyWord = text(
  `${listOf(readyWords, 'or')}, or a map with one of ${listOf(readyKinds, 'and')}`,
  (value) => {
    if (readyWords.includes(value)) return null;
    if (value === 'notify') return { unsupported: 'Use auto, or fd' };
    if (readyKinds.includes(value)) return { expected: `a map here, such as ${readyExamples[value]}` };
    return { expected: listOf(readyWords, 'or'), ...didYouMean(value, readyWords) };
  },
  { enum: readyWords },
);

const readyExamples: Readonly<Record<string, string>> = {
  http: '{http: /healthz}',
  tcp: '{tcp: {}}',
  log: '{log: "server started"}',
  delay: '{delay: 1s}',
};

const httpPath = () => shaped('a path that starts with /', /^\/\S*$/);

const readyMap = section('ready', {
  http: z
    .union([httpPath(), section('ready.http', { path: httpPath().describe('The path to ask for.'), port: whole(1, 65_535).optional().describe("A port of the worker's own. Default: the worker's `port`.") })], {
      error: 'a path, or a map with path and port',
    })
    .optional()
    .describe('Ready when a GET answers with 2xx or 3xx.'),
  tcp: z
    .union([whole(1, 65_535), section('ready.tcp', { port: whole(1, 65_535).optional().describe("A port of the worker's own. Default: the worker's `port`.") })], {
      error: 'a port, or a map with a port',
    })
    .optional()
    .describe('Ready when a connection is accepted.'),
  log: text('a regular expression', regularExpression, { format: 'regex' }).optional().describe('Ready when a line of output matches.'),
  delay: duration().optional().describe('Ready when still alive after this time.'),
}).check((context) => {
  const given = readyKinds.filter((kind) => kind in context.value);
  if (given.length !== 1) complain(context, { expected: `one of ${listOf(readyKinds, 'and')}`, found: given.length === 0 ? 'none' : listOf(given, 'and') });
});

function regularExpression(value: string): Wrong | null {
  try {
    new RegExp(value);
    return null;
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^Invalid regular expression: .*: /, '') : String(error);
    return { expected: 'a regular expression', hint: why };
  }
}

const listenAddress = () =>
  text('an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock"', (value) => {
    const parsed = parseListen(value);
    return 'expected' in parsed || 'unsupported' in parsed ? parsed : null;
  });

const backoff = section('backoff', {
  initial: duration('above zero').default('500ms').describe('The first delay; the first crash of a worker that was ready has none.'),
  max: duration('above zero').default('30s').describe('No delay is longer.'),
  factor: decimal(1, 100, 'a number from 1 to 100').default(2).describe('Each delay is this much longer than the one before.'),
  jitter: decimal(0, 1, 'a number from 0 to 1').default(0.5).describe('Each delay is shortened by a random share of itself, up to this.'),
  stable_after: duration('above zero').default('10s').describe('After being ready for so long, crashes are counted from 0 again.'),
  max_crashes: whole(0, 1_000_000).default(8).describe('One more crash in a row and the worker is failed.'),
  retry_failed_every: duration('above zero').default('60s').describe('A failed worker gets one slow trial in this time.'),
});

const stop = section('stop', {
  signal: signal().default('SIGTERM').describe('Asks a worker to end.'),
  timeout: duration().default('30s').describe('What is left after it is killed.'),
});

const reload = section('reload', {
  max_surge: whole(0, 1000).default(1).describe('How many workers more than `workers` may run during a reload.'),
  max_unavailable: whole(0, 1000).default(0).describe('How many workers fewer than `workers` may serve during a reload.'),
  canary: duration().default('5s').describe('The first new workers must stay ready for so long before the rest follows.'),
});

const logs = z.union(
  [
    text('a map with a format', (value) => (value === 'inherit' ? { unsupported: 'Use {format: raw}' } : { expected: 'a map with a format' }), { enum: [] }),
    section('logs', {
      format: z
        .enum(['prefix', 'json', 'raw'], { error: 'prefix, json or raw' })
        .optional()
        .describe('How lines of workers are written to stdout. Default: prefix on a terminal, else json.'),
      file: later([null]).describe('Not supported yet. A file for the lines of the workers.'),
      max_size: later(['50MB']).describe('Not supported yet. Rotate the file at this size.'),
      keep: later([7]).describe('Not supported yet. How many rotated files are kept.'),
      gzip: later([false]).describe('Not supported yet. Compress rotated files.'),
    }),
  ],
  { error: 'a map with a format' },
);

const workers: z.ZodType<number> = z
  .any()
  .check((context) => {
    const { value } = context;
    const expected = 'a whole number from 0 to 1000';
    if (Number.isInteger(value) && value >= 0 && value <= 1000) return;
    const isLater = value === 'auto' || (typeof value === 'object' && value !== null && !Array.isArray(value));
    complain(context, isLater ? { unsupported: `Use ${expected}` } : { expected });
  })
  .meta({ type: 'integer', minimum: 0, maximum: 1000 });

const app = section('an app', {
  command: command('a command, as one text or a list of words')
    .optional()
    .describe('The program and its words, run without a shell. {fd}, {fd1}, {slot}, {port} and {app} are filled in.'),
  script: command('a script, with its arguments')
    .optional()
    .describe('A Node script (CommonJS or ESM, unmodified), relative to cwd. Instead of command.'),
  workers: workers.default(1).describe('How many workers run.'),
  listen: z
    .union([listenAddress(), z.array(listenAddress(), { error: 'a list of addresses' })], { error: 'an address or a list of addresses' })
    .default([])
    .describe('Sockets that all workers share, as fds from 3 on: "127.0.0.1:8000", ":8000", "[::1]:8000", "unix:/run/app.sock".'),
  socket_mode: octal('the permissions of unix sockets as octal digits, such as 0660')
    .default('0666')
    .describe('Permissions of the unix sockets.'),
  socket_group: filled('the name or number of a group').nullable().default(null).describe('The group of the unix sockets.'),
  spares: later([0], 'Use 0').describe('Not supported yet. Ready workers kept out of the rotation.'),
  balance: word(['auto', 'shared'], ['steered', 'round-robin']).default('auto').describe('How connections find a worker. shared: all accept from one socket.'),
  cwd: path().optional().describe('The working directory; symlinks are resolved when a revision starts. Default: the folder of the config file.'),
  env: env().describe('Variables for the workers, over those of env_file. {placeholders} are filled in.'),
  env_file: envFile().describe('A file of variables, relative to cwd; read again at a reload.'),
  user: user().describe('The user who runs the workers, with HOME, USER, LOGNAME and supplementary groups.'),
  group: filled('the name or number of a group').nullable().default(null).describe("The group of the workers. Default: the user's."),
  umask: octal('a umask as octal digits, such as 022').nullable().default(null).describe('The umask of the workers. Default: the one of the master.'),
  nice: whole(-20, 19).nullable().default(null).describe('The nice value of the workers. Default: the one of the master.'),
  depends_on: later([null, []]).describe('Not supported yet. Apps that must be ready first.'),
  ready: z
    .union([readyWord, readyMap], { error: `${listOf(readyWords, 'or')}, or a map with one of ${listOf(readyKinds, 'and')}` })
    .default('auto')
    .describe('When a worker counts as ready. auto: a script has listened, a command accepts on its socket, else alive for 1 s.'),
  ready_timeout: duration('above zero').default('60s').describe('A worker that is not ready by then is stopped, and has crashed.'),
  start_attempts: whole(1, 1000).default(3).describe('After so many failed boots in a row of an app that has never served, the master gives up.'),
  health: later([null]).describe('Not supported yet. Probes of ready workers.'),
  stall: later([null]).describe('Not supported yet. Detects workers that hang.'),
  restart: z
    .enum(['always', 'on-failure', 'never'], { error: 'always, on-failure or never' })
    .default('always')
    .describe('Which exits of a worker are followed by a restart.'),
  backoff: backoff.prefault({}).describe('The delays between restarts.'),
  limits: later([null, {}]).describe('Not supported yet. Replaces workers by memory or age.'),
  stop: stop.prefault({}).describe('How workers are stopped.'),
  reload: reload.prefault({}).describe('How workers are replaced.'),
  watch: later([null, []]).describe('Not supported yet. Reloads when files change.'),
  port: whole(1, 65_535).nullable().default(null).describe('For programs that bind a port of their own: {port} and $PORT are this + slot.'),
  tls_files: later([null, []]).describe('Not supported yet. Reloads when a certificate is renewed.'),
  logs: logs.default({}).describe('How lines of output are written.'),
});

// ---------------------------------------------------------------- the config

export const configSchema = section('the config', {
  name: name().optional().describe('Names the control socket and the state directory. Default: the name of the folder.'),
  env_file: envFile().describe('A file of variables for ${VAR}, hooks and workers, relative to this file; read again at every load.'),
  hooks: hooks.prefault({}).describe('Commands that run once around the life of the workers.'),
  apps: z
    .record(
      text('the name of an app', appName, { pattern: appNamePattern.source }),
      app,
      { error: 'at least one app, as in apps: {web: {command: ...}}' },
    )
    .check((context) => complain(context, Object.keys(context.value).length > 0 ? null : { expected: 'at least one app, as in apps: {web: {command: ...}}' }))
    .describe('The apps, started in this order and stopped in reverse.'),
  resources: section('resources', {
    memory_budget: laterPercent('80%').describe('Not supported yet. How much of the memory workers may use.'),
    target_utilisation: laterPercent('70%').describe('Not supported yet. What capacity aims at.'),
    sample_every: duration({ ms: 100 }).default('2s').describe('How often CPU and memory of the workers are sampled.'),
  })
    .prefault({})
    .describe('The resources of the host.'),
  control: section('control', {
    socket: path().nullable().default(null).describe('The control socket. Default: control.sock in the runtime directory.'),
    http: later([null]).describe('Not supported yet. An address for the web dashboard.'),
  })
    .prefault({})
    .describe('How the master is controlled.'),
});

function appName(key: string): Wrong | null {
  if (appNamePattern.test(key)) return null;
  const like = appNameLike(key);
  return {
    expected: 'an app name of letters, digits, - and _ that starts with a letter (at most 63)',
    ...(like === null ? {} : { hint: `Did you mean "${like}"?` }),
  };
}

/** The app name that is most like `text`: `app.js` -> `app-js`; null when there is none. */
export function appNameLike(text: string): string | null {
  const like = text.replace(/[^A-Za-z0-9_-]+/g, '-').replace(/^[^A-Za-z]+|-+$/g, '').slice(0, 63);
  return appNamePattern.test(like) ? like : null;
}

/** The name of a master or a hook that is most like `text`; null when there is none. */
export function nameLike(text: string): string | null {
  const like = text.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+|-+$/g, '').slice(0, 63);
  return namePattern.test(like) ? like : null;
}

/** The config as it is written, checked, with every default filled in. */
export type Settings = z.output<typeof configSchema>;
export type AppSettings = Settings['apps'][string];
export type HookSettings = z.output<typeof hookKeys>;
export type CommandSettings = HookSettings['command'];
