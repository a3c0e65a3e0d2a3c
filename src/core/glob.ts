/** Globs of paths: `*`, `**`, `?`, `[abc]` and `{a,b}`; a backslash takes the meaning of the next character away. */

/** As a regular expression of the whole text. @throws SyntaxError a range such as [z-a] */
export function globPattern(glob: string): RegExp {
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

/** This very text, as a glob. */
export function escapedGlob(path: string): string {
  return path.replace(/[*?[\]{}\\]/g, '\\$&');
}
