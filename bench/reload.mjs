/**
 * What clients see of reloads: 500 new connections a second and 16 clients that keep theirs, on two workers, first in peace,
 * then while they are reloaded 15 times, one reload after the other. The load runs in this process; what it counts, and what
 * it does not take for a failure, is said in traffic.ts.
 */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Traffic } from '../build/bench/traffic.js';
import { Contender } from './contender.mjs';

export const load = { newPerSecond: 500, keptAlive: 16 };
export const reloads = 15;
const workers = 2;
const quietMs = 5_000;
const betweenMs = 200;
/** Before the measuring: every worker has served by then. */
const settleMs = 2_000;
const bootWithinMs = 30_000;

/** One round. @returns the tallies without and with reloads */
export async function reloadTallies(peer, place) {
  const port = await freePort();
  const more = { port, programs: place.programs, server: join(place.programs, 'server.mjs') };
  const contender = new Contender({ ...peer, launch: (what) => peer.launch({ ...what, ...more }) }, place, workers);
  let traffic = null;
  try {
    await serves(port);
    await sleep(settleMs);
    traffic = new Traffic({ port, ...load });
    await sleep(settleMs);
    traffic.take();
    await sleep(quietMs);
    const quiet = traffic.take();
    for (let time = 0; time < reloads; time++) {
      await contender.reload();
      await sleep(betweenMs);
    }
    const reloaded = await traffic.end();
    return { quiet, reloaded };
  } finally {
    await traffic?.end();
    await contender.stop();
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** @throws Error when nobody answers in time */
async function serves(port) {
  for (const untilMs = performance.now() + bootWithinMs; performance.now() < untilMs; await sleep(50)) {
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => null);
    if (answer?.status === 200) return;
  }
  throw new Error(`no answer within ${bootWithinMs} ms`);
}
