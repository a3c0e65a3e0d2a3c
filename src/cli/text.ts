/**
 * Values and foreign text for human eyes. `-` stands for what is not known; nothing that moves the cursor passes.
 */
import type { AppSpec } from '../core/spec.ts';
import { counted, formatBytes, formatDuration, formatPercent } from '../core/units.ts';

/** `3m12s`, `-` for null */
export function durationText(ms: number | null): string {
  return ms === null ? '-' : formatDuration(ms);
}

/** `46MB`, `-` for null */
export function sizeText(bytes: number | null): string {
  return bytes === null ? '-' : formatBytes(bytes);
}

/** 100 is one core busy. `-` for null */
export function percentText(percent: number | null): string {
  return percent === null ? '-' : formatPercent(percent / 100);
}

/** Text of a worker or a file on a screen: no escape sequences, no control characters. */
export function printable(text: string): string {
  return text
    .replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, '')
    .replace(/\t/g, '  ')
    .replace(/[\u0000-\u001f\u007f-\u009f]/g, '');
}

/** `4 workers`, `as many workers as CPUs and memory allow`, `2 to 8 workers` */
export function staffText({ workers, staffing }: Pick<AppSpec, 'workers' | 'staffing'>): string {
  if (staffing.kind === 'fixed') return counted(workers, 'worker');
  if (staffing.kind === 'auto') return 'as many workers as CPUs and memory allow';
  const { min, max } = staffing;
  return min === max ? counted(max, 'worker') : `${min} to ${counted(max, 'worker')}`;
}
