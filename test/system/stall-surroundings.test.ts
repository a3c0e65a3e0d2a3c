/** Stalls, and what happens around them: pauses, a master that was stopped itself, a closed /proc, and the end of a worker that hangs. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, describe, test } from 'node:test';
import { resolve } from 'node:path';
import type { StationTarget } from '../../src/system/stall/stations.ts';
import { lives, Spawning, until } from '../helpers/spawning.ts';
import { afterMs, missing, startServer, type StallServer } from '../helpers/stall-servers.ts';

const rootOnly = { skip: process.getuid?.() !== 0 && 'needs root, to become another uid' };
const world = new Spawning();
const watchers: ChildProcess[] = [];
after(async () => {
  for (const child of watchers) child.kill('SIGKILL');
  await world.close();
});

const stop = (...pids: number[]): void => pids.forEach((pid) => process.kill(pid, 'SIGSTOP'));
const go = (...pids: number[]): void => pids.forEach((pid) => process.kill(pid, 'SIGCONT'));

/** Lets as much time pass as it takes to find so many hangs of `control`, one after the other. */
async function timePasses(control: StallServer, hangs: number): Promise<void> {
  for (let hang = 0; hang < hangs; hang++) {
    const told = control.stalls().length;
    stop(control.tried.pid);
    await until(() => control.stalls().length === told + 1, 'the control is found');
    go(control.tried.pid);
    await until(() => control.stalls().length === told + 2, 'the control goes on');
  }
}

/** A watch in a process of its own. */
async function watcher(target: StationTarget, words: readonly string[] = []): Promise<{ pid: number; told: string[] }> {
  const module = new URL('../../src/system/stall/stall-watch.js', import.meta.url).href;
  const program = [process.execPath, resolve('test/fixtures/stall/watch.mjs'), module];
  const child = spawn('/usr/bin/env', [...words, ...program, JSON.stringify(target), String(afterMs)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  watchers.push(child);
  const told: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => told.push(line));
  await until(() => told.length > 0, 'the watcher watches');
  assert.equal(told.shift(), 'watching');
  return { pid: child.pid ?? 0, told };
}

const targetOf = ({ tried, port }: StallServer): StationTarget => ({
  pid: tried.pid,
  kind: 'script',
  listeners: [world.sockets.inodeOf(`tcp://127.0.0.1:${port}`) ?? ''],
});

test('pauses that are shorter than `after`, as of a debugger, are not told', async () => {
  const control = await startServer(world, 'node');
  const paused = await startServer(world, 'node', { stall: { afterMs: 60_000, action: 'warn', signal: null } });
  for (let pause = 0; pause < 3; pause++) {
    stop(paused.tried.pid);
    await timePasses(control, 1);
    go(paused.tried.pid);
  }
  assert.deepEqual(paused.stalls(), []);
});

test('a master that was stopped with its worker, or a host that slept, accuses nobody', async () => {
  const control = await startServer(world, 'node');
  const server = await startServer(world, 'node', { stall: null });
  const master = await watcher(targetOf(server));
  for (let sleep = 0; sleep < 2; sleep++) {
    stop(server.tried.pid, master.pid);
    await timePasses(control, 2);
    go(master.pid, server.tried.pid);
    await timePasses(control, 1);
  }
  assert.deepEqual(master.told, []);
  stop(server.tried.pid);
  await until(() => master.told.length > 0, 'a real hang is still found');
  assert.deepEqual(master.told, ['stalled: stopped by a signal (state T)']);
});

test('a worker that ends, or is asked to end, is not watched any more', async () => {
  const control = await startServer(world, 'node');
  const server = await startServer(world, 'node', {
    argv: [resolve('test/fixtures/spawn/deaf.mjs')],
    ready: { kind: 'spawned' },
  });
  server.tried.process.terminate('SIGTERM');
  stop(server.tried.pid);
  await timePasses(control, 2);
  assert.deepEqual(server.stalls(), []);
  assert.ok(lives(server.tried.pid));
});

test('a worker without stall is not watched', async () => {
  const control = await startServer(world, 'node');
  const server = await startServer(world, 'node', { stall: null });
  stop(server.tried.pid);
  await timePasses(control, 2);
  assert.deepEqual(server.stalls(), []);
});

test('a /proc that is closed to the master turns it off, with one warning', rootOnly, async () => {
  const control = await startServer(world, 'node');
  const identity = { user: 'nobody', group: null, umask: null, nice: null };
  const sleeper = world.start({ argv: ['sleep', '600'], cwd: '/', identity, ready: { kind: 'delay', delayMs: 1 } });
  await sleeper.ready;
  const dropped = ['setpriv', '--bounding-set', '-sys_ptrace', '--inh-caps', '-sys_ptrace'];
  const master = await watcher({ pid: sleeper.pid, kind: 'script', listeners: [] }, dropped);
  await until(() => master.told.length > 0, 'a warning');
  stop(sleeper.pid);
  await timePasses(control, 2);
  assert.deepEqual(master.told, [
    'warning: stall detection is off: this system hides what its threads do: that needs the same user, or CAP_SYS_PTRACE',
  ]);
});

describe('the end of a worker that hangs', { skip: missing('uvicorn') }, () => {
  test('SIGABRT leaves the stacks of all threads in its last lines', async () => {
    const server = await startServer(world, 'uvicorn');
    server.ask('/lock');
    await until(() => server.stalls().length > 0, 'it is found');
    server.tried.process.terminate('SIGABRT');
    const { signal, lastLines } = await server.tried.exited;
    assert.equal(signal, 'SIGABRT');
    const at = lastLines.indexOf('Fatal Python error: Aborted');
    assert.ok(at >= 0, lastLines.join('\n'));
    assert.match(lastLines.slice(at).join('\n'), /most recent call first\):\n +File ".*asgi\.py", line \d+ in app\n/);
    assert.ok(
      lastLines.some((line) => line.includes('/usr/bin/uvicorn')),
      'down to the outermost frame',
    );
  });

  test('also of one that is stopped: it goes on for its end', async () => {
    const server = await startServer(world, 'uvicorn');
    stop(server.tried.pid);
    await until(() => server.stalls().length > 0, 'it is found');
    server.tried.process.terminate('SIGABRT');
    const { signal, lastLines } = await server.tried.exited;
    assert.deepEqual([signal, lastLines.includes('Fatal Python error: Aborted')], ['SIGABRT', true]);
  });
});
