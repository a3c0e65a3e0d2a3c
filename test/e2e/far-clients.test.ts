/** Workers that are stopped while handshakes of clients far away are under way: every connection is answered. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { resolve } from 'node:path';
import { Site, until } from '../helpers/e2e-site.ts';

const uvicorn = '/usr/bin/uvicorn';
const skip =
  process.platform !== 'linux' || process.getuid?.() !== 0
    ? 'needs root, for a network of its own'
    : !existsSync(uvicorn) && `${uvicorn} is not installed`;
const address = '10.123.45.1';
const port = 8000;
const farMac = '02:00:00:00:00:02';
const network = [
  'ip link set lo up',
  `ip link add near type veth peer name far address ${farMac}`,
  `ip addr add ${address}/24 dev near`,
  'ip link set near up',
  'ip link set far up',
  `ip neigh add ${address.replace(/1$/, '2')} lladdr ${farMac} dev near nud permanent`,
  'echo network',
  'exec sleep 1000',
].join(' && ');

const children: ChildProcess[] = [];
after(() => children.forEach((child) => child.kill('SIGKILL')));

/** Runs a program, and answers its lines of output as they come. */
function run(
  argv: readonly string[],
  env: Record<string, string>,
  cwd: string,
): { child: ChildProcess; lines: string[] } {
  const [file = '', ...words] = argv;
  const child = spawn(file, words, { env, cwd, stdio: ['pipe', 'pipe', 'ignore'] });
  children.push(child);
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines };
}

for (const words of [
  ['scale', 'web', '1'],
  ['reload', 'web'],
]) {
  test(`${words.join(' ')}: the connections of far clients are answered`, { skip }, async (t) => {
    const site = new Site(t);
    const holder = run(['unshare', '-n', 'sh', '-c', network], site.env, site.dir);
    await until('the network is there', () => holder.lines.includes('network'));
    const inside = ['nsenter', `--net=/proc/${holder.child.pid}/ns/net`];
    site.config({
      apps: {
        web: {
          command: `${uvicorn} --app-dir ${resolve('test/fixtures/stall')} --log-level warning asgi:app --fd {fd}`,
          workers: 2,
          listen: [`${address}:${port}`],
          reload: { canary: '0s' },
        },
      },
    });
    const master = run([...inside, process.execPath, resolve('bin/supervise.js'), 'start'], site.env, site.dir);
    site.adopt(master.child.pid ?? 0);
    const isWhole = async (workers: number) => (await site.ok('status')).includes(` ${workers}/${workers} `);
    await until('both serve', () => isWhole(2).catch(() => false));

    const clients = run(
      [...inside, 'python3', resolve('test/fixtures/far-clients.py'), `${address}:${port}`, '0.25'],
      site.env,
      site.dir,
    );
    await until('the clients begin', () => clients.lines.length > 0);
    // Some are in each stage of their handshake from here on.
    await new Promise((done) => setTimeout(done, 1_000));
    await site.ok(...words);
    clients.child.stdin?.end();
    await until('the clients end', () => clients.lines.length > 1);
    const { connections, answered } = JSON.parse(clients.lines[1] ?? '') as { connections: number; answered: number };
    t.diagnostic(`${answered} of ${connections} connections answered`);
    assert.ok(connections > 100, `${connections} connections`);
    assert.equal(answered, connections);
    await site.ok('stop');
  });
}
