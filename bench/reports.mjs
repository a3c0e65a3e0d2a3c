/**
 * What workers say of themselves: each appends one line, "nanoseconds pid", to a file. The clock is that of
 * process.hrtime.bigint(), so their moments and ours can be subtracted.
 */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 4;

export class Reports {
  #fd;
  #offset = 0;
  #rest = '';
  /** `{ns, pid}` in the order of arrival. */
  all = [];

  constructor(path) {
    writeFileSync(path, '');
    this.path = path;
    this.#fd = openSync(path, 'r');
  }

  close() {
    closeSync(this.#fd);
  }

  /** The pids that have reported so far, dead ones included. */
  get pids() {
    this.#read();
    return this.all.map(({ pid }) => pid);
  }

  /** Waits until `count` workers in all have reported. @throws Error after `limitMs` */
  async waitFor(count, limitMs = 60_000) {
    const untilMs = performance.now() + limitMs;
    for (this.#read(); this.all.length < count; this.#read()) {
      if (performance.now() > untilMs)
        throw new Error(`only ${this.all.length} of ${count} workers reported in ${limitMs} ms`);
      await sleep(pollMs);
    }
    return this.all.slice(0, count);
  }

  #read() {
    const chunk = Buffer.alloc(65_536);
    for (let bytes; (bytes = readSync(this.#fd, chunk, 0, chunk.length, this.#offset)) > 0; this.#offset += bytes) {
      this.#rest += chunk.toString('latin1', 0, bytes);
    }
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const [ns, pid] = line.split(' ');
      this.all.push({ ns: BigInt(ns), pid: Number(pid) });
    }
  }
}
