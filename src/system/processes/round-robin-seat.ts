/**
 * The seat of a worker whose connections are accepted and handed out by the master (node:cluster's SCHED_RR): no socket, but
 * a rotation that it has to leave before its stop signal. worker/rotation.ts is the other side, and says why it is asked twice.
 *
 *   in the rotation --leave--> asked --left--> asked again --left--> out: nothing is on its way to it any more
 *
 * One that has not listened has no place in the rotation; one that does not answer is waited for as long as `leave` may take.
 *
 * What is on its way to one that dies is given to another one. node:cluster forgets it: it would stay open here, and its client
 * would wait in vain. To node:cluster it looks as if the worker had refused it, in the words of its own messages. What is refused
 * when no other one listens at that address, node:cluster would keep for ever: it looks accepted, which closes it.
 */
import type { ChildProcess } from 'node:child_process';
import type { Worker } from 'node:cluster';
import { noSeat, type Seat } from '../sockets/seat.ts';

/** Also in worker/rotation.ts. */
const leave = { cmd: 'NODE_SUPERVISE_LEAVE' };

/**
 * A message of node:cluster: a connection that goes to the worker (newconn), or its answer to it (accepted); the worker has its
 * place at an address (ack, key), or gives it up (close).
 */
interface Handover {
  readonly cmd: 'NODE_CLUSTER';
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
  /** Names the address. */
  readonly key?: string;
  /** The address cannot be had. */
  readonly errno?: number | null;
  accepted?: boolean;
}

export function roundRobinSeat(worker: Worker): Seat {
  let listens = false;
  takeBackAtDeath(worker.process);
  worker.on('listening', () => (listens = true));
  return {
    ...noSeat,
    leave(mostMs, empty) {
      const child = worker.process;
      if (!listens || !child.connected) {
        empty();
        return () => undefined;
      }
      let answers = 0;
      const ask = (): void => void child.send(leave, () => undefined);
      const isLeft = (message: unknown): void => {
        if ((message as { supervise?: unknown } | null)?.supervise !== 'left') return;
        answers++;
        if (answers === 1) ask();
        else done();
      };
      const cancel = (): void => {
        clearTimeout(limit);
        child.off('message', isLeft).off('disconnect', done);
      };
      const done = (): void => {
        cancel();
        empty();
      };
      const limit = setTimeout(done, mostMs);
      child.on('message', isLeft).once('disconnect', done);
      ask();
      return cancel;
    },
  };
}

/** After node:cluster's own listener for its end, which takes the worker out of the rotation. */
function takeBackAtDeath(child: ChildProcess): void {
  /** The key of each that has not been answered yet, by its number. */
  const onTheirWay = new Map<number, string>();
  const send = child.send.bind(child) as (message: unknown, ...more: unknown[]) => boolean;
  child.send = (message: unknown, ...more: unknown[]) => {
    const { act, seq, ack, key, errno } = message as Handover;
    if (act === 'newconn' && seq !== undefined && key !== undefined) onTheirWay.set(seq, key);
    else if (ack !== undefined && key !== undefined && !errno) takePlace(key, child);
    return send(message, ...more);
  };
  // Before node:cluster's own, which gives what was refused to the next one. Where nobody is left it would keep it for ever.
  child.prependListener('internalMessage', (message: Handover) => {
    const { act, ack = -1, key } = message;
    if (act === 'close' && key !== undefined) leavePlace(key, child);
    const handedOver = onTheirWay.get(ack);
    if (handedOver === undefined) return;
    onTheirWay.delete(ack);
    message.accepted ||= !places.has(handedOver);
  });
  const takeBack = (): void => {
    for (const key of [...places.keys()]) leavePlace(key, child);
    for (const ack of [...onTheirWay.keys()]) {
      const refused: Handover = { cmd: 'NODE_CLUSTER', ack, accepted: false };
      child.emit('internalMessage', refused);
    }
  };
  // With something still to be written, a channel that breaks off is not said to be disconnected.
  child.once('disconnect', takeBack).once('exit', takeBack);
}

/** Who is in the rotation at each address, by node:cluster's key. */
const places = new Map<string, Set<ChildProcess>>();

function takePlace(key: string, child: ChildProcess): void {
  places.set(key, (places.get(key) ?? new Set()).add(child));
}

function leavePlace(key: string, child: ChildProcess): void {
  const there = places.get(key);
  if (there?.delete(child) && there.size === 0) places.delete(key);
}
