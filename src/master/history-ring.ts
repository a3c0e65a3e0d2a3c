/**
 * The points of one target, in a typed array that grows as needed up to a fixed size and is then written over and over.
 *
 * - A point is found by its tick, a number that counts on: a ring knows no times. A tick that was passed over has no point.
 * - Not known is NaN.
 */
import type { HistoryPoint, Reading } from '../core/history.ts';

/** What a point holds, in this order. Only apps have the last two. */
const width = { all: 5, withStaff: 7 } as const;
const [cpu, cpuMax, memory, memoryMax, queue, ready, goal] = [0, 1, 2, 3, 4, 5, 6] as const;
const fewestPoints = 8;

export class HistoryRing {
  readonly #most: number;
  readonly #width: number;
  #values = new Float32Array(0);
  #first = 0;
  #newest: number | null = null;
  /** How many readings of the newest point knew it. */
  #known = { cpu: 0, memory: 0 };

  /** @param most how many points are kept */
  constructor(most: number, holds: keyof typeof width) {
    this.#most = most;
    this.#width = width[holds];
  }

  /** What its points take. */
  get sizeBytes(): number {
    return this.#values.byteLength;
  }

  get newestTick(): number | null {
    return this.#newest;
  }

  /** Takes a reading into the point of that tick. One older than the newest is of no use. */
  add(tick: number, reading: Reading): void {
    if (!this.#open(tick)) return;
    const at = this.#placeOf(tick);
    const { cpuPercent, memoryBytes } = reading;
    if (cpuPercent !== null) this.#average(at + cpu, cpuPercent, ++this.#known.cpu);
    if (memoryBytes !== null) this.#average(at + memory, memoryBytes, ++this.#known.memory);
    this.#combine(at + cpuMax, cpuPercent, Math.max);
    this.#combine(at + memoryMax, memoryBytes, Math.max);
    this.#combine(at + queue, reading.queue, Math.max);
    if (this.#width === width.all) return;
    this.#combine(at + ready, reading.ready, Math.min);
    this.#combine(at + goal, reading.goal, (_before, now) => now);
  }

  /** Puts a point of an earlier master there. */
  restore(tick: number, point: HistoryPoint): void {
    if (!this.#open(tick)) return;
    const { cpuPercent, cpuMaxPercent, memoryBytes, memoryMaxBytes } = point;
    const values = [cpuPercent, cpuMaxPercent, memoryBytes, memoryMaxBytes, point.queue, point.ready, point.goal];
    this.#values.set(
      values.slice(0, this.#width).map((value) => value ?? Number.NaN),
      this.#placeOf(tick),
    );
    this.#known = { cpu: 1, memory: 1 };
  }

  /** Tells the CPU of all its points in another measure. */
  scaleCpu(factor: number): void {
    for (let at = 0; at < this.#values.length; at += this.#width) {
      this.#values[at + cpu]! *= factor;
      this.#values[at + cpuMax]! *= factor;
    }
  }

  /** The points from that tick on, oldest first. @param atMs when a tick began */
  points(fromTick: number, atMs: (tick: number) => number): HistoryPoint[] {
    const points: HistoryPoint[] = [];
    if (this.#newest === null) return points;
    const oldest = Math.max(this.#first, this.#newest - this.#most + 1, fromTick);
    for (let tick = oldest; tick <= this.#newest; tick++) {
      const point = this.#pointAt(this.#placeOf(tick), atMs(tick));
      if (point !== null) points.push(point);
    }
    return points;
  }

  #pointAt(at: number, atMs: number): HistoryPoint | null {
    const values = this.#values.subarray(at, at + this.#width);
    if (values.every((value) => Number.isNaN(value))) return null;
    const whole = (field: number) => rounded(values[field], 1);
    return {
      atMs,
      ...{ cpuPercent: rounded(values[cpu], 10), cpuMaxPercent: rounded(values[cpuMax], 10) },
      ...{ memoryBytes: whole(memory), memoryMaxBytes: whole(memoryMax) },
      ...{ queue: whole(queue), ready: whole(ready), goal: whole(goal) },
    };
  }

  /** Whether there is a point of that tick now: a new one, or the newest. */
  #open(tick: number): boolean {
    if (this.#newest !== null && tick <= this.#newest) return tick === this.#newest;
    if (this.#newest === null) this.#first = tick;
    const passedOver = Math.max((this.#newest ?? tick - 1) + 1, tick - this.#most + 1);
    this.#growTo(Math.min(this.#most, tick - this.#first + 1));
    for (let missed = passedOver; missed <= tick; missed++) {
      const at = this.#placeOf(missed);
      this.#values.fill(Number.NaN, at, at + this.#width);
    }
    this.#newest = tick;
    this.#known = { cpu: 0, memory: 0 };
    return true;
  }

  /** It wraps only when it has its full size. */
  #placeOf(tick: number): number {
    return ((tick - this.#first) % this.#most) * this.#width;
  }

  #growTo(points: number): void {
    const has = this.#values.length / this.#width;
    if (points <= has) return;
    let wanted = Math.max(has, fewestPoints);
    while (wanted < points) wanted *= 2;
    const values = new Float32Array(Math.min(wanted, this.#most) * this.#width);
    values.set(this.#values);
    this.#values = values;
  }

  #average(at: number, value: number, count: number): void {
    const before = this.#values[at]!;
    this.#values[at] = Number.isNaN(before) ? value : before + (value - before) / count;
  }

  #combine(at: number, value: number | null, of: (before: number, now: number) => number): void {
    const before = this.#values[at]!;
    if (value !== null) this.#values[at] = Number.isNaN(before) ? value : of(before, value);
  }
}

/** null: not known. */
function rounded(value: number | undefined, parts: number): number | null {
  return value === undefined || Number.isNaN(value) ? null : Math.round(value * parts) / parts;
}
