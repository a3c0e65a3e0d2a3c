/**
 * Reads YAML (JSON is YAML) into a tree with the place of every key and value. What YAML allows but no config needs is refused in words: tags, merge keys, keys that are no text,
 * several documents, and aliases that grow beyond all measure. The parser is loaded here only, when a file is read.
 */
import type { Document, LineCounter, Node, Pair } from 'yaml';
import type { Problems } from './problems.ts';
import {
  quoted,
  type Branch,
  type Entry,
  type Leaf,
  type List,
  type Origin,
  type Path,
  type Scalar,
  type Tree,
} from './tree.ts';
import { syntaxProblem } from './yaml-syntax.ts';

const maxNodes = 20_000;
const maxDepth = 50;

/** Where a file came from: `shown` is how the user named it. */
export interface Source {
  readonly shown: string;
  readonly text: string;
}

/** Parses a config. Reports everything that is wrong with the text itself; the answer is then null. */
export async function parseYaml(source: Source, problems: Problems): Promise<Branch | null> {
  const yaml = await import('yaml');
  const lines = new yaml.LineCounter();
  const [document, second] = yaml.parseAllDocuments(source.text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
  });
  const reader = new Reader(yaml, { source, lines, problems });
  const origin = reader.origin(0);
  if (document === undefined || !('contents' in document) || isNothing(document)) {
    problems.add(origin, [], 'expected a config, found an empty file. Start with apps: {web: {command: ...}}');
    return null;
  }
  const [syntax] = document.errors;
  if (syntax !== undefined) {
    const { offset, message } = syntaxProblem(syntax, document, { yaml, text: source.text });
    problems.add(reader.origin(offset), [], message);
    return null;
  }
  if (second !== undefined) {
    problems.add(
      reader.origin(second.range[0]),
      [],
      'expected one document, found a second one after ---. Keep each config in a file of its own',
    );
    return null;
  }
  const tree = reader.read(document);
  if (tree !== null && tree.kind !== 'map') {
    const found = tree.kind === 'list' ? 'a list' : quoted(String(tree.value));
    problems.add(tree.origin, [], `expected a map with keys such as name, hooks, apps, found ${found}`);
    return null;
  }
  return reader.failed ? null : tree;
}

function isNothing({ contents, errors }: Document): boolean {
  return (
    errors.length === 0 &&
    (contents === null || ('value' in contents && contents.value === null && contents.tag === undefined))
  );
}

interface Reading {
  readonly source: Source;
  readonly lines: LineCounter;
  readonly problems: Problems;
}

/** Turns the parser's nodes into a tree. */
class Reader {
  readonly #yaml: typeof import('yaml');
  readonly #reading: Reading;
  #document: Document | null = null;
  #nodes = 0;
  failed = false;

  constructor(yaml: typeof import('yaml'), reading: Reading) {
    this.#yaml = yaml;
    this.#reading = reading;
  }

  origin(offset: number): Origin {
    const { line, col } = this.#reading.lines.linePos(offset);
    return { kind: 'file', file: this.#reading.source.shown, line: Math.max(1, line), column: Math.max(1, col) };
  }

  read(document: Document): Tree | null {
    this.#document = document;
    return this.#tree(document.contents, [], 0);
  }

  #fail(offset: number, path: Path, message: string): null {
    if (!this.failed || this.#nodes <= maxNodes) this.#reading.problems.add(this.origin(offset), path, message);
    this.failed = true;
    return null;
  }

  #tree(node: unknown, path: Path, fallbackOffset: number): Tree | null {
    const { isAlias, isMap, isScalar, isSeq } = this.#yaml;
    if (node === null || node === undefined)
      return { kind: 'leaf', value: null, text: '', expanded: [], origin: this.origin(fallbackOffset) };
    const offset = (node as Node).range?.[0] ?? fallbackOffset;
    this.#nodes += 1;
    if (this.#nodes > maxNodes) return this.#tooMuch(offset);
    if (path.length > maxDepth)
      return this.#fail(offset, [], `expected at most ${maxDepth} levels, found more. Does an alias contain itself?`);
    if (isAlias(node)) {
      const target = this.#document === null ? undefined : node.resolve(this.#document);
      if (target !== undefined) return this.#tree(target, path, offset);
      return this.#fail(
        offset,
        path,
        `expected a value, found the alias *${node.source} without an anchor of that name. Quote a text that starts with *`,
      );
    }
    const { tag } = node as Node;
    if (tag !== undefined && !/^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/.test(tag)) {
      return this.#fail(offset, path, `expected a value, found the tag ${tag}. Quote a text that starts with !`);
    }
    if (isMap(node)) return this.#map(node.items as Pair<Node, Node | null>[], path, offset);
    if (isSeq(node)) return this.#list(node.items, path, offset);
    if (!isScalar(node)) return this.#fail(offset, path, 'expected a value');
    return this.#leaf(node, path, offset);
  }

  #tooMuch(offset: number): null {
    if (!this.failed)
      this.#fail(offset, [], `expected at most ${maxNodes} values, found more, aliases (*) counted each time`);
    this.failed = true;
    return null;
  }

  #leaf(node: { value: unknown; source?: string }, path: Path, offset: number): Leaf | null {
    const { value } = node;
    const isPlain = value === null || ['string', 'number', 'boolean'].includes(typeof value);
    if (!isPlain)
      return this.#fail(offset, path, `expected a text, a number, true or false, found ${quoted(String(value))}`);
    const text = typeof value === 'string' ? value : (node.source ?? String(value ?? ''));
    return { kind: 'leaf', value: value as Scalar, text, expanded: [], origin: this.origin(offset) };
  }

  #list(items: readonly unknown[], path: Path, offset: number): List {
    const trees = items.map((item, index) => this.#tree(item, [...path, index], offset));
    return { kind: 'list', items: trees.filter((tree) => tree !== null), origin: this.origin(offset) };
  }

  #map(pairs: readonly Pair<Node, Node | null>[], path: Path, offset: number): Branch {
    const entries = new Map<string, Entry>();
    for (const { key, value } of pairs) {
      if (this.#nodes > maxNodes) break;
      const keyOffset = key?.range?.[0] ?? offset;
      const name = this.#key(key, path, keyOffset);
      if (name === null) continue;
      const keyOrigin = this.origin(keyOffset);
      const earlier = entries.get(name)?.keyOrigin;
      if (earlier?.kind === 'file') {
        this.#fail(
          keyOffset,
          path,
          `expected each key once, found ${quoted(name)} again. It stands in line ${earlier.line} already`,
        );
        continue;
      }
      const tree = this.#tree(value, [...path, name], key?.range?.[2] ?? keyOffset);
      if (tree !== null) entries.set(name, { keyOrigin, value: tree });
    }
    return { kind: 'map', entries, origin: this.origin(offset) };
  }

  #key(key: Node | null, path: Path, offset: number): string | null {
    const { isScalar } = this.#yaml;
    if (key === null || (isScalar(key) && key.value === null))
      return this.#fail(offset, path, 'expected a key before the :, found nothing');
    if (!isScalar(key)) {
      return this.#fail(
        offset,
        path,
        'expected a text as key, found something else. Put braces of your own, as in "{fd}", in quotes',
      );
    }
    const name = typeof key.value === 'string' ? key.value : (key.source ?? String(key.value));
    if (name === '<<')
      return this.#fail(offset, path, 'expected a key, found <<. Merge keys are not supported: write the keys out');
    if (name === '__proto__') return this.#fail(offset, path, 'expected a key, found __proto__, which cannot be one');
    return name;
  }
}
