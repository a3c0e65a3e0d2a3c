/**
 * From the command line to a config: a file, flags in place of one (`-- CMD`), or flags over one; and how a running
 * master reads it again.
 */
import { applyFlags, findConfig, loadConfig, specFromFlags } from '../config/load.ts';
import type { Flags, Loaded } from '../config/load.ts';
import { SuperviseError } from '../core/errors.ts';
import type { Spec } from '../core/spec.ts';
import type { Invocation } from './invocation.ts';
import { listOption, textOption } from './invocation.ts';

export interface ReadConfig {
  readonly loaded: Loaded;
  /** As the user named it; null when flags alone made the config. */
  readonly file: string | null;
  /** Reads the same file again, with the same flags; null without a file. */
  readonly reread: (() => Promise<Spec>) | null;
}

/** @throws ConfigError (config-invalid, usage); SuperviseError config-not-found, usage */
export async function readConfig(invocation: Invocation): Promise<ReadConfig> {
  const { afterDashes, globals } = invocation;
  const preStart = listOption(invocation, 'preStart');
  const flags: Flags = {
    workers: textOption(invocation, 'workers'),
    bind: listOption(invocation, 'bind'),
    name: globals.name,
  };
  if (afterDashes !== null) return { loaded: fromFlags(invocation, { ...flags, preStart }), file: null, reread: null };
  refuseStray(invocation, preStart);
  const file = findConfig(globals.config, process.cwd());
  const read = async () => applyFlags(await loadConfig(file, process.env), flags);
  return { loaded: await read(), file, reread: async () => (await read()).spec };
}

function fromFlags({ afterDashes, args, globals }: Invocation, flags: Flags & { preStart: readonly string[] }): Loaded {
  const argv = afterDashes ?? [];
  if (globals.config !== null) {
    throw new SuperviseError('usage', `with -- CMD no config is read, found -c ${globals.config} as well`, {
      hint: 'leave one of them out',
    });
  }
  if (argv.length === 0)
    throw new SuperviseError('usage', 'expected a command after --, found nothing', {
      hint: 'as in: supervise start -- uvicorn main:app --fd {fd}',
    });
  if (args.length > argv.length) throw strayWords(args.slice(0, args.length - argv.length));
  return specFromFlags({ ...flags, argv, cwd: process.cwd(), env: process.env });
}

function refuseStray({ args }: Invocation, preStart: readonly string[]): void {
  if (args.length > 0) throw strayWords(args);
  if (preStart.length > 0) {
    throw new SuperviseError('usage', '--pre-start goes with -- CMD only', {
      hint: 'beside a config file, hooks are its hooks.pre_start',
    });
  }
}

function strayWords(words: readonly string[]): SuperviseError {
  return new SuperviseError('usage', `expected no arguments but a command after --, found ${words.join(' ')}`, {
    hint: `as in: supervise start -- ${words.join(' ')}`,
  });
}
