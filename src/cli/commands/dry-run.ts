/**
 * `start --dry-run`: what would happen, in its order, and each effective value with where it came from. Commands are
 * shown as `explain` shows them, with secrets masked.
 */
import { explain } from '../../config/origins.ts';
import type { ExplainedLine } from '../../config/origins.ts';
import { ExitCode } from '../../core/errors.ts';
import type { Spec, StaffingSpec } from '../../core/spec.ts';
import { hookPhases } from '../../core/spec.ts';
import { coloursFor } from '../colours.ts';
import type { ReadConfig } from '../config.ts';
import type { Invocation } from '../invocation.ts';
import type { Colours } from '../render.ts';
import { table } from '../render.ts';
import { staffText } from '../text.ts';

interface Plan {
  readonly name: string;
  readonly file: string | null;
  readonly hooks: readonly { readonly phase: string; readonly name: string; readonly command: string }[];
  readonly sockets: readonly { readonly app: string; readonly url: string }[];
  readonly apps: readonly {
    readonly name: string;
    readonly workers: number;
    readonly staffing: StaffingSpec;
    readonly command: string;
    readonly dependsOn: readonly string[];
  }[];
  readonly values: readonly ExplainedLine[];
}

/** Starts nothing and touches nothing. */
export async function dryRun(invocation: Invocation, { loaded }: ReadConfig): Promise<number> {
  const plan = planOf(loaded.spec, explain(loaded.origins));
  const { terminal, globals } = invocation;
  terminal.out(globals.json ? `${JSON.stringify(plan)}\n` : planText(plan, coloursFor(invocation)));
  return ExitCode.ok;
}

function planOf(spec: Spec, values: readonly ExplainedLine[]): Plan {
  const shown = new Map(values.map(({ path, value }) => [path, value]));
  const hooks = hookPhases.flatMap((phase) =>
    spec.hooks[phase].map(({ name }, index) => ({
      phase,
      name,
      command: shown.get(`hooks.${phase}[${index}].command`) ?? '',
    })),
  );
  return {
    name: spec.name,
    file: spec.file,
    hooks,
    sockets: spec.apps.flatMap((app) => app.listen.map(({ url }) => ({ app: app.name, url }))),
    apps: spec.apps.map(({ name, kind, workers, staffing, dependsOn }) => ({
      ...{ name, workers, staffing },
      command: shown.get(`apps.${name}.${kind}`) ?? '',
      dependsOn,
    })),
    values,
  };
}

function planText({ name, file, hooks, sockets, apps, values }: Plan, colours: Colours): string {
  const hookLines = (phase: string) =>
    hooks.filter((hook) => hook.phase === phase).map((hook) => `${hook.name}: ${hook.command}`);
  const steps: readonly (readonly [string, readonly string[]])[] = [
    ['binds the sockets', sockets.map(({ app, url }) => `${url} for ${app}`)],
    ['runs the pre_start hooks, once, one after the other', hookLines('pre_start')],
    [
      'starts the apps, in this order',
      apps.map((app) => {
        const after = app.dependsOn.length === 0 ? '' : `, after ${app.dependsOn.join(', ')}`;
        return `${app.name}${after}: ${staffText(app)} of ${app.command}`;
      }),
    ],
    ['runs the post_start hooks when all apps are ready', hookLines('post_start')],
    ['at each reload: runs the pre_reload hooks, before anything is touched', hookLines('pre_reload')],
    ['when a reload has succeeded: runs the post_reload hooks', hookLines('post_reload')],
    ['when it is to stop: runs the pre_stop hooks', hookLines('pre_stop')],
    [
      'stops the apps, in reverse order',
      [
        apps
          .map((app) => app.name)
          .toReversed()
          .join(', '),
      ],
    ],
    ['runs the post_stop hooks', hookLines('post_stop')],
  ];
  const real = steps.filter(([, lines]) => lines.length > 0);
  const text = real.map(([what, lines], index) =>
    [`${index + 1}. ${what}`, ...lines.map((line) => `   - ${line}`)].join('\n'),
  );
  const from = file === null ? 'flags' : file;
  const rows = values.map(({ path, value, origin }) => [
    path,
    value,
    { text: origin, paint: origin === 'default' ? colours.dim : undefined },
  ]);
  return `${colours.bold(name)} from ${from}; nothing is started\n\n${text.join('\n')}\n\n${table(['VALUE OF', 'IS', 'FROM'], rows, colours)}`;
}
