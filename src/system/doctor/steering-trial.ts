/**
 * Tries on a throw-away address of loopback what steering needs: two listeners with one address, and a program that chooses. A
 * kernel may refuse any of it (seccomp, gVisor, a kernel without BPF), and only a trial tells.
 */
import { getSystemErrorName } from 'node:util';
import { loadNative } from '../native.ts';
import { createServerHandle } from '../sockets/server-handle.ts';
import { chooseAmong, letSourceChoose } from '../sockets/steering-program.ts';

/** Why connections cannot be steered here, in words; null: they can. */
export function whyNotSteered(native = loadNative()): string | null {
  if (process.platform !== 'linux') return 'only Linux can';
  if (native === null) return 'koffi is not installed';
  const handle = createServerHandle('127.0.0.1', 0, 4);
  if (typeof handle === 'number') return `no socket: ${getSystemErrorName(handle)}`;
  const { sockets } = native;
  let beside = -1;
  try {
    const shared = sockets.shareAddress(handle.fd);
    if (shared !== 0) return refused('SO_REUSEPORT', shared);
    // The order is that of lanes.ts: the first listens, then another one beside it.
    const listening = native.listen(handle.fd, 1);
    if (listening !== 0) return refused('listen', listening);
    beside = sockets.listenBeside(handle.fd, 1);
    if (beside < 0) return refused('another listener', -beside);
    const chosen = sockets.chooseBy(handle.fd, [...letSourceChoose(2), ...chooseAmong([0, 1])]);
    return chosen === 0 ? null : refused('SO_ATTACH_REUSEPORT_CBPF', chosen);
  } finally {
    if (beside >= 0) sockets.close(beside);
    handle.close();
  }
}

function refused(what: string, errno: number): string {
  return `the kernel refuses ${what}: ${getSystemErrorName(-errno)}`;
}
