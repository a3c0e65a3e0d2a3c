/**
 * Looks into processes of another uid whose /proc is closed to us, as it is for root without CAP_SYS_PTRACE: in most
 * containers. The kernel opens it to the same uid, so a small Node process gives up our uid for theirs and looks.
 *
 * Rules
 * - One reader per uid and gid, shared by all who hold a lease on it; without a lease it is ended.
 * - A request and an answer are a line of JSON each. It ends with its stdin: nothing is left if we are killed.
 * - It has its own session (Ctrl-C does not reach it), an empty environment, no file to load: its program is the text of
 *   viewProcess, so a Node that only root can read serves as well.
 * - When it cannot be had (no right to change the uid), every request is answered with null.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Cancel } from '../../ports.ts';
import { readText } from '../procfs.ts';
import { viewProcess, type ProcessView } from './process-view.ts';

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

export interface Lease {
  /** Answers once, never at once: the views in the order of the pids, or null when there is no such reader (any more). */
  view(
    pids: readonly number[],
    listeners: readonly string[] | null,
    answer: (views: readonly ProcessView[] | null) => void,
  ): void;
  readonly close: Cancel;
}

/** The real uid and gid of a process; /proc/PID/status is open to all. null when it is gone. */
export function identityOf(pid: number): Identity | null {
  const text = readText(`/proc/${pid}/status`);
  const uid = /^Uid:\s+(\d+)/m.exec(text ?? '')?.[1];
  const gid = /^Gid:\s+(\d+)/m.exec(text ?? '')?.[1];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}

const readers = new Map<string, UserReader>();

/** A share of the reader of that identity, which is started when this is the first. Never throws. */
export function leaseReader(identity: Identity): Lease {
  const key = `${identity.uid}:${identity.gid}`;
  const reader = readers.get(key) ?? new UserReader(identity);
  readers.set(key, reader);
  reader.leases += 1;
  let open = true;
  return {
    view: (pids, listeners, answer) => reader.ask({ pids, listeners }, (views) => open && answer(views)),
    close: () => {
      if (!open) return;
      open = false;
      reader.leases -= 1;
      if (reader.leases > 0) return;
      readers.delete(key);
      reader.end();
    },
  };
}

type Answer = (views: readonly ProcessView[] | null) => void;

class UserReader {
  leases = 0;
  readonly #child: ChildProcess;
  /** Answers come in the order of the requests. */
  readonly #waiting: Answer[] = [];
  #unread = '';
  #over = false;

  constructor(identity: Identity) {
    this.#child = spawn(process.execPath, ['-e', program, String(identity.uid), String(identity.gid)], {
      cwd: '/',
      env: {},
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    this.#child.once('error', () => this.#fail());
    this.#child.once('exit', () => this.#fail());
    this.#child.stdin?.on('error', () => this.#fail());
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
  }

  ask(request: { pids: readonly number[]; listeners: readonly string[] | null }, answer: Answer): void {
    if (this.#over) {
      setImmediate(() => answer(null));
      return;
    }
    this.#waiting.push(answer);
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
  }

  end(): void {
    this.#over = true;
    this.#waiting.length = 0;
    this.#child.stdin?.end();
    this.#child.kill('SIGKILL');
  }

  #read(text: string): void {
    const lines = (this.#unread + text).split('\n');
    this.#unread = lines.pop() ?? '';
    for (const line of lines) this.#waiting.shift()?.(JSON.parse(line) as ProcessView[]);
  }

  #fail(): void {
    this.#over = true;
    for (const answer of this.#waiting.splice(0)) answer(null);
  }
}

const program = `
const [uid, gid] = process.argv.slice(1).map(Number);
process.title = 'supervise: looks into uid ' + uid;
process.setgroups([]);
process.setgid(gid);
process.setuid(uid);
const fs = require('node:fs');
const read = {
  list: (path) => fs.readdirSync(path),
  link: (path) => fs.readlinkSync(path),
  text: (path) => fs.readFileSync(path, 'latin1'),
  memory: (pid, address, bytes) => {
    const fd = fs.openSync('/proc/' + pid + '/mem');
    try {
      const found = new Uint8Array(bytes);
      return found.subarray(0, fs.readSync(fd, found, 0, bytes, address));
    } finally { fs.closeSync(fd); }
  },
};
const viewProcess = ${viewProcess.toString()};
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { pids, listeners } = JSON.parse(line);
  const views = pids.map((pid) => viewProcess(read, process.arch, pid, listeners));
  process.stdout.write(JSON.stringify(views) + '\\n');
});
`;
