/**
 * What sampling costs: the CPU time of this process from the call of a sample until its answer is in the history, with
 * real workers that rest, and with workers that do a little between any two samples. Something else is started on the host before each
 * sample, as on every host that lives: otherwise the sampler need not look for new processes at all. Needs `npm run build`.
 *
 *   node bench/sampling.mjs                              a table; some six minutes
 *   node bench/sampling.mjs --samples 3 --every 500      a quick look
 *   node bench/sampling.mjs --json                       a line of JSON for each row
 */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Histories } from '../build/src/master/history.js';
import { createSampler } from '../build/src/system/sampling/sampler.js';
import { Place } from './place.mjs';
import { samplingTable } from './sampling-report.mjs';

const { values: flags } = parseArgs({
  options: {
    samples: { type: 'string', default: '15' },
    every: { type: 'string', default: '2000' },
    json: { type: 'boolean', default: false },
  },
});
const samples = Number(flags.samples);
const everyMs = Number(flags.every);
const counts = [0, 10, 64, 100, 1000];
const kinds = { 'at rest': [], 'busy a little': ['2'] };
const noStore = { load: () => null, save: () => undefined };

/** Starts so many, and ends them by their pids when `act` is over. */
async function withWorkers(program, args, count, act) {
  const children = Array.from({ length: count }, () => spawn(program, args, { stdio: 'ignore' }));
  const ended = children.map((child) => new Promise((done) => child.once('close', done)));
  try {
    return await act(new Map(children.map(({ pid }, nth) => [`web.${nth + 1}`, pid])));
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(ended);
  }
}

/** The mean over the samples, in ms of CPU: every fifth does more than the others. */
async function costOf(leaders) {
  const sampler = createSampler();
  const histories = new Histories(noStore);
  const costsMs = [];
  // Not counted: the first ones, which read everything, and load pidusage.
  for (let nth = -3; nth < samples; nth++) {
    await sleep(everyMs);
    spawnSync('true');
    const before = process.cpuUsage();
    await new Promise((done) =>
      sampler.sample(leaders, (trees, host) => {
        const workers = [...leaders.keys()].map((id) => ({ id, sample: trees.get(id), queue: 0 }));
        const app = { name: 'web', ready: workers.length, goal: workers.length, queue: 0, workers };
        histories.take(Date.now(), everyMs, host, [app]);
        done();
      }),
    );
    const { user, system } = process.cpuUsage(before);
    if (nth >= 0) costsMs.push((user + system) / 1000);
  }
  return costsMs.reduce((sum, one) => sum + one, 0) / costsMs.length;
}

const place = new Place();
try {
  place.compile('resting');
  const rows = [];
  for (const [kind, args] of Object.entries(kinds)) {
    for (const count of counts) {
      process.stderr.write(`sampling: ${count} workers ${kind}\n`);
      const ms = await withWorkers(join(place.dir, 'resting'), args, count, costOf);
      rows.push({ kind, count, ms, samples, everyMs });
    }
  }
  process.stdout.write(flags.json ? rows.map((row) => `${JSON.stringify(row)}\n`).join('') : samplingTable(rows));
} finally {
  place.close();
}
