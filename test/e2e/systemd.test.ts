/**
 * The unit of examples/systemd under a real systemd, booted in namespaces of its own: what systemctl shows is what counts.
 * One boot tells the whole story (test/fixtures/systemd/story.sh); each of its promises is a test here.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

const root = process.cwd();
const fixtures = join(root, 'test/fixtures/systemd');
const script = join(fixtures, 'story.sh');
const masters = ['shop', 'bad', 'nobody', 'plain'];
const lacking = whatIsLacking();

function whatIsLacking(): string | false {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root, to make namespaces';
  for (const path of ['/lib/systemd/systemd', '/usr/bin/setpriv', '/usr/bin/unshare', '/usr/bin/curl'])
    if (!existsSync(path)) return `needs ${path}`;
  return existsSync('/sys/fs/cgroup') ? false : 'needs cgroups';
}

const config = (port: number, workers: number) => `
hooks:
  pre_start:
    - command: sh -c 'echo migrated >> migrations.log'
      cwd: /app
apps:
  web:
    script: server.mjs
    cwd: /app
    workers: ${workers}
    listen: ["127.0.0.1:${port}"]
    env: {PORT: "${port}"}
    reload: {canary: 100ms}
`;

const withoutHook = (port: number) => config(port, 1).replace(/hooks:[^]*apps:/, 'apps:');

/** The files of the guest: /app with the server, the config files, and the units, made from the example's. */
function prepare(dir: string): { units: string; app: string; etc: string; bin: string } {
  const [units, app, etc, bin] = ['units', 'app', 'etc', 'bin'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const made of [units, app, etc, bin]) mkdirSync(made, { mode: 0o755 });
  cpSync(join(fixtures, 'server.mjs'), join(app, 'server.mjs'));
  writeFileSync(join(app, 'shop.yaml'), config(8080, 3));
  writeFileSync(join(app, 'bad.yaml'), 'apps: {web: {comand: x}}\n');
  writeFileSync(join(app, 'nobody.yaml'), withoutHook(8081));
  writeFileSync(join(app, 'plain.yaml'), withoutHook(8082));
  for (const name of masters) symlinkSync(`/app/${name}.yaml`, join(etc, `${name}.yaml`));
  symlinkSync('/project/bin/supervise.js', join(bin, 'supervise'));
  const unit = readFileSync(join(root, 'examples/systemd/supervise.service'), 'utf8');
  for (const name of masters) {
    writeFileSync(join(units, `${name}.service`), unit);
    mkdirSync(join(units, `${name}.service.d`));
    const more =
      name === 'nobody' ? 'User=nobody\n' : name === 'plain' ? 'InaccessiblePaths=/project/node_modules/koffi\n' : '';
    writeFileSync(
      join(units, `${name}.service.d/path.conf`),
      `[Service]\n${more}Environment=PATH=/guest-bin:/usr/sbin:/usr/bin:/sbin:/bin\n`,
    );
  }
  return { units, app, etc, bin };
}

describe('under systemd', { skip: lacking }, () => {
  const names = [...readFileSync(script, 'utf8').matchAll(/^promise '([^']+)'/gm)].map((match) => match[1]!);
  const dir = mkdtempSync('/tmp/supervise-guest-');
  after(() => rmSync(dir, { recursive: true, force: true }));
  let told: Map<string, string> | null = null;
  const story = () => {
    if (told) return told;
    spawnSync('chmod', ['0755', dir]);
    const { units, app, etc, bin } = prepare(dir);
    const binds = [`${root}:/project`, `${app}:/app`, `${etc}:/etc/supervise`, `${bin}:/guest-bin`];
    const run = spawnSync(join(fixtures, 'boot.sh'), [units, script, '150', ...binds], { encoding: 'utf8' });
    const lines = run.stdout.split('\n').flatMap((line) => {
      const match = /^(ok|not ok) ([^:]+?)(?:: (.*))?$/.exec(line);
      return match ? [[match[2]!, match[1] === 'ok' ? 'ok' : match[3]!] as const] : [];
    });
    told = new Map(lines);
    assert.equal(run.status, 0, `the guest ended with ${run.status}:\n${run.stdout}\n${run.stderr}`);
    return told;
  };
  for (const name of names) test(name, () => assert.equal(story().get(name) ?? 'the story did not get so far', 'ok'));
});
