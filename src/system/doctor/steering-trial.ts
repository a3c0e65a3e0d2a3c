/**
 * Does on a throw-away address of loopback what a master does to steer: a second listener, and a program that chooses among the two. A
 * kernel may refuse any of it (seccomp, gVisor, a kernel without BPF, a user without CAP_BPF), and only a trial tells.
 */
import { getSystemErrorName } from 'node:util';
import { loadNative } from '../native.ts';
import { ListenerGroup, SteeringRefused } from '../sockets/listener-group.ts';
import { createServerHandle } from '../sockets/server-handle.ts';

export interface Steering {
  /** Why connections cannot be steered here, in words; null: they can. */
  readonly refused: string | null;
  /** Why what waits at the listener of a dead worker stays there, in words; null: it is moved, or nothing is steered. */
  readonly staying: string | null;
}

export function trySteering(native = loadNative()): Steering {
  const handle = createServerHandle('127.0.0.1', 0, 4);
  if (typeof handle === 'number') return { refused: `no socket: ${getSystemErrorName(handle)}`, staying: null };
  const group = new ListenerGroup(handle.fd, () => native);
  try {
    // As in a master, the first listens before there is another one. What keeps it from that keeps the other one from it.
    if (group.whyNot() === null) native?.listen(handle.fd, 1);
    group.add();
    group.tell([0, 1], 'choose');
    return { refused: null, staying: group.whyStaying };
  } catch (error) {
    if (!(error instanceof SteeringRefused)) throw error;
    return { refused: error.message, staying: null };
  } finally {
    group.close();
    handle.close();
  }
}
