/**
 * Makes a revision of an app: everything that a respawn needs is resolved once, so that it stays what it was while the
 * config, an env_file or a symlink changes. What cannot work is found here, before anything is started.
 */
import type { AppSpec, HookSpec } from '../../core/spec.ts';
import type { Pinned } from '../../ports.ts';
import { checkLogFile } from './log-place.ts';
import { accountOf, accountOfApp, type Account } from './accounts.ts';
import { inheritable, readEnvFile, type Environment } from './environment.ts';
import { findProgram, findScript, resolveCwd, type Surroundings } from './program.ts';

/**
 * Resolves the cwd's symlinks, reads env_file, finds the program.
 * @param baseEnv the master's environment with the top-level env_file
 * @throws SuperviseError program-cannot-run, launch-failed
 */
export function pin(app: AppSpec, revision: number, baseEnv: Environment): Pinned {
  const of = `app ${app.name}`;
  const account = accountOfApp(app);
  const cwd = resolveCwd(app.cwd, of);
  const env = environmentOf({ of, cwd, envFile: app.envFile, env: app.env, account }, baseEnv);
  const around: Surroundings = { of, givenCwd: app.cwd, cwd, env, user: app.identity.user };
  const [script = '', ...words] = app.argv;
  const argv =
    app.kind === 'script' ? [process.execPath, findScript(script, around), ...words] : findProgram(app.argv, around);
  checkLogFile(app, of);
  return { app, revision, argv, env, cwd };
}

/** A hook, ready to be spawned. */
export interface PinnedHook {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly cwd: string;
  readonly account: Account | null;
}

/** As pin, for one run of a hook. @throws SuperviseError program-cannot-run, launch-failed */
export function pinHook(hook: HookSpec, baseEnv: Environment): PinnedHook {
  const of = `hook ${hook.name}`;
  const account = accountOf({ user: hook.user, group: null, of });
  const cwd = resolveCwd(hook.cwd, of);
  const env = environmentOf({ of, cwd, envFile: hook.envFile, env: hook.env, account }, baseEnv);
  const around: Surroundings = { of, givenCwd: hook.cwd, cwd, env, user: hook.user };
  const argv = hook.shell ? ['/bin/sh', '-c', ...hook.argv] : findProgram(hook.argv, around);
  return { argv, env, cwd, account };
}

interface EnvironmentParts {
  readonly of: string;
  readonly cwd: string;
  readonly envFile: string | null;
  readonly env: Environment;
  readonly account: Account | null;
}

function environmentOf(parts: EnvironmentParts, baseEnv: Environment): Environment {
  const fromFile = parts.envFile === null ? {} : readEnvFile(parts.envFile, parts.cwd, parts.of);
  return { ...inheritable(baseEnv), ...parts.account?.env, ...fromFile, ...parts.env };
}
