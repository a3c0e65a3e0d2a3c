/**
 * Workers under another uid, watched by a process without CAP_SYS_PTRACE, as root is in most containers: their /proc is
 * closed to it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, test } from 'node:test';
import type { ReadinessTarget } from '../../src/system/readiness/readiness.ts';
import { fixtures, listen, python, running, scratch, start, stop } from './readiness-workers.ts';

const nobody = { uid: 65534, gid: 65534 };
const rootOnly = { skip: process.getuid?.() !== 0 && 'needs root, to become another uid' };

/** Runs the watch in a process without these capabilities; answers with its first line and what it says when cancelled. */
async function watchWithout(capabilities: string, target: ReadinessTarget, lines: number): Promise<readonly string[]> {
  const readiness = new URL('../../src/system/readiness/readiness.js', import.meta.url).href;
  const dropped = ['--bounding-set', capabilities, '--inh-caps', capabilities];
  const argv = [...dropped, process.execPath, join(fixtures, 'watch.mjs'), readiness, JSON.stringify(target)];
  const child = spawn('setpriv', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  running.add(child);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
    if (said.split('\n').length > lines) child.stdin.end();
  });
  await new Promise((done) => child.once('exit', done));
  return said.trim().split('\n');
}

describe('a worker whose /proc is closed to the master', rootOnly, () => {
  const code = (name: string): string[] => [python, '-c', readFileSync(join(fixtures, name), 'utf8')];

  for (const [name, argv] of Object.entries({
    'in epoll': [...code('selecting.py'), 'EpollSelector'],
    'in poll': [...code('selecting.py'), 'PollSelector'],
    'in accept': code('blocked_in_accept.py'),
  })) {
    test(`is seen ${name} by a reader under its uid`, async () => {
      chmodSync(scratch, 0o777);
      const listener = listen();
      const server = start(argv, listener, nobody);
      const target = {
        pid: server.pid,
        ready: { kind: 'auto' } as const,
        listeners: [listener.inode],
        aim: null,
        kind: 'command' as const,
      };
      const said = await watchWithout('-sys_ptrace', target, 1);
      assert.ok(existsSync(server.marker));
      assert.deepEqual(said, [`ready ${server.pid}`, 'cancelled 0']);
      stop(server);
      listener.close();
    });
  }

  test('never becomes ready when it does not accept', async () => {
    const listener = listen();
    const idle = start(code('never_accepts.py'), listener, nobody);
    const target = {
      pid: idle.pid,
      ready: { kind: 'auto' } as const,
      listeners: [listener.inode],
      aim: null,
      kind: 'command' as const,
    };
    const ended = watchWithout('-sys_ptrace', target, 1);
    await sleep(2500);
    stop(idle);
    for (const child of running) child.stdin?.end();
    assert.deepEqual(await ended, ['cancelled 0']);
    listener.close();
  });

  test('counts as ready when alive, with a warning, where the uid cannot be changed', async () => {
    const listener = listen();
    const idle = start(code('never_accepts.py'), listener, nobody);
    const target = {
      pid: idle.pid,
      ready: { kind: 'auto' } as const,
      listeners: [listener.inode],
      aim: null,
      kind: 'command' as const,
    };
    const said = await watchWithout('-sys_ptrace,-setuid,-setgid', target, 2);
    assert.match(
      said[0] ?? '',
      /^warning cannot see whether process \d+ accepts connections: .*uid 65534.*CAP_SYS_PTRACE.*alive 1 s.*ready: \{log/,
    );
    assert.deepEqual(said.slice(1), ['ready null', 'cancelled 0']);
    stop(idle);
    listener.close();
  });
});
