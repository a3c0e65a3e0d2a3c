/**
 * All commands as a table: what `supervise help` shows, what is parsed, and which file runs it. A row without
 * `load` is a command of a later version: it is listed, and refused by name.
 */
import type { CommandRow } from './invocation.ts';

export const commands: readonly CommandRow[] = [
  {
    name: 'start',
    args: '[command...]',
    summary: 'run the master in the foreground: hooks once, then the workers',
    options: [
      { flags: '-w, --workers <n>', text: 'number of workers, or auto (beside a config: it must have one app)' },
      {
        flags: '-b, --bind <address>',
        text: 'listen address as 127.0.0.1:8000, :8000, unix:/run/x.sock; repeatable',
        repeatable: true,
      },
      {
        flags: '--pre-start <command>',
        text: 'hook to run once before the first worker; repeatable; only with -- CMD',
        repeatable: true,
      },
      { flags: '-d, --detach', text: 'start in the background and return when every app serves' },
      { flags: '--dry-run', text: 'show what would happen and where each value comes from' },
      { flags: '--log-file <file>', text: 'what a detached master writes to', hidden: true },
    ],
    examples: [
      { line: 'supervise start', does: 'run ./supervise.yaml' },
      {
        line: 'supervise start -w 4 -b 127.0.0.1:8000 --pre-start "alembic upgrade head" -- uvicorn main:app --fd {fd}',
        does: 'no config file: everything by flags',
      },
      { line: 'supervise start -d && supervise status', does: 'in the background' },
      { line: 'supervise start --dry-run', does: 'only show it' },
    ],
    load: async () => (await import('./commands/start.ts')).start,
  },
  {
    name: 'check',
    args: '',
    summary: 'validate the config: exit 0, or 78 with file:line:column of every problem',
    options: [],
    examples: [{ line: 'supervise check -c deploy/supervise.yaml', does: 'before it is deployed' }],
    load: async () => (await import('./commands/check.ts')).check,
  },
  {
    name: 'status',
    args: '',
    summary: 'show the master, its apps and workers',
    options: [{ flags: '--watch', text: 'show it again each second' }],
    examples: [
      { line: 'supervise status', does: 'a table' },
      { line: "supervise status --json | jq '.apps[].workers[].pid'", does: 'the snapshot for programs' },
    ],
    load: async () => (await import('./commands/status.ts')).status,
  },
  {
    name: 'top',
    args: '',
    summary: 'live dashboard of apps and workers, with keys to restart, scale, reload, and to read logs and why',
    options: [],
    examples: [
      { line: 'supervise top', does: '? shows the keys, q quits' },
      { line: 'supervise top --no-color', does: 'without colours' },
    ],
    load: async () => (await import('./commands/top.ts')).top,
  },
  {
    name: 'stop',
    args: '',
    summary: 'stop the master gracefully and wait for its end; exit 0 when none runs',
    options: [{ flags: '--now', text: 'kill instead of asking' }],
    examples: [
      { line: 'supervise stop', does: 'requests in hand are finished' },
      { line: 'supervise stop --name shop --now', does: 'at once' },
    ],
    load: async () => (await import('./commands/stop.ts')).stop,
  },
  {
    name: 'reload',
    args: '[apps...]',
    summary: 'read the config again and replace the workers one after the other, without a lost request',
    options: [
      { flags: '--timeout <duration>', text: 'what is not done by then is rolled back' },
      { flags: '--changed', text: 'only what differs in the config' },
    ],
    examples: [
      { line: 'supervise reload', does: 'all apps' },
      { line: 'supervise reload web --timeout 2m', does: 'one app; rolled back when it takes longer' },
      { line: 'supervise reload --changed', does: 'the apps that differ in the config' },
    ],
    load: async () => (await import('./commands/operations.ts')).reload,
  },
  {
    name: 'restart',
    args: '<target>',
    summary: 'stop and start an app or a worker at the same revision (fast, may lose requests)',
    options: [],
    examples: [
      { line: 'supervise restart web', does: 'all workers of an app' },
      { line: 'supervise restart web.3', does: 'one worker' },
    ],
    load: async () => (await import('./commands/operations.ts')).restart,
  },
  {
    name: 'scale',
    args: '<app> <change>',
    summary: 'change the number of workers: N, +N or -N',
    options: [],
    examples: [
      { line: 'supervise scale web 8', does: 'to eight workers' },
      { line: 'supervise scale web -1', does: 'one less' },
    ],
    load: async () => (await import('./commands/operations.ts')).scale,
  },
  {
    name: 'retry',
    args: '[target]',
    summary: 'end a backoff or a failed state now',
    options: [],
    examples: [
      { line: 'supervise retry', does: 'everything that waits' },
      { line: 'supervise retry web.3', does: 'one worker' },
    ],
    load: async () => (await import('./commands/operations.ts')).retry,
  },
  {
    name: 'signal',
    args: '<target> <signal>',
    summary: 'send a signal to an app or a worker: TERM, SIGTERM or 15',
    options: [],
    examples: [{ line: 'supervise signal web.3 USR1', does: 'to one worker' }],
    load: async () => (await import('./commands/operations.ts')).signal,
  },
  {
    name: 'logs',
    args: '[target]',
    summary: 'show recent and live output of all, an app, a worker or a hook',
    options: [
      { flags: '-f, --follow', text: 'go on with what comes' },
      { flags: '-n, --lines <n>', text: 'how many recent lines (default: 100)' },
    ],
    examples: [
      { line: 'supervise logs -f', does: 'everything, live' },
      { line: 'supervise logs web.3 -n 20', does: 'the last lines of a worker' },
      { line: 'supervise logs hook.migrate', does: 'of a hook' },
    ],
    load: async () => (await import('./commands/logs.ts')).logs,
  },
  {
    name: 'events',
    args: '',
    summary: 'show what happened; one JSON object a line with --json',
    options: [{ flags: '-f, --follow', text: 'go on with what comes' }],
    examples: [{ line: 'supervise events -f --json | jq -r .type', does: 'live, for programs' }],
    load: async () => (await import('./commands/events.ts')).events,
  },
  {
    name: 'why',
    args: '<target>',
    summary: 'why an app or a worker is as it is, and how its last processes ended',
    options: [{ flags: '-n, --exits <n>', text: 'how many of its last exits (default: 5)' }],
    examples: [
      { line: 'supervise why web', does: 'an app' },
      { line: 'supervise why web.3 -n 1', does: 'the last exit of a worker' },
      { line: "supervise why web --json | jq '.records[0].cause'", does: 'for programs' },
    ],
    load: async () => (await import('./commands/why.ts')).why,
  },
  {
    name: 'hooks',
    args: '[action]',
    summary: 'show the results of the hooks; `hooks run` runs the pre-start hooks alone',
    options: [],
    examples: [
      { line: 'supervise hooks', does: 'what the running master did' },
      { line: 'supervise hooks run', does: 'as a deploy step, without a master' },
    ],
    load: async () => (await import('./commands/hooks.ts')).hooks,
  },
  {
    name: 'doctor',
    args: '',
    summary: 'what this host has and lacks, and what stands in the way of a start; exit 1 for a problem',
    options: [],
    examples: [
      { line: 'supervise doctor', does: 'the config of the usual place, if there is one' },
      { line: 'supervise doctor -c deploy/supervise.yaml --quiet', does: 'without what is fine' },
      { line: 'supervise doctor --json | jq \'.findings[] | select(.level != "ok")\'', does: 'for programs' },
    ],
    load: async () => (await import('./commands/doctor.ts')).doctor,
  },
  {
    name: 'capacity',
    args: '',
    summary: 'how well the host is used, and what follows: workers, or a server, more or fewer',
    options: [{ flags: '--last <duration>', text: 'how far to look back, 1m to 24h (default: 24h)' }],
    examples: [
      { line: 'supervise capacity', does: 'the last day, in words' },
      { line: 'supervise capacity --last 1h', does: 'the last hour' },
      { line: "supervise capacity --json | jq -r '.advice[].kind'", does: 'for programs' },
    ],
    load: async () => (await import('./commands/capacity.ts')).capacity,
  },
  later('upgrade', '', 'replace the master on the same sockets', 'supervise upgrade'),
  later('init', '', 'write a first config', 'supervise init'),
  later('import', '[file]', 'take over the config of another supervisor', 'supervise import Procfile'),
  later('export', '[format]', 'write a systemd unit, manifests or a Dockerfile', 'supervise export systemd'),
  later('completion', '[shell]', 'completion for a shell', 'supervise completion bash'),
];

function later(name: string, args: string, does: string, line: string): CommandRow {
  return { name, args, summary: does, options: [], examples: [{ line, does: 'not supported yet' }], load: null };
}
