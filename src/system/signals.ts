/**
 * The signals a master takes. It only translates: what they mean is decided by whoever is called.
 *
 * TERM, INT  a graceful stop; the second one kills          QUIT  a quick stop       HUP  reload
 * USR1       opens log files again                          TTIN, TTOU  one worker more, fewer
 * USR2       not supported yet (Node's default would end the master)    WINCH  ignored: a resized terminal
 */
import type { Cancel } from '../ports.ts';

export interface SignalOrders {
  stop(how: 'graceful' | 'quick' | 'now', signal: string): void;
  reload(): void;
  reopen(): void;
  upgrade(): void;
  scaleBy(workers: 1 | -1): void;
}

/** Listens until the answer is called. */
export function takeSignals(orders: SignalOrders): Cancel {
  let asked = 0;
  const stop = (signal: NodeJS.Signals) => orders.stop(++asked === 1 ? 'graceful' : 'now', signal);
  const table: Partial<Record<NodeJS.Signals, (signal: NodeJS.Signals) => void>> = {
    SIGTERM: stop,
    SIGINT: stop,
    SIGQUIT: (signal) => orders.stop('quick', signal),
    SIGHUP: () => orders.reload(),
    SIGUSR1: () => orders.reopen(),
    SIGUSR2: () => orders.upgrade(),
    SIGTTIN: () => orders.scaleBy(1),
    SIGTTOU: () => orders.scaleBy(-1),
    SIGWINCH: () => undefined,
  };
  const entries = Object.entries(table) as [NodeJS.Signals, (signal: NodeJS.Signals) => void][];
  for (const [signal, take] of entries) process.on(signal, take);
  return () => entries.forEach(([signal, take]) => process.off(signal, take));
}
