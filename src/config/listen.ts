/**
 * Addresses to listen on:
 *
 * | written | means | url |
 * | --- | --- | --- |
 * | `127.0.0.1:8000` | that IPv4 address | `tcp://127.0.0.1:8000` |
 * | `[::1]:8000` | that IPv6 address | `tcp://[::1]:8000` |
 * | `:8000` | all addresses, IPv6 and IPv4 | `tcp://:8000` |
 * | `localhost:8000` | 127.0.0.1 | `tcp://127.0.0.1:8000` |
 * | `unix:/run/shop/web.sock` | a unix socket; a relative path counts from the config file | `unix:/run/shop/web.sock` |
 *
 * The urls may be written as well. Names are never looked up: an address has to mean the same at every start.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import type { ListenSpec, TcpListenSpec } from '../core/spec.ts';
import type { Wrong } from './fields.ts';

/** The longest path that fits sockaddr_un of Linux, in bytes. */
export const maxSocketPathBytes = 107;

/** What an address says before the config's folder, mode and group are known. */
export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

const forms = 'an address such as "127.0.0.1:8000", ":8000", "[::1]:8000" or "unix:/run/app.sock"';

/** Reads one address, or says what was expected. */
export function parseListen(text: string): Address | Wrong {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    return path === '' ? { expected: forms } : { kind: 'unix', path };
  }
  const [, bracketed, host = '', portText] = /^(?:tcp:\/\/)?(?:\[([^\]]*)\]|([^:[\]]*)):(\d+)$/.exec(text) ?? [];
  if (portText === undefined) return { expected: forms, ...hintFor(text) };
  const port = Number(portText);
  if (port < 1 || port > 65_535) return { expected: 'a port from 1 to 65535' };
  if (bracketed !== undefined) {
    if (!isIPv6(bracketed)) return { expected: 'an IPv6 address in the brackets' };
    return { kind: 'tcp', host: canonicalIPv6(bracketed), port };
  }
  if (host === 'localhost') return { kind: 'tcp', host: '127.0.0.1', port };
  if (host === '*') return { expected: forms, hint: `Did you mean ":${port}"?` };
  if (host !== '' && !isIPv4(host)) {
    return { expected: 'an IP address before the port', hint: 'Names are not looked up, only localhost is known' };
  }
  return { kind: 'tcp', host, port };
}

function hintFor(text: string): { hint?: string } {
  if (/^\d+$/.test(text)) return { hint: `Did you mean ":${text}" (all addresses) or "127.0.0.1:${text}"?` };
  const [, address = '', port] = /^(.*[^:]):(\d+)$/.exec(text) ?? [];
  if (isIPv6(address)) return { hint: `Did you mean "[${address}]:${port}"?` };
  if (isIPv4(text) || isIPv6(text)) return { hint: 'The port is missing' };
  return text.startsWith('/') ? { hint: `Did you mean "unix:${text}"?` } : {};
}

/** `0:0::1` -> `::1`, so that the same address always has the same url. A zone (`%eth0`) is kept. */
function canonicalIPv6(address: string): string {
  const [plain = '', zone] = address.split('%');
  return new URL(`http://[${plain}]`).hostname.slice(1, -1) + (zone === undefined ? '' : `%${zone}`);
}

/** The socket of an address. `dir`: what a relative unix path counts from. */
export function listenSpec(address: Address, unix: { dir: string; mode: number; group: string | null }): ListenSpec {
  if (address.kind === 'unix') {
    const path = resolve(unix.dir, address.path);
    return { kind: 'unix', path, mode: unix.mode, group: unix.group, url: `unix:${path}` };
  }
  return tcpListenSpec(address);
}

export function tcpListenSpec({ host, port }: Extract<Address, { kind: 'tcp' }>): TcpListenSpec {
  return { kind: 'tcp', host, port, url: `tcp://${host.includes(':') ? `[${host}]` : host}:${port}` };
}

/**
 * The address of the control API: as of `listen`, but TCP only, and without a host it is 127.0.0.1. All addresses have to be written
 * out, as 0.0.0.0 or [::].
 */
export function parseControlAddress(text: string): Extract<Address, { kind: 'tcp' }> | Wrong {
  const parsed = parseListen(/^:?\d+$/.test(text) ? `127.0.0.1:${text.replace(':', '')}` : text);
  if (!('kind' in parsed))
    return { ...parsed, ...('expected' in parsed && parsed.expected === forms && { expected: controlForms }) };
  return parsed.kind === 'tcp' ? parsed : { expected: controlForms, hint: 'control.socket is the unix socket' };
}

export const controlForms = 'an address such as "127.0.0.1:9700", "[::1]:9700" or "0.0.0.0:9700"';

/** Whether two sockets cannot both be bound, because they are the same or one stands for all addresses of the other. */
export function collide(a: ListenSpec, b: ListenSpec): boolean {
  if (a.url === b.url) return true;
  if (a.kind !== 'tcp' || b.kind !== 'tcp' || a.port !== b.port) return false;
  return covers(a.host, b.host) || covers(b.host, a.host);
}

function covers(all: string, one: string): boolean {
  return all === '' || (all === '0.0.0.0' && isIPv4(one)) || (all === '::' && isIPv6(one));
}
