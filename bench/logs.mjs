// Throughput of worker output: 200 MB in lines of 100 bytes, from a writing process through Output to a file and to
// /dev/null, against `cat > file` of the same bytes in the same run. Usage: npm run build, then node bench/logs.mjs
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Output } from '../build/src/system/output/output.js';
import { Sink } from '../build/src/system/output/sink.js';
import { openFileTarget } from '../build/src/system/output/sink-target.js';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-logs-'));
const input = path.join(dir, 'input');
const totalBytes = 200_000_000;
const block = 'x'.repeat(99).concat('\n').repeat(10_000);
for (let bytes = 0; bytes < totalBytes; bytes += block.length) fs.appendFileSync(input, block);

const ended = (child) => new Promise((resolve) => child.on('close', resolve));

async function cat(to) {
  const fd = fs.openSync(to, 'w');
  await ended(spawn('cat', [input], { stdio: ['ignore', fd, 'inherit'] }));
}

async function throughOutput(format, to) {
  const sink = new Sink({ name: to, target: openFileTarget(to) });
  const output = new Output({ sink, colors: false });
  const child = spawn('cat', [input], { stdio: ['ignore', 'pipe', 'inherit'] });
  output.attach(child.stdout, { app: 'web', source: 'web.1', stream: 'stdout', format });
  await ended(child);
  await new Promise((resolve) => output.close(resolve));
}

const file = path.join(dir, 'output');
const runs = [
  ['cat > file', () => cat(file)],
  ['cat > /dev/null', () => cat('/dev/null')],
];
for (const format of ['raw', 'prefix', 'json'])
  for (const to of [file, '/dev/null'])
    runs.push([`${format} > ${to === file ? 'file' : to}`, () => throughOutput(format, to)]);
for (const [name, run] of runs) {
  fs.rmSync(file, { force: true });
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  await run();
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  console.log(
    `${name.padEnd(20)} ${seconds.toFixed(2)} s ${(totalBytes / 1e6 / seconds).toFixed(0).padStart(6)} MB/s, own CPU ${((user + system) / 1e6).toFixed(2)} s, RSS ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB`,
  );
}
fs.rmSync(dir, { recursive: true });
