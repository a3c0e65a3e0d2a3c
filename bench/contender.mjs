/**
 * One launch of one contender: its start, its own processes (all of its tree that are not workers), and its end.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { environmentOf, lives, treeOf } from './processes.mjs';
import { Reports } from './reports.mjs';

const endWithinMs = 15_000;

export class Contender {
  #launched;
  #child;
  #closed = false;
  #env;
  reports;
  /** The moment right before the spawn, in ns. */
  launchedNs;

  /** Starts a peer with `count` workers. */
  constructor(peer, place, count) {
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
  }

  /** How long after the launch that was, in ms. */
  since(ns, from = this.launchedNs) {
    return Number(ns - from) / 1e6;
  }

  get #root() {
    return this.#launched.root?.() ?? this.#child.pid;
  }

  /** The pids of its processes that are not workers. */
  own() {
    const workers = new Set(this.reports.pids);
    return treeOf(this.#root)
      .map(({ pid }) => pid)
      .filter((pid) => !workers.has(pid));
  }

  /** The pids of the workers that live now. */
  workers() {
    const reported = new Set(this.reports.pids);
    return treeOf(this.#root)
      .map(({ pid }) => pid)
      .filter((pid) => reported.has(pid));
  }

  /** Ends it in its own way; what is left after some seconds, or was left behind, is killed, each by its pid. */
  async stop() {
    const tree = treeOf(this.#root);
    if (this.#launched.stop)
      await ended(spawn(this.#launched.stop[0], this.#launched.stop.slice(1), { env: this.#env, stdio: 'ignore' }));
    else if (!this.#closed) this.#child.kill(this.#launched.stopSignal ?? 'SIGTERM');
    for (const untilMs = performance.now() + endWithinMs; tree.some(lives) && performance.now() < untilMs;)
      await sleep(20);
    for (const one of tree) if (lives(one)) process.kill(one.pid, 'SIGKILL');
    const mark = `BENCH_REPORT=${this.reports.path}`;
    for (const pid of this.reports.pids) if (environmentOf(pid).includes(mark)) process.kill(pid, 'SIGKILL');
    this.reports.close();
  }
}

function ended(child) {
  return new Promise((done) => child.on('error', done).on('exit', done));
}
