/** Writes schema/config.schema.json from the built code: `npm run build && npm run schema`. A test fails when it is stale. */
import { writeFileSync } from 'node:fs';
import { configJsonSchema } from '../build/src/config/json-schema.js';

const file = new URL('../schema/config.schema.json', import.meta.url);
writeFileSync(file, `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
