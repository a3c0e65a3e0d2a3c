/**
 * Broken configs and the messages that they get, each written by hand before the code: where, what was expected,
 * what was found, what to do. A message that reads badly here reads badly at three in the morning.
 */
import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../../src/config/problems.ts';
import { loadConfig } from '../../src/config/load.ts';
import { SuperviseError } from '../../src/core/errors.ts';

const dir = mkdtempSync(join(tmpdir(), 'supervise-broken-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const environment = { HOST: 'localhost', EMPTY: '', DB_PASSWORD: 'hunter2', COUNT: 'four', STOP_IN: '20' };

async function failureOf(file: string): Promise<SuperviseError> {
  try {
    await loadConfig(join(dir, file), environment);
  } catch (error) {
    assert.ok(error instanceof SuperviseError, String(error));
    return error;
  }
  assert.fail('it was accepted');
}

async function messageOf(text: string): Promise<string> {
  writeFileSync(join(dir, 'supervise.yaml'), text);
  const error = await failureOf('supervise.yaml');
  assert.equal(error.exitCode, 78);
  assert.ok(error instanceof ConfigError);
  return error.message.replaceAll(`${dir}/`, '');
}

interface Broken {
  readonly what: string;
  readonly yaml: string;
  /** Without `supervise.yaml:` in front of each line. */
  readonly says: string;
}

/** An app with these lines besides its command. */
function app(...lines: string[]): string {
  return ['apps:', '  web:', '    command: node server.js', ...lines.map((line) => `    ${line}`), ''].join('\n');
}

/** A valid app below these lines. */
function top(...lines: string[]): string {
  return [...lines, 'apps: {web: {command: node server.js}}', ''].join('\n');
}

const keys: readonly Broken[] = [
  {
    what: 'a typo in a key of an app',
    yaml: app('stpo: {timeout: 5s}'),
    says: '4:5: apps.web: expected a key of an app, found "stpo". Did you mean "stop"?',
  },
  {
    what: 'a typo one level down',
    yaml: app('stop: {timout: 5s}'),
    says: '4:12: apps.web.stop: expected a key of stop, found "timout". Did you mean "timeout"?',
  },
  {
    what: 'a key that is like none',
    yaml: app('stop: {colour: red}'),
    says: '4:12: apps.web.stop: expected a key of stop, found "colour". It has: signal and timeout',
  },
  {
    what: "pm2's word",
    yaml: app('instances: 4'),
    says: '4:5: apps.web: expected a key of an app, found "instances". Did you mean "workers"?',
  },
  {
    what: 'a key of an app at the top',
    yaml: top('workers: 4'),
    says: '1:1: expected a key of the config, found "workers". It belongs elsewhere: apps.NAME.workers',
  },
  {
    what: 'a key of a hook with a typo',
    yaml: top('hooks:', '  pre_start:', '    - name: migrate', '      comand: alembic upgrade head'),
    says: '4:7: hooks.pre_start[0]: expected a key of a hook, found "comand". Did you mean "command"?',
  },
  {
    what: 'a hook without a command',
    yaml: top('hooks:', '  pre_start:', '    - name: migrate'),
    says: '3:7: hooks.pre_start[0].command: expected a command, as one text or a list of words, found nothing',
  },
  {
    what: 'a typo beside the key that was meant, which is wrong too',
    yaml: app('stpo: {}', 'stop: {timeout: 5}'),
    says: [
      '4:5: apps.web: expected a key of an app, found "stpo". Did you mean "stop"?',
      '5:21: apps.web.stop.timeout: expected a duration such as 250ms, 30s, 5m or 1m30s, found "5". Did you mean "5s"?',
    ].join('\n'),
  },
  {
    what: 'a program under a wrong key, which is missing only because of that',
    yaml: 'apps:\n  web: {comand: serve}\n  api: {command: "serve {fd}", bind: ":80"}\n',
    says: [
      '2:9: apps.web: expected a key of an app, found "comand". Did you mean "command"?',
      '3:32: apps.api: expected a key of an app, found "bind". Did you mean "listen"?',
    ].join('\n'),
  },
  {
    what: 'a key that stands twice',
    yaml: app('workers: 1', 'workers: 2'),
    says: '5:5: apps.web: expected each key once, found "workers" again. It stands in line 4 already',
  },
  {
    what: 'an app with a dot in its name',
    yaml: 'apps:\n  web.1: {command: node server.js}\n',
    says: '2:3: apps: expected an app name of letters, digits, - and _ that starts with a letter (at most 63), found "web.1". Did you mean "web-1"?',
  },
  {
    what: 'an app that is called like the machine',
    yaml: 'apps:\n  host: {command: node server.js}\n',
    says: '2:3: apps: expected another name: host is the machine itself in the history, found "host"',
  },
  {
    what: 'a name that would leave the directory',
    yaml: top('name: ../shop'),
    says: '1:7: name: expected a name of letters, digits, ., _ and - (at most 63), found "../shop"',
  },
  {
    what: 'a merge key',
    yaml: 'apps:\n  web: &web {command: node server.js}\n  api:\n    <<: *web\n',
    says: '4:5: apps.api: expected a key, found <<. Merge keys are not supported: write the keys out',
  },
  {
    what: 'no apps',
    yaml: 'name: shop\n',
    says: '1:1: apps: expected at least one app, as in apps: {web: {command: ...}}, found nothing',
  },
  {
    what: 'an app without anything to run',
    yaml: 'apps:\n  web:\n    workers: 2\n',
    says: '2:3: apps.web: expected command or script, found neither. An app needs something to run',
  },
  {
    what: 'an app without a value',
    yaml: 'apps:\n  web:\n',
    says: '2:3: apps.web: expected a map with keys such as command, script, workers, found nothing',
  },
];

const values: readonly Broken[] = [
  {
    what: 'a word for a number',
    yaml: app('workers: many'),
    says: '4:14: apps.web.workers: expected a whole number from 0 to 1000, auto, or a map with min and max, found "many"',
  },
  {
    what: 'too many workers',
    yaml: app('workers: 2000'),
    says: '4:14: apps.web.workers: expected a whole number from 0 to 1000, found 2000',
  },
  {
    what: 'half a worker',
    yaml: app('workers: 1.5'),
    says: '4:14: apps.web.workers: expected a whole number from 0 to 1000, found 1.5',
  },
  {
    what: 'a duration without a unit',
    yaml: app('ready_timeout: 30'),
    says: '4:20: apps.web.ready_timeout: expected a duration such as 250ms, 30s, 5m or 1m30s, found "30". Did you mean "30s"?',
  },
  {
    what: 'a duration with a comma',
    yaml: app('stop: {timeout: "1,5h"}'),
    says: '4:21: apps.web.stop.timeout: expected a duration such as 250ms, 30s, 5m or 1m30s, found "1,5h"',
  },
  {
    what: 'a duration that is too long for a timer',
    yaml: app('stop: {timeout: 30d}'),
    says: '4:21: apps.web.stop.timeout: expected a duration of at most 24d, found "30d"',
  },
  {
    what: 'a timeout of nothing',
    yaml: app('ready_timeout: 0s'),
    says: '4:20: apps.web.ready_timeout: expected a duration above 0, found "0s"',
  },
  {
    what: 'a duration for a map',
    yaml: app('stop: 30s'),
    says: '4:11: apps.web.stop: expected a map with keys such as signal, timeout, found "30s"',
  },
  {
    what: 'a signal that does not exist',
    yaml: app('stop: {signal: SIGTREM}'),
    says: '4:20: apps.web.stop.signal: expected the name of a signal such as SIGTERM, found "SIGTREM". Did you mean "SIGTERM"?',
  },
  {
    what: 'jitter above 1, and a factor below 1',
    yaml: app('backoff: {jitter: 1.5, factor: 0.5}'),
    says: [
      '4:23: apps.web.backoff.jitter: expected a number from 0 to 1, found 1.5',
      '4:36: apps.web.backoff.factor: expected a number from 1 to 100, found 0.5',
    ].join('\n'),
  },
  {
    what: 'a backoff that shrinks',
    yaml: app('backoff: {initial: 1m}'),
    says: '4:24: apps.web.backoff.initial: expected at most backoff.max, which is 30s, found "1m"',
  },
  {
    what: 'a umask that is not octal',
    yaml: app('umask: 089'),
    says: '4:12: apps.web.umask: expected a umask as octal digits, such as 022, found "089"',
  },
  {
    what: 'a policy that does not exist',
    yaml: app('restart: on_failure'),
    says: '4:14: apps.web.restart: expected always, on-failure or never, found "on_failure". Did you mean "on-failure"?',
  },
  {
    what: 'a list of variables',
    yaml: app('env: [LOG_LEVEL=info]'),
    says: '4:5: apps.web.env: expected a map of variables, such as {LOG_LEVEL: info}, found a list',
  },
  {
    what: 'a variable without a value',
    yaml: app('env: {LOG_LEVEL: }'),
    says: '4:11: apps.web.env.LOG_LEVEL: expected a text (for an empty one write ""), found nothing',
  },
  {
    what: 'a hook that is neither text nor map',
    yaml: top('hooks: {pre_start: [5, [alembic, upgrade]], post_start: alembic}'),
    says: '1:57: hooks.post_start: expected a list of hooks, each after a "- ", found "alembic"',
  },
  {
    what: 'yes for true',
    yaml: top('hooks:', '  pre_start:', '    - {command: migrate, shell: yes}'),
    says: '3:33: hooks.pre_start[0].shell: expected true or false, found "yes"',
  },
  {
    what: 'a sampling that would not stop',
    yaml: top('resources: {sample_every: 1ms}'),
    says: '1:27: resources.sample_every: expected a duration of at least 100ms, found "1ms"',
  },
];

const listening: readonly Broken[] = [
  {
    what: 'a port alone',
    yaml: app('listen: 8000'),
    says: '4:13: apps.web.listen: expected an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock", found "8000". Did you mean ":8000" (all addresses) or "127.0.0.1:8000"?',
  },
  {
    what: 'a host name, and two ports that are none',
    yaml: app('listen: [example.com:80, "127.0.0.1:0", "127.0.0.1:70000"]'),
    says: [
      '4:14: apps.web.listen[0]: expected an IP address before the port, found "example.com:80". Names are not looked up, only localhost is known',
      '4:30: apps.web.listen[1]: expected a port from 1 to 65535, found "127.0.0.1:0"',
      '4:45: apps.web.listen[2]: expected a port from 1 to 65535, found "127.0.0.1:70000"',
    ].join('\n'),
  },
  {
    what: 'an IPv6 address without brackets',
    yaml: app('listen: "::1:8000"'),
    says: '4:13: apps.web.listen: expected an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock", found "::1:8000". Did you mean "[::1]:8000"?',
  },
  {
    what: 'a unix socket with a path that is too long',
    yaml: app(`listen: unix:/run/${'x'.repeat(120)}/web.sock`),
    says: `4:13: apps.web.listen: expected a socket path of at most 107 bytes, found one of 134: "/run/${'x'.repeat(72)}...". Longer ones cannot be bound`,
  },
  {
    what: 'an address in two apps, written in two ways',
    yaml: 'apps:\n  web: {command: a, listen: "localhost:8000"}\n  api:\n    command: b\n    listen: ["127.0.0.1:8001", "127.0.0.1:8000"]\n',
    says: '5:32: apps.api.listen[1]: expected an address of its own, found "127.0.0.1:8000", which is used already by apps.web.listen (line 2)',
  },
  {
    what: 'a name for control.http',
    yaml: top('control: {http: "shop.example.org:9700"}'),
    says: '1:17: control.http: expected an IP address before the port, found "shop.example.org:9700". Names are not looked up, only localhost is known',
  },
  {
    what: 'a unix socket for control.http',
    yaml: top('control: {http: "unix:/run/x.sock"}'),
    says: '1:17: control.http: expected an address such as "127.0.0.1:9700", "[::1]:9700" or "0.0.0.0:9700", found "unix:/run/x.sock". control.socket is the unix socket',
  },
  {
    what: 'no address for control.http',
    yaml: top('control: {http: yes please}'),
    says: '1:17: control.http: expected an address such as "127.0.0.1:9700", "[::1]:9700" or "0.0.0.0:9700", found "yes please"',
  },
  {
    what: 'a port out of range for control.http',
    yaml: top('control: {http: 99999}'),
    says: '1:17: control.http: expected a port from 1 to 65535, found "99999"',
  },
  {
    what: 'an address of control.http that an app has',
    yaml: 'apps:\n  web: {command: a, listen: ":9700"}\ncontrol: {http: 9700}\n',
    says: '3:17: control.http: expected an address of its own, found "9700", which collides with tcp://:9700 of apps.web.listen',
  },
  {
    what: 'an address that all addresses cover',
    yaml: 'apps:\n  web: {command: a, listen: ":8000"}\n  api: {command: b, listen: "127.0.0.1:8000"}\n',
    says: '3:29: apps.api.listen: expected an address of its own, found "127.0.0.1:8000", which collides with ":8000" of apps.web.listen (line 2)',
  },
  {
    what: 'listen and port',
    yaml: app('listen: ":8000"', 'port: 9000'),
    says: '5:11: apps.web.port: expected listen or port, found both. With listen all workers share our socket; with port each binds its own',
  },
  {
    what: 'round-robin for a command',
    yaml: app('balance: round-robin'),
    says: '4:14: apps.web.balance: expected auto, steered or shared for a command, found "round-robin", which hands connections to a script of Node. Use script, or leave balance out',
  },
  {
    what: 'round-robin beside listen',
    yaml: 'apps:\n  web: {script: a.js, balance: round-robin, listen: ":8000"}\n',
    says: '2:32: apps.web.balance: expected auto, steered or shared beside listen, found "round-robin", for which the script opens its port itself. Take listen out, or leave balance out',
  },
  {
    what: 'round-robin for one of two scripts without listen',
    yaml: 'apps:\n  web: {script: a.js, listen: ":8000"}\n  api: {script: b.js}\n  ws: {script: c.js, balance: round-robin}\n',
    says: '4:31: apps.ws.balance: expected the same of all scripts without listen, because node:cluster has one policy for them, found "round-robin" here and not in api. Give it to all of them or to none',
  },
  {
    what: 'a balance that is none',
    yaml: app('balance: roundrobin'),
    says: '4:14: apps.web.balance: expected auto, steered, shared or round-robin, found "roundrobin". Did you mean "round-robin"?',
  },
  {
    what: 'ports beyond the last',
    yaml: app('workers: 10', 'port: 65530'),
    says: '5:11: apps.web.port: expected room for 11 ports up to 65535 (workers, spares and max_surge), found 65530',
  },
  {
    what: '{fd} without listen, {port} without port',
    yaml: 'apps:\n  web:\n    command: uvicorn main:app --fd {fd}\n    env: {HTTP_PORT: "{port}"}\n',
    says: [
      '3:14: apps.web.command: expected a listen address for {fd}, found none. Add one to listen of the app, or with -b',
      '4:22: apps.web.env.HTTP_PORT: expected a port for {port}, found none. Set port of the app, to 9000 for example',
    ].join('\n'),
  },
  {
    what: '{fd2} with two addresses',
    yaml: 'apps:\n  web:\n    command: serve {fd} {fd1} {fd2}\n    listen: [":8000", ":8001"]\n',
    says: '3:14: apps.web.command: expected a listen address for {fd2}, found 2 ({fd} and {fd1}). Add one to listen of the app, or with -b',
  },
];

const readiness: readonly Broken[] = [
  {
    what: 'an http probe of workers that share their socket',
    yaml: app('listen: ":8000"', 'balance: shared', 'ready: {http: /healthz}'),
    says: "6:19: apps.web.ready.http: expected balance: steered or auto, where a probe chooses its worker at the address of listen, found shared. Any worker may answer there, so the probe cannot tell which one is ready. Give the probe a port of the worker's own, as in {http: {path: /healthz, port: 9100}}, where slot n answers at 9100 + n, or use accepting",
  },
  {
    what: 'an http probe on a unix socket and on IPv6 alone',
    yaml: app('listen: ["unix:/run/a.sock", "[::1]:8000"]', 'ready: {http: /healthz}'),
    says: '5:19: apps.web.ready.http: expected an IPv4 address in listen, at which a probe chooses its worker, found only "unix:/run/a.sock" and "[::1]:8000". Any worker may answer there, so the probe cannot tell which one is ready. Give the probe a port of the worker\'s own, as in {http: {path: /healthz, port: 9100}}, where slot n answers at 9100 + n, or use accepting',
  },
  {
    what: 'a tcp probe of the port of an IPv6 address',
    yaml: app('listen: ["[::1]:8000"]', 'ready: {tcp: 8000}'),
    says: '5:18: apps.web.ready.tcp: expected a port of the worker\'s own, found 8000 (up to 8001 with slot 1), which all workers share through listen "[::1]:8000". Any worker may answer there, so the probe cannot tell which one is ready. Give the probe a port of the worker\'s own, as in {tcp: {port: 9100}}, where slot n answers at 9100 + n, or use accepting',
  },
  {
    what: 'a tcp probe whose ports run into the address of listen',
    yaml: app('listen: ["127.0.0.1:8000"]', 'ready: {tcp: 7999}'),
    says: '5:18: apps.web.ready.tcp: expected a port of the worker\'s own, found 7999 (up to 8000 with slot 1), which all workers share through listen "127.0.0.1:8000". Any worker may answer there, so the probe cannot tell which one is ready. Give the probe a port of the worker\'s own, as in {tcp: {port: 9100}}, where slot n answers at 9100 + n, or use accepting',
  },
  {
    what: 'a probe without any port',
    yaml: app('ready: {http: {path: /healthz}}'),
    says: '4:13: apps.web.ready.http: expected a port to probe, found none. Set port of the app, or write {http: {path: /healthz, port: 9100}}',
  },
  {
    what: 'accepting without a socket',
    yaml: app('ready: accepting'),
    says: '4:12: apps.web.ready: expected listen, because accepting means to accept on our socket, found none. Add listen, or use listening or spawned',
  },
  {
    what: 'a regular expression that is none',
    yaml: app('ready: {log: "started (on"}'),
    says: '4:18: apps.web.ready.log: expected a regular expression, found "started (on". Unterminated group',
  },
  {
    what: 'two ways to be ready',
    yaml: app('ready: {log: started, delay: 1s}'),
    says: '4:5: apps.web.ready: expected one of http, tcp, log and delay, found log and delay',
  },
  {
    what: 'a kind without its value',
    yaml: app('ready: http'),
    says: '4:12: apps.web.ready: expected a map here, such as {http: /healthz}, found "http"',
  },
  {
    what: 'a path without a slash',
    yaml: app('port: 9000', 'ready: {http: healthz}'),
    says: '5:19: apps.web.ready.http: expected a path that starts with /, found "healthz"',
  },
];

const probing: readonly Broken[] = [
  {
    what: 'health without a probe',
    yaml: app('health: {interval: 5s}'),
    says: '4:5: apps.web.health: expected one of http, tcp and exec, found none',
  },
  {
    what: 'health with two probes',
    yaml: app('port: 9000', 'health: {http: /up, exec: [check]}'),
    says: '5:5: apps.web.health: expected one of http, tcp and exec, found http and exec',
  },
  {
    what: 'health as a path',
    yaml: app('health: /healthz'),
    says: '4:13: apps.web.health: expected a map with keys such as http, tcp, exec, found "/healthz"',
  },
  {
    what: 'a typo in health, and a word of others for it',
    yaml: app('port: 9000', 'health: {http: /up, intervall: 5s}', 'healthcheck: {}'),
    says: [
      '5:25: apps.web.health: expected a key of health, found "intervall". Did you mean "interval"?',
      '6:5: apps.web: expected a key of an app, found "healthcheck". Did you mean "health"?',
    ].join('\n'),
  },
  {
    what: 'values of health that cannot be',
    yaml: app('port: 9000', 'health: {http: healthz, interval: 0s, timeout: 2, failures: 0}'),
    says: [
      '5:20: apps.web.health.http: expected a path that starts with /, found "healthz"',
      '5:39: apps.web.health.interval: expected a duration above 0, found "0s"',
      '5:52: apps.web.health.timeout: expected a duration such as 250ms, 30s, 5m or 1m30s, found "2". Did you mean "2s"?',
      '5:65: apps.web.health.failures: expected a whole number from 1 to 1000, found 0',
    ].join('\n'),
  },
  {
    what: 'an http probe of health on a unix socket',
    yaml: app('listen: "unix:/run/a.sock"', 'health: {http: /healthz}'),
    says: '5:20: apps.web.health.http: expected an IPv4 address in listen, at which a probe chooses its worker, found only "unix:/run/a.sock". Any worker may answer there, so the probe cannot tell which one is healthy. Give the probe a port of the worker\'s own, as in {http: {path: /healthz, port: 9100}}, where slot n answers at 9100 + n, or use an exec probe, or stall, which sees a worker that hangs from outside',
  },
  {
    what: 'a tcp probe of health of workers that share their socket',
    yaml: app('listen: ":8000"', 'balance: shared', 'health: {tcp: 8000}'),
    says: "6:19: apps.web.health.tcp: expected balance: steered or auto, where a probe chooses its worker at the address of listen, found shared. Any worker may answer there, so the probe cannot tell which one is healthy. Give the probe a port of the worker's own, as in {tcp: {port: 9100}}, where slot n answers at 9100 + n, or use an exec probe, or stall, which sees a worker that hangs from outside",
  },
  {
    what: 'health without any port',
    yaml: app('health: {http: /healthz}'),
    says: '4:20: apps.web.health.http: expected a port to probe, found none. Set port of the app, or write {http: {path: /healthz, port: 9100}}',
  },
  {
    what: 'a probe with more slots than ports',
    yaml: app('workers: 10', 'health: {tcp: {port: 65530}}'),
    says: '5:14: apps.web.health.tcp: expected room for 11 ports up to 65535 (workers, spares and max_surge), found 65530',
  },
  {
    what: 'a probe with the syntax of a shell',
    yaml: app('health: {exec: "curl -f localhost || exit 1"}'),
    says: '4:20: apps.web.health.exec: expected a program and its words, found the shell operator || at character 19. A probe runs without a shell: write ["sh", "-c", "curl -f localhost || exit 1"], or quote it',
  },
  {
    what: 'a probe with a variable that is not set',
    yaml: app('health: {exec: [check, "${CHECK_URL}"]}'),
    says: '4:28: apps.web.health.exec[1]: ${CHECK_URL} is not set and has no default. Set CHECK_URL in the environment or in the top-level env_file, or write ${CHECK_URL:-default}',
  },
  {
    what: 'a probe that wants the socket, and a port that there is none of',
    yaml: app('listen: ":8000"', 'health: {exec: "check --fd {fd} --port {port}"}'),
    says: [
      "5:20: apps.web.health.exec: expected {slot}, {port} or {app}, found {fd}. A probe's command is given no sockets: let it connect to an address",
      '5:20: apps.web.health.exec: expected a port for {port}, found none. Set port of the app, to 9000 for example',
    ].join('\n'),
  },
  {
    what: 'an empty probe',
    yaml: app('health: {exec: []}'),
    says: '4:14: apps.web.health.exec: expected a command, as one text or a list of words, found an empty list',
  },
  {
    what: 'values of stall that cannot be',
    yaml: app('listen: ":8000"', 'stall: {after: 500ms, action: kill, signal: SIGQUITT}'),
    says: [
      '5:20: apps.web.stall.after: expected a duration of at least 1s, found "500ms"',
      '5:35: apps.web.stall.action: expected warn or restart, found "kill"',
      '5:49: apps.web.stall.signal: expected the name of a signal such as SIGTERM, found "SIGQUITT". Did you mean "SIGQUIT"?',
    ].join('\n'),
  },
  {
    what: 'stall of a command without a socket, which cannot be seen',
    yaml: app('stall: {after: 30s}'),
    says: '4:5: apps.web.stall: expected listen, because a command that hangs is seen at our socket, found none. Add listen, or use health',
  },
];

const spares: readonly Broken[] = [
  {
    what: 'spares without a socket',
    yaml: app('spares: 2'),
    says: '4:13: apps.web.spares: expected a TCP listen, because of spares, found none. Connections can be kept from a ready worker only at our socket',
  },
  {
    what: 'spares of programs with ports of their own',
    yaml: app('port: 9000', 'spares: 1'),
    says: '5:13: apps.web.spares: expected listen instead of port, because of spares, found port. Clients choose a worker by its port, so a spare cannot take its place',
  },
  {
    what: 'spares on a unix socket, beside a TCP address too',
    yaml: app('listen: [":8000", "unix:/run/web.sock"]', 'spares: 1'),
    says: '5:13: apps.web.spares: expected TCP addresses alone in listen, because of spares, found "unix:/run/web.sock". A unix socket has one listener, so spares would accept there',
  },
  {
    what: 'spares on a shared socket',
    yaml: app('listen: ":8000"', 'balance: shared', 'spares: 1'),
    says: '6:13: apps.web.spares: expected balance: auto or steered, because of spares, found shared. Spares would accept from the shared socket like the others',
  },
  {
    what: 'spares of workers that are not always started again',
    yaml: app('listen: ":8000"', 'restart: on-failure', 'spares: 1'),
    says: '6:13: apps.web.spares: expected restart: always, because of spares, found on-failure. A spare that has taken a place could not be made good',
  },
  {
    what: 'too many spares',
    yaml: app('listen: ":8000"', 'spares: 101'),
    says: '5:13: apps.web.spares: expected a whole number from 0 to 100, found 101',
  },
  {
    what: 'spares with an address that is wrong: that is said alone',
    yaml: app('listen: "8000"', 'spares: 1'),
    says: '4:13: apps.web.listen: expected an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock", found "8000". Did you mean ":8000" (all addresses) or "127.0.0.1:8000"?',
  },
];

const replacing: readonly Broken[] = [
  {
    what: 'values of limits that cannot be',
    yaml: app('limits: {memory: 512, lifetime: 12, jitter: 2}'),
    says: [
      '4:22: apps.web.limits.memory: expected a size such as 512MB or 1.5GiB, found "512". Did you mean "512MB"?',
      '4:37: apps.web.limits.lifetime: expected a duration such as 250ms, 30s, 5m or 1m30s, found "12". Did you mean "12s"?',
      '4:49: apps.web.limits.jitter: expected a number from 0 to 1, found 2',
    ].join('\n'),
  },
  {
    what: 'limits below anything that can run',
    yaml: app('limits: {memory: 512k, lifetime: 500ms}'),
    says: [
      '4:22: apps.web.limits.memory: expected a size of at least 1MB, found "512k"',
      '4:38: apps.web.limits.lifetime: expected a duration of at least 1s, found "500ms"',
    ].join('\n'),
  },
  {
    what: 'a share of the memory',
    yaml: app('limits: {memory: 50%}'),
    says: '4:22: apps.web.limits.memory: expected a size such as 512MB or 1.5GiB, found "50%"',
  },
  {
    what: "pm2's limit",
    yaml: app('max_memory_restart: 1G'),
    says: '4:5: apps.web: expected a key of an app, found "max_memory_restart". Did you mean "limits"?',
  },
  {
    what: 'watch: true',
    yaml: app('watch: true'),
    says: '4:12: apps.web.watch: expected a list of paths, or a map with keys such as paths, ignore, found true',
  },
  {
    what: 'a watch without paths',
    yaml: app('watch: {debounce: 1s}'),
    says: '4:5: apps.web.watch.paths: expected a list of paths, found nothing',
  },
  {
    what: 'values of watch that cannot be',
    yaml: app('watch: {paths: [], ignore: "*.pyc", debounce: 300}'),
    says: [
      '4:13: apps.web.watch.paths: expected at least one path, found an empty list',
      '4:32: apps.web.watch.ignore: expected a list of globs, found "*.pyc"',
      '4:51: apps.web.watch.debounce: expected a duration such as 250ms, 30s, 5m or 1m30s, found "300". Did you mean "300s"?',
    ].join('\n'),
  },
  {
    what: 'globs to ignore that are none',
    yaml: app('watch: {paths: [src], ignore: ["*.pyc", "[z-a]", ""]}'),
    says: [
      '4:45: apps.web.watch.ignore[1]: expected a glob, found "[z-a]". As a regular expression: Range out of order in character class',
      '4:54: apps.web.watch.ignore[2]: expected a glob, found ""',
    ].join('\n'),
  },
  {
    what: 'an empty path to watch',
    yaml: app('watch: [src, ""]'),
    says: '4:18: apps.web.watch[1]: expected a path, found ""',
  },
  {
    what: 'one certificate without its list',
    yaml: app('tls_files: cert.pem'),
    says: '4:16: apps.web.tls_files: expected a list of paths, found "cert.pem"',
  },
  {
    what: 'a certificate that is a map',
    yaml: app('tls_files: [{cert: a.pem}]'),
    says: '4:17: apps.web.tls_files[0]: expected a path, found a map',
  },
];

const logging: readonly Broken[] = [
  {
    what: 'logs as a word that is none',
    yaml: app('logs: inherited'),
    says: '4:11: apps.web.logs: expected inherit, or a map with keys such as format, file, found "inherited". Did you mean "inherit"?',
  },
  {
    what: 'the format alone',
    yaml: app('logs: raw'),
    says: '4:11: apps.web.logs: expected inherit, or a map with keys such as format, file, found "raw". Did you mean {format: raw}?',
  },
  {
    what: 'a list of logs',
    yaml: app('logs: [web.log]'),
    says: '4:5: apps.web.logs: expected inherit, or a map with keys such as format, file, found a list',
  },
  {
    what: 'values of logs that cannot be',
    yaml: app('logs: {format: text, file: "", max_size: 50, keep: -1, gzip: 9}'),
    says: [
      '4:20: apps.web.logs.format: expected prefix, json or raw, found "text"',
      '4:32: apps.web.logs.file: expected a path, found ""',
      '4:46: apps.web.logs.max_size: expected a size such as 512MB or 1.5GiB, found "50". Did you mean "50MB"?',
      '4:56: apps.web.logs.keep: expected a whole number from 0 to 1000, found -1',
      '4:66: apps.web.logs.gzip: expected true or false, found 9',
    ].join('\n'),
  },
  {
    what: 'a file that would be rotated after every line',
    yaml: app('logs: {file: web.log, max_size: 100B}'),
    says: '4:37: apps.web.logs.max_size: expected a size of at least 1KB, or 0, found "100B"',
  },
  {
    what: 'a typo in logs',
    yaml: app('logs: {files: web.log}'),
    says: '4:12: apps.web.logs: expected a key of logs, found "files". Did you mean "file"?',
  },
  {
    what: "supervisord's word",
    yaml: app('stdout_logfile: web.log'),
    says: '4:5: apps.web: expected a key of an app, found "stdout_logfile". Did you mean "logs"?',
  },
  {
    what: 'a folder for a file',
    yaml: app('logs: {file: logs/}'),
    says: '4:18: apps.web.logs.file: expected a file, found the folder "logs/"',
  },
  {
    what: 'a file of each port, without port',
    yaml: app('logs: {file: "web-{port}.log"}'),
    says: '4:18: apps.web.logs.file: expected a port for {port}, found none. Set port of the app, to 9000 for example',
  },
  {
    what: 'a file of each socket',
    yaml: app('listen: ":8000"', 'logs: {file: "web-{fd}.log"}'),
    says: '5:18: apps.web.logs.file: expected {slot}, {port} or {app}, found {fd}. The number of a socket is the same for all workers: use {slot} for a file of each',
  },
  {
    what: 'two ways to rotate one file',
    yaml: 'apps:\n  web: {command: a, logs: {file: "all.log"}}\n  all: {command: b, logs: {file: "{app}.log", keep: 3}}\n',
    says: '3:34: apps.all.logs.file: expected the same keep as apps.web.logs (line 2), which writes the same file (all.log), found 3 and 7. Give both the same, or each a file of its own, with {app} in its name',
  },
  {
    what: 'a line to wait for that nobody reads',
    yaml: app('ready: {log: started}', 'logs: inherit'),
    says: '4:18: apps.web.ready.log: expected output that we read, found logs: inherit. Use another way to be ready, or a file or format in logs',
  },
];

const depending: readonly Broken[] = [
  {
    what: 'one app without its list',
    yaml: app('depends_on: cache'),
    says: '4:17: apps.web.depends_on: expected a list of apps, found "cache"',
  },
  {
    what: 'an app that there is none of, and one that is spelt wrong',
    yaml: 'apps:\n  web: {command: a, depends_on: [db, cahce]}\n  cache: {command: b}\n  queue: {command: c}\n',
    says: [
      '2:34: apps.web.depends_on[0]: expected another app (cache or queue), found "db"',
      '2:38: apps.web.depends_on[1]: expected another app (cache or queue), found "cahce". Did you mean "cache"?',
    ].join('\n'),
  },
  {
    what: 'an app, where it is the only one',
    yaml: app('depends_on: [cache]'),
    says: '4:18: apps.web.depends_on[0]: expected no app, because there is no other, found "cache"',
  },
  {
    what: 'itself',
    yaml: 'apps:\n  web:\n    command: a\n    depends_on: [cache, web]\n  cache: {command: b}\n',
    says: '4:25: apps.web.depends_on[1]: expected another app, found "web", which is this app itself. Take it out',
  },
  {
    what: 'a ring, which is reported once',
    yaml: [
      'apps:',
      '  front: {command: a, depends_on: [web]}',
      '  web: {command: a, depends_on: [cache, api]}',
      '  api: {command: a, depends_on: [jobs]}',
      '  jobs: {command: a, depends_on: [web]}',
      '  cache: {command: a}',
      '',
    ].join('\n'),
    says: '3:41: apps.web.depends_on[1]: expected an order to start in, found apps that wait for each other: web -> api -> jobs -> web. Take one of them out',
  },
  {
    what: 'two rings',
    yaml: 'apps:\n  a: {command: x, depends_on: [b]}\n  b: {command: x, depends_on: [a]}\n  c: {command: x, depends_on: [a, d]}\n  d: {command: x, depends_on: [c]}\n',
    says: [
      '2:32: apps.a.depends_on[0]: expected an order to start in, found apps that wait for each other: a -> b -> a. Take one of them out',
      '4:35: apps.c.depends_on[1]: expected an order to start in, found apps that wait for each other: c -> d -> c. Take one of them out',
    ].join('\n'),
  },
  {
    what: 'an app that is only too broken to be there',
    yaml: 'apps:\n  web: {command: a, depends_on: [cache, my.db]}\n  cache:\n  my.db: {command: b}\n',
    says: [
      '3:3: apps.cache: expected a map with keys such as command, script, workers, found nothing',
      '4:3: apps: expected an app name of letters, digits, - and _ that starts with a letter (at most 63), found "my.db". Did you mean "my-db"?',
    ].join('\n'),
  },
];

const reloadHooks: readonly Broken[] = [
  {
    what: 'a hook of a reload that is none',
    yaml: top('hooks: {pre_reload: alembic check, post_reload: [{name: a}]}'),
    says: [
      '1:21: hooks.pre_reload: expected a list of hooks, each after a "- ", found "alembic check"',
      '1:50: hooks.post_reload[0].command: expected a command, as one text or a list of words, found nothing',
    ].join('\n'),
  },
  {
    what: 'two hooks of a reload with one name, and one with a shell operator',
    yaml: top('hooks:', '  pre_reload: [{name: a, command: b}, {name: a, command: c}]', '  post_reload: [d > e]'),
    says: [
      '2:46: hooks.pre_reload[1].name: expected a name that no other hook of pre_reload has, found "a", which hooks.pre_reload[0] has too',
      '3:17: hooks.post_reload[0]: expected a program and its words, found the shell operator > at character 3. Set shell: true to have it run by /bin/sh, or quote it',
    ].join('\n'),
  },
  {
    what: 'a phase that is none',
    yaml: top('hooks: {before_reload: [a]}'),
    says: '1:9: hooks: expected a key of hooks, found "before_reload". Did you mean "pre_reload"?',
  },
];

const commands: readonly Broken[] = [
  {
    what: 'a list of commands in an app',
    yaml: 'apps:\n  web:\n    command: cd src && node server.js\n',
    says: '3:14: apps.web.command: expected a program and its words, found the shell operator && at character 8. Apps run without a shell: write ["sh", "-c", "cd src && node server.js"], or quote it',
  },
  {
    what: 'a redirection in a hook',
    yaml: top('hooks:', '  pre_start:', '    - command: alembic upgrade head > log'),
    says: '3:16: hooks.pre_start[0].command: expected a program and its words, found the shell operator > at character 22. Set shell: true to have it run by /bin/sh, or quote it',
  },
  {
    what: 'a command substitution within double quotes',
    yaml: top('hooks: {pre_start: [\'echo "$(date)"\']}'),
    says: '1:21: hooks.pre_start[0]: expected a program and its words, found the shell operator $( at character 7. Set shell: true to have it run by /bin/sh, or quote it',
  },
  {
    what: "a Procfile's variable",
    yaml: 'apps:\n  web:\n    command: gunicorn -b :$PORT app\n    port: 8000\n',
    says: "3:14: apps.web.command: expected a program and its words, found the shell variable $PORT at character 14. Write {port} for the worker's own port",
  },
  {
    what: 'a shell variable',
    yaml: top('hooks: {pre_start: [echo $HOME]}'),
    says: '1:21: hooks.pre_start[0]: expected a program and its words, found the shell variable $HOME at character 6. Write ${HOME} for a variable of the environment, or $$HOME for the characters themselves',
  },
  {
    what: 'two commands in two lines',
    yaml: 'hooks:\n  pre_start:\n    - |\n      alembic upgrade head\n      python seed.py\napps: {web: {command: a}}\n',
    says: '3:7: hooks.pre_start[0]: expected a program and its words, found a line break at character 21. Set shell: true to have it run by /bin/sh, or fold the lines with > instead of |',
  },
  {
    what: 'a quote that is never closed',
    yaml: 'apps:\n  web:\n    command: node -e "1 + 1\n',
    says: '3:14: apps.web.command: expected a program and its words, found a " at character 9 that is never closed. Close the quote, or put a backslash before it',
  },
  {
    what: 'an assignment before the program',
    yaml: 'apps:\n  web:\n    command: NODE_ENV=production node server.js\n',
    says: '3:14: apps.web.command: expected a program and its words, found the assignment "NODE_ENV=production" first. Put variables into the env of the app',
  },
  {
    what: 'a list of words for the shell',
    yaml: top('hooks:', '  pre_start:', '    - {command: [echo, hi], shell: true}'),
    says: '3:8: hooks.pre_start[0].command: expected one text for the shell, because shell is true, found a list',
  },
  {
    what: 'command and script',
    yaml: app('script: server.js'),
    says: '4:13: apps.web.script: expected command or script, found both. Take one of them out',
  },
  {
    what: 'a reload that could replace nothing',
    yaml: app('reload: {max_surge: 0}'),
    says: '4:5: apps.web.reload: expected max_surge or max_unavailable above 0, found 0 for both. Nothing could ever be replaced',
  },
  {
    what: 'two hooks of one name',
    yaml: top('hooks:', '  pre_start:', '    - {name: migrate, command: a}', '    - {name: migrate, command: b}'),
    says: '4:14: hooks.pre_start[1].name: expected a name that no other hook of pre_start has, found "migrate", which hooks.pre_start[0] has too',
  },
];

const variables: readonly Broken[] = [
  {
    what: 'a variable that is not set',
    yaml: app('cwd: ${RELEASE_DIR}/current'),
    says: '4:10: apps.web.cwd: ${RELEASE_DIR} is not set and has no default. Set RELEASE_DIR in the environment or in the top-level env_file, or write ${RELEASE_DIR:-default}',
  },
  {
    what: 'a variable that is not set, in a word of a command',
    yaml: 'apps:\n  web:\n    command: [node, server.js, "--db=${DATABASE_URL}"]\n',
    says: '3:32: apps.web.command[2]: ${DATABASE_URL} is not set and has no default. Set DATABASE_URL in the environment or in the top-level env_file, or write ${DATABASE_URL:-default}',
  },
  {
    what: "another form of the shell's",
    yaml: app('cwd: ${RELEASE_DIR-/srv}'),
    says: '4:10: apps.web.cwd: expected ${NAME} or ${NAME:-default}, found ${RELEASE_DIR-/srv}. Write $${ for the characters themselves',
  },
  {
    what: 'an expression without an end',
    yaml: app('cwd: "${HOST"'),
    says: '4:10: apps.web.cwd: expected ${NAME} or ${NAME:-default}, found ${ without its }. Write $${ for the characters themselves',
  },
  {
    what: 'a variable with a value that does not fit',
    yaml: app('workers: ${COUNT}', 'stop: {timeout: "${STOP_IN}"}'),
    says: [
      '4:14: apps.web.workers: expected a whole number from 0 to 1000, auto, or a map with min and max, found "four" (from ${COUNT})',
      '5:21: apps.web.stop.timeout: expected a duration such as 250ms, 30s, 5m or 1m30s, found "20" (from ${STOP_IN}). Did you mean "20s"?',
    ].join('\n'),
  },
  {
    what: 'a secret in the wrong place, which is not shown',
    yaml: app('restart: ${DB_PASSWORD}'),
    says: '4:14: apps.web.restart: expected always, on-failure or never, found "***" (from ${DB_PASSWORD})',
  },
  {
    what: 'an env_file that is not there',
    yaml: top('env_file: ${HOST}.env'),
    says: `1:11: env_file: expected a file of variables at ${dir}/localhost.env, found nothing of that name`.replaceAll(
      `${dir}/`,
      '',
    ),
  },
  {
    what: 'a variable within braces without quotes',
    yaml: 'apps:\n  web: {command: node server.js, workers: ${COUNT}}\n',
    says: '2:44: expected the end of the value, found "{" after it. Within { } and [ ] put ${VAR} in quotes: "${VAR}"',
  },
];

const forms = 'a whole number from 0 to 1000, auto, or a map with min and max';
const budgetForms = 'a percentage from 1% to 100%, or a size such as 4GB';
const budget = (written: string) => top(`resources: {memory_budget: ${written}}`);

const staffing: readonly Broken[] = [
  {
    what: 'a word like auto',
    yaml: app('workers: atuo'),
    says: `4:14: apps.web.workers: expected ${forms}, found "atuo". Did you mean "auto"?`,
  },
  {
    what: 'a number in quotes',
    yaml: app('workers: "4"'),
    says: `4:14: apps.web.workers: expected ${forms}, found "4". Did you mean 4?`,
  },
  {
    what: 'a list of workers',
    yaml: app('workers: [1, 4]'),
    says: `4:5: apps.web.workers: expected ${forms}, found a list`,
  },
  {
    what: 'bounds without an upper one',
    yaml: app('workers: {min: 2}'),
    says: '4:5: apps.web.workers.max: expected a whole number from 1 to 1000, found nothing',
  },
  {
    what: 'a lower bound of 0',
    yaml: app('workers: {min: 0, max: 4}'),
    says: '4:20: apps.web.workers.min: expected a whole number from 1 to 1000, found 0',
  },
  {
    what: 'a lower bound above the upper one',
    yaml: app('workers: {min: 5, max: 4}'),
    says: '4:20: apps.web.workers.min: expected at most max, which is 4, found 5',
  },
  {
    what: 'a key like one of workers',
    yaml: app('workers: {max: 4, target_cup: 70%}'),
    says: '4:23: apps.web.workers: expected a key of workers, found "target_cup". Did you mean "target_cpu"?',
  },
  {
    what: 'a key that workers do not have',
    yaml: app('workers: {max: 4, cooldown: 5m}'),
    says: '4:23: apps.web.workers: expected a key of workers, found "cooldown". It has: min, max, target_cpu, target_memory, scale_down_after and dry_run',
  },
  {
    what: 'a target without a unit',
    yaml: app('workers: {max: 4, target_cpu: 70}'),
    says: '4:35: apps.web.workers.target_cpu: expected a percentage from 1% to 6400%, found "70". Did you mean "70%"?',
  },
  {
    what: 'a share for a target',
    yaml: app('workers: {max: 4, target_memory: 0.8}'),
    says: '4:38: apps.web.workers.target_memory: expected a percentage from 1% to 100%, found "0.8". Did you mean "80%"?',
  },
  {
    what: 'a target of nothing',
    yaml: app('workers: {max: 4, target_cpu: 0%}'),
    says: '4:35: apps.web.workers.target_cpu: expected a percentage from 1% to 6400%, found "0%"',
  },
  {
    what: 'more memory than there is',
    yaml: app('workers: {max: 4, target_memory: 101%}'),
    says: '4:38: apps.web.workers.target_memory: expected a percentage from 1% to 100%, found "101%"',
  },
  {
    what: 'a scale-down after no time',
    yaml: app('workers: {max: 4, scale_down_after: 0}'),
    says: '4:41: apps.web.workers.scale_down_after: expected a duration of at least 1s, found "0"',
  },
  {
    what: 'a dry run that is neither true nor false',
    yaml: app('workers: {max: 4, dry_run: maybe}'),
    says: '4:32: apps.web.workers.dry_run: expected true or false, found "maybe"',
  },
  {
    what: 'bounds for workers that are never started again',
    yaml: app('workers: {max: 4}', 'restart: on-failure'),
    says: '4:5: apps.web.workers: expected restart: always, because of min and max, found on-failure. A worker that has ended for good does no work, and would be counted as idle',
  },
  {
    what: 'an upper bound for which there are no ports',
    yaml: app('workers: {max: 10}', 'port: 65530'),
    says: '5:11: apps.web.port: expected room for 11 ports up to 65535 (workers, spares and max_surge), found 65530',
  },
  {
    what: 'a budget of no unit',
    yaml: budget('80'),
    says: `1:28: resources.memory_budget: expected ${budgetForms}, found "80". Did you mean "80%"?`,
  },
  {
    what: 'a budget that is a share',
    yaml: budget('0.8'),
    says: `1:28: resources.memory_budget: expected ${budgetForms}, found "0.8". Did you mean "80%"?`,
  },
  {
    what: 'a budget of some number of megabytes, it seems',
    yaml: budget('512'),
    says: `1:28: resources.memory_budget: expected ${budgetForms}, found "512". Did you mean "512MB"?`,
  },
  {
    what: 'a budget of all and more',
    yaml: budget('120%'),
    says: `1:28: resources.memory_budget: expected ${budgetForms}, found "120%"`,
  },
  {
    what: 'a budget that is a word',
    yaml: budget('auto'),
    says: `1:28: resources.memory_budget: expected ${budgetForms}, found "auto"`,
  },
  {
    what: 'a budget in which nothing fits',
    yaml: budget('4KB'),
    says: '1:28: resources.memory_budget: expected a size of at least 1MB, or a percentage, found "4KB"',
  },
  {
    what: 'a target of capacity',
    yaml: top('resources: {target_utilisation: 0%}'),
    says: '1:33: resources.target_utilisation: expected a percentage from 1% to 100%, found "0%"',
  },
];

const later: readonly Broken[] = [
  {
    what: 'ready: notify',
    yaml: app('ready: notify'),
    says: '4:12: apps.web.ready: "notify" is not supported yet. Use auto, or fd',
  },
  {
    what: 'a lock of a hook',
    yaml: top('hooks:', '  pre_start:', '    - {command: a, lock: "postgres://shop:secret@db/shop"}'),
    says: '3:26: hooks.pre_start[0].lock: "postgres://***@db/shop" is not supported yet. Leave it out; hooks are locked on this host',
  },
];

const text: readonly Broken[] = [
  {
    what: 'an empty file',
    yaml: '',
    says: '1:1: expected a config, found an empty file. Start with apps: {web: {command: ...}}',
  },
  {
    what: 'comments only',
    yaml: '# later\n',
    says: '1:1: expected a config, found an empty file. Start with apps: {web: {command: ...}}',
  },
  {
    what: 'a list',
    yaml: '- command: node\n',
    says: '1:1: expected a map with keys such as name, hooks, apps, found a list',
  },
  {
    what: 'a word',
    yaml: 'node server.js\n',
    says: '1:1: expected a map with keys such as name, hooks, apps, found "node server.js"',
  },
  {
    what: 'a tab',
    yaml: 'apps:\n\tweb:\n',
    says: '2:1: expected spaces before a key, found a tab. Indent with spaces',
  },
  {
    what: 'an IPv6 address without quotes',
    yaml: app('listen: [::1]:8000'),
    says: '4:18: expected the end of the value, found ":" after it. Put an IPv6 address in quotes: "[::1]:8000"',
  },
  {
    what: 'keys that are indented unequally',
    yaml: 'apps:\n  web:\n    command: a\n   workers: 2\n',
    says: '4:1: expected what belongs together to start at the same column, found another indentation',
  },
  {
    what: 'a quote that is never closed, far above the end',
    yaml: 'name: "shop\napps:\n  web:\n    command: a\n',
    says: '1:7: expected a value, found a " that is never closed. Close the quote',
  },
  {
    what: 'a text with a colon',
    yaml: app('env: ', '  TITLE: Shop: the best'),
    says: '5:14: expected one "key: value" in a line, found a second ": ". Put a text with ": " in it in quotes',
  },
  {
    what: 'a line without a colon',
    yaml: app('workers 4', 'restart: never'),
    says: '4:5: expected "key: value", found a line without ": "',
  },
  {
    what: 'a list without commas',
    yaml: app('listen: [":80" ":81"]'),
    says: '4:20: expected a , between the items of { } or [ ], found "\\""',
  },
  {
    what: 'a value with a reserved character',
    yaml: app('cwd: @current'),
    says: '4:10: expected a value, found one that starts with @. Put it in quotes',
  },
  {
    what: 'a key that is nothing',
    yaml: app(': 4'),
    says: '4:1: apps.web: expected a key before the :, found nothing',
  },
  {
    what: 'a key that is a map',
    yaml: app('env: {{fd}: 3}'),
    says: '4:11: apps.web.env: expected a text as key, found something else. Put braces of your own, as in "{fd}", in quotes',
  },
  {
    what: 'two documents',
    yaml: 'apps: {web: {command: a}}\n---\napps: {}\n',
    says: '2:1: expected one document, found a second one after ---. Keep each config in a file of its own',
  },
  {
    what: 'a tag',
    yaml: app('cwd: !env HOME'),
    says: '4:15: apps.web.cwd: expected a value, found the tag !env. Quote a text that starts with !',
  },
  {
    what: 'a wildcard that YAML takes for an alias',
    yaml: app('cwd: *.d'),
    says: '4:10: apps.web.cwd: expected a value, found the alias *.d without an anchor of that name. Quote a text that starts with *',
  },
  {
    what: 'a placeholder that YAML takes for a map',
    yaml: app('env: {SLOT: {slot}}'),
    says: '4:11: apps.web.env.SLOT: expected a text (for an empty one write ""), found a map',
  },
  {
    what: 'a key that JavaScript would take for something else',
    yaml: app('env: {__proto__: x}'),
    says: '4:11: apps.web.env: expected a key, found __proto__, which cannot be one',
  },
  {
    what: 'a bomb of aliases',
    yaml: [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefgh'
        .split('')
        .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[index]}`).join(',')}]`),
      '',
    ].join('\n'),
    says: '1:22: expected at most 20000 values, found more, aliases (*) counted each time',
  },
  {
    what: 'an alias within itself',
    yaml: 'apps: &a\n  web: *a\n',
    says: '2:8: expected at most 50 levels, found more. Does an alias contain itself?',
  },
];

const together: readonly Broken[] = [
  {
    what: 'nothing is reported that only follows from another problem',
    yaml: 'apps:\n  web:\n    command: serve --fd {fd} --port {port}\n    listen: [a]\n    port: b\n',
    says: [
      '4:14: apps.web.listen[0]: expected an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock", found "a"',
      '5:11: apps.web.port: expected a whole number from 1 to 65535, found "b"',
    ].join('\n'),
  },
  {
    what: 'nor from a variable that is not set',
    yaml: 'apps: ${APPS}\n',
    says: '1:7: apps: ${APPS} is not set and has no default. Set APPS in the environment or in the top-level env_file, or write ${APPS:-default}',
  },
  {
    what: 'all problems of a file are reported at once, in its order',
    yaml: [
      'name: my shop',
      'hooks:',
      '  pre_start:',
      '    - echo a | cat',
      'apps:',
      '  web:',
      '    workers: two',
      '    listen: ["127.0.0.1:99999"]',
      '    health: {http: up}',
      '  api:',
      '    command: serve --fd {fd}',
      '    restrat: always',
      '',
    ].join('\n'),
    says: [
      '1:7: name: expected a name of letters, digits, ., _ and - (at most 63), found "my shop"',
      '4:7: hooks.pre_start[0]: expected a program and its words, found the shell operator | at character 8. Set shell: true to have it run by /bin/sh, or quote it',
      '6:3: apps.web: expected command or script, found neither. An app needs something to run',
      '7:14: apps.web.workers: expected a whole number from 0 to 1000, auto, or a map with min and max, found "two"',
      '8:14: apps.web.listen[0]: expected a port from 1 to 65535, found "127.0.0.1:99999"',
      '9:20: apps.web.health.http: expected a path that starts with /, found "up"',
      '11:14: apps.api.command: expected a listen address for {fd}, found none. Add one to listen of the app, or with -b',
      '12:5: apps.api: expected a key of an app, found "restrat". Did you mean "restart"?',
    ].join('\n'),
  },
];

const tables = {
  keys,
  values,
  listening,
  readiness,
  probing,
  spares,
  replacing,
  logging,
  depending,
  reloadHooks,
  commands,
  variables,
  staffing,
  later,
  text,
  together,
};

for (const [title, table] of Object.entries(tables)) {
  describe(title, () => {
    for (const { what, yaml, says } of table) {
      test(what, async () => {
        const expected = says.split('\n').map((line) => `supervise.yaml:${line}`);
        assert.deepEqual((await messageOf(yaml)).split('\n'), expected);
      });
    }
  });
}

test('a second broken item of a list does not hide what is wrong elsewhere in the app', async () => {
  const message = await messageOf('apps:\n  web:\n    listen: [a, b]\n    command: x --fd {fd} && y\n');
  assert.equal(message.split('\n').length, 3, message);
});

describe('files', () => {
  const cases: readonly (readonly [string, (file: string) => void, string, string])[] = [
    ['that are missing', () => {}, 'config-not-found', 'FILE: expected a config file, found nothing of that name'],
    [
      'that are directories',
      (file) => mkdirSync(file),
      'config-invalid',
      'FILE: expected a file that can be read, found a directory',
    ],
    [
      'that are symlinks to themselves',
      (file) => symlinkSync(file, file),
      'config-invalid',
      'FILE: expected a file that can be read, found a symlink that leads to itself',
    ],
    [
      'of binary data',
      (file) => writeFileSync(file, Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1])),
      'config-invalid',
      'FILE:1:1: expected text, found a zero byte at offset 4. Is it the right file?',
    ],
    [
      'in Latin-1',
      (file) => writeFileSync(file, Buffer.from('name: caf\u00e9', 'latin1')),
      'config-invalid',
      'FILE:1:1: expected text in UTF-8, found other bytes. Is it the right file?',
    ],
    [
      'in UTF-16',
      (file) => writeFileSync(file, Buffer.from('\ufeffname: shop', 'utf16le')),
      'config-invalid',
      'FILE:1:1: expected text in UTF-8, found UTF-16. Save it as UTF-8',
    ],
    [
      'of more than a MiB',
      (file) => writeFileSync(file, '#'.repeat(1024 * 1024 + 1)),
      'config-invalid',
      'FILE:1:1: expected a config of at most 1 MiB, found a larger file. Is it the right one?',
    ],
  ];
  for (const [index, [what, make, code, message]] of cases.entries()) {
    test(what, async () => {
      const name = `file-${index}.yaml`;
      make(join(dir, name));
      const error = await failureOf(name);
      assert.deepEqual(
        [error.code, error.exitCode, error.message],
        [code, 78, message.replace('FILE', join(dir, name))],
      );
    });
  }
});

test('there are at least 30 broken configs, and no two messages for one mistake', () => {
  const all = Object.values(tables).flat();
  assert.ok(all.length >= 30, String(all.length));
  assert.equal(new Set(all.map(({ yaml }) => yaml)).size, all.length);
});
