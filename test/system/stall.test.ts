/** Workers that hang are found, whatever they hang in, and what goes on again is told too. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { treeOf } from '../../src/system/procfs.ts';
import { Spawning, until } from '../helpers/spawning.ts';
import { missing, startServer, type ServerKind, type StallServer } from '../helpers/stall-servers.ts';

const world = new Spawning();
after(() => world.close());

const needs = (kind: ServerKind) => ({ skip: missing(kind) });

async function firstStall(server: StallServer): Promise<string> {
  return until(() => server.stalls()[0], 'a stall');
}

describe('found', () => {
  for (const kind of ['node', 'node:cluster', 'uvicorn', 'gunicorn', 'gunicorn threads'] as const) {
    test(`${kind}: stopped by a signal; and it goes on`, needs(kind), async () => {
      const server = await startServer(world, kind);
      const pids = treeOf(server.tried.pid);
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      assert.equal(await firstStall(server), 'stalled: stopped by a signal (state T)');
      for (const pid of pids) process.kill(pid, 'SIGCONT');
      await until(() => server.stalls().length > 1, 'going on');
      assert.deepEqual(server.stalls().slice(1), ['goes on']);
      assert.deepEqual(server.tried.warnings, []);
    });
  }

  const hangs: readonly (readonly [ServerKind, string, RegExp])[] = [
    ['node', '/spin', /its main thread has not come back to its event loop for 1s; it runs on the CPU all the time$/],
    ['node:cluster', '/spin', /its main thread .* event loop for 1s; it runs on the CPU all the time$/],
    ['uvicorn', '/lock', /its main thread .* its listener for 1s; it waits in futex\w* \(a lock\)$/],
    ['uvicorn', '/sleep', /its main thread .* its listener for 1s; it waits in \w*nanosleep\w* \(a sleep\)$/],
    ['uvicorn', '/spin', /its main thread .* its listener for 1s; it runs on the CPU all the time$/],
    ['uvicorn unix', '/spin', /its main thread .* its listener for 1s; it runs on the CPU all the time$/],
    ['gunicorn', '/sleep/60000', /its main thread .* its listener for 1s; it waits in \w*nanosleep\w* \(a sleep\)$/],
  ];
  for (const [kind, path, reason] of hangs) {
    test(`${kind}: ${path}`, needs(kind), async () => {
      const server = await startServer(world, kind);
      server.ask(path);
      assert.match(await firstStall(server), reason);
      assert.deepEqual(server.stalls().length, 1);
      assert.deepEqual(server.tried.warnings, []);
    });
  }
});
