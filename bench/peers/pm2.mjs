/** pm2, installed for the bench alone. Its daemon is started by the first command, as a cold start does. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { command } from '../processes.mjs';

let bin = '';

function prepare(place) {
  const dir = join(place.cache, 'pm2');
  bin = join(dir, 'node_modules/pm2/bin/pm2');
  if (!existsSync(bin)) {
    const npm = spawnSync(
      'npm',
      ['install', '--prefix', dir, '--no-audit', '--no-fund', '--no-package-lock', 'pm2@7'],
      { encoding: 'utf8' },
    );
    if (npm.status !== 0) return { skip: 'npm could not install pm2@7' };
  }
  return { version: JSON.parse(readFileSync(join(dir, 'node_modules/pm2/package.json'), 'utf8')).version };
}

/** The command ends, its daemon stays. @returns its pid, or null before there is one */
function daemonOf(home) {
  const file = join(home, 'pm2.pid');
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : null;
}

function launch({ dir, count, program }, mode) {
  const file = join(dir, 'ecosystem.json');
  const kind = mode === 'fork' ? { interpreter: 'none' } : {};
  writeFileSync(
    file,
    JSON.stringify({ apps: [{ name: 'worker', script: program, instances: count, exec_mode: mode, ...kind }] }),
  );
  const env = { PM2_HOME: join(dir, 'pm2'), PM2_DISABLE_VERSION_CHECK: 'true' };
  return {
    argv: [process.execPath, bin, 'start', file],
    env,
    root: () => daemonOf(env.PM2_HOME),
    stop: [process.execPath, bin, 'kill'],
  };
}

export const pm2 = { name: 'pm2', prepare, launch: (what) => launch(what, 'fork') };

export const pm2Cluster = {
  name: 'pm2 cluster',
  prepare: () => (existsSync(bin) ? { version: '' } : { skip: 'pm2 is not there' }),
  launch: (what) => launch({ ...what, program: what.script }, 'cluster'),
};

/** A server under pm2's cluster mode, for what a reload loses. */
export const pm2Reload = {
  name: 'pm2 cluster',
  prepare,
  launch: ({ dir, count, server, port }) => {
    const file = join(dir, 'ecosystem.json');
    const app = { name: 'web', script: server, instances: count, exec_mode: 'cluster', env: { PORT: String(port) } };
    writeFileSync(file, JSON.stringify({ apps: [app] }));
    const env = { PM2_HOME: join(dir, 'pm2'), PM2_DISABLE_VERSION_CHECK: 'true' };
    return {
      argv: [process.execPath, bin, 'start', file],
      env,
      root: () => daemonOf(env.PM2_HOME),
      stop: [process.execPath, bin, 'kill'],
      reload: (running) => command([process.execPath, bin, 'reload', 'web'], running),
    };
  },
};
