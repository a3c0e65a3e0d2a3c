/**
 * Throughput of log files of whole programs: one worker writes lines of 100 bytes as fast as its stdout takes them, and each
 * contender has them in a file: a plain redirect, this product in each format, supervisord, pm2. Each in its own turn, twice;
 * the better one counts. Measured from the worker's first act to the file's last change; no line may be missing.
 * CPU and the peak of memory (VmHWM) are those of the process that carries the lines.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { supervisord } from './peers/debian.mjs';
import { pm2 } from './peers/pm2.mjs';
import { supervise } from './peers/supervise.mjs';

const lines = 2_000_000;
const lineBytes = 100;
const times = 2;
const patienceMs = 60_000;

/** @returns one result for each contender that is there: {name, mbPerSecond, cpuMs, rssBytes} */
export async function logFileResults(place) {
  const results = [];
  const missing = new Set([supervise, supervisord, pm2].filter((peer) => peer.prepare(place).skip));
  for (const one of contenders.filter(({ peer }) => !missing.has(peer))) {
    const runs = [];
    for (let time = 0; time < times; time++) runs.push(await run(one, place));
    results.push(runs.toSorted((a, b) => b.mbPerSecond - a.mbPerSecond)[0]);
  }
  return results;
}

const contenders = [
  { name: 'redirect (`> file`)', launch: ({ writer, file }) => ({ argv: ['sh', '-c', `exec ${writer} > ${file}`] }) },
  ...['raw', 'prefix', 'json'].map((format) => ({
    name: `supervise, ${format}`,
    peer: supervise,
    launch: (what) => superviseWith(format, what),
  })),
  { name: 'supervisord', peer: supervisord, launch: supervisordWith },
  { name: 'pm2', peer: pm2, launch: pm2With },
];

/** The peer's own launch, with its config changed so that the lines go into the file. */
function superviseWith(format, { place, dir, writer, file }) {
  const launched = supervise.launch({ place, dir, count: 1, program: writer });
  // max_size is out of reach: the others do not rotate either
  const logs = { file, format, max_size: '10GB' };
  const apps = { worker: { command: writer, ready: 'spawned', logs } };
  writeFileSync(join(dir, 'supervise.yaml'), JSON.stringify({ name: 'bench', apps }));
  return launched;
}

function supervisordWith({ place, dir, writer, file }) {
  const launched = supervisord.launch({ place, dir, count: 1, program: writer });
  const config = join(dir, 'supervisord.conf');
  writeFileSync(config, `${readFileSync(config, 'utf8')}stdout_logfile=${file}\nstdout_logfile_maxbytes=0\n`);
  return launched;
}

function pm2With({ place, dir, writer, file }) {
  const launched = pm2.launch({ place, dir, count: 1, program: writer });
  const config = join(dir, 'ecosystem.json');
  const { apps } = JSON.parse(readFileSync(config, 'utf8'));
  writeFileSync(config, JSON.stringify({ apps: apps.map((app) => ({ ...app, out_file: file, merge_logs: true })) }));
  return launched;
}

async function run({ name, launch }, place) {
  const dir = place.launchDir();
  const [begun, done, file] = ['begun', 'done', 'out.log'].map((each) => join(dir, each));
  const writer = join(dir, 'writer');
  const line = 'x'.repeat(lineBytes - 1);
  const script = `#!/bin/sh\n: > ${begun}\nyes ${line} | head -n ${lines}\n: > ${done}\nexec sleep 1000\n`;
  writeFileSync(writer, script, { mode: 0o755 });
  const { argv, env, root, stop } = launch({ place, dir, writer, file });
  const all = { PATH: process.env.PATH, HOME: dir, LANG: 'C.UTF-8', ...env };
  const child = spawn(argv[0], argv.slice(1), { cwd: dir, env: all, stdio: 'ignore', detached: true });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    await until(name, () => existsSync(done));
    let size = -1;
    while (size !== statSync(file).size) {
      ({ size } = statSync(file));
      await sleep(500);
    }
    const found = Number(spawnSync('wc', ['-l', file], { encoding: 'utf8' }).stdout.split(' ')[0]);
    if (found < lines) throw new Error(`${name}: ${lines - found} lines are missing`);
    const seconds = (statSync(file).mtimeMs - statSync(begun).mtimeMs) / 1000;
    return { name, mbPerSecond: (lines * lineBytes) / 1e6 / seconds, ...costOf(root?.() ?? child.pid, name) };
  } finally {
    if (stop) spawnSync(stop[0], stop.slice(1), { env: all });
    killGroup(child.pid);
    await ended;
    rmSync(file, { force: true });
  }
}

/** Who carries the lines: nobody for a redirect. */
function costOf(pid, name) {
  if (name.startsWith('redirect')) return { cpuMs: null, rssBytes: null };
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return { cpuMs: (Number(fields[11]) + Number(fields[12])) * 10, rssBytes: Number(kilobytes) * 1024 };
}

async function until(name, condition) {
  for (const deadline = Date.now() + patienceMs; !condition(); await sleep(20))
    if (Date.now() > deadline) throw new Error(`${name}: it has not written all after ${patienceMs / 1000} s`);
}

/** Its workers end with it, or lead groups of their own and are ended by it. */
function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // It has ended already.
  }
}
