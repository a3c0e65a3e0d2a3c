/**
 * All that is watched for one app: its `watch` by the stamps of files, its `tls_files` by their content, with the words
 * for what has changed.
 */
import { resolve } from 'node:path';
import type { AppSpec } from '../../core/spec.ts';
import { inWords, type Change } from './changes.ts';
import { FileWatch, type WatchedSet } from './file-watch.ts';
import { FolderEvents } from './folder-events.ts';
import { ignoring, shownPath, writtenBySupervise } from './ignoring.ts';

/** The parts of a certificate are renewed one after the other. */
const certificateDebounceMs = 1_000;

export interface AppWatch {
  /** As FileWatch.cover. */
  cover(untilMs: number): void;
  close(): void;
}

export interface Where {
  /** Links resolved. */
  readonly cwd: string;
  /** When the app took up its files: what changes later is a change (wall clock). */
  readonly sinceMs: number;
}

export interface AppWatchParts {
  /** Folders that supervise itself writes into, absolute. */
  readonly own: readonly string[];
  /** The log files of all apps, absolute. */
  readonly logFiles: () => readonly string[];
  readonly warn: (message: string) => void;
  /** `reason`: "src/app.py changed" */
  readonly changed: (app: string, reason: string) => void;
}

/** @returns what makes the watch of an app; they share the system's watches */
export function appWatches(parts: AppWatchParts): (app: AppSpec, where: Where) => AppWatch {
  const events = new FolderEvents(parts.warn);
  return (app, where) => {
    const { cwd } = where;
    const report = (changes: readonly Change[]) =>
      parts.changed(app.name, inWords(changes.map((change) => ({ ...change, path: shownPath(cwd, change.path) }))));
    const watches = setsOf(app, where, parts).map((set) => new FileWatch(set, events, report));
    return {
      cover: (untilMs) => watches.forEach((watch) => watch.cover(untilMs)),
      close: () => watches.forEach((watch) => watch.close()),
    };
  };
}

function setsOf(app: AppSpec, { cwd, sinceMs }: Where, { own, logFiles }: AppWatchParts): WatchedSet[] {
  const absolute = (paths: readonly string[]) => paths.map((path) => resolve(cwd, path));
  const sets: WatchedSet[] = [];
  if (app.watch) {
    const ignores = ignoring(cwd, app.watch.ignore);
    const isOwn = writtenBySupervise(own, logFiles());
    sets.push({
      roots: absolute(app.watch.paths),
      ignores,
      isOwn,
      by: 'stamp',
      debounceMs: app.watch.debounceMs,
      sinceMs,
    });
  }
  if (app.tlsFiles.length > 0) {
    const none = () => false;
    sets.push({
      roots: absolute(app.tlsFiles),
      ignores: none,
      isOwn: none,
      by: 'content',
      debounceMs: certificateDebounceMs,
      sinceMs,
    });
  }
  return sets;
}
