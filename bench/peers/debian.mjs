/** Peers that come as packages of Debian. Where one is missing, root installs it; anybody else does without. */
import { mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { childrenOf } from '../processes.mjs';

const reloadWithinMs = 30_000;

/** @returns the version, or why the peer is skipped */
function packaged(name, program) {
  return (place) => {
    if (!place.find(program) && !install(name)) return { skip: `not installed: apt-get install ${name}` };
    const { stdout } = spawnSync('dpkg-query', ['-W', '-f=${Version}', name], { encoding: 'utf8' });
    return { version: stdout ? stdout.replace(/-[^-]*$/, '') : 'unknown' };
  };
}

/** @returns whether it is there now */
export function install(name) {
  if (process.getuid() !== 0) return false;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['install', '-y', '--no-install-recommends', name], { env }).status === 0;
}

export const supervisord = {
  name: 'supervisord',
  prepare: packaged('supervisor', 'supervisord'),
  launch: ({ place, dir, count, program }) => {
    const config = join(dir, 'supervisord.conf');
    writeFileSync(
      config,
      `
[supervisord]
nodaemon=true
minfds=4096
logfile=${dir}/supervisord.log
pidfile=${dir}/supervisord.pid
childlogdir=${dir}
user=${process.getuid() === 0 ? 'root' : ''}
[unix_http_server]
file=${dir}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:worker]
command=${program}
process_name=%(process_num)03d
numprocs=${count}
autorestart=true
`,
    );
    return { argv: [place.find('supervisord'), '-c', config] };
  },
};

export const gunicorn = {
  name: 'gunicorn',
  prepare: packaged('gunicorn', 'gunicorn'),
  launch: ({ place }) => ({
    argv: [place.find('gunicorn'), '-c', join(place.programs, 'gunicorn_conf.py'), 'gunicorn_conf:app'],
    env: { PYTHONDONTWRITEBYTECODE: '1' },
  }),
};

export const puma = {
  name: 'puma',
  prepare: packaged('puma', 'puma'),
  launch: ({ place }) => ({ argv: [place.find('puma'), '-C', join(place.programs, 'puma.rb')] }),
};

export const runit = {
  name: 'runit',
  prepare: packaged('runit', 'runsvdir'),
  launch: ({ place, dir, count, program }) => {
    const services = join(dir, 'services');
    for (let number = 0; number < count; number++) {
      mkdirSync(join(services, String(number)), { recursive: true });
      symlinkSync(program, join(services, String(number), 'run'));
    }
    // A folder that was changed within this second is looked at a second later.
    utimesSync(services, 0, 0);
    return { argv: [place.find('runsvdir'), services], stopSignal: 'SIGHUP' };
  },
};

/** gunicorn with uvicorn's workers, for what a reload (HUP) loses. It is over when no worker of before is left. */
export const gunicornUvicorn = {
  name: 'gunicorn, uvicorn workers',
  prepare: (place) => {
    const found = packaged('gunicorn', 'gunicorn')(place);
    return found.skip || uvicornIsThere(place) ? found : { skip: 'not installed: apt-get install uvicorn' };
  },
  launch: ({ place, programs, count, port, asgi }) => ({
    argv: [
      place.find('gunicorn'),
      ...['-k', 'uvicorn.workers.UvicornWorker', '-w', String(count), '-b', `127.0.0.1:${port}`, asgi],
    ],
    env: { PYTHONPATH: programs, PYTHONDONTWRITEBYTECODE: '1' },
    reload: async ({ pid }) => {
      const before = childrenOf(pid);
      process.kill(pid, 'SIGHUP');
      for (const untilMs = performance.now() + reloadWithinMs; performance.now() < untilMs; await sleep(20)) {
        const now = childrenOf(pid);
        if (now.length === count && !now.some((each) => before.includes(each))) return;
      }
      throw new Error(`the workers were not replaced within ${reloadWithinMs} ms`);
    },
  }),
};

/** uvicorn as its own master, or without one: `--workers 1` is a single process. */
export function uvicornItself(name) {
  return {
    name,
    prepare: packaged('uvicorn', 'uvicorn'),
    launch: ({ place, programs, count, port, asgi }) => ({
      argv: [
        place.find('uvicorn'),
        ...[asgi, '--workers', String(count), '--port', String(port), '--log-level', 'warning'],
      ],
      env: { PYTHONPATH: programs, PYTHONDONTWRITEBYTECODE: '1' },
    }),
  };
}

/** Whether uvicorn is there, or could be installed. */
export function uvicornIsThere(place) {
  return place.find('uvicorn') !== null || install('uvicorn');
}
