/**
 * What does not count as a change below a watched folder.
 *
 * - Globs know `*`, `**`, `?`, `[abc]` and `{a,b}`. One without a slash is a name at any depth, as in .gitignore; one with
 *   a slash counts from the app's working directory. What lies in an ignored folder is ignored.
 * - Built in: packages, version control, caches, what editors leave for a moment, and the `..data` of Kubernetes volumes
 *   (their files are seen through the links that lead there).
 * - What was named itself in `paths` is never ignored.
 * - Files that supervise itself writes are known by their real paths: a folder of logs is often a link.
 */
import { basename, dirname, join, relative } from 'node:path';
import { realOf } from '../../config/real-path.ts';
import { escapedGlob, globPattern } from '../../core/glob.ts';

const builtIn = [
  ...['node_modules', '.git', '.hg', '.svn', '.venv', '__pycache__', '*.py[co]', '.*_cache', '.DS_Store'],
  ...['*~', '.*.sw[a-p]', '.*.swx', '4913', '.#*', '#*#', '*___jb_tmp___', '*___jb_old___'],
  '..*',
];

export type Ignores = (path: string) => boolean;

/**
 * @param cwd what relative globs count from
 * @returns whether a path (absolute, as it is called) is ignored
 * @throws SyntaxError a glob that is none
 */
export function ignoring(cwd: string, globs: readonly string[]): Ignores {
  const byName: RegExp[] = [];
  const byPath: RegExp[] = [];
  for (const glob of [...builtIn, ...globs]) {
    const bare = glob.replace(/\/+$/, '');
    if (bare.includes('/')) byPath.push(globPattern(bare.startsWith('/') ? bare : `${escapedGlob(cwd)}/${tidy(bare)}`));
    else if (bare !== '') byName.push(globPattern(bare));
  }
  return (path) => byName.some((one) => one.test(basename(path))) || byPath.some((one) => one.test(path));
}

/**
 * What supervise writes itself, through whatever links it is reached.
 * @param own files and folders, absolute
 * @param logFiles absolute; their `{slot}` and the like may be anything, and their rotated ones are meant too
 * @returns whether a path without links is one of them
 */
export function writtenBySupervise(own: readonly string[], logFiles: readonly string[]): Ignores {
  const logs = logFiles.flatMap((file) => [join(realOf(dirname(file)), basename(file)), realOf(file)]);
  const globs = [
    ...own.map((path) => escapedGlob(realOf(path))),
    ...logs.map((path) => `${escapedGlob(path).replace(/\\\{\w+\\\}/g, '*')}*`),
  ];
  const patterns = globs.map(globPattern);
  return (path) => patterns.some((one) => one.test(path));
}

/** A path as an operator knows it: relative to the working directory where it lies in there. */
export function shownPath(cwd: string, path: string): string {
  const inside = relative(cwd, path);
  return inside === '' || inside.startsWith('..') ? path : inside;
}

function tidy(glob: string): string {
  return glob.replace(/^(\.\/)+/, '');
}
