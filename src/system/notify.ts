/**
 * Tells systemd how the master is doing: the datagrams of sd_notify(3).
 *
 * Rules
 * - In order, and never blocking: what cannot be sent now is sent a little later.
 * - Through koffi when it is there, because then the datagram comes from the master itself. Else by systemd-notify, a child, one at a time; for
 *   a unit with User= systemd believes it only with NotifyAccess=all.
 * - A STATUS that waits while a newer one comes is dropped: only the last one is of interest.
 * - Its socket is for the master alone: NOTIFY_SOCKET is never passed on to hooks and workers.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Cancel } from '../ports.ts';
import type { DatagramSocket } from './native.ts';
import { loadNative } from './native.ts';

export interface Notifier {
  /** One or more assignments, a line each: `READY=1\nSTATUS=4 of 4 workers are ready`. See sd_notify(3). */
  send(state: string): void;
  /** Nothing is sent any more; what waits is tried once more. */
  close(): void;
}

/** `failed` hears once why nothing can be sent. */
export interface NotifyOptions {
  readonly ways?: readonly ('koffi' | 'systemd-notify')[];
  readonly failed?: (message: string) => void;
}

/** null when nobody listens: NOTIFY_SOCKET is not set. */
export function createNotifier(
  env: Readonly<Record<string, string | undefined>>,
  options: NotifyOptions = {},
): Notifier | null {
  const path = env.NOTIFY_SOCKET;
  if (path === undefined || path === '') return null;
  const { ways = ['koffi', 'systemd-notify'], failed = () => undefined } = options;
  const queue: string[] = [];
  let sending: 'idle' | 'busy' | 'closed' = 'idle';
  let sender: Sender | null = null;
  let complained = false;

  const next = (): void => {
    const state = queue[0];
    if (sending !== 'idle' || state === undefined) return;
    sender ??= ways.includes('koffi') ? (koffiSender(path) ?? childSender(path)) : childSender(path);
    sending = 'busy';
    sender.send(state, (problem) => {
      if (problem !== null && !complained) {
        complained = true;
        failed(
          `cannot tell systemd "${state.split('\n')[0]}" through ${path}: ${problem}; it may take the start as failed`,
        );
      }
      queue.shift();
      if (sending === 'busy') sending = 'idle';
      next();
    });
  };

  return {
    send(state) {
      if (sending === 'closed') return;
      const last = queue.length - 1;
      const replaces = last > 0 && isStatus(state) && isStatus(queue[last] ?? '');
      if (replaces) queue[last] = state;
      else queue.push(state);
      next();
    },
    close() {
      sending = 'closed';
      sender?.close(queue);
    },
  };
}

function isStatus(state: string): boolean {
  return state.startsWith('STATUS=') && !state.includes('\n');
}

/** `done` hears null, or what went wrong; it may be called before send returns. */
interface Sender {
  send(state: string, done: (problem: string | null) => void): void;
  close(waiting: readonly string[]): void;
}

/** The receiver's queue is short (10 datagrams): full is normal, and passes. */
const retryMs = 20;

function koffiSender(path: string): Sender | null {
  const socket: DatagramSocket | undefined = loadNative()?.datagramSocket(path);
  if (socket === undefined) return null;
  let cancel: Cancel = () => undefined;
  const send = (state: string, done: (problem: string | null) => void): void => {
    const errno = socket.send(state);
    if (errno !== constants.errno.EAGAIN) {
      done(errno === 0 ? null : `sendto: errno ${errno}`);
      return;
    }
    const timer = setTimeout(() => send(state, done), retryMs);
    timer.unref();
    cancel = () => clearTimeout(timer);
  };
  return {
    send,
    close(waiting) {
      cancel();
      for (const state of waiting) socket.send(state);
      socket.close();
    },
  };
}

function childSender(path: string): Sender {
  let current: ChildProcess | null = null;
  const run = (states: readonly string[], done: (problem: string | null) => void): ChildProcess => {
    const assignments = states.flatMap((state) => state.split('\n')).filter((line) => line !== '');
    const child = spawn('systemd-notify', assignments, {
      env: { PATH: process.env.PATH, NOTIFY_SOCKET: path },
      stdio: 'ignore',
    });
    child.on('error', (error) => done(error.message));
    child.on('exit', (code, signal) => done(code === 0 ? null : `systemd-notify ended with ${code ?? signal}`));
    return child;
  };
  return {
    send(state, done) {
      current = run([state], done);
      // Nobody waits for systemd.
      current.unref();
    },
    // The first one is on its way already; the others follow it.
    close(waiting) {
      const rest = waiting.slice(1);
      if (rest.length === 0) return;
      current?.ref();
      current?.once('exit', () => run(rest, () => undefined));
    },
  };
}
