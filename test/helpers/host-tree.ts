/**
 * A machine of files: what /proc and /sys say on some host, below a directory of the test. Only what a test names differs from a
 * host of 8 CPUs and 16 GB without any limit.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

const hostBytes = 16 * 1024 ** 3;

export interface HostTree {
  readonly root: string;
  /** Writes a file, by its path on that machine. */
  write(path: string, text: string): void;
  remove(path: string): void;
}

/** A line of mountinfo. */
export const v2At = (at: string, root = '/') => `30 20 0:26 ${root} ${at} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n`;
export const v1At = (controllers: string, at: string, root = '/') =>
  `31 20 0:27 ${root} ${at} rw,nosuid shared:9 - cgroup cgroup rw,${controllers}\n`;

const usual: Readonly<Record<string, string>> = {
  '/proc/self/cgroup': '0::/\n',
  '/proc/self/mountinfo': `21 20 0:20 / /proc rw - proc proc rw\n${v2At('/sys/fs/cgroup')}`,
  '/proc/self/status': 'Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\nMems_allowed_list:\t0\n',
  '/sys/devices/system/cpu/online': '0-7\n',
  '/proc/meminfo': `MemTotal:       ${hostBytes / 1024} kB\nMemFree:  1000000 kB\nMemAvailable:   ${hostBytes / 2048} kB\n`,
};

export function hostTree(t: TestContext, files: Readonly<Record<string, string | null>> = {}): HostTree {
  const root = mkdtempSync(join(tmpdir(), 'supervise-host-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const tree: HostTree = {
    root,
    write(path, text) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    },
    remove: (path) => rmSync(join(root, path)),
  };
  for (const [path, text] of Object.entries({ ...usual, ...files })) if (text !== null) tree.write(path, text);
  return tree;
}
