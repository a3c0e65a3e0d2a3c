/**
 * Servers under this product and its peers, for the balance bench. `supervise` is what a user gets by default (steered).
 */
import { gunicornUvicorn, uvicornItself } from './debian.mjs';
import { pm2Reload } from './pm2.mjs';
import { nodeApp, superviseServer, uvicornApp } from './supervise.mjs';

/** A script that opens its port itself: node:cluster shares it. */
const clusterApp = ({ server, port }) => ({ script: server, env: { PORT: port } });

/** An unmodified Node server, in each way to share a port. */
export const nodeServers = [
  superviseServer('supervise, steered', (what) => ({ ...nodeApp(what), balance: 'steered' })),
  superviseServer('supervise, shared', (what) => ({ ...nodeApp(what), balance: 'shared' })),
  superviseServer('supervise, node:cluster, shared', clusterApp),
  superviseServer('supervise, node:cluster, round-robin', (what) => ({ ...clusterApp(what), balance: 'round-robin' })),
  pm2Reload,
];

export const uvicornServers = [
  superviseServer('supervise, steered', (what) => ({ ...uvicornApp(what), balance: 'steered' })),
  superviseServer('supervise, shared', (what) => ({ ...uvicornApp(what), balance: 'shared' })),
  gunicornUvicorn,
  uvicornItself('uvicorn --workers'),
];

/** One process, without anybody above it. */
export const alone = {
  Node: {
    name: 'node alone',
    prepare: () => ({ version: '' }),
    launch: ({ server, port }) => ({ argv: [process.execPath, server], env: { PORT: String(port) } }),
  },
  uvicorn: uvicornItself('uvicorn alone'),
};

const slowly = (app) => ({ ...app, env: { ...app.env, BENCH_BOOT_MS: '3000' } });

/** Four workers that take 3 s to boot, with a spare and without. */
export const slowBooters = [
  superviseServer('one spare', (what) => ({ ...slowly(uvicornApp(what)), spares: 1 })),
  superviseServer('no spare', (what) => slowly(uvicornApp(what))),
];
