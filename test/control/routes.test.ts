import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ControlClient } from '../../src/control/client.ts';
import type { CapacityReport } from '../../src/core/capacity.ts';
import { SuperviseError } from '../../src/core/errors.ts';
import type { Command, Reply } from '../../src/core/protocol.ts';
import type { Spec } from '../../src/core/spec.ts';
import { openRoom } from './fake-master.ts';
import { exchange, requestText } from './raw.ts';

interface Answer {
  readonly status: number | null;
  readonly json: {
    readonly error?: {
      readonly code: string;
      readonly message: string;
      readonly hint: string | null;
      readonly exitCode: number;
    };
  };
}

async function ask(path: string, method: string, route: string, body?: unknown): Promise<Answer> {
  const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await exchange(path, requestText(method, route, text));
  return { status: answer.status, json: JSON.parse(unchunked(answer.body)) as Answer['json'] };
}

/** The JSON lines of a chunked body; the sizes between them are dropped. */
function unchunked(body: string): string {
  return body.split('\n').find((line) => line.startsWith('{')) ?? 'null';
}

test('every command arrives at the master as the protocol has it', async (t) => {
  const { master, socketPath } = await openRoom(t);
  const cases: readonly (readonly [string, unknown, Command])[] = [
    ['/v1/stop', {}, { type: 'stop', how: 'graceful' }],
    ['/v1/stop', { how: 'now' }, { type: 'stop', how: 'now' }],
    ['/v1/reload', { apps: null }, { type: 'reload', spec: null, apps: null }],
    ['/v1/reload', { apps: ['web', 'api'] }, { type: 'reload', spec: null, apps: ['web', 'api'] }],
    [
      '/v1/reload',
      { changedOnly: true, timeoutMs: 60_000 },
      { type: 'reload', spec: null, apps: null, changedOnly: true, timeoutMs: 60_000 },
    ],
    ['/v1/restart', { target: 'web' }, { type: 'restart', target: { app: 'web', worker: null } }],
    ['/v1/restart', { target: 'web.17' }, { type: 'restart', target: { app: 'web', worker: 'web.17' } }],
    ['/v1/scale', { app: 'web', to: 0 }, { type: 'scale', app: 'web', change: { to: 0 } }],
    ['/v1/scale', { app: 'web', by: -1 }, { type: 'scale', app: 'web', change: { by: -1, atLeast: 0 } }],
    ['/v1/retry', {}, { type: 'retry', target: null }],
    ['/v1/retry', { target: 'web.2' }, { type: 'retry', target: { app: 'web', worker: 'web.2' } }],
    [
      '/v1/signal',
      { target: 'web', signal: 'term' },
      { type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGTERM' },
    ],
    [
      '/v1/signal',
      { target: 'web', signal: 'SIGUSR1' },
      { type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGUSR1' },
    ],
    [
      '/v1/signal',
      { target: 'web', signal: 15 },
      { type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGTERM' },
    ],
    [
      '/v1/signal',
      { target: 'web', signal: '-1' },
      { type: 'signal', target: { app: 'web', worker: null }, signal: 'SIGHUP' },
    ],
  ];
  for (const [route, body, command] of cases) {
    const { status, json } = await ask(socketPath, 'POST', route, body);
    assert.equal(status, 200);
    assert.deepEqual(json, { type: 'result', ok: true, exitCode: 0, message: 'done', lastLines: [] });
    assert.deepEqual(master.commands.pop(), command);
  }
});

test('what is wrong with a request is said, with the field, what was expected and what was found', async (t) => {
  const { master, socketPath } = await openRoom(t);
  const cases: readonly (readonly [string, string, unknown, number, RegExp])[] = [
    ['GET', '/v1/nothing', undefined, 404, /no route GET \/v1\/nothing/],
    ['GET', '/nothing', undefined, 404, /no route/],
    ['POST', '/v1/status', {}, 405, /\/v1\/status is asked with GET, found POST/],
    ['GET', '/v1/stop', undefined, 405, /asked with POST, found GET/],
    ['DELETE', '/v1/scale', undefined, 405, /found DELETE/],
    [
      'POST',
      '/v1/scale',
      '{"app": "web", "to": ',
      400,
      /expected a JSON object as the body, found \{"app": "web", "to": : /,
    ],
    ['POST', '/v1/scale', '[1]', 400, /expected a JSON object as the body, found \[1\]/],
    ['POST', '/v1/scale', 'null', 400, /expected a JSON object/],
    ['POST', '/v1/scale', { app: 'web', too: 1 }, 400, /body: expected no field but app, to, by, found too/],
    ['POST', '/v1/scale', { app: 'web' }, 400, /one of "to".*and "by"/],
    ['POST', '/v1/scale', { app: 'web', to: 1, by: 1 }, 400, /one of "to"/],
    ['POST', '/v1/scale', { app: 'web', to: -1 }, 400, /to: expected a whole number from 0 to 1000, found -1/],
    ['POST', '/v1/scale', { app: 'web', to: 1.5 }, 400, /found 1\.5/],
    ['POST', '/v1/scale', { app: 'web', to: '4' }, 400, /found "4"/],
    ['POST', '/v1/scale', { app: 'web', by: 1001 }, 400, /by: expected a whole number from -1000 to 1000/],
    ['POST', '/v1/scale', { app: 'web.1', to: 1 }, 400, /app: expected the name of an app, found the worker web\.1/],
    [
      'POST',
      '/v1/restart',
      {},
      400,
      /target: expected the name of an app \(web\) or a worker \(web\.3\), found nothing/,
    ],
    ['POST', '/v1/restart', { target: '.1' }, 400, /found "\.1"/],
    ['POST', '/v1/restart', { target: 'web.' }, 400, /found "web\."/],
    ['POST', '/v1/restart', { target: { app: 'web' } }, 400, /found \{"app":"web"\}/],
    ['POST', '/v1/stop', { how: 'slowly' }, 400, /how: expected graceful, quick or now, found "slowly"/],
    ['POST', '/v1/reload', { apps: 'web' }, 400, /apps: expected a list of app names, or null for all, found "web"/],
    ['POST', '/v1/reload', { apps: [] }, 400, /apps: expected a list/],
    ['POST', '/v1/reload', { timeoutMs: 0 }, 400, /timeoutMs: expected/],
    [
      'POST',
      '/v1/signal',
      { target: 'web', signal: 'SIGNOPE' },
      400,
      /signal: expected a signal as TERM, SIGTERM or 15, found "SIGNOPE"/,
    ],
    ['POST', '/v1/signal', { target: 'web' }, 400, /found nothing/],
    ['POST', '/v1/signal', { target: 'web', signal: 0 }, 400, /found 0/],
    ['GET', '/v1/logs?n=-1', undefined, 400, /n: expected a whole number from 0 to 100000, found "-1"/],
    ['GET', '/v1/logs?follow=maybe', undefined, 400, /follow: expected 1 or 0, found "maybe"/],
    ['GET', '/v1/logs?lines=3', undefined, 400, /query: expected no field but target, n, follow, found lines/],
    ['GET', '/v1/events?since=x', undefined, 400, /since: expected a whole number/],
    ['GET', '/v1/history?span=week', undefined, 400, /span: expected fine or day, found "week"/],
    ['GET', '/v1/history?target=.1', undefined, 400, /target: expected the name of an app/],
    ['GET', '/v1/history?since=1', undefined, 400, /query: expected no field but target, span, found since/],
    ['GET', '/v1/history?target=wep', undefined, 404, /no app or worker wep, and no history/],
    ['GET', '/v1/capacity?lastMs=59999', undefined, 400, /lastMs: expected a whole number from 60000 to 86400000/],
    ['GET', '/v1/capacity?lastMs=86400001', undefined, 400, /lastMs: expected a whole number/],
    ['GET', '/v1/capacity?last=1h', undefined, 400, /query: expected no field but lastMs, found last/],
    ['GET', '/v1/logs?target=wep', undefined, 404, /no app, worker or hook wep/],
  ];
  for (const [method, route, body, status, message] of cases) {
    const answer = await ask(socketPath, method, route, body);
    assert.equal(answer.status, status, `${method} ${route} ${JSON.stringify(body)}`);
    assert.match(answer.json.error?.message ?? '', message);
    assert.equal(answer.json.error?.exitCode, 64);
  }
  assert.deepEqual(master.commands, []);
});

test('a control character that a client sent does not come back in a message', async (t) => {
  const { socketPath } = await openRoom(t);
  const { json } = await ask(socketPath, 'POST', '/v1/restart', '\u001b[2J');
  assert.match(json.error?.message ?? '', /found \?\[2J/);
  assert.ok(!json.error?.message.includes('\u001b'));
});

test('what the master refuses is answered with its own code and exit code', async (t) => {
  const { master, socketPath } = await openRoom(t);
  const cases = [
    [new SuperviseError('unknown-target', 'there is no app named wep', { hint: 'apps: web' }), 404, 64],
    [new SuperviseError('operation-failed', 'cannot scale: the master is stopping', { lastLines: ['a', 'b'] }), 409, 1],
    [new SuperviseError('not-supported', 'later'), 501, 64],
  ] as const;
  for (const [error, status, exitCode] of cases) {
    master.answer = (): Reply => ({ ok: false, error });
    const answer = await ask(socketPath, 'POST', '/v1/restart', { target: 'wep' });
    assert.equal(answer.status, status);
    assert.deepEqual(answer.json.error, {
      code: error.code,
      message: error.message,
      hint: error.hint,
      exitCode,
      lastLines: error.lastLines,
    });
  }
  assert.equal(master.listeners.size, 1, 'only the server itself still listens');
});

test('a handler that throws is a 500 that says so, and the next request is served', async (t) => {
  const { master, socketPath } = await openRoom(t);
  master.answer = () => {
    throw new TypeError('x is undefined');
  };
  const answer = await ask(socketPath, 'POST', '/v1/restart', { target: 'web' });
  assert.equal(answer.status, 500);
  assert.equal(answer.json.error?.code, 'bug');
  assert.equal(answer.json.error?.exitCode, 70);
  assert.match(answer.json.error?.message ?? '', /x is undefined/);
  assert.equal((await ask(socketPath, 'GET', '/v1/status')).status, 200);
  assert.equal(master.listeners.size, 1);
});

test('a reload reads the config in the master; while it is invalid nothing is touched and the exit code is 78', async (t) => {
  const spec = { name: 'shop' } as Spec;
  let reads = 0;
  const reread = async (): Promise<Spec> => {
    reads += 1;
    if (reads === 1)
      throw new SuperviseError('config-invalid', 'supervise.yaml:3:5: expected a number, found "x"', {
        hint: 'fix it',
      });
    return spec;
  };
  const { master, socketPath } = await openRoom(t, { reread });
  const refused = await ask(socketPath, 'POST', '/v1/reload', { apps: null });
  assert.equal(refused.status, 422);
  assert.equal(refused.json.error?.exitCode, 78);
  assert.match(refused.json.error?.message ?? '', /^supervise\.yaml:3:5: expected a number/);
  assert.deepEqual(master.commands, []);
  assert.equal((await ask(socketPath, 'POST', '/v1/reload', { apps: null })).status, 200);
  assert.deepEqual(master.commands, [{ type: 'reload', spec, apps: null }]);
});

test('why is asked with its target in the path', async (t) => {
  const { master, socketPath } = await openRoom(t);
  assert.equal((await ask(socketPath, 'GET', '/v1/why/web.3?n=2')).status, 200);
  assert.equal((await ask(socketPath, 'GET', '/v1/why/%77eb')).status, 200);
  assert.deepEqual(master.whys, [
    { target: { app: 'web', worker: 'web.3' }, n: 2 },
    { target: { app: 'web', worker: null }, n: 10 },
  ]);
  const refused = await Promise.all(
    [
      '/v1/why/wbe',
      '/v1/why',
      '/v1/why/',
      '/v1/why/web/3',
      '/v1/why/web%',
      '/v1/why/web.?n=1',
      '/v1/why/web?n=1001',
    ].map(async (path) => (await ask(socketPath, 'GET', path)).status),
  );
  assert.deepEqual(refused, [404, 404, 404, 404, 404, 400, 400]);
  assert.equal((await ask(socketPath, 'POST', '/v1/why/web', {})).status, 405);
});

test('GET /v1 lists every route with its method and fields', async (t) => {
  const { socketPath } = await openRoom(t);
  const { json } = (await ask(socketPath, 'GET', '/v1')) as unknown as {
    json: { routes: { method: string; path: string }[] };
  };
  const listed = json.routes.map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(listed, [
    'GET /',
    'GET /metrics',
    'GET /v1',
    'GET /v1/status',
    'GET /v1/hooks',
    'GET /v1/events',
    'GET /v1/logs',
    'GET /v1/why/{target}',
    'GET /v1/history',
    'GET /v1/capacity',
    'POST /v1/stop',
    'POST /v1/reload',
    'POST /v1/restart',
    'POST /v1/scale',
    'POST /v1/retry',
    'POST /v1/signal',
  ]);
});

test('capacity looks back a day, or as far as it was asked, and the client asks as the route wants it', async (t) => {
  const { master, socketPath } = await openRoom(t);
  const answer = await ask(socketPath, 'GET', '/v1/capacity');
  assert.equal(answer.status, 200);
  await ask(socketPath, 'GET', '/v1/capacity?lastMs=60000');
  const report = JSON.parse(await new ControlClient(socketPath).capacityJson(3_600_000)) as CapacityReport;
  assert.deepEqual(master.capacities, [86_400_000, 60_000, 3_600_000]);
  assert.deepEqual(report, master.capacity(3_600_000));
});

test('the history is asked for by target and span, and the client asks as the route wants it', async (t) => {
  const { master, socketPath } = await openRoom(t);
  const cases = [
    ['/v1/history', 'host', 'fine'],
    ['/v1/history?target=web&span=day', 'web', 'day'],
    ['/v1/history?target=web.1', 'web.1', 'fine'],
  ] as const;
  for (const [route, target, span] of cases) {
    const expected = master.history(target, span);
    const { status, json } = await ask(socketPath, 'GET', route);
    assert.equal(status, 200, route);
    assert.deepEqual(json, expected);
    assert.deepEqual(await new ControlClient(socketPath).history(target, span), expected);
  }
  await assert.rejects(new ControlClient(socketPath).history('wep', 'day'), { code: 'unknown-target' });
});

test('the snapshot is fresh after every event, whatever was asked before', async (t) => {
  const { master, socketPath } = await openRoom(t, { limits: { snapshotAgeMs: 60_000 } });
  const nameNow = async () => ((await ask(socketPath, 'GET', '/v1/status')).json as { name?: string }).name;
  assert.equal(await nameNow(), 'shop');
  master.name = 'other';
  assert.equal(await nameNow(), 'shop', 'nothing has happened: the snapshot is shared');
  master.emit({ type: 'master.running', pid: 1 });
  assert.equal(await nameNow(), 'other');
});
