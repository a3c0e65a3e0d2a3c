/** What signals mean to a master, and what happens when our own code throws where nobody catches. */
import type { Reply } from '../core/protocol.ts';
import type { Spec } from '../core/spec.ts';
import type { Master } from '../master/master.ts';
import type { Cancel } from '../ports.ts';
import type { SignalOrders } from '../system/signals.ts';
import type { FollowedLog } from './log-follower.ts';

export interface Means {
  readonly reread: (() => Promise<Spec>) | null;
  readonly warn: (message: string) => void;
  readonly reopen: () => void;
}

/** Every signal is one of the commands that the control socket takes as well. */
export function ordersFor(master: Master, { reread, warn, reopen }: Means): SignalOrders {
  const refuse = (reply: Reply) => {
    if (!reply.ok) warn(reply.error.message);
  };
  const contained = (what: string, act: () => void) => {
    try {
      act();
    } catch (error) {
      warn(`${what}: ${String(error)}`);
    }
  };
  return {
    stop: (how) => refuse(master.handle({ type: 'stop', how })),
    reload: () => {
      const read = reread ? reread() : Promise.resolve(null);
      read.then(
        (spec) => refuse(master.handle({ type: 'reload', spec, apps: null })),
        (error: unknown) => warn(`nothing was reloaded: ${error instanceof Error ? error.message : String(error)}`),
      );
    },
    reopen: () => contained('log files were not opened again', reopen),
    upgrade: () => warn('SIGUSR2 (upgrade) is not supported yet; nothing was done'),
    scaleBy: (by) => refuse(master.handle({ type: 'scale', app: null, change: { by, atLeast: 1 } })),
  };
}

/** An exception that nobody caught: an orderly stop, exit 70; the second one stops at once. */
export function stopOnBug(master: Master, log: FollowedLog): { seen: () => boolean; forget: Cancel } {
  let bugs = 0;
  const take = (error: unknown) => {
    log.bug(error);
    master.handle({ type: 'stop', how: ++bugs === 1 ? 'graceful' : 'now' });
  };
  process.on('uncaughtException', take);
  process.on('unhandledRejection', take);
  return {
    seen: () => bugs > 0,
    forget: () => {
      process.off('uncaughtException', take);
      process.off('unhandledRejection', take);
    },
  };
}
