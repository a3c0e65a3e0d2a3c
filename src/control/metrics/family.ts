/**
 * What a metric is: its name, its help, its labels, and how its samples are read from what is known at a scrape.
 *
 * Names: `supervise_`, then what it is about (master, host, app, worker, hook), base units (`_seconds`, `_bytes`, `_ratio` from 0
 * to 1), `_total` on counters. Labels are bounded: an app, a slot, a word of a fixed list. A worker's id and pid are
 * no labels: each reload would begin new series, and the old ones would stay in every range query.
 */
import type { Snapshot } from '../../core/protocol.ts';
import type { OwnUsage } from '../face.ts';
import type { Tally } from './tally.ts';

/** All that a scrape looks at. */
export interface Scene {
  readonly snapshot: Snapshot;
  readonly tally: Tally;
  readonly own: OwnUsage;
  /** CPU seconds that the workers of an app have used; null: not known yet. */
  readonly cpuSeconds: (app: string) => number | null;
  /** How late the event loop came to a callback that was due at once. */
  readonly loopLagSeconds: number;
}

/** The value, then the values of the labels in their order. A null is not exported: not known is not 0. */
export type Sample = readonly [value: number | null, ...labels: string[]];

export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
  read(scene: Scene): readonly Sample[];
}

/** A metric that goes up and down. */
export function gauge(name: string, help: string, labels: readonly string[], read: Family['read']): Family {
  return { name: `supervise_${name}`, type: 'gauge', help, labels, read };
}

/** A metric that only goes up, from 0 at the master's start. */
export function counter(name: string, help: string, labels: readonly string[], read: Family['read']): Family {
  return { name: `supervise_${name}`, type: 'counter', help, labels, read };
}

/** One sample a word: 1 for the one that holds, 0 for the others. */
export function oneOf(words: readonly string[], which: string, ...labels: string[]): Sample[] {
  return words.map((word) => [word === which ? 1 : 0, ...labels, word]);
}

export function seconds(ms: number): number;
export function seconds(ms: number | null): number | null;
export function seconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

/** ISO 8601 as seconds since 1970. */
export function secondsAt(at: string | null): number | null {
  return at === null ? null : Date.parse(at) / 1000;
}
