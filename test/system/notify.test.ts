/** Datagrams to a real socket, through koffi and through systemd-notify. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, test } from 'node:test';
import { loadNative } from '../../src/system/native.ts';
import { createNotifier } from '../../src/system/notify.ts';
import { fixture, linesOf, start, temporaryDirectory, until } from './processes.ts';

/** The next datagram, once `deafSeconds` are over; without those by which systemd-notify waits for us. */
async function receiver(t: TestContext, path: string, deafSeconds = 0): Promise<() => Promise<string>> {
  const child = start(t, ['python3', fixture('notify-receiver.py'), path, String(deafSeconds)]);
  const line = linesOf(child);
  assert.equal(await line(), 'up');
  return async () => {
    for (;;) {
      const state = JSON.parse(await line()) as string;
      if (state !== 'BARRIER=1') return state;
    }
  };
}

test('without NOTIFY_SOCKET there is nobody to tell', () => {
  assert.equal(createNotifier({}), null);
  assert.equal(createNotifier({ NOTIFY_SOCKET: '' }), null);
});

describe('through koffi', { skip: loadNative() === null && 'koffi is not installed' }, () => {
  for (const kind of ['a path', 'an abstract socket'] as const) {
    test(`to ${kind}, in order and as it is`, async (t) => {
      const path =
        kind === 'a path' ? join(temporaryDirectory(t), 'notify') : `@supervise-test-${randomBytes(6).toString('hex')}`;
      const next = await receiver(t, path);
      const notifier = createNotifier({ NOTIFY_SOCKET: path }, { ways: ['koffi'] });
      notifier?.send('STATUS=starting');
      notifier?.send('READY=1\nSTATUS=2 of 2 wörkers are ready');
      assert.equal(await next(), 'STATUS=starting');
      assert.equal(await next(), 'READY=1\nSTATUS=2 of 2 wörkers are ready');
      notifier?.send('STOPPING=1');
      notifier?.close();
      notifier?.send('STATUS=too late');
      assert.equal(await next(), 'STOPPING=1');
    });
  }

  test('a receiver that does not read blocks nothing; later it gets all but what was overtaken', async (t) => {
    const path = join(temporaryDirectory(t), 'notify');
    const next = await receiver(t, path, 1);
    const notifier = createNotifier({ NOTIFY_SOCKET: path }, { ways: ['koffi'] });
    for (let i = 0; i < 200; i++) notifier?.send(`STATUS=${i}`);
    notifier?.send('READY=1');
    notifier?.send('STATUS=last');
    const got: string[] = [];
    while (got.at(-1) !== 'STATUS=last') got.push(await next());
    assert.deepEqual(got.slice(0, 3), ['STATUS=0', 'STATUS=1', 'STATUS=2']);
    assert.deepEqual(got.slice(-3), ['STATUS=199', 'READY=1', 'STATUS=last']);
    assert.ok(got.length < 50, `${got.length} datagrams`);
    notifier?.close();
  });

  test('nobody there: said once, thrown never', async (t) => {
    const problems: string[] = [];
    const notifier = createNotifier(
      { NOTIFY_SOCKET: join(temporaryDirectory(t), 'none') },
      { ways: ['koffi'], failed: (message) => problems.push(message) },
    );
    notifier?.send('READY=1');
    notifier?.send('STATUS=x');
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? '', /cannot tell systemd "READY=1"/);
    notifier?.close();
  });
});

const hasTool = spawnSync('systemd-notify', ['--version']).error === undefined;

describe('through systemd-notify', { skip: !hasTool && 'systemd-notify is not installed' }, () => {
  test('in order; close sends what waits', async (t) => {
    const path = join(temporaryDirectory(t), 'notify');
    const next = await receiver(t, path);
    const notifier = createNotifier({ NOTIFY_SOCKET: path }, { ways: ['systemd-notify'] });
    const states = ['STATUS=a b', 'READY=1\nSTATUS=2', 'RELOADING=1', 'READY=1'];
    for (const state of states) notifier?.send(state);
    for (const state of states) assert.equal((await next()).trim(), state);
    notifier?.send('STATUS=stopping');
    notifier?.send('STOPPING=1');
    notifier?.close();
    // What waits may go as one datagram.
    const last: string[] = [];
    while (last.at(-1) !== 'STOPPING=1') last.push(...(await next()).trim().split('\n'));
    assert.deepEqual(last, ['STATUS=stopping', 'STOPPING=1']);
  });

  test('nobody there: said once', async (t) => {
    const problems: string[] = [];
    const notifier = createNotifier(
      { NOTIFY_SOCKET: join(temporaryDirectory(t), 'none') },
      { ways: ['systemd-notify'], failed: (message) => problems.push(message) },
    );
    notifier?.send('READY=1');
    await until(() => problems.length > 0, 'the failure');
    assert.match(problems[0] ?? '', /cannot tell systemd "READY=1".*systemd-notify ended with/);
    notifier?.close();
  });
});
