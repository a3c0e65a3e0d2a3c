/**
 * Which address of `listen` an http or tcp probe asks, when it has no port of the worker's own.
 *
 *   no port       the first address that takes IPv4; null without one: it asks the worker's own `port`
 *   a port        that address that takes IPv4 and has this very port; null without one: it is the worker's own, slot n at port + n
 *
 * Only IPv4, because a probe chooses its worker by its source address, and of loopback addresses IPv6 has a single one.
 */
export type ProbedAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix' };

/** Its index; null: a port of the worker's own. */
export function listenProbed(listen: readonly ProbedAddress[], port: number | null): number | null {
  const index = listen.findIndex((one) => takesIPv4(one) && (port === null || one.port === port));
  return index < 0 ? null : index;
}

/** '' is IPv6 and IPv4. */
function takesIPv4(address: ProbedAddress): address is Extract<ProbedAddress, { kind: 'tcp' }> {
  return address.kind === 'tcp' && !address.host.includes(':');
}
