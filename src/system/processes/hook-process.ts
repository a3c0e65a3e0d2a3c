/**
 * Starts a hook: one process in a session of its own, with no socket, no control descriptor and no stdin. When it ends, so
 * does everything that it has left behind: a hook prepares or cleans up, it starts no service. (While it is being
 * terminated, what is left may finish first, until the master's kill.)
 */
import type { HookSpec, Signal } from '../../core/spec.ts';
import type { ProcessListener, RunningProcess } from '../../ports.ts';
import { ChildLife } from './child-life.ts';
import { spawnFailure, stillborn, unborn } from './unborn.ts';
import type { Environment } from './environment.ts';
import { noSeat } from '../sockets/seat.ts';
import { markOf, wrapProgram, type LaunchParts } from './launching.ts';
import { pinHook, type PinnedHook } from './pin.ts';
import { startProgram, type Child } from './start-program.ts';

/** Asked with this, and killed after that long, when the master dies. */
const stop: { readonly signal: Signal; readonly timeoutMs: number } = { signal: 'SIGTERM', timeoutMs: 5_000 };

/** Starts it. Never throws: what cannot be started is an `exited` with an error, after this has returned. */
export function spawnHook(
  hook: HookSpec,
  baseEnv: Environment,
  parts: LaunchParts,
  listener: ProcessListener,
): RunningProcess {
  let pinned: PinnedHook;
  try {
    pinned = pinHook(hook, baseEnv);
  } catch (error) {
    return stillborn(spawnFailure(error, hook.argv[0] ?? ''), listener);
  }
  const env = {
    ...pinned.env,
    ...parts.guard.environment,
    SUPERVISE_NAME: parts.masterName,
    SUPERVISE_HOOK: hook.name,
    SUPERVISE_PHASE: hook.phase,
  };
  const wrapped = wrapProgram({
    argv: pinned.argv,
    account: pinned.account,
    niceness: null,
    umask: null,
    listenPid: 'none',
  });
  for (const warning of wrapped.warnings) parts.warnOnce(warning, listener.warning);
  const birth = parts.strays.announce(markOf(env, parts));
  const program = pinned.argv[0] ?? '';
  let child: Child;
  try {
    const stdio = ['ignore', 'pipe', 'pipe'];
    child = startProgram({ argv: wrapped.argv, cwd: pinned.cwd, env, stdio, ids: wrapped.ids });
  } catch (error) {
    return stillborn(spawnFailure(error, program), listener);
  }
  if (child.pid === undefined) return unborn(child, program, listener);
  return new ChildLife(
    child as Child & { pid: number },
    parts.strays.adopt(birth, child.pid),
    {
      source: { app: '', source: `hook.${hook.name}`, format: 'auto' },
      shape: 'chain',
      seat: noSeat,
      stop,
      probe: null,
    },
    { ...parts, listener },
  );
}
