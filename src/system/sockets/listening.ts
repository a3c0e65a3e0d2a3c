/**
 * Makes bound sockets listen, without the master ever accepting: server.listen() would make it compete with its workers.
 *
 * Rules
 * - listen(2) is done once for all sockets, before the first worker, so that programs that only accept work too.
 * - O_NONBLOCK, which libuv sets, is cleared at the same time: a blocking accept() would get EAGAIN. The flag is shared by all who
 *   hold the socket, so this is never done to a socket that a worker has: it would freeze an event loop in accept().
 * - Three ways, the first that is there is taken. Measured on Node 20: perl 2 ms and no memory; koffi 12 ms and 3 MB, which
 *   stay; a Node child 75 ms.
 */
import type { StdioOptions } from 'node:child_process';
import { spawnSync } from 'node:child_process';
import { constants } from 'node:fs';
import { loadNative } from '../native.ts';

/**
 * What waits to be accepted, at most; the kernel lowers it to net.core.somaxconn (4096 on Linux). Large enough for a burst
 * while all workers are being replaced. A worker that calls listen() itself sets its own for all: Node 511, uvicorn 2048.
 */
export const backlog = 2048;

export type ListenWay = 'perl' | 'koffi' | 'node';
export const listenWays: readonly ListenWay[] = ['perl', 'koffi', 'node'];

/** `errno` is that of the socket at `index`. */
export type ListenResult =
  | { readonly done: true }
  | { readonly done: false; readonly index: number; readonly errno: number };

/** Makes all of them listen, or stops at the first that cannot. null: none of these ways exists on this host. */
export function makeListen(fds: readonly number[], ways: readonly ListenWay[] = listenWays): ListenResult | null {
  if (fds.length === 0) return { done: true };
  for (const way of ways) {
    const result = listeners[way](fds);
    if (result !== null) return result;
  }
  return null;
}

const listeners: Readonly<Record<ListenWay, (fds: readonly number[]) => ListenResult | null>> = {
  perl: (fds) =>
    byChild('perl', ['-e', perlProgram, String(fds.length), String(backlog), String(constants.O_NONBLOCK)], fds),
  koffi: listenByKoffi,
  node: listenByNode,
};

/** F_GETFL is 3 and F_SETFL is 4 everywhere; without a module, because loading Fcntl takes longer than all the rest. */
const perlProgram = `
my ($count, $backlog, $nonblock) = @ARGV;
for my $i (0 .. $count - 1) {
  my ($socket, $flags);
  unless (open($socket, '+<&=', $i + 3) and listen($socket, $backlog) and $flags = fcntl($socket, 3, 0)
      and fcntl($socket, 4, $flags & ~$nonblock)) {
    print $i, ' ', $! + 0;
    exit 9;
  }
}`;

function listenByKoffi(fds: readonly number[]): ListenResult | null {
  const native = loadNative();
  if (native === null) return null;
  for (const [index, fd] of fds.entries()) {
    const errno = native.listen(fd, backlog) || native.makeBlocking(fd);
    if (errno !== 0) return { done: false, index, errno };
  }
  return { done: true };
}

/** Ends within its first turn, before its loop could accept anything. */
const nodeProgram = `
const [count, backlog] = process.argv.slice(1).map(Number);
let left = count;
for (let i = 0; i < count; i++) {
  const failed = (error) => { process.stdout.write(i + ' ' + -error.errno); process.exit(9); };
  require('net').createServer().on('error', failed).listen({ fd: i + 3 }, backlog, () => --left || process.exit(0));
}`;

/** Node cannot clear O_NONBLOCK, but libuv does it itself to whatever a child gets as fd 0, 1 or 2. */
function listenByNode(fds: readonly number[]): ListenResult | null {
  const result = byChild(process.execPath, ['-e', nodeProgram, String(fds.length), String(backlog)], fds);
  if (result?.done !== true) return result;
  for (const fd of fds) {
    if (spawnSync('/bin/sh', ['-c', ':'], { stdio: [fd, 'ignore', 'ignore'], env: {} }).error !== undefined)
      return null;
  }
  return result;
}

/** Runs a program with the sockets as fds from 3 on. Exit 9 and "INDEX ERRNO": that socket cannot. Another failure: try another way. */
function byChild(program: string, words: readonly string[], fds: readonly number[]): ListenResult | null {
  const stdio: StdioOptions = ['ignore', 'pipe', 'ignore', ...fds];
  const { status, stdout } = spawnSync(program, words, {
    stdio,
    env: { PATH: process.env.PATH },
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (status === 0) return { done: true };
  const failed = /^(\d+) (\d+)$/.exec(stdout ?? '');
  return status === 9 && failed !== null ? { done: false, index: Number(failed[1]), errno: Number(failed[2]) } : null;
}
