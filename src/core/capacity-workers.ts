/**
 * The verdicts of `capacity` on the workers of the apps; capacity-advice.ts says which of them are told, and has those on the server.
 */
import { nearShare } from './budget.ts';
import type { Verdict } from './capacity-advice.ts';
import { hourMs } from './capacity-series.ts';
import type { AppCapacity, CapacityFigures } from './capacity.ts';

const epsilon = 1e-9;
/** A worker of one thread is at its limit between these, in CPUs; what uses more has several threads at work. */
const oneCore = { from: 0.9, to: 1.25 } as const;
/** Less than this part of a CPU is no place for one more worker. */
const leastCpu = 0.25;

/** More workers where all of them are at the limit of one core while the host has CPUs left: app by app, until nothing is left. */
export function moreWorkers(figures: CapacityFigures): readonly Verdict[] {
  const { cpu, target, band, apps } = figures;
  if (cpu.usage === null || cpu.usage.p95 > band.high) return [];
  let freeCpus = (band.high - cpu.usage.p95) * cpu.usable;
  let freeBytes = freeBytesIn(figures);
  const verdicts: Verdict[] = [];
  for (const app of apps) {
    const { name, workers, cpus, workerBytes } = app;
    if (cpus === null || !isAtOneCore(app) || freeCpus < leastCpu) continue;
    const wanted = Math.max(workers + 1, Math.ceil(cpus.p95 / target - epsilon));
    const byCpu = Math.max(1, Math.floor(freeCpus));
    const byMemory = workerBytes === null || freeBytes === null ? Infinity : Math.floor(freeBytes / workerBytes);
    const added = Math.min(wanted - workers, byCpu, byMemory);
    if (added < 1) {
      verdicts.push({ kind: 'no-room-for-worker', app: name, needBytes: workerBytes ?? 0, freeBytes: freeBytes ?? 0 });
      continue;
    }
    freeCpus -= added;
    freeBytes = freeBytes === null ? null : freeBytes - added * (workerBytes ?? 0);
    const limitedBy = added === wanted - workers ? null : byMemory < byCpu ? 'memory' : 'cpu';
    const what = app.staffing.kind === 'scaled' ? 'max' : 'workers';
    verdicts.push({
      kind: 'more-workers',
      app: name,
      what,
      workers: { from: workers, to: workers + added },
      wanted,
      limitedBy,
    });
  }
  return verdicts;
}

/** A scaled app that is below its max gets more by itself. */
function isAtOneCore({ cpusPerWorker, workers, staffing, busiest }: AppCapacity): boolean {
  if (staffing.kind === 'scaled' && workers < (staffing.max ?? workers)) return false;
  if (busiest !== null && busiest.othersCpus < busiest.cpus / 2) return false;
  return cpusPerWorker !== null && cpusPerWorker.p95 >= oneCore.from && cpusPerWorker.p95 <= oneCore.to;
}

/** What the workers may still take before memory is above the band, or the budget near; null: not known. */
function freeBytesIn({ memory, band, apps }: CapacityFigures): number | null {
  if (memory.usage === null) return null;
  const ofHost = (band.high - memory.usage.peak) * memory.usableBytes;
  const used = apps.reduce((sum, app) => sum + (app.memory?.p95 ?? 0), 0);
  const ofBudget = memory.budgetBytes === null ? Infinity : nearShare * memory.budgetBytes - used;
  return Math.max(0, Math.min(ofHost, ofBudget));
}

/** Of clients' workers only: a worker of a queue may have any number that wait. */
export function fewerWorkers(app: AppCapacity, { cpu, memory, target, band }: CapacityFigures): readonly Verdict[] {
  const { name, workers, cpus, workerBytes, queue, staffing, serves } = app;
  if (cpus === null || staffing.kind === 'scaled' || (queue?.p95 ?? 0) > 0) return [];
  const enough = Math.max(1, Math.ceil(cpus.p95 / target - epsilon));
  const isShort = (memory.usage?.p95 ?? 0) > band.high;
  const most = isShort ? enough : Math.max(enough, Math.ceil(cpu.usable));
  if (most >= workers || !(isShort || serves)) return [];
  const savedBytes = workerBytes === null ? null : (workers - most) * workerBytes;
  return [
    {
      kind: 'fewer-workers',
      app: name,
      workers: { from: workers, to: most },
      because: isShort ? 'memory' : 'cpus',
      savedBytes,
    },
  ];
}

/** One bigger worker times all that there may be must still fit. */
export function maxTooHigh(
  { name, staffing, workers, workerBytes }: AppCapacity,
  figures: CapacityFigures,
): readonly Verdict[] {
  const freeBytes = freeBytesIn(figures);
  if (staffing.kind !== 'scaled' || staffing.max === null || workerBytes === null || freeBytes === null) return [];
  const fits = workers + Math.floor(freeBytes / workerBytes);
  if (staffing.max <= fits) return [];
  const needBytes = (staffing.max - workers) * workerBytes;
  return [{ kind: 'max-too-high', app: name, workers: { from: staffing.max, to: fits }, needBytes }];
}

export function hotWorker({ name, busiest }: AppCapacity): readonly Verdict[] {
  if (busiest === null || busiest.cpus < 0.8 || busiest.othersCpus >= busiest.cpus / 2) return [];
  return [{ kind: 'hot-worker', app: name, ...busiest }];
}

export function waiting(
  { name, queue, cpusPerWorker }: AppCapacity,
  { cpu, band, target }: CapacityFigures,
): readonly Verdict[] {
  if (queue === null || cpusPerWorker === null || cpu.usage === null) return [];
  if (queue.median < 1 || cpusPerWorker.p95 >= target || cpu.usage.p95 > band.high) return [];
  return [{ kind: 'waiting', app: name, queue: queue.median, cpusPerWorker: cpusPerWorker.p95 }];
}

/** A reload needs `surge` workers more for a while; judged against all the memory that there is. A young one of a leaking app is small. */
export function reloadRoom(
  { name, surge, workerBytes, growth }: AppCapacity,
  { memory }: CapacityFigures,
): readonly Verdict[] {
  if (workerBytes === null || memory.usage === null || surge === 0 || growth !== null) return [];
  const freeBytes = Math.max(0, (1 - memory.usage.p95) * memory.usableBytes);
  const needBytes = surge * workerBytes;
  return needBytes <= freeBytes ? [] : [{ kind: 'reload-does-not-fit', app: name, needBytes, freeBytes }];
}

const manyRecycles = 3;

export function leakOf(
  { name, growth, workers, recycled }: AppCapacity,
  { memory }: CapacityFigures,
): readonly Verdict[] {
  if (growth === null && recycled < manyRecycles) return [];
  const rate = (growth?.bytesPerHour ?? 0) * workers;
  const free = memory.usage && (1 - memory.usage.peak) * memory.usableBytes;
  const fullInMs = rate === 0 || free === null ? null : Math.max(0, (free / rate) * hourMs);
  return [{ kind: 'leak', app: name, growth, recycled, fullInMs }];
}
