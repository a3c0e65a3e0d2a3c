/**
 * What a reload has to do, worked out before anything is touched; and how its end is told. Named apps (all, without
 * names) always roll, because code changes without the config; what was not named stays as it runs.
 */
import { diffSpecs } from '../config/diff.ts';
import { SuperviseError } from '../core/errors.ts';
import type { EventBody, ReloadCommand } from '../core/protocol.ts';
import type { AppSpec, Spec } from '../core/spec.ts';
import { counted } from '../core/units.ts';
import type { App } from './app.ts';
import type { Progress } from './operations.ts';

export interface ReloadPlan {
  /** The spec to run from now on: the new one, but for apps that were not named. */
  readonly spec: Spec;
  readonly added: readonly AppSpec[];
  readonly removed: readonly string[];
  readonly rolled: readonly AppSpec[];
  /** Those of before that it wants to have. */
  readonly kept: readonly string[];
  /** Only their number of workers changes: those that run stay. */
  readonly rescaled: readonly AppSpec[];
  /** What is different, for the operator; null: nothing is. */
  readonly news: Extract<EventBody, { type: 'config.changed' }> | null;
}

/** @throws SuperviseError unknown-target for a name that neither the running nor the new config has */
export function planReload(
  running: Spec,
  next: Spec,
  { apps: names, changedOnly = false }: Pick<ReloadCommand, 'apps' | 'changedOnly'>,
): ReloadPlan {
  const before = new Map(running.apps.map((app) => [app.name, app]));
  const after = new Map(next.apps.map((app) => [app.name, app]));
  for (const name of names ?? []) {
    if (before.has(name) || after.has(name)) continue;
    throw new SuperviseError('unknown-target', `there is no app named ${name}`, {
      hint: `apps: ${[...after.keys()].join(', ')}`,
    });
  }
  const chosen = (name: string) => names === null || names.includes(name);
  const kept = running.apps.filter((app) => !chosen(app.name));
  const fresh = next.apps.filter((app) => chosen(app.name));
  const spec: Spec = { ...next, apps: inOrder([...fresh, ...kept], [...next.apps, ...running.apps]) };
  const diff = diffSpecs(running, spec);
  const different = Object.values(diff).some((list) => list.length > 0);
  return {
    spec,
    added: fresh.filter((app) => !before.has(app.name)),
    removed: running.apps.filter((app) => chosen(app.name) && !after.has(app.name)).map((app) => app.name),
    rolled: fresh.filter(({ name }) => before.has(name) && (!changedOnly || diff.changed.includes(name))),
    kept: fresh.filter(({ name }) => before.has(name)).map(({ name }) => name),
    rescaled: changedOnly ? fresh.filter(({ name }) => diff.rescaled.includes(name)) : [],
    news: different ? { type: 'config.changed', ...diff } : null,
  };
}

function inOrder(apps: readonly AppSpec[], order: readonly AppSpec[]): AppSpec[] {
  const rank = new Map([...order].reverse().map((app, index) => [app.name, -index]));
  return [...apps].sort((a, b) => (rank.get(a.name) ?? 0) - (rank.get(b.name) ?? 0));
}

/** `since`: the last worker's number of the app before the reload. */
export type RunningReload = { readonly app: App; readonly since: number } & (
  | { readonly kind: 'rolled'; readonly revision: number }
  | { readonly kind: 'added'; readonly error: () => SuperviseError | null; readonly blocked: () => string | null }
  /** null: supervise decides itself. */
  | { readonly kind: 'rescaled'; readonly to: number | null }
  /** It goes when the rest of the reload has succeeded; if that fails, it stays. */
  | { readonly kind: 'removed'; readonly fate: () => 'waits' | 'goes' | 'stays' }
);

/** Takes back what is not done. */
export function giveUp(parts: readonly RunningReload[], why: string): void {
  for (const part of parts) if (part.kind === 'rolled') part.app.giveUp(part.revision, why);
}

/** How far a reload is over all its apps. It is over when each app is, and well only if each went well. */
export function reloadProgress(parts: readonly RunningReload[]): Progress {
  const each = parts.map(partProgress);
  const going = each.filter((part) => part.type === 'going');
  if (going.length > 0) return { type: 'going', message: going.map((part) => part.message).join('; ') };
  const done = each.filter((part) => part.type === 'done');
  const bad = done.filter((part) => !part.ok);
  const message = (bad.length > 0 ? bad : done).map((part) => part.message).join('; ') || 'nothing to do';
  return { type: 'done', ok: bad.length === 0, message, lastLines: bad.flatMap((part) => part.lastLines ?? []) };
}

function partProgress(part: RunningReload): Progress {
  const { app } = part;
  if (part.kind === 'removed') {
    if (app.view.state === 'stopped') return { type: 'done', ok: true, message: `${app.name} is removed` };
    const fate = part.fate();
    if (fate === 'stays') return { type: 'done', ok: false, message: `${app.name} is not removed` };
    return { type: 'going', message: `${app.name} ${fate === 'goes' ? 'stops' : 'is removed when the others serve'}` };
  }
  if (part.kind === 'rescaled') {
    const to = part.to ?? app.replicas;
    const words = {
      doing: `scaling ${app.name} to ${to}`,
      done: `${app.name} has ${counted(to, 'worker')}`,
      met: !app.staffing.isUndecided,
    };
    if (app.replicas !== to) return { type: 'done', ok: false, message: `${words.doing}: changed again meanwhile` };
    return whenQuiet(app, part.since, words);
  }
  if (part.kind === 'added') {
    const error = part.error();
    if (error)
      return {
        type: 'done',
        ok: false,
        message: `${app.name} was not added: ${error.message}`,
        lastLines: error.lastLines,
      };
    if (app.view.isGoing) return { type: 'done', ok: false, message: `${app.name} was removed by a later reload` };
    if (app.view.failure)
      return {
        type: 'done',
        ok: false,
        message: `${app.name} is added, but ${app.view.failure.message}`,
        lastLines: app.view.failure.lastLines,
      };
    const blocked = part.blocked();
    if (blocked !== null) return { type: 'done', ok: false, message: `${app.name} is added, but ${blocked}` };
    if (app.view.startIsOver) return { type: 'done', ok: true, message: `${app.name} is added and serves` };
    return { type: 'going', message: `${app.name} starts: ${app.view.readiness}` };
  }
  return rolledProgress(part.app, part.revision, part.since);
}

function rolledProgress(app: App, revision: number, since: number): Progress {
  const end = app.rolloutEnd(revision);
  if (end === null) return { type: 'going', message: `${app.name}: ${app.rolloutStep ?? 'rolling'}` };
  if (end.type === 'succeeded')
    return {
      type: 'done',
      ok: true,
      message: `${app.name}: revision ${revision} serves with ${counted(app.replicas, 'worker')}`,
    };
  if (end.type === 'superseded')
    return { type: 'done', ok: false, message: `${app.name}: revision ${revision} was superseded by a later reload` };
  const back = `${app.name}: rolled back: ${end.reason}`;
  // The bad revision's workers may still be on their way out: it is over when the old one serves again.
  if (app.rolloutStep !== null)
    return { type: 'done', ok: false, message: `${back}; a later reload is under way`, lastLines: end.lastLines };
  if (!app.view.isStill && app.view.troubleSince(since) === null && !app.view.isGoing)
    return { type: 'going', message: back };
  return {
    type: 'done',
    ok: false,
    message: `${back}; revision ${app.revision} serves with ${app.view.ready} of ${counted(app.replicas, 'worker')}`,
    lastLines: end.lastLines,
  };
}

/** Restart and scale: over when all workers made since (`since`: the last number before) serve, or when one of them is in trouble. */
export function whenQuiet(
  app: App,
  since: number,
  words: { readonly doing: string; readonly done: string; readonly met: boolean },
): Progress {
  if (app.view.isGoing)
    return { type: 'done', ok: false, message: `${words.doing}: ${app.name} was removed by a reload` };
  const trouble = app.view.troubleSince(since);
  if (trouble)
    return {
      type: 'done',
      ok: false,
      message: `${words.doing}: ${trouble.id} ${trouble.reason}`,
      lastLines: trouble.lastLines,
    };
  if (words.met && app.view.isQuietSince(since)) return { type: 'done', ok: true, message: words.done };
  return { type: 'going', message: `${words.doing}: ${app.view.readiness}` };
}
