/**
 * Where the built preload for scripts lies, which depends on how this code itself was built.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The words of a script, with the preload (src/worker/preload.ts) before it. */
export function withPreload([node = '', ...words]: readonly string[]): string[] {
  return [node, '--import', preloadUrl(), ...words];
}

let foundPreload: string | null = null;

/** The built preload: beside dist/chunks and dist/cli, beside dist/index.mjs, or as tsc has compiled it. */
function preloadUrl(): string {
  if (foundPreload !== null) return foundPreload;
  const places = ['../worker/preload.mjs', './worker/preload.mjs', '../../worker/preload.js'].map(
    (place) => new URL(place, import.meta.url),
  );
  const found = places.find((place) => existsSync(fileURLToPath(place)));
  if (found === undefined)
    throw new Error(`the preload for scripts is missing, expected at ${places[0]?.pathname}: reinstall supervise`);
  foundPreload = found.href;
  return foundPreload;
}
