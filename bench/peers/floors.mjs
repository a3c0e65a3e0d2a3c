/** What the least possible program does: a loop around fork in C, and one around spawn in Node. */
import { join } from 'node:path';

export const forkLoop = {
  name: 'C fork loop',
  prepare: (place) => {
    place.compile('fork-loop');
    return { version: '' };
  },
  launch: ({ place, count, program }) => ({ argv: [join(place.dir, 'fork-loop'), String(count), program] }),
};

const spawnLoop = `
const { spawn } = require('node:child_process');
const start = () => { spawn(process.env.BENCH_PROGRAM, [], { stdio: ['ignore', 'inherit', 'inherit'] }).on('exit', start); };
for (let i = 0; i < Number(process.env.BENCH_COUNT); i++) start();
`;

export const nodeLoop = {
  name: 'node -e spawn',
  prepare: () => ({ version: process.version.slice(1) }),
  launch: () => ({ argv: [process.execPath, '-e', spawnLoop] }),
};
