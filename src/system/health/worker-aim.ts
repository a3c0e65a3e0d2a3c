/**
 * Where an http or tcp probe of one worker goes: a port of the worker's own, or an address that all workers share. There it
 * reaches this worker, whether it is in the rotation or not, by the source address that it comes from (see sockets/lanes.ts).
 *
 * That cannot be had where workers accept from one socket: without koffi, or where the kernel refuses. An app of one worker
 * has its socket for itself even then, but for the moments of a reload.
 */
import { lastPort } from '../../core/own-ports.ts';
import { listenProbed } from '../../core/probed-listen.ts';
import type { AppSpec, HealthProbe } from '../../core/spec.ts';
import { loadNative } from '../native.ts';
import type { Seat } from '../sockets/seat.ts';
import type { Aim } from './port-probes.ts';

export type PortProbed = Extract<HealthProbe, { readonly kind: 'http' | 'tcp' }>;
export type WorkerAim = Omit<Aim, 'timeoutMs'>;

/** It cannot be reached at all: a probe that fails. */
export interface NoAim {
  readonly failure: string;
}

/** Holds for one try: the aim, or why there is none now, to be read after "as long as". */
export type Aiming = () => WorkerAim | NoAim | string;

/** A worker's way to be probed; null: neither the probe nor the app has a port. */
export function aimAt(
  probe: Pick<PortProbed, 'kind' | 'port'>,
  app: Pick<AppSpec, 'listen' | 'port'>,
  worker: { readonly slot: number; readonly seat: Pick<Seat, 'reach'> },
): Aiming | null {
  const index = listenProbed(app.listen, probe.port);
  const listen = app.listen[index ?? -1];
  if (index === null || listen?.kind !== 'tcp') {
    const first = probe.port ?? app.port;
    return first === null ? null : () => ownPort(first, worker.slot);
  }
  return () => {
    const reach = worker.seat.reach(index);
    if (reach === null)
      return `several workers accept from one socket at ${listen.url}: a probe cannot choose which of them answers`;
    if (probe.kind === 'tcp' && !kernelTells())
      return `nobody tells who has accepted a connection to ${listen.url}: it takes the optional package koffi, and sock_diag in the kernel`;
    const host = listen.host === '' || listen.host === '0.0.0.0' ? loopback : listen.host;
    return { host, port: listen.port, ...reach, listener: 'master' };
  };
}

const loopback = '127.0.0.1';

function ownPort(first: number, slot: number): WorkerAim | NoAim {
  const port = first + slot;
  if (port > lastPort)
    return {
      failure: `slot ${slot} would need port ${port}, and ${lastPort} is the last: lower the port, or have fewer workers`,
    };
  return { host: loopback, port, listener: 'worker' };
}

let tells = false;

/** Whether the kernel tells of TCP sockets at all; asked until it does, because a failure may pass. */
function kernelTells(): boolean {
  return (tells ||= loadNative()?.diag.connected('ipv4', () => false) ?? false);
}
