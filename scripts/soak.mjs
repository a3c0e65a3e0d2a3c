/**
 * `npm run soak`: the long rounds of test/e2e/no-loss.test.ts. Changes under load, one kind after the other, on uvicorn (FastAPI)
 * and on Node; a table of what clients saw. Exit code 1 when a request was lost, or a round could not be finished.
 *
 *   npm run soak      50 reloads, 200 crashes outside of requests, 50 scale changes, 50 recycles, and 200 replacements at full speed
 *   npm run soak -- --reloads 5 --crashes 10 --scales 6 --recycles 0 --replacements 12 --only node
 *   npm run soak -- --rate 500 --kept 16               the load: new connections per second, and clients that keep theirs
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { crashes, recycles, reloads, replacements, rudeKind } from '../build/test/helpers/rounds.js';
import { scaleChanges, serverKinds, underLoad } from '../build/test/helpers/rounds.js';

const kinds = [...serverKinds, rudeKind];

const { values: flags } = parseArgs({
  options: {
    reloads: { type: 'string', default: '50' },
    crashes: { type: 'string', default: '200' },
    scales: { type: 'string', default: '50' },
    recycles: { type: 'string', default: '50' },
    replacements: { type: 'string', default: '200' },
    rate: { type: 'string', default: '200' },
    kept: { type: 'string', default: '16' },
    only: { type: 'string', default: kinds.join(',') },
  },
});
const load = { newPerSecond: Number(flags.rate), keptAlive: Number(flags.kept) };
const times = Object.fromEntries(
  ['reloads', 'crashes', 'scales', 'recycles', 'replacements'].map((what) => [what, Number(flags[what])]),
);
/** Clients at full speed. */
const hurried = 16;
const quietMs = 5_000;
const lifetime = '3s';
const recycleMs = 6_000;

/** What is to be done at the end, as node's test context has it; the last first. */
const ends = [];
const context = { after: (end) => ends.push(end) };
const rows = [];
let failed = false;

async function end() {
  for (const each of ends.splice(0).toReversed()) await each();
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => void end().finally(() => process.exit(130)));
}

/** One round on a master of its own. What goes wrong in it is told, and the others go on. */
async function round([server, what, times], perform, more = {}) {
  if (times === 0) return;
  process.stderr.write(`${server}: ${what}\n`);
  try {
    const stage = await underLoad(context, { server, ...load, ...more });
    note([server, what, times], await perform(stage));
    await stage.traffic.end();
    await stage.master.stop();
  } catch (error) {
    process.stderr.write(`  ${server}, ${what}: ${error.message.split('\n', 1)[0]}\n`);
    note([server, what, times], null);
  } finally {
    await end();
  }
}

/** @param tally null: it could not be finished */
function note(name, tally) {
  for (const example of tally?.examples ?? []) process.stderr.write(`  ${example}\n`);
  if (tally === null || tally.failed > 0) failed = true;
  rows.push([...name, tally]);
}

for (const server of flags.only.split(',')) {
  if (!kinds.includes(server)) {
    console.error(`--only: expected some of ${kinds.join(', ')}, found ${server}`);
    process.exit(64);
  }
  if (server === 'uvicorn' && !existsSync('/usr/bin/uvicorn')) {
    process.stderr.write('uvicorn: left out, it is not installed: apt-get install uvicorn python3-fastapi\n');
    continue;
  }
  const inHurry = (stage) => replacements(stage, times.replacements);
  const hurry = { newPerSecond: 0, keptAlive: 0, hurried };
  await round([server, 'replacements at full speed', times.replacements], inHurry, hurry);
  if (server === rudeKind) continue;
  await round([server, 'nothing', 1], async ({ traffic }) => {
    traffic.take();
    await sleep(quietMs);
    return traffic.take();
  });
  const { reloads: reloadTimes, crashes: crashTimes, scales: scaleTimes, recycles: recycleTimes } = times;
  await round([server, 'reloads', reloadTimes], (stage) => reloads(stage, reloadTimes));
  await round([server, 'crashes', crashTimes], (stage) => crashes(stage, crashTimes));
  await round([server, 'scale changes', scaleTimes], (stage) => scaleChanges(stage, scaleTimes));
  const withinMs = recycleMs * (recycleTimes + 2);
  await round([server, 'recycles', recycleTimes], (stage) => recycles(stage, recycleTimes, withinMs), { lifetime });
}

const headings = ['refused', 'reset', 'eof', 'status', 'timeout', 'other'];
console.log(`
Load: ${load.newPerSecond} new connections per second and ${load.keptAlive} clients that keep theirs; 2 workers. At full speed: ${hurried} clients, each request on a new connection.
"sent again": on a kept connection that ended before a byte of the answer, and answered on a new one. Not a failure.

| server | what | times | seconds | answered | failed | ${headings.join(' | ')} | sent again | longest stall (ms) |
| --- | --- | --- | --- | --- | --- |${' --- |'.repeat(headings.length)} --- | --- |`);
for (const [server, what, times, tally] of rows) {
  const cells =
    tally === null
      ? ['could not be finished', ...Array(headings.length + 4).fill('-')]
      : [
          tally.seconds.toFixed(0),
          tally.answered,
          tally.failed,
          ...headings.map((kind) => tally.failures[kind]),
          tally.reused,
          tally.stallMs.toFixed(0),
        ];
  console.log(`| ${[server, what, times, ...cells].join(' | ')} |`);
}
process.exit(failed ? 1 : 0);
