/** The library face: what the CLI uses, and what a Node program can use instead of it. */
export { SuperviseError } from './core/errors.ts';
export type { Spec } from './core/spec.ts';
export { examine } from './assembly/examine.ts';
export { runHooks } from './assembly/run-hooks.ts';
export { start, type StartOptions } from './assembly/run-master.ts';
