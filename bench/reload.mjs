/**
 * What clients see of reloads: 500 new connections a second and 16 clients that keep theirs, on two workers, first in peace,
 * then while they are reloaded 15 times, one reload after the other. The load runs in this process; what it counts, and what
 * it does not take for a failure, is said in traffic.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Traffic } from '../build/bench/traffic.js';
import { serving, settleMs } from './serving.mjs';

export const load = { newPerSecond: 500, keptAlive: 16 };
export const reloads = 15;
const workers = 2;
const quietMs = 5_000;
const betweenMs = 200;

/** One round. @returns the tallies without and with reloads */
export function reloadTallies(peer, place) {
  return serving(peer, place, workers, { server: 'server.mjs', asgi: 'asgi:app', measure });
}

async function measure({ port, contender }) {
  const traffic = new Traffic({ port, ...load });
  try {
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
    await traffic.end();
  }
}
