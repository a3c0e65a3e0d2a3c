/**
 * What does not count as a change below a watched folder.
 *
 * - Globs know `*`, `**`, `?`, `[abc]` and `{a,b}`. One without a slash is a name at any depth, as in .gitignore; one with
 *   a slash counts from the app's working directory. What lies in an ignored folder is ignored.
 * - Built in: packages, version control, caches, what editors leave for a moment, and the `..data` of Kubernetes volumes
 *   (their files are seen through the links that lead there).
 * - What was named itself in `paths` is never ignored.
 */
import { basename, dirname, join, relative } from 'node:path';
import { realOf } from '../real-path.ts';

const builtIn = [
  ...['node_modules', '.git', '.hg', '.svn', '.venv', '__pycache__', '*.py[co]', '.*_cache', '.DS_Store'],
  ...['*~', '.*.sw[a-p]', '.*.swx', '4913', '.#*', '#*#', '*___jb_tmp___', '*___jb_old___'],
  '..*',
];

export type Ignores = (path: string) => boolean;

/**
 * @param cwd what relative globs count from
 * @param own globs of files and folders that supervise itself writes, absolute
 * @returns whether a path (absolute) is ignored
 */
export function ignoring(cwd: string, globs: readonly string[], own: readonly string[]): Ignores {
  const byName: RegExp[] = [];
  const byPath = own.map((path) => pattern(path));
  for (const glob of [...builtIn, ...globs]) {
    const bare = glob.replace(/\/+$/, '');
    if (bare.includes('/')) byPath.push(pattern(bare.startsWith('/') ? bare : `${escaped(cwd)}/${tidy(bare)}`));
    else if (bare !== '') byName.push(pattern(bare));
  }
  return (path) => byName.some((one) => one.test(basename(path))) || byPath.some((one) => one.test(path));
}

/** A path as an operator knows it: relative to the working directory where it lies in there. */
export function shownPath(cwd: string, path: string): string {
  const inside = relative(cwd, path);
  return inside === '' || inside.startsWith('..') ? path : inside;
}

/** A log file with its rotated ones, as a glob; its `{slot}` and the like may be anything. */
export function logFilesOf(file: string): string {
  return `${escaped(join(realOf(dirname(file)), basename(file))).replace(/\\\{\w+\\\}/g, '*')}*`;
}

/** This very path, as a glob. */
export function exactly(path: string): string {
  return escaped(realOf(path));
}

function tidy(glob: string): string {
  return glob.replace(/^(\.\/)+/, '');
}

function escaped(path: string): string {
  return path.replace(/[*?[\]{}\\]/g, '\\$&');
}

/** A glob as a regular expression of the whole text. */
function pattern(glob: string): RegExp {
  const parts = glob.match(/\\.|\*\*\/|\*\*|\*|\?|\[[^\]]+\]|[^]/g) ?? [];
  let depth = 0;
  const source = parts.map((part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (part.length > 1 && part.startsWith('[')) return part.replace(/^\[!/, '[^');
    if (part === '{') return depth++ >= 0 ? '(?:' : '';
    if (part === '}' && depth > 0) return depth-- > 0 ? ')' : '';
    if (part === ',' && depth > 0) return '|';
    return (part.length === 2 ? part.slice(1) : part).replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  });
  return new RegExp(`^${source.join('')}${')'.repeat(depth)}$`);
}
