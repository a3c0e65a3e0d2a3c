/**
 * The commands that act on workers: what a restart, a change of their number, a retry and a signal do to which apps. It
 * never waits: an operation is asked again after every change until it is over.
 */
import { SuperviseError } from '../core/errors.ts';
import { checkRoom } from '../core/own-ports.ts';
import type { Command, Reply, Target } from '../core/protocol.ts';
import { counted } from '../core/units.ts';
import type { App } from './app.ts';
import type { Fleet } from './fleet.ts';
import type { Operations, Progress } from './operations.ts';
import { whenQuiet } from './reload.ts';

export interface CommandsParts {
  readonly fleet: Pick<Fleet, 'apps' | 'staying'>;
  readonly operations: Operations;
  changed(): void;
}

export class Commands {
  readonly #parts: CommandsParts;

  constructor(parts: CommandsParts) {
    this.#parts = parts;
  }

  /** @throws SuperviseError unknown-target */
  restart(target: Target): Reply {
    const app = this.#find(target);
    const since = app.lastNumber;
    const old = app.restart(target.worker);
    const message = `restarting ${old.length} of ${app.name}`;
    const check = () =>
      whenQuiet(app, since, {
        doing: message,
        done: `restarted ${old.length} of ${app.name}`,
        met: !old.some((id) => app.view.has(id)),
      });
    const operation = this.#parts.operations.begin('restart', message, check);
    this.#parts.changed();
    return { ok: true, operation, message };
  }

  scale({ app: name, change }: Extract<Command, { type: 'scale' }>): Reply {
    const app = name === null ? this.#parts.fleet.staying[0] : this.#appNamed(name);
    if (!app) throw new SuperviseError('unknown-target', 'there is no app to scale');
    const from = app.replicas;
    const to = 'to' in change ? change.to : Math.max(Math.min(change.atLeast, from), from + change.by);
    if (to > from) checkRoom(app.spec, to);
    const since = app.lastNumber;
    app.rescale(to);
    const message = `scaling ${app.name} from ${from} to ${to}`;
    const superseded: Progress = { type: 'done', ok: false, message: `${message}: changed again meanwhile` };
    const check = () =>
      app.replicas === to
        ? whenQuiet(app, since, { doing: message, done: `${app.name} has ${counted(to, 'worker')}`, met: true })
        : superseded;
    const operation = this.#parts.operations.begin('scale', message, check);
    this.#parts.changed();
    return { ok: true, operation, message };
  }

  retry(target: Target | null): Reply {
    const apps = target === null ? this.#parts.fleet.apps : [this.#find(target)];
    const count = apps.reduce((sum, app) => sum + app.retry(target?.worker ?? null), 0);
    return {
      ok: true,
      operation: null,
      message:
        count === 0 ? 'no worker was waiting' : `${count} ${count === 1 ? 'worker starts' : 'workers start'} now`,
    };
  }

  signal({ target, signal }: Extract<Command, { type: 'signal' }>): Reply {
    const count = this.#find(target).signal(target.worker, signal);
    return { ok: true, operation: null, message: `${signal} sent to ${count} ${count === 1 ? 'worker' : 'workers'}` };
  }

  #appNamed(name: string): App {
    const apps = this.#parts.fleet.staying;
    const app = apps.find((one) => one.name === name);
    if (app) return app;
    const known = apps.map((one) => one.name).join(', ') || 'none';
    throw new SuperviseError('unknown-target', `there is no app named ${name}`, { hint: `apps: ${known}` });
  }

  #find(target: Target): App {
    const app = this.#appNamed(target.app);
    if (target.worker === null || app.view.has(target.worker)) return app;
    const ids =
      app.view
        .snapshot()
        .workers.map((worker) => worker.id)
        .join(', ') || 'none';
    throw new SuperviseError('unknown-target', `there is no worker ${target.worker}`, {
      hint: `workers of ${app.name}: ${ids}`,
    });
  }
}
