// A small "migration": brings a JSON file to the newest version, step by step, and says what it did.
// Running it twice changes nothing, but supervise runs it once anyway: before the first worker.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = process.env.DATABASE_FILE ?? fileURLToPath(new URL('shop.db', import.meta.url));

const steps = [
  (data) => ({ ...data, products: [] }),
  (data) => ({ ...data, products: data.products.map((product) => ({ price: 0, ...product })) }),
];

const data = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { version: 0 };
const pending = steps.slice(data.version);
let migrated = data;
for (const step of pending) {
  migrated = { ...step(migrated), version: migrated.version + 1 };
  console.log(`migrated ${file} to version ${migrated.version}`);
}
if (pending.length === 0) console.log(`${file} is at version ${data.version}: nothing to do`);
writeFileSync(`${file}.new`, JSON.stringify(migrated));
renameSync(`${file}.new`, file);
