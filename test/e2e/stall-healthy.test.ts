/**
 * Servers that are idle, busy or slow, and healthy: none is ever said to hang. Each round is as long as it takes to find a
 * server that hangs: one beside them is stopped, found, and continued, so a checker that sees nothing does not pass.
 *
 * SUPERVISE_STALL_MINUTES=N: for so long, instead of 2 minutes.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Spawning, until } from '../helpers/spawning.ts';
import { missing, startServer, type Address, type ServerKind, type StallServer } from '../helpers/stall-servers.ts';

const minutes = Number(process.env['SUPERVISE_STALL_MINUTES'] ?? 2);
const leastRounds = 3;
/** They burn all the CPU there is: other tests go first. */
const identity = { user: null, group: null, umask: null, nice: 10 };
const world = new Spawning();
after(() => world.close());

/** What a server is kept busy with: so many clients, each asking for the path again and again. */
const loads: readonly (readonly [ServerKind, string | null, number])[] = [
  ['node', null, 0],
  ['node', '/work/20', 8],
  ['node', '/pause/2500', 4],
  ['node:cluster', null, 0],
  ['node:cluster', '/work/1', 4],
  ['uvicorn', null, 0],
  ['uvicorn', '/work/20', 8],
  ['uvicorn', '/thread/2500', 4],
  ['uvicorn unix', '/work/20', 8],
  ['gunicorn', null, 0],
  ['gunicorn', '/work/20', 4],
  ['gunicorn', '/sleep/200', 2],
  ['gunicorn threads', null, 0],
  ['gunicorn threads', '/sleep/2500', 4],
];

/** Asks until it is told to end; each client on one connection that is kept, as far as the server keeps it. */
async function client(address: Address, path: string, isEnding: () => boolean): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let answers = 0;
  while (!isEnding()) {
    const isDone = await new Promise<boolean>((done) => {
      const asked = request({ ...address, path, agent }, (response) => {
        response.resume().once('close', () => done(response.complete && response.statusCode === 200));
      });
      asked.once('error', () => done(false)).end();
    });
    if (isDone) answers++;
    else await sleep(20);
  }
  agent.destroy();
  return answers;
}

describe('healthy servers', () => {
  const kinds = [...new Set(loads.map(([kind]) => kind))];
  const skip = kinds.map(missing).find((why) => why !== false) ?? false;
  test('are never said to hang', { skip }, async (t) => {
    const control = await startServer(world, 'node');
    const servers: StallServer[] = [];
    let isEnding = false;
    const clients: Promise<number>[] = [];
    for (const [kind] of loads) servers.push(await startServer(world, kind, { identity }));
    loads.forEach(([, path, count], at) => {
      const { address } = servers[at]!;
      for (let n = 0; n < count; n++) clients.push(client(address, path ?? '/', () => isEnding));
    });
    let round = 0;
    t.after(() => void (isEnding = true));
    for (const endsAtMs = performance.now() + minutes * 60_000; round < leastRounds || performance.now() < endsAtMs;) {
      round++;
      process.kill(control.tried.pid, 'SIGSTOP');
      await until(() => control.stalls().length === 2 * round - 1, 'the control is found');
      process.kill(control.tried.pid, 'SIGCONT');
      await until(() => control.stalls().length === 2 * round, 'the control goes on');
      servers.forEach((server, n) =>
        assert.deepEqual([server.stalls(), server.tried.warnings], [[], []], `${loads[n]?.join(' ')}, round ${round}`),
      );
    }
    isEnding = true;
    const answers = await Promise.all(clients);
    assert.ok(
      answers.every((count) => count > 0),
      `answers of each client: ${answers.join(' ')}`,
    );
    t.diagnostic(`${round} rounds, answers of each client: ${answers.join(' ')}`);
  });
});
