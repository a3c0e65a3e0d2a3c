/**
 * The log subscribes to the stream. It is loaded after the first worker; what happens before that waits in a list. What
 * happens later waits for the end of the turn of the event loop: after a crash the next start comes first, then its story.
 */
import { narrate } from '../core/narrate.ts';
import type { Event } from '../core/protocol.ts';
import type { Cancel } from '../ports.ts';
import type { createLog, LogOptions } from '../system/output/log.ts';

type Logger = ReturnType<typeof createLog>;

export interface FollowedLog {
  /** Logs a bug of ours. */
  bug(error: unknown): void;
  /** Resolves when everything that happened so far has gone to the sink. */
  flushed(): Promise<void>;
}

/** Narrates every event from now on. */
export function followLog(subscribe: (listener: (event: Event) => void) => Cancel, options: LogOptions): FollowedLog {
  const waiting: ((log: Logger) => void)[] = [];
  let write = (line: (log: Logger) => void): void => void waiting.push(line);
  const open = async () => {
    const { createLog: create } = await import('../system/output/log.ts');
    const log = create(options);
    write = (line) => line(log);
    waiting.forEach(write);
  };
  const opened = new Promise<void>((resolve, reject) => setImmediate(() => void open().then(resolve, reject)));
  let untold: Event[] = [];
  const tell = (): void => {
    const events = untold;
    untold = [];
    for (const { level, message, fields } of events.map(narrate)) write((log) => log[level](fields, message));
  };
  subscribe((event) => {
    if (untold.push(event) === 1) setImmediate(tell);
  });
  return {
    bug: (err) => {
      tell();
      write((log) => log.error({ err }, 'a bug in supervise: stopping'));
    },
    flushed: () => {
      tell();
      return opened;
    },
  };
}
