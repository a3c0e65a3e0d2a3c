/** Walks through the schema: what a key stands for, which scalars a place accepts, which keys a map knows. */
import type * as z from 'zod/mini';
import { isCommandPart } from './fields.ts';
import type { Path } from './tree.ts';

type Schema = z.core.$ZodType;

/** zod's description of a schema, as a union that `type` tells apart. */
function defOf(schema: Schema): z.core.$ZodTypes['_zod']['def'] {
  return (schema as z.core.$ZodTypes)._zod.def;
}

/** The schema below optional, nullable and default. */
export function unwrapped(schema: Schema): Schema {
  const def = defOf(schema);
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
      return unwrapped(def.innerType);
    default:
      return schema;
  }
}

/** Whether null is a value of its own here. */
function isNullable(schema: Schema): boolean {
  const def = defOf(schema);
  if (def.type === 'nullable') return true;
  return (def.type === 'optional' || def.type === 'default' || def.type === 'prefault') && isNullable(def.innerType);
}

/** The alternatives that `schema` stands for: itself, or the options of a union, all of them unwrapped. */
function alternatives(schema: Schema): readonly Schema[] {
  const inner = unwrapped(schema);
  const def = defOf(inner);
  return def.type === 'union' ? def.options.flatMap(alternatives) : [inner];
}

/** The schema of the child `key` of a map or list that `schema` describes; null where the schema knows none. */
export function childOf(schema: Schema, kind: 'map' | 'list', key: string | number): Schema | null {
  for (const option of alternatives(schema)) {
    const def = defOf(option);
    if (def.type === 'any') return option;
    if (kind === 'list' && def.type === 'array') return def.element;
    if (kind === 'map' && def.type === 'record') return def.valueType;
    if (kind === 'map' && def.type === 'object') return Object.hasOwn(def.shape, key) ? (def.shape[key] ?? null) : null;
  }
  return null;
}

export type Primitive = 'string' | 'number' | 'boolean' | 'null' | 'any' | 'command';

/** The kinds of scalars that `schema` accepts; `command` where it is expanded word by word, later. */
export function primitivesOf(schema: Schema): ReadonlySet<Primitive> {
  const found = new Set<Primitive>(isNullable(schema) ? ['null'] : []);
  for (const option of alternatives(schema)) {
    const { type } = defOf(option);
    if (isCommandPart(option)) found.add('command');
    if (type === 'string' || type === 'enum') found.add('string');
    if (type === 'any' || type === 'number' || type === 'boolean') found.add(type);
  }
  return found;
}

/** The keys of the map that `schema` describes, among others perhaps. */
function shapeOf(schema: Schema): Readonly<Record<string, Schema>> {
  for (const option of alternatives(schema)) {
    const def = defOf(option);
    if (def.type === 'object') return def.shape;
  }
  return {};
}

/** The names of the keys of the map at `path`. */
export function keysAt(root: Schema, path: Path): readonly string[] {
  let schema: Schema | null = root;
  for (const step of path)
    schema = schema === null ? null : childOf(schema, typeof step === 'number' ? 'list' : 'map', step);
  return schema === null ? [] : Object.keys(shapeOf(schema));
}

/** Every place of the schema, NAME standing for a name of the user's own: `apps.NAME.stop.timeout`. */
export function keyPaths(schema: Schema, prefix = ''): readonly string[] {
  const below = Object.entries(shapeOf(schema)).flatMap(([key, child]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    return [path, ...keyPaths(child, path)];
  });
  for (const option of alternatives(schema)) {
    const def = defOf(option);
    if (def.type === 'record') below.push(...keyPaths(def.valueType, `${prefix}.NAME`));
    if (def.type === 'array') below.push(...keyPaths(def.element, `${prefix}[]`));
  }
  return below;
}
