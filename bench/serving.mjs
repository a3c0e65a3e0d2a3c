/** A contender that serves on a port of its own. */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Contender } from './contender.mjs';

/** Before any measuring: every worker has booted by then. */
export const settleMs = 2_000;
const bootWithinMs = 30_000;

/**
 * Starts a peer with `count` workers of a server, measures, and ends it. `server` and `asgi`: the one for Node in programs/, and the
 * one for Python as uvicorn names it.
 * @throws Error when nobody answers in time
 */
export async function serving(peer, place, count, { server, asgi, measure }) {
  const port = await freePort();
  const more = { port, programs: place.programs, server: join(place.programs, server), asgi };
  const contender = new Contender({ ...peer, launch: (what) => peer.launch({ ...what, ...more }) }, place, count);
  try {
    await answers(port);
    await sleep(settleMs);
    return await measure({ port, contender });
  } finally {
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
async function answers(port) {
  for (const untilMs = performance.now() + bootWithinMs; performance.now() < untilMs; await sleep(50)) {
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => null);
    if (answer?.status === 200) return;
  }
  throw new Error(`no answer within ${bootWithinMs} ms`);
}
