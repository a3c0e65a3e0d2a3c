/**
 * The seat of a worker whose connections are accepted and handed out by the master (node:cluster's SCHED_RR): no socket, but
 * a rotation that it has to leave before its stop signal. worker/rotation.ts is the other side, and says why it is asked twice.
 *
 *   in the rotation --leave--> asked --left--> asked again --left--> out: nothing is on its way to it any more
 *
 * One that has not listened has no place in the rotation; one that does not answer is waited for as long as `leave` may take.
 *
 * What is on its way to one that dies is given to another one. node:cluster forgets it: it would stay open here, and its client
 * would wait in vain. To node:cluster it looks as if the worker had refused it, in the words of its own messages.
 */
import type { ChildProcess } from 'node:child_process';
import type { Worker } from 'node:cluster';
import { noSeat, type Seat } from '../sockets/seat.ts';

/** Also in worker/rotation.ts. */
const leave = { cmd: 'NODE_SUPERVISE_LEAVE' };

/** A message of node:cluster: a connection that goes to the worker, or its answer to it. */
interface Handover {
  readonly cmd: 'NODE_CLUSTER';
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly accepted?: boolean;
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

/** After node:cluster's own listener, which takes the worker out of the rotation. */
function takeBackAtDeath(child: ChildProcess): void {
  const onTheirWay = new Set<number>();
  const send = child.send.bind(child) as (message: unknown, ...more: unknown[]) => boolean;
  child.send = (message: unknown, ...more: unknown[]) => {
    const { act, seq } = message as Handover;
    if (act === 'newconn' && seq !== undefined) onTheirWay.add(seq);
    return send(message, ...more);
  };
  child.on('internalMessage', ({ ack }: Handover) => ack !== undefined && onTheirWay.delete(ack));
  const takeBack = (): void => {
    for (const ack of onTheirWay) {
      const refused: Handover = { cmd: 'NODE_CLUSTER', ack, accepted: false };
      child.emit('internalMessage', refused);
    }
  };
  // With something still to be written, a channel that breaks off is not said to be disconnected.
  child.once('disconnect', takeBack).once('exit', takeBack);
}
