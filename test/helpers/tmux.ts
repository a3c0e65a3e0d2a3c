/** A real terminal: a tmux server of its own with one pane, its keys and its picture. It is ended by its pid. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { isAlive } from './e2e-proc.ts';
import { bin, until, type Site } from './e2e-site.ts';

const run = promisify(execFile);

/** null where tmux is not installed. */
export async function tmuxVersion(): Promise<string | null> {
  return run('tmux', ['-V']).then(
    ({ stdout }) => stdout.trim(),
    () => null,
  );
}

export class Tmux {
  readonly #socket = `supervise-test-${randomUUID()}`;
  readonly #site: Site;
  /** Of the server and of the shell. */
  #pids: readonly number[] = [];
  #socketFile = '';

  private constructor(site: Site) {
    this.#site = site;
  }

  /** A shell in a pane of this size, with the site's environment and a prompt of `$ `. */
  static async open(t: TestContext, site: Site, size = '80x24'): Promise<Tmux> {
    const tmux = new Tmux(site);
    const [columns = '', rows = ''] = size.split('x');
    const env = { ...site.env, TERM: 'screen-256color', LC_ALL: 'C.UTF-8', PS1: '$ ', HISTFILE: '' };
    const rc = Object.entries(env).map(([name, value]) => `export ${name}='${value}'`);
    rc.push(
      `supervise() { '${process.execPath}' '${bin}' "$@"; }`,
      'export -f supervise',
      'unset CI NO_COLOR FORCE_COLOR',
    );
    const file = site.write('rc', `${rc.join('\n')}\n`);
    await tmux.#ask(
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      '-x',
      columns,
      '-y',
      rows,
      '-c',
      site.dir,
      // It ends by itself when its test was killed, and with it the server.
      `exec timeout --foreground 300 bash --noprofile --rcfile ${file} -i`,
    );
    tmux.#pids = (await tmux.#ask('display-message', '-p', '#{pid} #{pane_pid}')).split(' ').map(Number);
    tmux.#socketFile = await tmux.fact('socket_path');
    t.after(() => tmux.end());
    await tmux.shows('the prompt', /^\$/m);
    return tmux;
  }

  /** Ends the server, and with it the shell; waits until both are gone. Again does nothing. */
  async end(): Promise<void> {
    const [server] = this.#pids;
    if (server !== undefined && isAlive(server)) process.kill(server, 'SIGTERM');
    await until('the end of tmux', () => !this.#pids.some(isAlive));
    this.#pids = [];
    rmSync(this.#socketFile, { force: true });
  }

  async #ask(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('tmux', ['-L', this.#socket, ...args], {
      env: { ...process.env, TERM: 'xterm', LC_ALL: 'C.UTF-8' },
    });
    return stdout.trimEnd();
  }

  /** Keys by tmux's names: `Enter`, `C-c`, `Down`, `y`. */
  async keys(...keys: readonly string[]): Promise<void> {
    await this.#ask('send-keys', ...keys);
  }

  /** Types a command line and sends it. */
  async types(text: string): Promise<void> {
    await this.#ask('send-keys', '-l', text);
    await this.keys('Enter');
  }

  async resize(size: string): Promise<void> {
    const [columns = '', rows = ''] = size.split('x');
    await this.#ask('resize-window', '-x', columns, '-y', rows);
  }

  picture(...how: readonly string[]): Promise<string> {
    return this.#ask('capture-pane', '-p', ...how);
  }

  /** `alternate_on`, `cursor_flag`, `pane_current_command`, ... of the pane. */
  fact(name: string): Promise<string> {
    return this.#ask('display-message', '-p', `#{${name}}`);
  }

  /** The first picture that fits. */
  async shows(what: string, pattern: RegExp): Promise<RegExpExecArray> {
    let last = '';
    const look = async () => pattern.exec((last = await this.picture()));
    return until(`the terminal shows ${what}`, look, 30_000).catch((error: Error) => {
      throw new Error(`${error.message}\n${last}`, { cause: error });
    });
  }

  /** The shell has the terminal again: main screen, cursor, echo, and what it was there before. */
  async isGivenBack(): Promise<void> {
    await until('the main screen', async () => (await this.fact('alternate_on')) === '0');
    // What is typed before would be read by the program that is about to end.
    await until('the shell', async () => (await this.fact('pane_current_command')) === 'bash');
    assert.equal(await this.fact('cursor_flag'), '1', 'the cursor is hidden');
    assert.equal(await this.fact('wrap_flag'), '1', 'lines do not wrap');
    const file = this.#site.path(`stty-${randomUUID()}`);
    writeFileSync(file, '');
    await this.types(`stty -a > ${file}`);
    const stty = await until('stty', () => /[\s;](-?echo) [^]*/.exec(readFileSync(file, 'utf8')));
    assert.match(stty[0], /[\s;]echo /);
    assert.match(stty.input, / icanon /);
    assert.match(stty.input, /isig /);
    assert.match(stty.input, / icrnl /);
  }

  /** All bytes that the pane gets from now on go to a file. */
  async records(file: string): Promise<void> {
    await this.#ask('pipe-pane', `exec cat >> ${file}`);
  }
}
