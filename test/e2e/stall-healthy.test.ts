/**
 * Servers that are idle, busy or slow, and healthy: none is ever said to hang. Each round is as long as it takes to find a
 * server that hangs: one beside them is stopped, found, and continued, so a checker that sees nothing does not pass.
 *
 * SUPERVISE_STALL_ROUNDS=N: so many rounds, each of some 1.5 s, instead of 60.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Spawning, until } from '../helpers/spawning.ts';
import { missing, startServer, type ServerKind, type StallServer } from '../helpers/stall-servers.ts';

const rounds = Number(process.env['SUPERVISE_STALL_ROUNDS'] ?? 60);
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
  ['gunicorn', null, 0],
  ['gunicorn', '/work/20', 4],
  ['gunicorn', '/sleep/200', 2],
  ['gunicorn threads', null, 0],
  ['gunicorn threads', '/sleep/2500', 4],
];

/** Asks until it is told to end; each client on one connection that is kept, as far as the server keeps it. */
async function client(port: number, path: string, isEnding: () => boolean): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let answers = 0;
  while (!isEnding()) {
    const isDone = await new Promise<boolean>((done) => {
      const asked = request({ host: '127.0.0.1', port, path, agent }, (response) => {
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
    for (const [kind] of loads) servers.push(await startServer(world, kind));
    loads.forEach(([, path, count], at) => {
      const port = servers[at]?.port ?? 0;
      for (let n = 0; n < count; n++) clients.push(client(port, path ?? '/', () => isEnding));
    });
    for (let round = 1; round <= rounds; round++) {
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
    t.diagnostic(`${rounds} rounds, answers of each client: ${answers.join(' ')}`);
  });
});
