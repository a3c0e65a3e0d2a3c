/**
 * What /proc says of a contender's processes: who they are, their memory, the CPU time they have used. And a command for it.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

function read(path) {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // it is gone
  }
}

/** `{ppid, state, startTicks}`, or null when it is gone. */
export function statOf(pid) {
  const text = read(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.length < 20 ? null : { state: fields[0], ppid: Number(fields[1]), startTicks: fields[19] };
}

/** A process and all its descendants, as `{pid, startTicks}`. */
export function treeOf(root) {
  const children = new Map();
  const stats = new Map();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? statOf(pid) : null;
    if (stat === null || stat.state === 'Z') continue;
    stats.set(pid, stat);
    children.set(stat.ppid, [...(children.get(stat.ppid) ?? []), pid]);
  }
  const tree = stats.has(root) ? [root] : [];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree.map((pid) => ({ pid, startTicks: stats.get(pid).startTicks }));
}

/** Whether that very process still lives. */
export function lives({ pid, startTicks }) {
  const stat = statOf(pid);
  return stat !== null && stat.startTicks === startTicks && stat.state !== 'Z';
}

/** `NAME=value` each; empty when it is gone. */
export function environmentOf(pid) {
  return read(`/proc/${pid}/environ`).split('\0');
}

/** All processes with this entry in their environment, as `{pid, startTicks}`. */
export function markedProcesses(entry) {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && environmentOf(pid).includes(entry))
    .flatMap((pid) => {
      const stat = statOf(pid);
      return stat === null ? [] : [{ pid, startTicks: stat.startTicks }];
    });
}

/** The pids of a process's children: `children` of proc(5). */
export function childrenOf(pid) {
  return read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
}

/** RSS, PSS and USS of some processes together, in bytes: smaps_rollup of proc(5). */
export function memoryOf(pids) {
  const sum = { rss: 0, pss: 0, uss: 0 };
  for (const pid of pids) {
    const text = read(`/proc/${pid}/smaps_rollup`);
    const bytes = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0) * 1024;
    sum.rss += bytes('Rss');
    sum.pss += bytes('Pss');
    sum.uss += bytes('Private_Clean') + bytes('Private_Dirty');
  }
  return sum;
}

/** CPU time of all threads of some processes, in ms: the first number of schedstat, which counts nanoseconds. */
export function cpuMsOf(pids) {
  let ns = 0;
  for (const pid of pids) {
    for (const tid of tasksOf(pid)) ns += Number(read(`/proc/${pid}/task/${tid}/schedstat`).split(' ')[0]);
  }
  return ns / 1e6;
}

function tasksOf(pid) {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** Runs a command of a contender to its end. @throws Error when it fails */
export function command([file, ...args], { env }) {
  return new Promise((done, failed) => {
    const child = spawn(file, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
    child.once('error', failed);
    child.once('close', (code) =>
      code === 0 ? done() : failed(new Error(`${args.join(' ')}: exit code ${code}: ${said}`)),
    );
  });
}

/** The ports at the other end of a process's TCP connections over IPv4: fd and net/tcp of proc(5). */
export function peersOf(pid) {
  const own = new Set(descriptorsOf(pid).flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const rows = read(`/proc/${pid}/net/tcp`)
    .split('\n')
    .slice(1)
    .map((row) => row.trim().split(/\s+/));
  return rows
    .filter(([, , , , , , , , , inode]) => own.has(inode))
    .map(([, , peer]) => Number.parseInt(peer.split(':')[1], 16));
}

function descriptorsOf(pid) {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return ''; // it was closed meanwhile
      }
    });
  } catch {
    return [];
  }
}
