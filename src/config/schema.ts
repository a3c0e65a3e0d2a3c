/**
 * Every key of the config with its documentation, kind and default: the one source of the checks, of the JSON Schema
 * in schema/ and of the reference. What depends on several keys is checked when the Spec is built.
 *
 * `given` keys must be there, `usual` ones have a default, `orNone` and `maybe` ones are not set without a value.
 */
import * as z from 'zod/mini';
import { globPattern } from '../core/glob.ts';
import {
  anyText,
  choice,
  command,
  decimal,
  didYouMean,
  duration,
  filled,
  flag,
  given,
  group,
  jsonHasOneOf,
} from './fields.ts';
import { judged, maybe, octal, orNone, percent, section, shaped, signal } from './fields.ts';
import { size, text, usual, whole, type Wrong } from './fields.ts';
import { controlForms, parseControlAddress, parseListen } from './listen.ts';
import { appNameLike, appNamePattern, namePattern } from './names.ts';
import { healthSchema, readySchema, whyNoPattern } from './probe-schema.ts';
import { memoryBudgetSchema, workersSchema } from './staffing-schema.ts';

const name = () => shaped('a name of letters, digits, ., _ and - (at most 63)', namePattern);
const path = () => filled('a path');
const user = () => filled('the name or number of a user');
const userGroup = () => filled('the name or number of a group');

const variableName = 'the name of a variable, without = and blanks';
const variables = () =>
  z.record(
    text(variableName, (key) => (/^[^=\s]+$/.test(key) ? null : { expected: variableName }), { pattern: '^[^=]+$' }),
    anyText('a text (for an empty one write "")', { type: ['string', 'number', 'boolean'] }),
    { error: 'a map of variables, such as {LOG_LEVEL: info}' },
  );

// ---------------------------------------------------------------- hooks

const hookMap = section('a hook', {
  name: maybe('Shown in status and logs; once_per is recorded under it. Default: the name of the program.', name()),
  command: given(
    'The program and its words. A text is split into words as a shell would, but run without one.',
    command('a command, as one text or a list of words'),
  ),
  shell: usual('true: the command is one text for /bin/sh -c, which also expands its ${VAR}.', flag(), false),
  timeout: usual('The whole process tree is killed after it, and the hook has failed.', duration('above zero'), '5m'),
  retries: usual('How often a failed hook is tried again.', whole(0, 100), 0),
  retry_delay: usual('The time between two attempts.', duration(), '5s'),
  once_per: usual(
    'Skipped where the hook has succeeded for this key already, a release for example. Empty: run always.',
    anyText('a text'),
    '',
  ),
  lock: usual(
    'Not supported yet. Once across a fleet: the URL of a database that holds the lock.',
    text('a text', (value) => (value === '' ? null : { unsupported: 'Leave it out; hooks are locked on this host' }), {
      enum: [''],
    }),
    '',
  ),
  on_failure: maybe(
    'abort: stop here, exit code 1. continue: report it and go on. Default: abort in pre_start and pre_reload, else continue.',
    choice(['abort', 'continue']),
  ),
  env: usual('Variables for this hook, over those of env_file.', variables(), {}),
  env_file: orNone("A file of variables, relative to the hook's cwd.", path()),
  cwd: maybe('The working directory. Default: the folder of the config file.', path()),
  user: orNone('The user who runs it. Default: the user of the master.', user()),
});

const hook = z.union([command('a command'), hookMap], { error: 'a hook: a command, or a map with a command' });
z.globalRegistry.add(hook, { id: 'hook' });

const phase = (doc: string) => usual(doc, z.array(hook, { error: 'a list of hooks, each after a "- "' }), []);

const hooks = section('hooks', {
  pre_start: phase('Run once, in order, one process at a time, before the first worker starts.'),
  post_start: phase('Run when all apps are ready.'),
  pre_reload: phase('Run before a reload; when one fails, nothing is reloaded.'),
  post_reload: phase('Run when a reload has succeeded.'),
  pre_stop: phase('Run before the workers are stopped.'),
  post_stop: phase('Run after the last worker has ended.'),
});

// ---------------------------------------------------------------- apps

const listenForms = 'an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock"';
const listenAddress = () =>
  text(listenForms, (value) => {
    const parsed = parseListen(value);
    return 'kind' in parsed ? null : parsed;
  });

const listen = z.union([listenAddress(), z.array(listenAddress(), { error: 'a list of addresses' })], {
  error: 'an address or a list of addresses',
});

const backoff = section('backoff', {
  initial: usual(
    'The first delay; the first crash of a worker that was ready has none.',
    duration('above zero'),
    '500ms',
  ),
  max: usual('No delay is longer.', duration('above zero'), '30s'),
  factor: usual('Each delay is this much longer than the one before.', decimal(1, 100), 2),
  jitter: usual('Each delay is shortened by a random share of itself, up to this.', decimal(0, 1), 0.5),
  stable_after: usual(
    'After being ready for so long, crashes are counted from 0 again.',
    duration('above zero'),
    '10s',
  ),
  max_crashes: usual('One more crash in a row and the worker is failed.', whole(0, 1_000_000), 8),
  retry_failed_every: usual('A failed worker gets one trial in this time.', duration('above zero'), '60s'),
});

const stop = section('stop', {
  signal: usual('Asks a worker to end.', signal(), 'SIGTERM'),
  timeout: usual('What is left after it is killed.', duration(), '30s'),
});

const reload = section('reload', {
  max_surge: usual('How many workers more than `workers` may run during a reload.', whole(0, 1000), 1),
  max_unavailable: usual('How many workers fewer than `workers` may serve during a reload.', whole(0, 1000), 0),
  canary: usual('The first new workers must stay ready for so long before the rest follows.', duration(), '5s'),
});

const stall = section('stall', {
  after: usual('A worker that hangs for so long is stalled.', duration({ ms: 1000 }), '30s'),
  action: usual('warn: say so. restart: replace it, too.', choice(['warn', 'restart']), 'warn'),
  signal: orNone('What a stalled worker is ended with, for a dump of its stacks. Default: SIGABRT.', signal()),
});

const limits = section('limits', {
  memory: orNone('A worker whose tree holds more for several samples in a row is replaced.', size(2 ** 20)),
  lifetime: orNone('A worker is replaced at this age.', duration({ ms: 1000 })),
  jitter: usual('A lifetime is shortened by a random share of itself, up to this.', decimal(0, 1), 0.1),
});

const paths = () => z.array(filled('a path'), { error: 'a list of paths' });

function glob(value: string): Wrong | null {
  if (value.trim() === '') return { expected: 'a glob' };
  try {
    globPattern(value);
    return null;
  } catch (error) {
    return { expected: 'a glob', hint: `As a regular expression: ${whyNoPattern(error)}` };
  }
}

const globs = z.array(text('a glob', glob, { minLength: 1 }), { error: 'a list of globs' });

/** What the short form of watch, a list of its paths, leaves open. */
export const watchDefaults = { ignore: [], debounce: '300ms' };

const watchMap = section('watch', {
  paths: given(
    'Files and folders, relative to cwd.',
    paths().check(judged((list) => (list.length > 0 ? null : { expected: 'at least one path' }))),
  ),
  ignore: usual('Globs of what does not count, relative to cwd.', globs, watchDefaults.ignore),
  debounce: usual('How long it has to be quiet after a change.', duration(), watchDefaults.debounce),
});

const watch = z.union([paths(), watchMap], {
  error: 'a list of paths, or a map with keys such as paths, ignore',
});

const logFormats = ['prefix', 'json', 'raw'] as const;

const logsMap = section('logs', {
  format: maybe(
    'How lines of workers are written. Default: raw in a file; on stdout prefix on a terminal, else json.',
    choice(logFormats),
  ),
  file: orNone('A file for the lines of the workers; {app}, {slot} and {port} are filled in. Default: stdout.', path()),
  max_size: usual(
    'The file is rotated at this size; 0: never, where others rotate it and send USR1.',
    size(2 ** 10, true),
    '50MB',
  ),
  keep: usual('How many rotated files are kept.', whole(0, 1000), 7),
  gzip: usual('Rotated files are compressed.', flag(), false),
});

const logsForms = 'inherit, or a map with keys such as format, file';

function logsWord(value: string): Wrong | null {
  if (value === 'inherit') return null;
  const isFormat = logFormats.some((format) => format === value);
  return {
    expected: logsForms,
    ...(isFormat ? { hint: `Did you mean {format: ${value}}?` } : didYouMean(value, ['inherit'])),
  };
}

const logs = z.union([text(logsForms, logsWord, { enum: ['inherit'] }), logsMap], { error: logsForms });

const app = section('an app', {
  command: maybe(
    'The program and its words, run without a shell. {fd}, {fd1}, {slot}, {port} and {app} are filled in.',
    command('a command, as one text or a list of words'),
  ),
  script: maybe(
    'A Node script (CommonJS or ESM, unmodified) and its arguments, relative to cwd. Instead of command.',
    command('a script, with its arguments'),
  ),
  workers: usual(
    'How many workers run. auto: one for each usable CPU, as far as resources.memory_budget allows. A map: between min and max, by CPU and accept queue.',
    workersSchema,
    1,
  ),
  listen: usual(
    'Sockets that all workers share, as fds from 3 on: "127.0.0.1:8000", ":8000", "[::1]:8000", "unix:/run/app.sock".',
    listen,
    [],
  ),
  socket_mode: usual(
    'Permissions of the unix sockets.',
    octal('the permissions of unix sockets as octal digits, such as 0660'),
    '0666',
  ),
  socket_group: orNone('The group of the unix sockets.', userGroup()),
  spares: usual(
    'So many more workers are booted and ready, out of the rotation: one takes the place of a worker that ends, at once. Needs a TCP listen.',
    whole(0, 100),
    0,
  ),
  balance: usual(
    'How connections find a worker. steered: the kernel sends them to ready workers only, each on a listener of its own. shared: all accept from one socket. auto: steered where that can be had. round-robin: node:cluster hands them to a script without listen.',
    choice(['auto', 'steered', 'shared', 'round-robin']),
    'auto',
  ),
  cwd: maybe(
    'The working directory; symlinks are resolved when a revision starts. Default: the folder of the config file.',
    path(),
  ),
  env: usual('Variables for the workers, over those of env_file. {placeholders} are filled in.', variables(), {}),
  env_file: orNone('A file of variables, relative to cwd; read again at a reload.', path()),
  user: orNone('The user who runs the workers, with HOME, USER, LOGNAME and supplementary groups.', user()),
  group: orNone("The group of the workers. Default: the user's.", userGroup()),
  umask: orNone(
    'The umask of the workers. Default: the one of the master.',
    octal('a umask as octal digits, such as 022'),
  ),
  nice: orNone('The nice value of the workers. Default: the one of the master.', whole(-20, 19)),
  depends_on: usual(
    'Apps that must serve before this one starts; it is stopped before them.',
    z.array(filled('the name of an app'), { error: 'a list of apps' }),
    [],
  ),
  ready: usual(
    'When a worker counts as ready. auto: a script has listened, a command accepts on its socket, else alive for 1 s.',
    readySchema,
    'auto',
  ),
  ready_timeout: usual(
    'A worker that is not ready by then is stopped, and has crashed.',
    duration('above zero'),
    '60s',
  ),
  start_attempts: usual(
    'After so many failed boots in a row of an app that has never served, the master gives up.',
    whole(1, 1000),
    3,
  ),
  health: orNone('Probes of ready workers. One that fails them is replaced.', healthSchema),
  stall: orNone('Detects workers that hang, without their help.', stall),
  restart: usual(
    'Which exits of a worker are followed by a restart.',
    choice(['always', 'on-failure', 'never']),
    'always',
  ),
  backoff: group('The delays between restarts.', backoff, {}),
  limits: group('When a worker is replaced because of its memory or its age.', limits, {}),
  stop: group('How workers are stopped.', stop, {}),
  reload: group('How workers are replaced.', reload, {}),
  watch: orNone('Reloads the app when files change. A list is short for its paths.', watch),
  port: orNone('For programs that bind a port of their own: {port} and $PORT are this + slot.', whole(1, 65_535)),
  tls_files: usual('Certificates, relative to cwd: reloads the app when one is renewed.', paths(), []),
  logs: group(
    "Where and how lines of output are written. inherit: the workers have the master's own stdout and stderr.",
    logs,
    {},
  ),
});

// ---------------------------------------------------------------- the config

const controlAddress = text(controlForms, (value) => {
  const parsed = parseControlAddress(value);
  return 'kind' in parsed ? null : parsed;
});

function appName(key: string): Wrong | null {
  if (appNamePattern.test(key)) return null;
  const like = appNameLike(key);
  return {
    expected:
      key === 'host'
        ? 'another name: host is the machine itself in the history'
        : 'an app name of letters, digits, - and _ that starts with a letter (at most 63)',
    ...(like === null ? {} : { hint: `Did you mean "${like}"?` }),
  };
}

const someApp = 'at least one app, as in apps: {web: {command: ...}}';

jsonHasOneOf(app, ['command', 'script']);

const apps = z
  .record(text('the name of an app', appName, { pattern: appNamePattern.source }), app, { error: someApp })
  .check(judged((value) => (Object.keys(value).length > 0 ? null : { expected: someApp })));

export const configSchema = section('the config', {
  name: maybe('Names the control socket and the state directory. Default: the name of the folder.', name()),
  env_file: orNone(
    'A file of variables for ${VAR}, hooks and workers, relative to this file; read again at every load.',
    path(),
  ),
  hooks: group('Commands that run once around the life of the workers.', hooks, {}),
  apps: given('The apps, started in this order and stopped in reverse.', apps),
  resources: group(
    'The resources of the host.',
    section('resources', {
      memory_budget: usual(
        'How much memory all workers together may have: a share of what this host or its cgroup may use, or a size.',
        memoryBudgetSchema,
        '80%',
      ),
      target_utilisation: usual('What `supervise capacity` aims at.', percent(1, 100), '70%'),
      sample_every: usual('How often CPU and memory of the workers are sampled.', duration({ ms: 100 }), '2s'),
    }),
    {},
  ),
  control: group(
    'How the master is controlled.',
    section('control', {
      socket: orNone('The control socket. Default: control.sock in the runtime directory.', path()),
      http: orNone(
        'Serves the control API and metrics over TCP as well, with a token: "127.0.0.1:9700". A port alone is one of 127.0.0.1.',
        controlAddress,
      ),
    }),
    {},
  ),
});

/** The config as it is written, checked, with every default filled in. */
export type Settings = z.output<typeof configSchema>;
export type AppSettings = Settings['apps'][string];
export type HookSettings = z.output<typeof hookMap>;
export type CommandSettings = HookSettings['command'];
