/** How many workers served, and how many were there, while something went on. */
import type { Event } from '../../src/core/protocol.ts';

/** What the event stream says since all workers were ready for the first time. */
export function strengthOf(events: readonly Event[], workers: number): { fewestReady: number; mostProcesses: number } {
  const [ready, processes] = [new Set<string>(), new Set<string>()];
  let [fewestReady, mostProcesses] = [Infinity, 0];
  for (const event of events) {
    if (event.type === 'worker.starting') processes.add(event.worker);
    if (event.type === 'worker.ready') ready.add(event.worker);
    if (event.type === 'worker.stopping') ready.delete(event.worker);
    if (event.type === 'worker.exited') processes.delete(event.worker);
    mostProcesses = Math.max(mostProcesses, processes.size);
    if (fewestReady < Infinity || ready.size === workers) fewestReady = Math.min(fewestReady, ready.size);
  }
  return { fewestReady, mostProcesses };
}
