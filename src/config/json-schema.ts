/**
 * The JSON Schema of the config, for editors: schema/config.schema.json. `npm run schema` writes it.
 *
 * It accepts `${VAR}` wherever a variable may stand, and no key that is refused as "not supported yet".
 */
import * as z from 'zod/mini';
import { configSchema } from './schema.ts';

type JsonSchema = z.core.JSONSchema.BaseSchema;

const variable = { type: 'string', pattern: String.raw`\$\{[A-Za-z_]` } as const;

/** Makes the JSON Schema (draft 2020-12). */
export function configJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema, path }) => {
      if (path.at(-1) !== 'propertyNames') acceptVariables(jsonSchema);
    },
  });
  return {
    $schema,
    title: 'Config of supervise',
    description: 'Apps, their workers and the hooks around them. Every text may contain ${VAR} or ${VAR:-default}.',
    ...schema,
  };
}

/** Lets a variable stand where a number, a word of a list or a pattern is asked for. */
function acceptVariables(schema: JsonSchema): void {
  if (schema.anyOf !== undefined) {
    // an option that allows nothing only exists to explain what comes later
    const useful = schema.anyOf.filter((option) => typeof option !== 'object' || option.enum?.length !== 0);
    const [only] = useful;
    if (useful.length > 1) schema.anyOf = useful;
    else {
      delete schema.anyOf;
      Object.assign(schema, only);
    }
    return;
  }
  const { type, pattern, enum: options } = schema;
  const isStrict = type !== 'string' || pattern !== undefined || options !== undefined;
  if (type === undefined || type === 'object' || type === 'array' || !isStrict || options?.length === 0) return;
  const kept: Record<string, unknown> = {};
  for (const key of ['description', 'default', '$ref', 'id'] as const) if (key in schema) kept[key] = schema[key];
  const strict: Record<string, unknown> = {};
  for (const key of Object.keys(schema)) {
    if (!(key in kept)) strict[key] = schema[key];
    delete schema[key];
  }
  Object.assign(schema, kept, { anyOf: [strict, variable] });
}
