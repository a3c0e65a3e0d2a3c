/**
 * Where a sink's bytes go: one descriptor, written in the way its kind needs so that the event loop never waits.
 *
 * | kind   | how                                                                | why                                          |
 * | ------ | ------------------------------------------------------------------ | -------------------------------------------- |
 * | file   | fs.write on the thread pool, one at a time, at the file's own end   | a file answers; also /dev/null                |
 * | pipe   | opened again through /proc/self/fd, non-blocking, then net.Socket   | the flags of the shared description stay      |
 * | socket | net.Socket on the descriptor itself (a socket cannot be opened again) | journald                                    |
 * | tty    | opened again non-blocking; write(2) at once, EAGAIN asks again later | a stopped terminal (Ctrl-S) stops nobody      |
 *
 * A pipe or terminal must not be written on the thread pool: a write that waits there for ever also holds up the exit
 * of the process. Only where a terminal cannot be opened again (it belongs to another user) that is what is left.
 * A pipe that cannot be opened again is made non-blocking itself; Node restores the flags of 0, 1 and 2 when it exits.
 */
import fs from 'node:fs';
import net from 'node:net';
import tty from 'node:tty';

export type TargetKind = 'file' | 'pipe' | 'socket' | 'tty' | 'closed';

/** `code`: as in errno (EPIPE, ENOSPC). `taken`: how many bytes were written; more than 0 only without a code. */
export type Written = (code: string | null, taken: number) => void;

export interface Target {
  readonly kind: TargetKind;
  /** What one write should hold at most. */
  readonly pieceBytes: number;
  /** A write may wait so long for more to be written with it, when there was one just before. Default 0. */
  readonly gatherMs?: number;
  /** Writes at least one of the bytes and calls `written` once, later. One write at a time. Never throws. */
  write(bytes: Buffer, written: Written): void;
  /** Gives up what is still being written, and the descriptor if it is our own. */
  close(): void;
  /** Opens its file again, at the next end of a line. */
  reopen?(): void;
}

/** At most this many bytes enter a pipe whole or not at all, whoever else writes into it (PIPE_BUF on Linux). */
const pipePieceBytes = 4096;
const filePieceBytes = 512 * 1024;

const askAgainFirstMs = 5;
const askAgainMostMs = 100;

/** A target for an inherited descriptor, 1 or 2. Never throws. */
export function openTarget(fd: number): Target {
  let stats: fs.Stats;
  try {
    stats = fs.fstatSync(fd);
  } catch {
    return closedTarget;
  }
  try {
    if (stats.isFIFO()) return pipeTarget(fd);
    if (stats.isSocket()) return socketTarget('socket', fd);
  } catch {
    return fileTarget('file', fd, 'borrowed'); // a datagram socket, say, which net.Socket refuses
  }
  return tty.isatty(fd) ? terminalTarget(fd) : fileTarget('file', fd, 'borrowed');
}

/** A target for a log file, made with mode 0600 if it is not there. @throws what open(2) says */
export function openFileTarget(path: string): Target {
  return fileTarget('file', fs.openSync(path, 'a', 0o600), 'own');
}

/** A descriptor that was closed before we started: nobody can read it, so nothing is lost. */
const closedTarget: Target = {
  kind: 'closed',
  pieceBytes: filePieceBytes,
  write: (bytes, written) => setImmediate(written, null, bytes.length),
  close: () => undefined,
};

function fileTarget(kind: TargetKind, fd: number, owned: 'own' | 'borrowed'): Target {
  let state: 'idle' | 'writing' | 'closed' = 'idle';
  const release = (): void => {
    if (owned === 'own') fs.close(fd, () => undefined);
  };
  return {
    kind,
    pieceBytes: filePieceBytes,
    write(bytes, written) {
      state = 'writing';
      fs.write(fd, bytes, 0, bytes.length, null, (error, taken) => {
        if (state === 'closed') release();
        else state = 'idle';
        written(error ? (error.code ?? 'EIO') : null, error ? 0 : taken);
      });
    },
    close() {
      if (state === 'idle') release();
      state = 'closed';
    },
  };
}

function pipeTarget(fd: number): Target {
  return socketTarget('pipe', reopen(fd, 0) ?? fd);
}

/** Its end closes the descriptor, but never 1 or 2: libuv keeps those open, so no file gets their number. */
function socketTarget(kind: TargetKind, fd: number): Target {
  const socket = new net.Socket({ fd, readable: false, writable: true });
  socket.unref();
  socket.on('error', () => undefined); // each write's callback has it too
  return {
    kind,
    pieceBytes: pipePieceBytes,
    write(bytes, written) {
      socket.write(bytes, (error) => {
        if (error) written('code' in error && typeof error.code === 'string' ? error.code : 'EPIPE', 0);
        else written(null, bytes.length);
      });
    },
    close: () => void socket.destroy(),
  };
}

function terminalTarget(fd: number): Target {
  const own = reopen(fd, fs.constants.O_NOCTTY);
  if (own === null) return fileTarget('tty', fd, 'borrowed');
  let next: NodeJS.Immediate | undefined;
  let timer: NodeJS.Timeout | undefined;
  let waitMs = askAgainFirstMs;
  const attempt = (bytes: Buffer, written: Written): void => {
    const result = writeNow(own, bytes);
    if (result === 'EAGAIN') {
      timer = setTimeout(attempt, waitMs, bytes, written).unref();
      waitMs = Math.min(waitMs * 2, askAgainMostMs);
      return;
    }
    waitMs = askAgainFirstMs;
    if (typeof result === 'string') written(result, 0);
    else written(null, result);
  };
  return {
    kind: 'tty',
    pieceBytes: pipePieceBytes,
    write(bytes, written) {
      next = setImmediate(attempt, bytes, written);
    },
    close() {
      clearImmediate(next);
      clearTimeout(timer);
      fs.closeSync(own);
    },
  };
}

/** How many bytes a non-blocking descriptor took, or the error's code. */
function writeNow(fd: number, bytes: Buffer): number | string {
  try {
    return fs.writeSync(fd, bytes);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO';
  }
}

/** The same pipe or terminal under an open file description of our own, non-blocking; null where that cannot be had. */
function reopen(fd: number, flags: number): number | null {
  if (process.platform !== 'linux') return null; // elsewhere /dev/fd shares the description
  try {
    return fs.openSync(`/proc/self/fd/${fd}`, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK | flags);
  } catch {
    return null;
  }
}
