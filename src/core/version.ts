/**
 * The package's version. The build puts it in from package.json; code that runs unbundled (tests) says so.
 */
declare const __VERSION__: string | undefined;

export const version: string = typeof __VERSION__ === 'string' ? __VERSION__ : '0.0.0-unbundled';
