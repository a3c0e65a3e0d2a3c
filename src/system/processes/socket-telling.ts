/**
 * How a program is told which descriptors are its sockets. Usually by LISTEN_PID beside LISTEN_FDS, as systemd does it
 * (sd_listen_fds(3)), whatever its words say. Pure.
 *
 * gunicorn is the exception. It takes a descriptor that it finds in its `bind` and one that LISTEN_PID tells of for two sockets, and
 * fails with EBADF when they are the same. What its config file says cannot be known from here, so of the two ways it gets one:
 *
 *   its words, or GUNICORN_CMD_ARGS, name a descriptor (fd://3)     neither: it knows
 *   its words have another bind (-b 127.0.0.1:8000)                 LISTEN_PID: the words win over the file, and the socket over the words
 *   else                                                            GUNICORN_CMD_ARGS gets --bind fd://3, which wins over the file
 */
import { firstSocketFd, type Environment } from './environment.ts';

export interface SocketTelling {
  readonly listenPid: 'set' | 'none';
  readonly env: Environment;
}

/** @param sockets how many it inherits */
export function socketTelling(words: readonly string[], sockets: number, env: Environment): SocketTelling {
  if (sockets === 0) return { listenPid: 'none', env: {} };
  const args = env.GUNICORN_CMD_ARGS ?? '';
  const isGunicorn = words.some((word) => /(?:^|[\s/])gunicorn[\d.]*(?:\s|$)/.test(word));
  if ([...words, ...(isGunicorn ? [args] : [])].some((word) => /\bfd:\/\/\d/.test(word)))
    return { listenPid: 'none', env: {} };
  if (!isGunicorn || words.some((word) => /(?:^|\s)(?:-b|--bind\b)/.test(word))) return { listenPid: 'set', env: {} };
  const binds = Array.from({ length: sockets }, (_, index) => `--bind fd://${firstSocketFd + index}`);
  return { listenPid: 'none', env: { GUNICORN_CMD_ARGS: [args, ...binds].filter(Boolean).join(' ') } };
}
