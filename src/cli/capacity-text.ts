/** The report of `capacity` for people: how the host is used, by whom, what binds, and the advice with its arithmetic. */
import type { AppCapacity, CapacityReport } from '../core/capacity.ts';
import { boundInWords } from '../core/capacity-words.ts';
import type { Advice } from '../core/capacity-advice.ts';
import type { Usage } from '../core/capacity-series.ts';
import { counted, formatDuration, formatPercent } from '../core/units.ts';
import type { Colours, Paint } from './render.ts';
import { table } from './render.ts';
import { printable, sizeText } from './text.ts';

/** Advice is told in lines of so many columns. */
const lineColumns = 100;

/** The whole of `capacity`. */
export function capacityText(report: CapacityReport, colours: Colours): string {
  const { bound, advice, missing } = report;
  return [
    `${headline(report)}\n`,
    hostTable(report, colours),
    appTable(report, colours),
    `${colours.bold(printable(capital(boundInWords(bound))))}\n`,
    advice.map((one) => item(one, colours)).join('\n'),
    missing.map((text) => `${colours.dim(`not known: ${printable(text)}`)}\n`).join(''),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function headline({ observed, askedMs, target, band }: CapacityReport): string {
  const { points, coveredMs, stepMs } = observed;
  const seen =
    points === 0
      ? 'nothing seen'
      : `${formatDuration(coveredMs)} seen, ${counted(points, 'point')} of ${formatDuration(stepMs)}`;
  return `the last ${formatDuration(askedMs)}: ${seen}; aim ${formatPercent(target)}, band ${formatPercent(band.low)} to ${formatPercent(band.high)}`;
}

function hostTable({ cpu, memory }: CapacityReport, colours: Colours): string {
  const row = (name: string, usage: Usage | null, whole: string) => [name, ...usageCells(usage), printable(whole)];
  return table(
    ['HOST', 'MEAN', 'MEDIAN', 'P95', 'PEAK', 'BELOW', 'WITHIN', 'ABOVE', 'OF'],
    [
      row('cpu', cpu.usage, `${counted(cpu.usable, 'CPU')} (${cpu.source})`),
      row('memory', memory.usage, `${sizeText(memory.usableBytes)} (${memory.source})`),
    ],
    colours,
  );
}

function usageCells(usage: Usage | null): readonly string[] {
  if (usage === null) return ['-', '-', '-', '-', '-', '-', '-'];
  const { mean, median, p95, peak, below, within, above } = usage;
  return [mean, median, p95, peak, below, within, above].map(formatPercent);
}

function appTable({ apps, others }: CapacityReport, colours: Colours): string {
  if (apps.length === 0) return '';
  const rest = ['(others)', '', number(others.cpus), '', '', '', sizeText(others.memoryBytes)];
  return table(
    ['APP', 'WORKERS', 'CPUS', 'P95', 'A WORKER', 'SHARE', 'MEMORY', 'P95', 'A WORKER', 'SHARE', 'QUEUE'],
    [...apps.map(appRow), rest],
    colours,
  );
}

function appRow(app: AppCapacity): readonly string[] {
  const { name, workers, staffing, cpus, cpusPerWorker, memory, workerBytes, queue } = app;
  const share = (value: number | null) => (value === null ? '-' : formatPercent(value));
  return [
    name,
    staffing.kind === 'scaled' ? `${workers} of ${staffing.max ?? '-'}` : String(workers),
    number(cpus?.mean ?? null),
    number(cpus?.p95 ?? null),
    number(cpusPerWorker?.p95 ?? null),
    share(app.cpuShare),
    sizeText(memory?.mean ?? null),
    sizeText(memory?.p95 ?? null),
    sizeText(workerBytes),
    share(app.memoryShare),
    number(queue?.p95 ?? null),
  ];
}

function number(value: number | null): string {
  return value === null ? '-' : String(Number(value.toFixed(2)));
}

function item(advice: Advice, colours: Colours): string {
  const text = wrapped(printable(advice.text), '  ');
  return `${paintOf(advice, colours)('-')} ${text.trimStart()}\n`;
}

function paintOf({ kind }: Advice, { green, yellow, red, dim }: Colours): Paint {
  if (kind === 'oom' || kind === 'leak') return red;
  if (kind === 'fits') return green;
  return kind === 'spike' || kind === 'too-early' || kind === 'no-history' ? dim : yellow;
}

/** Broken between words, each line behind `indent`. */
function wrapped(text: string, indent: string): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    const isFirst = line === indent;
    if (!isFirst && line.length + 1 + word.length > lineColumns) {
      lines.push(line);
      line = indent + word;
    } else line += isFirst ? word : ` ${word}`;
  }
  return [...lines, line].join('\n');
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
