/** This product, as it was built: a copy of dist, so that a build meanwhile changes nothing. Started from a config file. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../processes.mjs';

let bin = '';

function prepare(place) {
  const copy = join(place.dir, 'product');
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  for (const part of ['bin', 'dist', 'package.json'])
    cpSync(join(place.root, part), join(copy, part), { recursive: true });
  bin = join(copy, 'bin/supervise.js');
  return { version: JSON.parse(readFileSync(join(copy, 'package.json'), 'utf8')).version };
}

/** As under systemd: the directories are given, stdout and stderr go somewhere. */
function surroundings(dir) {
  const directories = { RUNTIME_DIRECTORY: join(dir, 'run'), STATE_DIRECTORY: join(dir, 'state') };
  for (const path of Object.values(directories)) mkdirSync(path, { mode: 0o700 });
  return directories;
}

function launch({ dir, count, program }, app) {
  const config = join(dir, 'supervise.yaml');
  // The script never listens, so it would not be ready in time: as a queue worker it has to say what ready means.
  const worker = { [app]: program, workers: count, ...(app === 'script' && { ready: 'spawned' }) };
  writeFileSync(config, JSON.stringify({ name: 'bench', apps: { worker } }));
  return { argv: [process.execPath, bin, 'start', '-c', config], env: surroundings(dir) };
}

export const supervise = { name: 'supervise', prepare, launch: (what) => launch(what, 'command') };

/** The same with a Node script, which runs under node:cluster. */
export const superviseScript = {
  name: 'supervise, script',
  prepare: () => ({ version: '' }),
  launch: (what) => launch({ ...what, program: what.script }, 'script'),
};

/** The same without a config file. */
export const superviseFlags = {
  name: 'supervise, flags',
  prepare: () => ({ version: '' }),
  launch: ({ dir, count, program }) => ({
    argv: [process.execPath, bin, 'start', '--name', 'bench', '-w', String(count), '--', program],
    env: surroundings(dir),
  }),
};

/** With a server: `app` makes its part of the config from what is launched. */
export function superviseServer(name, app) {
  return {
    name,
    prepare: () => ({ version: '' }),
    launch: (what) => {
      const config = join(what.dir, 'supervise.yaml');
      const web = { workers: what.count, ...app(what) };
      writeFileSync(config, JSON.stringify({ name: 'bench', apps: { web } }));
      const argv = [process.execPath, bin, 'start', '-c', config];
      const reload = (running) => command([process.execPath, bin, 'reload', '-c', config], running);
      return { argv, env: surroundings(what.dir), reload };
    },
  };
}

/** A Node server on our socket. */
export const nodeApp = ({ server, port }) => ({ script: server, env: { PORT: port }, listen: [`127.0.0.1:${port}`] });

/** An ASGI application on our socket. */
export const uvicornApp = ({ programs, port, asgi }) => ({
  command: `uvicorn ${asgi} --fd {fd} --log-level warning`,
  env: { PYTHONPATH: programs, PYTHONDONTWRITEBYTECODE: '1' },
  listen: [`127.0.0.1:${port}`],
});

/** For what a reload loses. The canary is none: no peer waits to see whether the new workers stay. */
const reload = { canary: '0s' };
export const superviseNode = superviseServer('supervise, Node', (what) => ({ ...nodeApp(what), reload }));
export const superviseUvicorn = superviseServer('supervise, uvicorn', (what) => ({ ...uvicornApp(what), reload }));
