/** What is wrong with a text that is no YAML, in words that need no knowledge of YAML's grammar. */
import type { Document, YAMLError } from 'yaml';

type Yaml = typeof import('yaml');

export interface SyntaxProblem {
  readonly offset: number;
  readonly message: string;
}

/** Words for a syntax error of the parser, and where to point at. */
export function syntaxProblem(
  error: YAMLError,
  document: Document,
  { yaml, text }: { yaml: Yaml; text: string },
): SyntaxProblem {
  const [offset] = error.pos;
  if (error.message.startsWith('Missing closing')) {
    const start = openQuote(document, yaml) ?? offset;
    return {
      offset: start,
      message: `expected a value, found a ${text.charAt(start)} that is never closed. Close the quote`,
    };
  }
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1;
  const line = text.slice(lineStart).split('\n', 1)[0] ?? '';
  const hint = unquoted(line);
  const { message, usual } = words(error, text.charAt(offset));
  return { offset, message: [message, hint ?? usual].filter((part) => part !== '').join('. ') };
}

/** What to do about an error; `usual` unless the line tells more. */
function words({ code, message }: YAMLError, found: string): { message: string; usual: string } {
  switch (code) {
    case 'TAB_AS_INDENT':
      return { message: 'expected spaces before a key, found a tab', usual: 'Indent with spaces' };
    case 'BAD_INDENT':
      return {
        message: 'expected what belongs together to start at the same column, found another indentation',
        usual: '',
      };
    case 'BLOCK_AS_IMPLICIT_KEY':
      return {
        message: 'expected one "key: value" in a line, found a second ": "',
        usual: 'Put a text with ": " in it in quotes',
      };
    case 'MULTILINE_IMPLICIT_KEY':
      return { message: 'expected "key: value", found a line without ": "', usual: '' };
    case 'BAD_SCALAR_START':
      return { message: `expected a value, found one that starts with ${found}`, usual: 'Put it in quotes' };
    case 'UNEXPECTED_TOKEN':
      return {
        message: `expected the end of the value, found ${JSON.stringify(found)} after it`,
        usual: 'Put a text like this in quotes',
      };
    case 'MISSING_CHAR':
      if (message.startsWith('Implicit'))
        return { message: 'expected "key: value", found a line without ": "', usual: '' };
      if (message.includes(' between flow '))
        return { message: `expected a , between the items of { } or [ ], found ${JSON.stringify(found)}`, usual: '' };
      break;
    default:
  }
  return { message: `expected YAML, found this: ${message}`, usual: '' };
}

/** Values that mean something else to YAML where they stand without quotes. */
function unquoted(line: string): string | null {
  const bare = line.replace(/"[^"]*"|'[^']*'/g, '');
  if (/[{[,].*\$\{/.test(bare)) return 'Within { } and [ ] put ${VAR} in quotes: "${VAR}"';
  if (/\[[\da-f]*:[\da-f:]*\]:\d/i.test(bare)) return 'Put an IPv6 address in quotes: "[::1]:8000"';
  return null;
}

/** Where the last quoted text starts: it is the one that runs to the end of the file. */
function openQuote(document: Document, { visit }: Yaml): number | null {
  let start: number | null = null;
  visit(document, {
    Scalar(_key, node) {
      if (node.type?.startsWith('QUOTE') && node.range) [start] = node.range;
    },
  });
  return start;
}
