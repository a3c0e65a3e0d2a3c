/** `check`: the config is valid and what it amounts to, or all of its problems (78). */
import { ExitCode } from '../../core/errors.ts';
import type { Spec } from '../../core/spec.ts';
import { readConfig } from '../config.ts';
import type { Invocation } from '../invocation.ts';
import { counted } from '../../core/units.ts';
import { staffText } from '../text.ts';

/** @throws ConfigError config-invalid; SuperviseError config-not-found */
export async function check(invocation: Invocation): Promise<number> {
  const { loaded, file } = await readConfig({ ...invocation, afterDashes: null });
  const { spec } = loaded;
  const { terminal, globals } = invocation;
  const apps = spec.apps.map(({ name, workers, staffing, listen }) => ({
    ...{ name, workers, staffing },
    listen: listen.map(({ url }) => url),
  }));
  if (globals.json) terminal.out(`${JSON.stringify({ ok: true, file: spec.file, name: spec.name, apps })}\n`);
  else terminal.out(`${file}: ok (${summaryOf(spec)})\n`);
  return ExitCode.ok;
}

/** `2 hooks; web: 4 workers on tcp://127.0.0.1:8000; queue: 1 worker` */
export function summaryOf({ name, hooks, apps }: Spec): string {
  const count = Object.values(hooks).flat().length;
  const parts = apps.map((app) => {
    const where = app.listen.length === 0 ? '' : ` on ${app.listen.map(({ url }) => url).join(', ')}`;
    return `${app.name}: ${staffText(app)}${where}`;
  });
  return [name, ...(count === 0 ? [] : [counted(count, 'hook')]), ...parts].join('; ');
}
