/**
 * Runs the built command line in this process with the arguments given, and when it exits leaves beside the program
 * what V8 has compiled of it by then, for bin/supervise.js.
 */
import { writeFileSync } from 'node:fs';
import bin from '../bin/supervise.js';

const { main, script, cache } = bin.load();
process.on('exit', () => writeFileSync(cache, script.createCachedData()));
await main();
