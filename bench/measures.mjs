/**
 * What is measured of one launch. Each measure starts a contender, and returns samples by the name of the figure; times
 * are in ms, memory is in bytes, CPU in ms per second.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Contender } from './contender.mjs';
import { cpuMsOf, memoryOf } from './processes.mjs';

/** By then every contender takes a worker for running, and a crash is no failed start. */
const settleMs = 2500;
const gapMs = 100;

/** By then a start has left nothing to be done: V8 has shrunk its heap, pm2's workers have told all about themselves. */
const restMs = 30_000;
const idleMs = 20_000;
const idleWindows = 3;

async function during(peer, place, count, measure) {
  const contender = new Contender(peer, place, count);
  try {
    return await measure(contender);
  } finally {
    await contender.stop();
  }
}

/** Kills these workers. @returns the moment before the first kill */
function kill(pids) {
  const ns = process.hrtime.bigint();
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  return ns;
}

/** From the launch until the first worker's program runs. */
export function firstWorker(peer, place) {
  return during(peer, place, 1, async (contender) => {
    const [first] = await contender.reports.waitFor(1);
    return { first: [contender.since(first.ns)] };
  });
}

/** With 8 workers: memory, then each is killed once, one after the other. */
export function eightWorkers(peer, place) {
  return during(peer, place, 8, async (contender) => {
    const { reports } = contender;
    await reports.waitFor(8);
    await sleep(settleMs);
    const memory = memoryOf(contender.own());
    const respawns = [];
    for (const pid of contender.workers()) {
      const before = reports.pids.length;
      const killedNs = kill([pid]);
      const next = (await reports.waitFor(before + 1))[before];
      respawns.push(contender.since(next.ns, killedNs));
      await sleep(gapMs);
    }
    return { rss8: [memory.rss], pss8: [memory.pss], uss8: [memory.uss], respawn: respawns };
  });
}

/** With 64 workers: until they run, then memory. */
export function sixtyFourWorkers(peer, place) {
  return during(peer, place, 64, async (contender) => {
    const all = await contender.reports.waitFor(64);
    await sleep(settleMs);
    const memory = memoryOf(contender.own());
    return { all64: [contender.since(last(all))], rss64: [memory.rss], pss64: [memory.pss], uss64: [memory.uss] };
  });
}

/** With 256 workers: until they run; then all are killed at once, and counted until all are back. */
export function manyWorkers(peer, place) {
  return during(peer, place, 256, async (contender) => {
    const { reports } = contender;
    const all = await reports.waitFor(256);
    await sleep(settleMs);
    const before = reports.pids.length;
    const workers = contender.workers();
    const killedNs = kill(workers);
    const back = (await reports.waitFor(before + workers.length)).slice(before);
    return { all256: [contender.since(last(all))], back256: [contender.since(last(back), killedNs)] };
  });
}

/**
 * With 64 workers each, all contenders side by side while nothing happens: the CPU that their own processes use, in ms
 * per second. In the same seconds, because what else happens on the machine costs some of them something.
 * @returns contender -> a sample for each window
 */
export async function idleTogether(peers, place) {
  const contenders = [];
  try {
    for (const peer of peers) {
      const contender = new Contender(peer, place, 64);
      contenders.push([peer.name, contender]);
      await contender.reports.waitFor(64);
    }
    await sleep(restMs);
    const measured = new Map(contenders.map(([name]) => [name, []]));
    const used = () => contenders.map(([, contender]) => cpuMsOf(contender.own()));
    for (let window = 0; window < idleWindows; window++) {
      const [before, startMs] = [used(), performance.now()];
      await sleep(idleMs);
      const seconds = (performance.now() - startMs) / 1000;
      used().forEach((ms, index) => measured.get(contenders[index][0]).push((ms - before[index]) / seconds));
    }
    return measured;
  } finally {
    for (const [, contender] of contenders) await contender.stop();
  }
}

function last(reports) {
  return reports.reduce((latest, { ns }) => (ns > latest ? ns : latest), 0n);
}
