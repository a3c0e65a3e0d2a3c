/**
 * The seat of a worker whose connections are accepted and handed out by the master (node:cluster's SCHED_RR): no socket, but
 * a rotation that it has to leave before its stop signal. worker/rotation.ts is the other side, and says why it is asked twice.
 *
 *   in the rotation --leave--> asked --left--> asked again --left--> out: nothing is on its way to it any more
 *
 * One that has not listened has no place in the rotation; one that does not answer is waited for as long as `leave` may take.
 */
import type { Worker } from 'node:cluster';
import { noSeat, type Seat } from '../sockets/seat.ts';

/** Also in worker/rotation.ts. */
const leave = { cmd: 'NODE_SUPERVISE_LEAVE' };

export function roundRobinSeat(worker: Worker): Seat {
  let listens = false;
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
