/**
 * A child of the master that was spawned without node:child_process (see process-calls.ts): several times as fast, and its
 * output goes through real pipes, so that it may open /dev/stdout.
 *
 * SIGCHLD says that some child has ended. libuv then asks the kernel for each of its own by pid, and so is it done here:
 * nobody takes another's.
 */
import { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import type { NativeSpawn, ProcessCalls } from '../process-calls.ts';

/** What becomes a descriptor of the child: nothing but /dev/null, a new pipe that is read here, or one of ours. */
export type Stdio = 'ignore' | 'pipe' | 'inherit' | number;

const children = new Map<number, DirectChild>();
let isAsking = false;
/** It keeps the master running, as a child of node:child_process does; and asks again, whatever became of a signal. */
let keeper: NodeJS.Timeout | null = null;
const keeperMs = 60_000;

export class DirectChild extends EventEmitter {
  readonly pid: number;
  readonly stdout: Socket | null;
  readonly stderr: Socket | null;
  /** As node:child_process has it. */
  readonly stdio: readonly (Socket | null)[];
  readonly connected = false;
  readonly calls: ProcessCalls;

  /** @param pipes by the number of the descriptor: our ends */
  constructor(pid: number, pipes: ReadonlyMap<number, number>, calls: ProcessCalls) {
    super();
    this.pid = pid;
    this.calls = calls;
    this.stdio = [0, 1, 2].map((number) => {
      const fd = pipes.get(number);
      return fd === undefined ? null : new Socket({ fd, readable: true, writable: false });
    });
    this.stdout = this.stdio[1] ?? null;
    this.stderr = this.stdio[2] ?? null;
    children.set(pid, this);
    if (keeper !== null) return;
    keeper = setInterval(askSoon, keeperMs);
    process.on('SIGCHLD', askSoon);
    // It may have ended before anybody listened.
    askSoon();
  }

  /** It has no channel. */
  disconnect(): void {
    return;
  }
}

/** Once for all that end in the same turn of the loop. */
function askSoon(): void {
  if (isAsking) return;
  isAsking = true;
  setImmediate(() => {
    isAsking = false;
    for (const child of [...children.values()]) {
      const end = child.calls.reap(child.pid);
      if (end === null) continue;
      children.delete(child.pid);
      child.emit('exit', end.code, end.signal);
    }
    if (children.size > 0 || keeper === null) return;
    process.off('SIGCHLD', askSoon);
    clearInterval(keeper);
    keeper = null;
  });
}

/**
 * Starts a program as the leader of a session of its own, with the default handling of all signals.
 * @param stdio of the descriptors 0, 1, 2 and so on; the first is always /dev/null, pipes may be 1 and 2
 * @returns null: it could not be started in this way; whoever tries again in another is told why
 */
export function spawnDirectly(
  program: Omit<NativeSpawn, 'fds'>,
  stdio: readonly Stdio[],
  calls: ProcessCalls,
): DirectChild | null {
  const ours = new Map<number, number>();
  const theirs: number[] = [];
  let isSpawned = false;
  try {
    const fds: number[] = [];
    for (const [number, each] of stdio.entries()) {
      if (number === 0) continue;
      if (each !== 'pipe') {
        fds.push(each === 'inherit' ? number : Number(each));
        continue;
      }
      const pipe = calls.pipe();
      if (pipe === null) return null;
      ours.set(number, pipe.read);
      theirs.push(pipe.write);
      fds.push(pipe.write);
    }
    const pid = calls.spawn({ ...program, fds });
    isSpawned = pid !== null;
    return pid === null ? null : new DirectChild(pid, ours, calls);
  } finally {
    for (const fd of theirs) calls.close(fd);
    if (!isSpawned) for (const fd of ours.values()) calls.close(fd);
  }
}
