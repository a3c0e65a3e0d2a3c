/** Connects the control server to a master and its output. */
import { join } from 'node:path';
import { controlSocketName } from '../core/paths.ts';
import type { Spec } from '../core/spec.ts';
import type { Master } from '../master/master.ts';
import type { Cancel } from '../ports.ts';
import { socketPath } from '../system/instance/directories.ts';
import { ownUsage } from '../system/own-usage.ts';
import type { Output } from '../system/output/output.ts';
import type { BoundDoor } from './control-http.ts';

export interface ControlParts {
  readonly master: Master;
  readonly output: Output;
  readonly reread: (() => Promise<Spec>) | null;
  readonly runtime: string;
  readonly http: BoundDoor | null;
}

/** Where the control socket of this spec is. */
export function controlSocketOf(spec: Spec, runtime: string): string {
  return spec.controlSocket ?? join(runtime, controlSocketName);
}

/** What stands under `control` is taken at the start: a reload that reads something else there says so. */
export function rereadBeside(
  started: Spec,
  reread: () => Promise<Spec>,
  warn: (message: string) => void,
): () => Promise<Spec> {
  const kept = (spec: Spec) => ({ socket: spec.controlSocket, http: spec.controlHttp?.url ?? null });
  const before = kept(started);
  return async () => {
    const spec = await reread();
    const now = kept(spec);
    for (const key of ['socket', 'http'] as const) {
      if (now[key] === before[key]) continue;
      const [was, is] = [before[key] ?? 'none', now[key] ?? 'none'];
      warn(
        `control.${key}: a reload does not change it: it stays ${was}, and is ${is} from the next start of the master`,
      );
    }
    return spec;
  };
}

/** Serves the control socket. Where it cannot, the service goes on without: that is a warning, not an end. */
export async function serveControl(
  spec: Spec,
  { master, output, reread, runtime, http }: ControlParts,
  warn: (message: string) => void,
): Promise<Cancel> {
  const own = join(runtime, controlSocketName);
  const path = controlSocketOf(spec, runtime);
  try {
    const { serve } = await import('../control/server.ts');
    const logs = { recent: output.recent.bind(output), subscribe: output.subscribe.bind(output) };
    const server = await serve({
      ...{ master, logs, reread, own: ownUsage },
      ...{ socketPath: socketPath(path), link: path === own ? null : own, http: http?.door ?? null },
    });
    if (server.warning) warn(server.warning);
    if (http) master.report({ type: 'control.listening', url: http.url, tokenFile: http.door.tokenFile });
    return () => server.close();
  } catch (error) {
    warn(
      `the control socket ${path} cannot be served, so status, reload and the other commands will not work: ${String(error)}`,
    );
    return () => undefined;
  }
}
