/**
 * `npm run bench`: this product beside its peers, in one run. Rounds go through all contenders in turn (A B C, A B C), so
 * that a machine that is slow for a while is slow for all. Quote the ratios, not the times.
 *
 *   npm run build && npm run bench               prints the tables and writes docs/benchmarks.md
 *   npm run bench -- --rounds 1 --no-write       a quick look
 */
import { cpus, release, totalmem } from 'node:os';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { eightWorkers, firstWorker, manyWorkers, sixtyFourWorkers } from './measures.mjs';
import { gunicorn, puma, runit, supervisord } from './peers/debian.mjs';
import { forkLoop, nodeLoop } from './peers/floors.mjs';
import { pm2, pm2Cluster } from './peers/pm2.mjs';
import { supervise, superviseFlags, superviseScript } from './peers/supervise.mjs';
import { Place } from './place.mjs';
import { page } from './report.mjs';

const { values: flags } = parseArgs({
  options: { 'rounds': { type: 'string', default: '5' }, 'no-write': { type: 'boolean', default: false } },
});
const rounds = Number(flags.rounds);
/** The longer measures need fewer rounds: each holds many samples, or takes many seconds. */
const fewRounds = Math.max(1, Math.round(rounds / 2));
const idleSeconds = 20;

const everyone = [supervise, pm2, supervisord, gunicorn, puma, runit, forkLoop];
const plan = [
  { measure: firstWorker, peers: [...everyone, superviseFlags, nodeLoop], rounds: rounds * 2 },
  { measure: eightWorkers, peers: everyone, rounds: fewRounds },
  {
    measure: (peer, place) => sixtyFourWorkers(peer, place, 0),
    peers: [pm2, gunicorn, puma, runit, forkLoop],
    rounds: fewRounds,
  },
  {
    measure: (peer, place) => sixtyFourWorkers(peer, place, idleSeconds),
    peers: [supervise, superviseScript, pm2Cluster, supervisord],
    rounds: fewRounds,
  },
  // gunicorn sleeps a random time before each fork: 256 of them take a quarter of a minute, and say nothing more.
  { measure: manyWorkers, peers: [supervise, pm2, supervisord, puma, runit, forkLoop], rounds: fewRounds },
];

const place = new Place();
const versions = new Map();
const skipped = new Map();
for (const peer of new Set(plan.flatMap(({ peers }) => peers))) {
  const { version, skip } = peer.prepare(place);
  if (skip) skipped.set(peer.name, skip);
  else versions.set(peer.name, version);
}

/** Figure -> contender -> samples. */
const figures = new Map();
for (const { measure, peers, rounds: times } of plan) {
  const present = peers.filter(({ name }) => versions.has(name));
  for (let round = 1; round <= times; round++) {
    for (const peer of present) {
      process.stderr.write(`${measure.name || 'sixtyFourWorkers'} ${round}/${times} ${peer.name}\n`);
      add(peer.name, await sampled(peer, measure));
    }
  }
}

/** One that fails once is told, and the others go on. */
async function sampled(peer, measure) {
  try {
    return await measure(peer, place);
  } catch (error) {
    process.stderr.write(`  ${peer.name}: ${error.message}\n`);
    return {};
  }
}

function add(name, samples) {
  for (const [figure, values] of Object.entries(samples)) {
    const row = figures.get(figure) ?? new Map();
    figures.set(figure, row.set(name, [...(row.get(name) ?? []), ...values]));
  }
}

place.close();
const [cpu] = cpus();
const machine = `${cpus().length} cores (${cpu?.model ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release().split('-')[0]}, Node ${process.version.slice(1)}`;
const text = page({ figures, versions, skipped, machine, rounds, date: new Date().toISOString().slice(0, 10) });
process.stdout.write(text);
if (!flags['no-write']) writeFileSync(new URL('../docs/benchmarks.md', import.meta.url), text);
