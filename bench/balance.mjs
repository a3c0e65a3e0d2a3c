/**
 * How connections and work are spread over workers, and what becomes of requests when one is killed. Each measure starts a
 * contender with the servers of programs/answers.*, which answer with their pid.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Clients, rate, shares } from './clients.mjs';
import { peersOf, statOf } from './processes.mjs';
import { serving } from './serving.mjs';

/** Numbers of clients that keep their connection. */
export const keptCounts = [8, 64, 512];
export const clients = 64;
const rateMs = 3_000;
const queueMs = 100;
const killEveryMs = 2_000;
const kills = 3;
const beforeMs = 1_000;
const bootMs = 3_000;

const programs = { server: 'answers.mjs', asgi: 'answers:app' };

/** Connections per worker, and requests per second. */
export function balanceOf(peer, place, count) {
  const measure = async ({ port }) => {
    const spread = {};
    for (const kept of keptCounts) spread[kept] = await shares(port, kept, count);
    const short = await rate({ port, clients, connection: 'new', ms: rateMs });
    return { spread, short, kept: await rate({ port, clients, connection: 'kept', ms: rateMs }) };
  };
  return serving(peer, place, count, { ...programs, measure });
}

/** Requests per second that cost CPU, of clients that keep their connection. */
export function burning(peer, place, count) {
  const measure = ({ port }) => rate({ port, path: '/burn', clients, connection: 'kept', ms: rateMs });
  return serving(peer, place, count, { ...programs, measure });
}

/**
 * `kill -9` of one of four workers that take 3 s to boot. From the kill until somebody new answers, so that all serve again;
 * and the slowest request of the second before it and of the time from then on.
 */
export function backAfterKill(peer, place) {
  const measure = async ({ port }) => {
    await sleep(bootMs);
    const load = new Clients({ port, clients: 4, connection: 'new' });
    await sleep(beforeMs);
    const before = new Set(load.answered.map(({ pid }) => pid));
    const killedMs = performance.now();
    process.kill([...before][0], 'SIGKILL');
    const successors = () => load.answered.filter(({ ms, pid }) => ms > killedMs && !before.has(pid));
    while (successors().length === 0 && performance.now() < killedMs + 4 * bootMs) await sleep(1);
    await sleep(beforeMs);
    await load.end();
    const answeredMs = successors().map(({ ms, tookMs }) => ms + tookMs - killedMs);
    const slowest = (some) => Math.max(...some.map(({ tookMs }) => tookMs));
    return {
      backMs: Math.min(...answeredMs),
      usualMs: slowest(load.answered.filter(({ ms, tookMs }) => ms + tookMs < killedMs)),
      slowestMs: slowest(load.answered.filter(({ ms, tookMs }) => ms + tookMs >= killedMs)),
      failed: load.failed.length,
    };
  };
  return serving(peer, place, 4, { ...programs, measure });
}

/**
 * Workers are killed under full load, one after the other: each is stopped first, so that connections queue, and what it has
 * accepted by then is known. A request that is lost was in its hand (accepted), or in a queue on the way to it.
 */
export function lostAtKills(peer, place) {
  const measure = async ({ port }) => {
    const load = new Clients({ port, path: '/wait', clients, connection: 'new' });
    await sleep(beforeMs);
    const victims = [...new Set(load.answered.map(({ pid }) => pid))].slice(0, kills);
    const inHand = new Set();
    for (const pid of victims) {
      process.kill(pid, 'SIGSTOP');
      while (statOf(pid)?.state !== 'T') await sleep(1);
      await sleep(queueMs);
      for (const port of peersOf(pid)) inHand.add(port);
      process.kill(pid, 'SIGKILL');
      await sleep(killEveryMs);
    }
    await load.end();
    const inside = load.failed.filter((request) => inHand.has(request.port)).length;
    return { answered: load.answered.length, kills: victims.length, inside, queued: load.failed.length - inside };
  };
  return serving(peer, place, 4, { ...programs, measure });
}
