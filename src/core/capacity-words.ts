/** The verdicts of `capacity` in plain words, each with its whole arithmetic, so that a reader can check it. */
import type { Resource, Verdict } from './capacity-advice.ts';
import type { AppCapacity, Bound, CapacityFigures } from './capacity.ts';
import { hourMs } from './capacity-series.ts';
import { formatBytes, formatDuration, formatPercent } from './units.ts';

type Of<K extends Verdict['kind']> = Extract<Verdict, { readonly kind: K }>;
type Sayings = { readonly [K in Verdict['kind']]: (verdict: Of<K>, figures: CapacityFigures) => string };

/** One verdict with the figures that it was made of. */
export function inWords<K extends Verdict['kind']>(verdict: Of<K>, figures: CapacityFigures): string {
  return sayings[verdict.kind](verdict, figures);
}

/** What binds, as a sentence. */
export function boundInWords(bound: Bound): string {
  switch (bound.by) {
    case 'unknown':
      return 'what binds is not known yet';
    case 'nothing':
      return 'nothing binds: there is CPU and memory left';
    case 'cpu':
      return 'CPU binds';
    case 'memory':
      return 'memory binds';
    case 'workers':
      return `the number of workers of ${bound.app} binds: each is busy with one core while the host has more`;
    case 'queue':
      return `${bound.app} keeps connections waiting while its workers and the host have CPU left`;
  }
}

const sayings: Sayings = {
  'no-history': () => 'Nothing was sampled in this time, so nothing can be said. Ask again in a few minutes.',

  'too-early': ({ coveredMs, neededMs }) =>
    neededMs < hourMs
      ? `Only ${formatDuration(coveredMs)} were seen: too little to say anything. Ask again after ${formatDuration(neededMs)}.`
      : `Only ${formatDuration(coveredMs)} were seen. That shows what is busy now; whether less would do can be said after ${formatDuration(neededMs)}, and of a whole day after a day.`,

  'fits': (_, figures) => {
    const { cpu, memory, target } = figures;
    const uses = [
      ...(cpu.usage === null ? [] : [`${p95Cpu(figures)} (aim: ${formatPercent(target)})`]),
      ...(memory.usage === null ? [] : [p95Memory(figures)]),
    ];
    const idles = cpu.usage !== null && cpu.usage.below > 0.5 && cpu.usage.p95 >= figures.band.low;
    const wave = idles
      ? ` ${formatPercent(cpu.usage.below)} of the time CPU was below the band; a server has to carry its busy hours, so these count.`
      : '';
    return `Leave it as it is: ${uses.join('; ')}.${wave}`;
  },

  'spike': ({ resource, aboveMs, peak }, { band }) =>
    `${nameOf(resource)} was above ${formatPercent(band.high)} for ${formatDuration(aboveMs)}, at most ${formatPercent(peak)}: too short to need a bigger server.`,

  'oom': ({ app, kills }, figures) => {
    const { memory } = figures;
    const bytes = appIn(figures, app).workerBytes;
    const size = bytes === null ? '' : `; a worker needs ${formatBytes(bytes)}`;
    return `The kernel ended ${counted(kills, 'worker')} of ${app} for want of memory: ${formatBytes(memory.usableBytes)} (${memory.source}) are too few for what runs there${size}. Fewer workers, \`limits.memory\` below what is there, or more memory.`;
  },

  'leak': ({ app, growth, recycled, fullInMs }) => {
    const again =
      recycled === 0 ? '' : ` Its workers were replaced ${counted(recycled, 'time')} because of their memory.`;
    const advice =
      'More memory would only put it off: find what is kept, and let `limits.memory` replace a worker meanwhile.';
    if (growth === null) return `${app} leaks memory.${again} ${advice}`;
    const { fromBytes, toBytes, bytesPerHour, spanMs } = growth;
    const full = fullInMs === null ? '' : `, and the memory of the host is full in ${formatDuration(fullInMs)}`;
    return `${app} grows steadily: a worker from ${formatBytes(fromBytes)} to ${formatBytes(toBytes)} in ${formatDuration(spanMs)}, ${formatBytes(bytesPerHour)} an hour${full}. That is a leak, or a cache without a bound.${again} ${advice}`;
  },

  'more-cpus': ({ cpus, servers, atLimit }, figures) => {
    const { cpu } = figures;
    const limit = atLimit
      ? ' All CPUs were busy, so what was really wanted is not known and may be more: look again afterwards.'
      : '';
    return `${cpuNeed(figures)}. One more server: ${servers} of ${cpusText(cpu.usable)} each would be at ${formatPercent((cpu.usage?.p95 ?? 0) / servers)}; or ${cpusText(cpus.to)} instead of ${number(cpus.from)}. More workers would not help.${limit}`;
  },

  'more-memory': ({ bytes }, figures) =>
    `${memoryNeed(figures)}: ${formatBytes(bytes.to)} would do; or one more server with a part of the workers on each, or fewer workers here.`,

  'smaller-server': ({ cpus, bytes }, figures) => {
    const { cpu, observed } = figures;
    const peak = (cpu.usage?.peak ?? 0) * cpu.usable;
    const short =
      cpus !== null && peak > cpus.to ? `, though the highest sample of ${number(peak)} would have had to wait` : '';
    const ofCpus = cpus === null ? [] : [`${cpuNeed(figures)}, so ${cpusText(cpus.to)} would do${short}.`];
    const ofBytes = bytes === null ? [] : [`${memoryNeed(figures)}, so ${formatBytes(bytes.to)} would do.`];
    const keeps =
      cpus !== null && bytes === null && memoryNeeded(figures) >= 0.5 ? ['The memory is needed as it is.'] : [];
    const seen =
      observed.coverage === 'day'
        ? []
        : [`Only ${formatDuration(observed.coveredMs)} were seen: a busier hour outside of them is not in this.`];
    return ['A smaller server would do:', ...ofCpus, ...ofBytes, ...keeps, ...seen].join(' ');
  },

  'more-workers': ({ app, what, workers, wanted, limitedBy }, figures) => {
    const found = appIn(figures, app);
    const { cpu, target } = figures;
    const key =
      what === 'max'
        ? `\`max\` ${workers.to} instead of ${workers.from}`
        : `${workers.to} workers instead of ${workers.from}`;
    const left =
      limitedBy === null
        ? ''
        : ` The load asks for ${wanted}; more than ${workers.to} do not find enough ${nameOf(limitedBy)} here.`;
    const memory =
      found.workerBytes === null
        ? ''
        : `; each takes ${formatBytes(found.workerBytes)}, ${formatBytes((workers.to - workers.from) * found.workerBytes)} together`;
    return `${app}: ${key}. A worker's p95 is ${number(found.cpusPerWorker?.p95 ?? 0)} CPUs: as much as one thread can use, while the host is at ${formatPercent(cpu.usage?.p95 ?? 0)} of ${cpusText(cpu.usable)}. Together they use ${number(found.cpus?.p95 ?? 0)} CPUs; at ${formatPercent(target)} each that is ${number((found.cpus?.p95 ?? 0) / target)} workers, so ${wanted}${memory}.${left}`;
  },

  'no-room-for-worker': ({ app, needBytes, freeBytes }, figures) =>
    `${app} needs one more worker, and it does not fit: a worker's p95 is ${number(appIn(figures, app).cpusPerWorker?.p95 ?? 0)} CPUs, as much as one thread can use; one more takes ${formatBytes(needBytes)}, and ${formatBytes(freeBytes)} are left ${ofMemory(figures)}. More memory, or one more server.`,

  'fewer-workers': ({ app, workers, because, savedBytes }, figures) => {
    const { cpus } = appIn(figures, app);
    const used = cpus?.p95 ?? 0;
    const saved = savedBytes === null ? '' : ` That gives back ${formatBytes(savedBytes)}.`;
    const why =
      because === 'memory'
        ? `memory is short, and together they use ${number(used)} CPUs: at ${formatPercent(figures.target)} each that is ${number(used / figures.target)} workers`
        : `there are more workers than CPUs (${number(figures.cpu.usable)}), and together they use ${number(used)} CPUs`;
    return `${app}: ${workers.to} workers instead of ${workers.from}: ${why}.${saved} Keep them if each does one request at a time and mostly waits for something else.`;
  },

  'max-too-high': ({ app, workers, needBytes }, figures) => {
    const { workerBytes, workers: now } = appIn(figures, app);
    return `${app}: \`max\` ${workers.to} instead of ${workers.from}: a worker takes ${formatBytes(workerBytes ?? 0)}, ${workers.from - now} more than now need ${formatBytes(needBytes)}, and ${ofMemory(figures)} there is room for ${workers.to - now}.`;
  },

  'hot-worker': ({ app, worker, cpus, othersCpus }) =>
    `${app}: ${worker} uses ${number(cpus)} CPUs, the others ${number(othersCpus)} each. More workers do not help one that has the work for itself: long-lived connections on one worker (\`balance\`), or a job that only one of them does.`,

  'waiting': ({ app, queue, cpusPerWorker }, { cpu }) =>
    `${app}: half of the time ${counted(queue, 'connection')} or more waited to be accepted, while a worker's p95 is ${number(cpusPerWorker)} CPUs and the host is at ${formatPercent(cpu.usage?.p95 ?? 0)}. The workers wait for something else (a database, a disk, a lock): look there first. More workers or threads help if each does one request at a time.`,

  'reload-does-not-fit': ({ app, needBytes, freeBytes }) =>
    `${app}: a reload starts a new worker before an old one leaves (\`reload.max_surge\`); that takes ${formatBytes(needBytes)}, and ${formatBytes(freeBytes)} are free. Fewer workers, more memory, or \`max_surge: 0\` with \`max_unavailable: 1\`.`,
};

/** Verdicts are about apps of the same figures. */
function appIn({ apps }: CapacityFigures, wanted: string): AppCapacity {
  return apps.find(({ name }) => name === wanted)!;
}

/** "below 90% of 8GB and of the budget of 6.4GB" */
function ofMemory({ memory, band }: CapacityFigures): string {
  const budget = memory.budgetBytes === null ? '' : ` and of the budget of ${formatBytes(memory.budgetBytes)}`;
  return `below ${formatPercent(band.high)} of ${formatBytes(memory.usableBytes)}${budget}`;
}

/** "CPU p95 is 34% of 4 CPUs = 1.36 CPUs" */
function p95Cpu({ cpu }: Pick<CapacityFigures, 'cpu'>): string {
  const share = cpu.usage?.p95 ?? 0;
  return `CPU p95 is ${formatPercent(share)} of ${cpusText(cpu.usable)} = ${number(share * cpu.usable)}`;
}

function p95Memory({ memory }: CapacityFigures): string {
  const share = memory.usage?.p95 ?? 0;
  return `memory p95 is ${formatPercent(share)} of ${formatBytes(memory.usableBytes)} = ${formatBytes(share * memory.usableBytes)}`;
}

/** The share of the memory that is needed: of less than half of it there may be no smaller size. */
function memoryNeeded({ memory: { usage }, target, band }: CapacityFigures): number {
  return usage === null ? 0 : Math.max(usage.p95 / target, usage.peak / band.high);
}

function memoryNeed(figures: CapacityFigures): string {
  const { memory, target, band } = figures;
  const p95Bytes = (memory.usage?.p95 ?? 0) * memory.usableBytes;
  const peakBytes = (memory.usage?.peak ?? 0) * memory.usableBytes;
  const text = p95Memory(figures).replace(/^m/, 'M');
  return `${text}, the peak ${formatBytes(peakBytes)}; at ${formatPercent(target)} the first is ${formatBytes(p95Bytes / target)}, at ${formatPercent(band.high)} the second ${formatBytes(peakBytes / band.high)}`;
}

/** "at 70% that is 1.9"; and what the busiest minutes need, where that is more. */
function cpuNeed({ cpu, target, band }: CapacityFigures): string {
  const [p95, p99] = [cpu.usage?.p95 ?? 0, cpu.usage?.p99 ?? 0].map((share) => share * cpu.usable) as [number, number];
  const busiest =
    p99 / band.high > p95 / target
      ? ` (p99 of ${number(p99)} at ${formatPercent(band.high)}: ${number(p99 / band.high)})`
      : '';
  return `${p95Cpu({ cpu })}; at ${formatPercent(target)} that is ${number(p95 / target)}${busiest}`;
}

function cpusText(cpus: number): string {
  return `${number(cpus)} CPU${cpus === 1 ? '' : 's'}`;
}

function nameOf(resource: Resource): string {
  return resource === 'cpu' ? 'CPU' : 'memory';
}

/** Two digits after the point; of very little, four. */
function number(value: number): string {
  return String(Number(value.toFixed(value < 0.01 ? 4 : 2)));
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
