/**
 * `supervise/worker`: what a Node program may tell its supervisor, and be told. Nothing of it is needed; an unmodified server
 * is drained all the same. Without a supervisor `ready` does nothing, and `onShutdown` works at a SIGTERM.
 */
import { isMainThread } from 'node:worker_threads';
import { drainOfProcess } from './drain.ts';

/**
 * Tells the supervisor that this worker is ready, for programs that do not listen, or are not ready when they do
 * (`ready: ipc`, or `auto` for a `script`). Any call after the first has no effect.
 */
export function ready(): void {
  // The channel may be closed meanwhile: then nobody waits for the message.
  if (process.connected) process.send?.('ready', undefined, undefined, () => undefined);
}

/**
 * Runs `task` (closing a database, say) at the stop signal, after the servers of this process have answered what was in
 * hand and are closed, and before it exits. Several run one after the other, the last one added first. They are given what
 * is left of `stop.timeout`: at least 5 seconds or half of it, for which connections that do not end are cut off. A task
 * that fails, or is not done in time, is told on stderr; the exit code is then 1.
 * @throws Error in a worker thread: signals reach the main thread only
 */
export function onShutdown(task: () => void | Promise<void>): void {
  if (!isMainThread) throw new Error('onShutdown() was called in a worker thread: call it in the main thread');
  drainOfProcess().onShutdown(task);
}
