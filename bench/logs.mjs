/**
 * Throughput of worker output: 200 MB in lines of 100 bytes. First log files of whole programs, ours and others' (see
 * log-files.mjs); then from a writing process through Output alone to a file and to /dev/null, beside `cat` of the same
 * bytes. Needs `npm run build`. With --json a line of JSON for each result.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Output } from '../build/src/system/output/output.js';
import { Sink } from '../build/src/system/output/sink.js';
import { openFileTarget } from '../build/src/system/output/sink-target.js';
import { logFileResults } from './log-files.mjs';
import { Place } from './place.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-logs-'));
const input = path.join(dir, 'input');
const file = path.join(dir, 'output');
const totalBytes = 200_000_000;

const ended = (child) => new Promise((resolve) => child.on('close', resolve));

async function cat(to) {
  const fd = fs.openSync(to, 'w');
  await ended(spawn('cat', [input], { stdio: ['ignore', fd, 'inherit'] }));
  fs.closeSync(fd);
}

async function throughOutput(format, to) {
  const sink = new Sink({ name: to, target: openFileTarget(to) });
  const output = new Output({ sink, colors: false });
  const child = spawn('cat', [input], { stdio: ['ignore', 'pipe', 'inherit'] });
  output.attach(child.stdout, { app: 'web', source: 'web.1', stream: 'stdout', format });
  await ended(child);
  await new Promise((resolve) => output.close(resolve));
}

/** What a run took; CPU and memory are those of this process. */
async function measured(name, run) {
  fs.rmSync(file, { force: true });
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  await run();
  const mbPerSecond = totalBytes / 1e6 / ((performance.now() - startMs) / 1000);
  const { user, system } = process.cpuUsage(cpu);
  return { name, mbPerSecond, cpuMs: (user + system) / 1000, rssBytes: process.memoryUsage.rss() };
}

function print(result) {
  const { name, mbPerSecond, cpuMs, rssBytes } = result;
  const own = cpuMs === null ? '' : `, own CPU ${(cpuMs / 1000).toFixed(2)} s, RSS ${(rssBytes / 1e6).toFixed(0)} MB`;
  const line = `${name.padEnd(22)} ${mbPerSecond.toFixed(0).padStart(6)} MB/s${own}`;
  console.log(process.argv.includes('--json') ? JSON.stringify(result) : line);
}

const place = new Place();
try {
  for (const result of await logFileResults(place)) print(result);
  const block = 'x'.repeat(99).concat('\n').repeat(10_000);
  for (let bytes = 0; bytes < totalBytes; bytes += block.length) fs.appendFileSync(input, block);
  for (const to of [file, '/dev/null']) {
    const shown = to === file ? 'a file' : to;
    print({ ...(await measured(`\`cat\` to ${shown}`, () => cat(to))), cpuMs: null, rssBytes: null });
    for (const format of ['raw', 'prefix', 'json'])
      print(await measured(`${format} to ${shown}`, () => throughOutput(format, to)));
  }
} finally {
  place.close();
  fs.rmSync(dir, { recursive: true, force: true });
}
