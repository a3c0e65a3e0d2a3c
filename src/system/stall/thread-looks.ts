/**
 * What one look at a remembered thread reads from /proc. An idle thread costs two small reads, one that has worked since
 * the last look a single one; the rest is read only when both have said nothing.
 */
import type { Posture, ThreadDetail, ThreadLook } from '../../core/stall.ts';
import { readText, tickMs } from '../procfs.ts';
import { nameOf, threadStat, waitsThere, type Waiter } from './stations.ts';

/** `gone`: there is nothing to remember it for any more. */
export type Looked = ThreadLook | 'gone' | 'closed';

/**
 * Looks at one thread, no closer than needed.
 * @param switchesBefore at the last look; null: there was none
 */
export function lookAt(waiter: Waiter, switchesBefore: number | null): Looked {
  const { station, tid } = waiter;
  const status = readText(`/proc/${station.pid}/task/${tid}/status`);
  if (status === null) return 'gone';
  const state = /^State:\s+(\S)/m.exec(status)?.[1] ?? 'X';
  const switches = Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN);
  if (state === 'Z' || state === 'X') return 'gone';
  // A sandbox that does not count them shows everything as hanging.
  if (Number.isNaN(switches)) return 'closed';
  const is = (posture: Posture): ThreadLook => ({
    thread: nameOf(waiter),
    isMain: tid === station.pid,
    posture,
    switches,
    detail: null,
  });
  if (state === 'T') return is('stopped');
  if (state === 't') return is('traced');
  if (waiter.seen === 'stopped') return 'gone';
  if (switchesBefore !== null && switches !== switchesBefore) return is(state === 'R' ? 'running' : 'elsewhere');
  const presence = waitsThere(station, tid);
  if (presence === 'gone' || presence === 'closed') return presence;
  if (presence === 'yes') return is('there');
  return is(presence === 'running' || state === 'R' ? 'running' : 'elsewhere');
}

/** The rest of what can be told about it; null: it is gone, or its number belongs to another thread now. */
export function detailOf({ station, tid, startTimeTicks }: Waiter): ThreadDetail | null {
  const task = `/proc/${station.pid}/task/${tid}`;
  const stat = threadStat(station.pid, tid);
  if (stat === null || stat.startTimeTicks !== startTimeTicks) return null;
  const io = readText(`${task}/io`) ?? '';
  const count = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io)?.[1] ?? 0);
  return {
    calls: count('syscr') + count('syscw'),
    cpuMs: (stat.utimeTicks + stat.stimeTicks) * tickMs,
    place: placeOf(readText(`${task}/wchan`)),
  };
}

const meanings: readonly (readonly [RegExp, string])[] = [
  [/futex/, 'a lock'],
  [/nanosleep/, 'a sleep'],
  [/^do_wait|wait4/, 'the end of a child process'],
  [/pipe/, 'a pipe'],
  [/poll|select/, 'other descriptors'],
  [/sk_|inet_|tcp_|unix_|skb/, 'a socket'],
  [/nfs|rpc_|folio|io_schedule|blk/, 'a disk or a file server'],
];

/** The kernel's function, and what it means where that is known; null: hidden ("0"). */
function placeOf(wchan: string | null): string | null {
  if (wchan === null || wchan === '' || wchan === '0') return null;
  const meaning = meanings.find(([pattern]) => pattern.test(wchan))?.[1];
  return meaning === undefined ? wchan : `${wchan} (${meaning})`;
}
