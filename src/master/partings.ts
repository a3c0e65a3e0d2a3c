/**
 * Apps that a reload removes go last, once all else that it does has succeeded: after a failure, what served before still
 * serves. A later reload that names such an app decides what becomes of it.
 */
import type { App } from './app.ts';
import { reloadProgress, type RunningReload } from './reload.ts';

interface Parting {
  readonly apps: readonly App[];
  /** All else that the same reload does. */
  readonly others: readonly RunningReload[];
}

export class Partings {
  #list: readonly Parting[] = [];

  add(apps: readonly App[], others: readonly RunningReload[]): void {
    if (apps.length > 0) this.#list = [...this.#list, { apps, others }];
  }

  /** Whether it goes when the rest of its reload has succeeded. */
  has(app: App): boolean {
    return this.#list.some(({ apps }) => apps.includes(app));
  }

  /** A later reload decides what becomes of the apps of these names. */
  forget(names: readonly string[]): void {
    const stays = (app: App) => !names.includes(app.name);
    this.#list = this.#list.map(({ apps, others }) => ({ apps: apps.filter(stays), others }));
  }

  /** Those whose reload is over otherwise; asked once, they are forgotten here. */
  take(): { readonly go: readonly App[]; readonly stay: readonly App[] } {
    const ended = this.#list.map((parting) => ({ parting, end: reloadProgress(parting.others) }));
    const over = ended.filter(({ end }) => end.type === 'done');
    this.#list = this.#list.filter((one) => !over.some(({ parting }) => parting === one));
    const apps = (ok: boolean) =>
      over.filter(({ end }) => end.type === 'done' && end.ok === ok).flatMap(({ parting }) => parting.apps);
    return { go: apps(true), stay: apps(false) };
  }
}
