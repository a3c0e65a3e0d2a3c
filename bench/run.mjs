/**
 * `npm run bench`: this product beside its peers, in one run. Rounds go through all contenders in turn (A B C, A B C), so
 * that a machine that is slow for a while is slow for all. Quote the ratios, not the times.
 *
 *   npm run build && npm run bench                    prints the tables and writes docs/benchmarks.md
 *   npm run bench -- --rounds 1 --no-write            a quick look
 *   npm run bench -- --only crashes,many --no-write   some of the measures: first, crashes, some, many, idle, reload, balance,
 *                                                     burn, spare, killed, logs, sampling
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { backAfterKill, balanceOf, burning, lostAtKills } from './balance.mjs';
import { stopAll } from './contender.mjs';
import { eightWorkers, firstWorker, idleTogether, manyWorkers, sixtyFourWorkers } from './measures.mjs';
import { gunicorn, gunicornUvicorn, install, puma, runit, supervisord, uvicornIsThere } from './peers/debian.mjs';
import { forkLoop, nodeLoop } from './peers/floors.mjs';
import { pm2, pm2Cluster, pm2Reload } from './peers/pm2.mjs';
import { alone, nodeServers, slowBooters, uvicornServers } from './peers/servers.mjs';
import { supervise, superviseFlags, superviseNode, superviseScript, superviseUvicorn } from './peers/supervise.mjs';
import { Place } from './place.mjs';
import { reloadTallies } from './reload.mjs';
import { page } from './report.mjs';

const { values: flags } = parseArgs({
  options: {
    'rounds': { type: 'string', default: '5' },
    'only': { type: 'string', default: 'first,crashes,some,many,idle,reload,balance,burn,spare,killed,logs,sampling' },
    'no-write': { type: 'boolean', default: false },
  },
});
const rounds = Number(flags.rounds);
const only = flags.only.split(',');

const everyone = [supervise, pm2, supervisord, gunicorn, puma, runit, nodeLoop, forkLoop];
const plan = {
  first: { measure: firstWorker, peers: [superviseFlags, ...everyone], rounds: rounds * 3 },
  crashes: { measure: eightWorkers, peers: everyone, rounds },
  some: { measure: sixtyFourWorkers, peers: everyone, rounds: Math.max(1, Math.round(rounds / 2)) },
  // gunicorn sleeps a random time before each fork: 256 of them take a quarter of a minute, and say nothing more.
  many: { measure: manyWorkers, peers: everyone.filter((peer) => peer !== gunicorn), rounds },
};
const idlers = [supervise, superviseScript, pm2, pm2Cluster, supervisord];
const reloaders = [superviseUvicorn, superviseNode, gunicornUvicorn, pm2Reload];
const servers = { Node: nodeServers, uvicorn: uvicornServers };
/** What a part measures of which peers, under which title. */
const serverParts = {
  balance: [
    ...[2, 4].map((count) => ({ title: `Node, ${count} workers`, app: 'Node', measure: balanceOf, count })),
    { title: 'uvicorn, 4 workers', app: 'uvicorn', measure: balanceOf, count: 4 },
  ],
  burn: Object.keys(servers).map((app) => ({ title: app, app, measure: burning, count: 2, withAlone: true })),
  spare: [{ title: 'uvicorn', app: 'uvicorn', measure: backAfterKill, peers: slowBooters }],
  killed: Object.keys(servers).map((app) => ({ title: app, app, measure: lostAtKills })),
};
const ratedParts = ['balance', 'burn'];
const halfTheRounds = Math.max(1, Math.round(rounds / 2));

const place = new Place();
const versions = new Map();
const skipped = new Map();
/** Figure -> contender -> the samples of each round. */
const figures = new Map();
/** Contender -> the tallies of each round. */
const reloads = new Map();
/** Part -> title -> contender -> what each round has measured. */
const served = Object.fromEntries(Object.keys(serverParts).map((part) => [part, new Map()]));

// Whoever breaks the bench off wants nothing of it to be left.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, breakOff);

try {
  const loadAtStart = loadavg()[0];
  prepare([...new Set([...everyone, superviseFlags, ...idlers])]);
  if (only.includes('reload')) prepare(reloaders.filter((peer) => peer !== superviseUvicorn || hasUvicorn()));
  for (const name of only) await (name in serverParts ? runServers(name) : run(name));
  const logs = only.includes('logs') ? rowsOf('logs.mjs') : [];
  const sampling = only.includes('sampling') ? rowsOf('sampling.mjs') : [];
  const text = page({
    figures,
    versions,
    skipped,
    logs,
    sampling,
    reloads,
    served,
    machine: machine(loadAtStart),
    rounds,
    date: today(),
  });
  process.stdout.write(text);
  if (!flags['no-write']) writeFileSync(new URL('../docs/benchmarks.md', import.meta.url), text);
} finally {
  place.close();
}

function breakOff() {
  process.stderr.write('broken off: everything that was started is being stopped\n');
  void stopAll().finally(() => {
    place.close();
    process.exit(130);
  });
}

function hasUvicorn() {
  if (uvicornIsThere(place)) return true;
  skipped.set(superviseUvicorn.name, 'uvicorn is not installed: apt-get install uvicorn');
  return false;
}

function hasWrk() {
  if (place.find('wrk') || install('wrk')) return true;
  skipped.set('requests per second', 'wrk is not installed: apt-get install wrk');
  return false;
}

function prepare(peers) {
  for (const peer of peers) {
    const { version, skip } = peer.prepare(place);
    if (skip) skipped.set(peer.name, skip);
    else versions.set(peer.name, version);
  }
}

async function run(name) {
  if (name === 'idle') {
    process.stderr.write('idle: all at once\n');
    const measured = await idleTogether(idlers.filter(isPresent), place);
    for (const [peer, windows] of measured) for (const sample of windows) add('idle64', peer, [sample]);
    return;
  }
  if (name === 'reload') return runReloads();
  const { measure, peers, rounds: times } = plan[name] ?? { peers: [], rounds: 0 };
  for (let round = 1; round <= times; round++) {
    for (const peer of peers.filter(isPresent)) {
      process.stderr.write(`${name} ${round}/${times} ${peer.name}\n`);
      for (const [figure, samples] of Object.entries(await sampled(peer, measure))) add(figure, peer.name, samples);
    }
  }
}

async function runReloads() {
  for (let round = 1; round <= halfTheRounds; round++) {
    for (const peer of reloaders.filter(isPresent)) {
      process.stderr.write(`reload ${round}/${halfTheRounds} ${peer.name}\n`);
      const tallies = await sampled(peer, reloadTallies);
      if ('reloaded' in tallies) reloads.set(peer.name, [...(reloads.get(peer.name) ?? []), tallies]);
    }
  }
}

async function runServers(name) {
  for (const { title, app, measure, count, withAlone = false, peers = servers[app] } of serverParts[name]) {
    if (app === 'uvicorn' && !hasUvicorn()) continue;
    if (ratedParts.includes(name) && !hasWrk()) continue;
    const all = withAlone ? [...peers, alone[app]] : peers;
    prepare(all);
    const rows = new Map(all.filter(isPresent).map((peer) => [peer.name, []]));
    served[name].set(title, rows);
    for (let round = 1; round <= halfTheRounds; round++) {
      for (const peer of inTurn(all.filter(isPresent), round)) {
        process.stderr.write(`${name} ${round}/${halfTheRounds} ${title}: ${peer.name}\n`);
        const workers = peer === alone[app] ? 1 : count;
        await tried(peer, async () => rows.get(peer.name).push(await measure(peer, place, workers)));
      }
    }
    for (const [peer, measured] of rows) if (measured.length === 0) rows.delete(peer);
  }
}

/** Each round begins with another one. */
function inTurn(peers, round) {
  const first = round % peers.length;
  return [...peers.slice(first), ...peers.slice(0, first)];
}

function isPresent({ name }) {
  return versions.has(name);
}

async function sampled(peer, measure) {
  return (await tried(peer, () => measure(peer, place))) ?? {};
}

/** One that fails once is told, and the others go on. */
async function tried(peer, act) {
  try {
    return await act();
  } catch (error) {
    process.stderr.write(`  ${peer.name}: ${error.message}\n`);
    return null;
  }
}

function add(figure, name, samples) {
  const row = figures.get(figure) ?? new Map();
  figures.set(figure, row.set(name, [...(row.get(name) ?? []), samples]));
}

/** In a process of its own, because it measures its own memory and CPU. */
function rowsOf(name) {
  process.stderr.write(`${name}\n`);
  const script = fileURLToPath(new URL(name, import.meta.url));
  const { stdout } = spawnSync(process.execPath, [script, '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

function machine(loadAtStart) {
  const [cpu] = cpus();
  const cores = `${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'})`;
  const load = `load average ${loadAtStart.toFixed(1)} before it began`;
  return `${cores}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release().split('-')[0]}, Node ${process.version.slice(1)}; ${load}`;
}

function today() {
  return new Date().toISOString().slice(0, 10);
}
