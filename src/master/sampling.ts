/**
 * Looks at the machine now and then, and tells everybody who lives by it: samples of CPU and memory every
 * `resources.sample_every`, and at once when somebody asks; connections five times more seldom.
 *
 * A sample that was begun before somebody asked is no answer to him: another one follows it.
 */
import type { HostSample } from '../core/protocol.ts';
import type { AppConnections, Cancel, CountedApp, Ports, TreeSample } from '../ports.ts';
import { repeat } from './repeat.ts';

/** What was seen in one pass. */
export interface Looked {
  readonly why: 'on time' | 'asked';
  /** When it was begun. */
  readonly atMs: number;
  /** Whose trees were looked at: worker -> the pid of its leader. */
  readonly leaders: ReadonlyMap<string, number>;
  readonly trees: ReadonlyMap<string, TreeSample>;
  readonly host: HostSample;
}

/** What it needs of the master. */
export interface SamplingHost {
  readonly ports: Pick<Ports, 'clock' | 'sampler' | 'connections'>;
  everyMs(): number;
  leaders(): readonly (readonly [string, number])[];
  sampled(looked: Looked): void;
  /** Whose connections are to be counted. */
  toBeCounted(): readonly CountedApp[];
  counted(apps: ReadonlyMap<string, AppConnections>): void;
}

/** Connections are counted so many times more seldom than memory is sampled. */
const samplesPerCount = 5;

export class Sampling {
  readonly #host: SamplingHost;
  #cancels: readonly Cancel[] = [];
  #sampling: 'no' | 'yes' | 'again' = 'no';
  #state: 'off' | 'on' = 'off';
  #last: HostSample = {
    ...{ cpus: 0, usableCpus: 0, cpuSource: '', cpuUtilisation: null },
    ...{ memoryBytes: 0, memorySource: '', memoryUtilisation: null },
  };

  constructor(host: SamplingHost) {
    this.#host = host;
  }

  /** The host as it was at the last sample; without CPUs before the first one. */
  get host(): HostSample {
    return this.#last;
  }

  start(): void {
    const { clock } = this.#host.ports;
    this.#state = 'on';
    this.#cancels = [
      repeat(
        clock,
        () => this.#host.everyMs(),
        () => this.#sample('on time'),
      ),
      repeat(
        clock,
        () => this.#host.everyMs() * samplesPerCount,
        () => this.#count(),
      ),
    ];
  }

  stop(): void {
    this.#state = 'off';
    for (const cancel of this.#cancels) cancel();
  }

  /** Samples at once, whatever the time. */
  now(): void {
    this.#sample('asked');
  }

  #sample(why: Looked['why']): void {
    if (this.#state === 'off') return;
    if (this.#sampling !== 'no') {
      if (why === 'asked') this.#sampling = 'again';
      return;
    }
    this.#sampling = 'yes';
    const { ports } = this.#host;
    const atMs = ports.clock.now();
    const leaders = new Map(this.#host.leaders());
    ports.sampler.sample(leaders, (trees, host) => {
      const isWanted = this.#sampling === 'again';
      this.#sampling = 'no';
      if (this.#state === 'off') return;
      this.#last = host;
      this.#host.sampled({ why, atMs, leaders, trees, host });
      if (isWanted) this.#sample('asked');
    });
  }

  #count(): void {
    const wanted = this.#host.toBeCounted();
    if (wanted.length === 0) return;
    this.#host.ports.connections.count(wanted, (counted) => {
      if (this.#state === 'on') this.#host.counted(counted);
    });
  }
}
