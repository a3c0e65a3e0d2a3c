/**
 * One launch of one contender: its start, its own processes (all of its tree that are not workers), and its end.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { environmentOf, lives, markedProcesses, statOf, treeOf } from './processes.mjs';
import { Reports } from './reports.mjs';

const endWithinMs = 15_000;

/** Those that are not stopped yet; null: the bench was broken off, and nothing is started any more. */
let running = new Set();

/** Stops whatever runs, for good. */
export async function stopAll() {
  const left = running ?? new Set();
  running = null;
  await Promise.all([...left].map((contender) => contender.stop()));
}

export class Contender {
  #launched;
  #child;
  #closed = false;
  #env;
  /** `{pid, startTicks}` of what the others descend from, once it was seen. */
  #known = null;
  /** The promise of the one stop(). */
  #stopping;
  reports;
  /** The moment right before the spawn, in ns. */
  launchedNs;

  /** Starts a peer with `count` workers. */
  constructor(peer, place, count) {
    if (running === null) throw new Error('the bench was broken off');
    const dir = place.launchDir();
    const what = { place, dir, count, program: place.worker, script: join(place.programs, 'idle.mjs') };
    this.#launched = peer.launch(what);
    this.reports = new Reports(join(dir, 'reports'));
    const { PATH, LANG = 'C.UTF-8' } = process.env;
    this.#env = {
      PATH,
      LANG,
      HOME: dir,
      BENCH_DIR: dir,
      BENCH_COUNT: String(count),
      BENCH_PROGRAM: what.program,
      BENCH_REPORT: this.reports.path,
      ...this.#launched.env,
    };
    const [file, ...args] = this.#launched.argv;
    const log = openSync(join(dir, 'log'), 'a');
    const stdio = ['ignore', log, log];
    this.launchedNs = process.hrtime.bigint();
    this.#child = spawn(file, args, { cwd: dir, env: this.#env, detached: true, stdio });
    this.#child.on('error', () => undefined);
    this.#child.on('exit', () => (this.#closed = true));
    closeSync(log);
    running.add(this);
  }

  /** Reloads it in its own way. Resolves when that is done. */
  reload() {
    return this.#launched.reload({ pid: this.#root?.pid, env: this.#env });
  }

  /** How long after the launch that was, in ms. */
  since(ns, from = this.launchedNs) {
    return Number(ns - from) / 1e6;
  }

  /** Never a process that only has its pid: a pid file may be old, and pids are used again. */
  get #root() {
    const pid = this.#launched.root === undefined ? this.#child.pid : this.#launched.root();
    if (this.#known?.pid !== pid) this.#known = this.#isOurs(pid) ? { pid, startTicks: statOf(pid)?.startTicks } : null;
    return this.#known;
  }

  #isOurs(pid) {
    return pid === this.#child.pid ? !this.#closed : environmentOf(pid).includes(this.#mark);
  }

  /** Its root and all its descendants. */
  #tree() {
    const root = this.#root;
    const tree = root === null ? [] : treeOf(root.pid);
    return tree[0]?.startTicks === root?.startTicks ? tree : [];
  }

  /** What every process of this launch has in its environment. */
  get #mark() {
    return `BENCH_REPORT=${this.reports.path}`;
  }

  /** The pids of its processes that are not workers. */
  own() {
    const workers = new Set(this.reports.pids);
    return this.#tree()
      .map(({ pid }) => pid)
      .filter((pid) => !workers.has(pid));
  }

  /** The pids of the workers that live now. */
  workers() {
    const reported = new Set(this.reports.pids);
    return this.#tree()
      .map(({ pid }) => pid)
      .filter((pid) => reported.has(pid));
  }

  /** Ends it in its own way; what is left after some seconds, or was left behind, is killed, each by its pid. */
  async stop() {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  async #stop() {
    const tree = this.#tree();
    if (this.#launched.stop)
      await ended(spawn(this.#launched.stop[0], this.#launched.stop.slice(1), { env: this.#env, stdio: 'ignore' }));
    else if (!this.#closed) this.#child.kill(this.#launched.stopSignal ?? 'SIGTERM');
    for (const untilMs = performance.now() + endWithinMs; tree.some(lives) && performance.now() < untilMs;)
      await sleep(20);
    for (const one of tree) if (lives(one)) process.kill(one.pid, 'SIGKILL');
    await this.#endMarked();
    this.reports.close();
    running?.delete(this);
  }

  /** What has left the tree, and what a command that was under way has still started. */
  async #endMarked() {
    for (const untilMs = performance.now() + endWithinMs; performance.now() < untilMs; await sleep(20)) {
      const left = markedProcesses(this.#mark).filter(lives);
      if (left.length === 0) return;
      for (const { pid } of left) process.kill(pid, 'SIGKILL');
    }
  }
}

function ended(child) {
  return new Promise((done) => child.on('error', done).on('exit', done));
}
