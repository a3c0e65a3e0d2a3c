/**
 * What a program does at its stop signal when it has no handler of its own for it: the servers stop accepting, what is in
 * hand is answered, then it ends. Standalone: imports nothing but Node.
 *
 *   serving --signal--> draining --all servers closed--> ending: onShutdown functions, then the end by itself, or exit
 *      |                    ^
 *      '-- the program has  | the program raises the signal again, without a handler of its own now
 *          a handler --> left to the program: only `Connection: close`, and the functions once its servers are closed
 *
 * - Without a server and without a function there is no handler: the signal ends the process as ever.
 * - A program with a handler of its own decides itself when to close what. A second close() would be an error to it.
 * - Connections that do not end (event streams, WebSockets) get until `timeoutMs`, at which the master kills; with functions
 *   they are cut off a little earlier, so that the functions run.
 * - A repeated signal while draining is ignored: the guard and the master may both send one.
 */
import net from 'node:net';
import { Connections, sweepEveryMs } from './connections.ts';

type Task = () => unknown;
type Stage = 'serving' | 'left to the program' | 'draining' | 'ending';
type Listen = (this: net.Server, ...args: unknown[]) => unknown;

/** SUPERVISE_STOP: `SIGNAL MILLISECONDS`. launching.ts writes it. */
const [, signalName = 'SIGTERM', milliseconds = '30000'] =
  /^(SIG\w+) (\d+)$/.exec(process.env.SUPERVISE_STOP ?? '') ?? [];
const signal = signalName as NodeJS.Signals;
const timeoutMs = Number(milliseconds);

/** Kept for the functions in any case, at most half of all. */
const forTasksMs = Math.min(timeoutMs / 2, 5_000);
/** What else a program may still have to do (a log line, a write after the answer) before it is ended. */
const lingerMs = 250;

/** The name under which the preload shows its drain to `supervise/worker`, another bundle. */
const shared = Symbol.for('supervise.drain');

export class Drain {
  /** Those that listen, and those that have connections left. */
  readonly #servers = new Set<net.Server>();
  readonly #followed = new WeakSet<net.Server>();
  readonly #connections = new Connections();
  readonly #tasks: Task[] = [];
  readonly #onSignal = (): void => this.#asked();
  #handles = false;
  #stage: Stage = 'serving';
  /** When the master kills (performance.now()). */
  #endsAtMs = Infinity;

  /** Follows every server that listens from now on. */
  begin(): void {
    const servers = net.Server.prototype as unknown as { listen: Listen };
    const { listen } = servers;
    const follow = (server: net.Server): void => this.#follow(server);
    servers.listen = function (...args) {
      follow(this);
      return listen.apply(this, args);
    };
  }

  /** `task` runs when all servers are closed; the last one added runs first. */
  onShutdown(task: Task): void {
    this.#tasks.push(task);
    this.#handle();
  }

  #follow(server: net.Server): void {
    if (this.#followed.has(server)) return;
    this.#followed.add(server);
    this.#connections.follow(server);
    // Before the master is told that it listens, and may ask for its end.
    server.prependListener('listening', () => {
      this.#servers.add(server);
      this.#handle();
      if (this.#stage === 'draining') stopAccepting(server);
    });
    server.on('close', () => {
      this.#servers.delete(server);
      this.#handle();
      if (this.#stage !== 'serving') this.#look();
    });
  }

  /** Has a handler for the signal, or none, as it is needed. First of all, to see a `once` of the program before it is gone. */
  #handle(): void {
    const needed = this.#servers.size > 0 || this.#tasks.length > 0 || this.#stage !== 'serving';
    if (needed === this.#handles) return;
    this.#handles = needed;
    if (needed) process.prependListener(signal, this.#onSignal);
    else process.removeListener(signal, this.#onSignal);
  }

  #asked(): void {
    if (this.#stage === 'draining' || this.#stage === 'ending') return;
    this.#stage = process.listenerCount(signal) - 1 - cleaners() > 0 ? 'left to the program' : 'draining';
    this.#connections.sayClose(this.#servers);
    if (this.#stage === 'draining') this.#drain();
    this.#look();
  }

  #drain(): void {
    this.#endsAtMs = performance.now() + timeoutMs;
    for (const server of this.#servers) stopAccepting(server);
    this.#connections.closeSessions();
    setInterval(() => this.#connections.sweep(), sweepEveryMs).unref();
    if (this.#tasks.length > 0) setTimeout(() => this.#connections.destroy(), timeoutMs - forTasksMs).unref();
  }

  #look(): void {
    if (this.#servers.size > 0 || this.#stage === 'ending') return;
    const isOurs = this.#stage === 'draining';
    if (isOurs) this.#stage = 'ending';
    const limitMs = Math.max(this.#endsAtMs - performance.now() - lingerMs, lingerMs);
    void runTasks(this.#tasks.splice(0), limitMs).then(() => {
      if (isOurs) setTimeout(() => process.exit(), lingerMs).unref();
    });
  }
}

/** The drain of this process: that of the preload, else one that begins now. */
export function drainOfProcess(): Pick<Drain, 'onShutdown'> {
  const holder = globalThis as { [shared]?: Drain };
  if (holder[shared] === undefined) {
    holder[shared] = new Drain();
    holder[shared].begin();
  }
  return holder[shared];
}

/** Not the close() of http: that ends idle connections at once. Nor one that the program has put in its place. */
function stopAccepting(server: net.Server): void {
  if (server.listening) net.Server.prototype.close.call(server);
}

/** Runs one after the other, the last first. What fails is told and makes the exit code 1; the others run all the same. */
async function runTasks(tasks: readonly Task[], limitMs: number): Promise<void> {
  if (tasks.length === 0) return;
  const endInTime = (): never => {
    console.error('onShutdown: not done in time (stop.timeout), the process is ended');
    process.exit(1);
  };
  const limit = limitMs === Infinity ? undefined : setTimeout(endInTime, limitMs);
  for (const task of tasks.toReversed()) {
    try {
      await task();
    } catch (error) {
      console.error('onShutdown:', error);
      process.exitCode = 1;
    }
  }
  clearTimeout(limit);
}

/**
 * How many handlers only clean up and rely on the signal ending the process after them: those of the package signal-exit, which
 * many packages bring along. Each of its copies counts itself here.
 */
function cleaners(): number {
  const places = [
    (process as { __signal_exit_emitter__?: unknown }).__signal_exit_emitter__,
    (globalThis as Record<symbol, unknown>)[Symbol.for('signal-exit emitter')],
  ];
  return places.reduce<number>((sum, place) => sum + ((place as { count?: number } | undefined)?.count ?? 0), 0);
}
