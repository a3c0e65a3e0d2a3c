/**
 * The command line: registers the table of commands, runs one, and turns what happens into an exit code.
 *
 * - Global flags may stand before and after the command. What follows `--` belongs to `start`.
 * - A mistake in the command line is exit 64 with a suggestion; help and --version are exit 0 on stdout.
 * - A command's code is loaded when it runs.
 */
import { Command, CommanderError, Option } from 'commander';
import { ExitCode, SuperviseError } from '../core/errors.ts';
import { version } from '../core/version.ts';
import { commands } from './commands.ts';
import { complain } from './complaint.ts';
import type { CommandRow, Globals, Invocation } from './invocation.ts';
import type { Terminal } from './terminal.ts';
import { processTerminal } from './terminal.ts';

/** Runs the command line of this process and ends it with the exit code. */
export async function main(): Promise<void> {
  const terminal = processTerminal();
  process.exitCode = await run(process.argv.slice(2), terminal);
  // a timer or a socket that is left does not keep the process
  terminal.flush(() => process.exit());
}

/** Runs one command line, without the program's name. Never rejects: what fails is printed. `rows`: what there is to run. */
export async function run(
  argv: readonly string[],
  terminal: Terminal,
  rows: readonly CommandRow[] = commands,
): Promise<number> {
  let code: number = ExitCode.ok;
  let shown = '';
  const program = programFor(rows, {
    show: (text) => (shown += text),
    run: async (row, invocation) => {
      code = await runRow(row, { ...invocation, afterDashes: afterDashes(argv), terminal });
    },
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError && shown !== '') {
      terminal.out(shown);
      return ExitCode.ok;
    }
    if (isBareCall(error, argv)) terminal.err(program.helpInformation());
    return complain(error instanceof CommanderError ? usageError(error, argv) : error, terminal, wantsJson(argv));
  }
}

/** `supervise` alone: the help is more use than a complaint. */
function isBareCall(error: unknown, argv: readonly string[]): boolean {
  return error instanceof CommanderError && error.code === 'commander.help' && argv.length === 0;
}

async function runRow(row: CommandRow, invocation: Invocation): Promise<number> {
  if (row.load === null) {
    throw new SuperviseError('not-supported', `${row.name} is not supported yet`, {
      hint: '`supervise help` lists what is',
    });
  }
  const runCommand = await row.load();
  return runCommand(invocation);
}

interface Parts {
  /** Takes help and version. */
  readonly show: (text: string) => void;
  readonly run: (row: CommandRow, invocation: Omit<Invocation, 'afterDashes' | 'terminal'>) => Promise<void>;
}

function programFor(rows: readonly CommandRow[], { show, run: runOne }: Parts): Command {
  const program = new Command('supervise');
  program
    .description(
      'Supervises processes: pre-start hooks exactly once, N workers on one socket, restarts with backoff, reloads without a lost request.',
    )
    .version(version, '-V, --version', 'print the version')
    .option(
      '-c, --config <file>',
      'config file (default: ./supervise.yaml, .yml, .json, then /etc/supervise/supervise.yaml)',
    )
    .option('--name <name>', 'which master is meant, or what it is called')
    .option('--json', 'output for programs; errors too, on stdout')
    .option('--no-color', 'no colours, as NO_COLOR')
    .option('--quiet', 'no progress and no warnings')
    .helpCommand('help [command]', 'show how a command is used, with examples')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failed, 3 no master runs, 64 usage, 70 a bug, 73 cannot bind, 75 already running, 78 invalid config',
    )
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({ writeOut: show, writeErr: () => {}, outputError: () => {} });
  for (const row of rows) register(program, row, runOne);
  return program;
}

function register(program: Command, row: CommandRow, runOne: Parts['run']): void {
  const later = row.load === null ? ' (not supported yet)' : '';
  const command = program
    .command(`${row.name} ${row.args}`.trim())
    .summary(row.summary)
    .description(row.summary + later);
  for (const { flags, text, repeatable, hidden } of row.options) {
    const option = new Option(flags, text).hideHelp(hidden === true);
    if (repeatable)
      option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
    command.addOption(option);
  }
  if (row.load === null) command.allowUnknownOption().allowExcessArguments().helpGroup('Not supported yet:');
  const examples = row.examples.map(({ line, does }) => `  # ${does}\n  ${line}`);
  command.addHelpText('after', `\nExamples:\n${examples.join('\n')}`);
  command.action(async () => {
    await runOne(row, { globals: globalsOf(program), args: command.args, options: command.opts() });
  });
}

function globalsOf(program: Command): Globals {
  const { config, name, json, color, quiet } = program.opts<{
    config?: string;
    name?: string;
    json?: true;
    color: boolean;
    quiet?: true;
  }>();
  return { config: config ?? null, name: name ?? null, json: json === true, noColor: !color, quiet: quiet === true };
}

function afterDashes(argv: readonly string[]): readonly string[] | null {
  const at = argv.indexOf('--');
  return at === -1 ? null : argv.slice(at + 1);
}

function beforeDashes(argv: readonly string[]): readonly string[] {
  const at = argv.indexOf('--');
  return at === -1 ? argv : argv.slice(0, at);
}

/** For a command line that could not be parsed, and before it is. */
function wantsJson(argv: readonly string[]): boolean {
  return beforeDashes(argv).includes('--json');
}

/** What commander says, as an error of ours. */
function usageError(error: CommanderError, argv: readonly string[]): SuperviseError {
  const words = beforeDashes(argv).filter((word) => !word.startsWith('-'));
  if (error.code.startsWith('commander.help')) {
    const asked = words[0] === 'help' ? words[1] : undefined;
    if (asked === undefined)
      return new SuperviseError('usage', 'a command is expected', { hint: '`supervise help` lists them' });
    return new SuperviseError('usage', `unknown command '${asked}'`, { hint: '`supervise help` lists the commands' });
  }
  const [first = '', ...rest] = error.message.split('\n');
  const suggestion = /\(Did you mean (.*)\?\)/.exec(rest.join(' '))?.[1];
  const known = commands.find((row) => words.includes(row.name));
  const help = `\`supervise help${known === undefined ? '' : ` ${known.name}`}\` shows how it is used`;
  return new SuperviseError('usage', first.replace(/^error: /, ''), {
    hint: suggestion === undefined ? help : `did you mean ${suggestion}? ${help}`,
  });
}
