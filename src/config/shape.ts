/** Walks through the schema: what a key stands for, which scalars a place accepts, which keys a map knows. */
import * as z from 'zod';
import { isCommandPart } from './fields.ts';
import type { Path } from './tree.ts';

/** The schema below optional, nullable and default. */
export function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  while (
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodNullable ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault
  ) {
    inner = inner._zod.def.innerType;
  }
  return inner;
}

/** The alternatives that `schema` stands for: itself, or the options of a union, all of them unwrapped. */
function alternatives(schema: z.core.$ZodType): readonly z.core.$ZodType[] {
  const inner = unwrapped(schema);
  return inner instanceof z.ZodUnion ? inner._zod.def.options.flatMap(alternatives) : [inner];
}

/** The schema of the child `key` of a map or list that `schema` describes; null where the schema knows none. */
export function childOf(schema: z.core.$ZodType, kind: 'map' | 'list', key: string | number): z.core.$ZodType | null {
  for (const option of alternatives(schema)) {
    if (option instanceof z.ZodAny) return option;
    if (kind === 'list' && option instanceof z.ZodArray) return option._zod.def.element;
    if (kind === 'map' && option instanceof z.ZodRecord) return option._zod.def.valueType;
    if (kind === 'map' && option instanceof z.ZodObject) {
      const shape: Readonly<Record<string, z.core.$ZodType>> = option._zod.def.shape;
      return Object.hasOwn(shape, key) ? (shape[key] ?? null) : null;
    }
  }
  return null;
}

export type Primitive = 'string' | 'number' | 'boolean' | 'null' | 'any' | 'command';

/** The kinds of scalars that `schema` accepts; `command` where it is expanded word by word, later. */
export function primitivesOf(schema: z.core.$ZodType): ReadonlySet<Primitive> {
  const found = new Set<Primitive>();
  for (let outer = schema; outer !== unwrapped(outer); outer = innerOf(outer)) if (outer instanceof z.ZodNullable) found.add('null');
  for (const option of alternatives(schema)) {
    if (isCommandPart(option)) found.add('command');
    if (option instanceof z.ZodAny) found.add('any');
    if (option instanceof z.ZodString || option instanceof z.ZodEnum) found.add('string');
    if (option instanceof z.ZodNumber) found.add('number');
    if (option instanceof z.ZodBoolean) found.add('boolean');
  }
  return found;
}

function innerOf(schema: z.core.$ZodType): z.core.$ZodType {
  const { innerType } = schema._zod.def as { innerType?: z.core.$ZodType };
  return innerType ?? schema;
}

/** The names of the keys of the map at `path`. */
export function keysAt(root: z.core.$ZodType, path: Path): readonly string[] {
  let schema: z.core.$ZodType | null = root;
  for (const step of path) schema = schema === null ? null : childOf(schema, typeof step === 'number' ? 'list' : 'map', step);
  const map = schema === null ? undefined : alternatives(schema).find((option) => option instanceof z.ZodObject);
  return map instanceof z.ZodObject ? Object.keys(map._zod.def.shape) : [];
}

/** Every place of the schema, NAME standing for a name of the user's own: `apps.NAME.stop.timeout`. */
export function keyPaths(schema: z.core.$ZodType, prefix = ''): readonly string[] {
  const found = new Set<string>();
  for (const option of alternatives(schema)) {
    if (option instanceof z.ZodObject) {
      for (const [key, child] of Object.entries<z.core.$ZodType>(option._zod.def.shape)) {
        const path = prefix === '' ? key : `${prefix}.${key}`;
        found.add(path);
        for (const below of keyPaths(child, path)) found.add(below);
      }
    }
    if (option instanceof z.ZodRecord) for (const below of keyPaths(option._zod.def.valueType, `${prefix}.NAME`)) found.add(below);
    if (option instanceof z.ZodArray) for (const below of keyPaths(option._zod.def.element, `${prefix}[]`)) found.add(below);
  }
  return [...found];
}
