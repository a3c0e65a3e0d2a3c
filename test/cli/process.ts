/** The command line as a process of its own, in a directory and a runtime directory of the test. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { serve } from '../../src/control/server.ts';
import type { ControlServer } from '../../src/control/server.ts';
import { FakeLogs, FakeMaster, someUsage } from '../control/fake-master.ts';

export interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export class Stage {
  readonly directory: string;
  /** A name that no other master has. */
  readonly name: string;
  readonly #launcher: string;

  constructor(test: TestContext) {
    this.directory = mkdtempSync(join(tmpdir(), 'supervise-cli-'));
    this.name = this.directory.slice(this.directory.lastIndexOf('/') + 1);
    this.#launcher = join(this.directory, 'supervise.mjs');
    const main = new URL('../../src/cli/main.js', import.meta.url).href;
    writeFileSync(this.#launcher, `import { main } from ${JSON.stringify(main)};\nawait main();\n`);
    test.after(() => rmSync(this.directory, { recursive: true, force: true }));
  }

  socketPath(name = this.name): string {
    const runtime = join(this.directory, 'supervise', name);
    mkdirSync(runtime, { recursive: true, mode: 0o700 });
    return join(runtime, 'control.sock');
  }

  /** A fake master that is found by its name. */
  async serve(
    test: TestContext,
    name = this.name,
  ): Promise<{ master: FakeMaster; logs: FakeLogs; server: ControlServer }> {
    const master = new FakeMaster();
    const logs = new FakeLogs();
    master.name = name;
    const server = await serve({ master, logs, reread: null, own: someUsage, socketPath: this.socketPath(name) });
    test.after(() => server.close());
    return { master, logs, server };
  }

  start(argv: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const { RUNTIME_DIRECTORY: _runtime, STATE_DIRECTORY: _state, ...inherited } = process.env;
    return spawn(process.execPath, [this.#launcher, ...argv], {
      cwd: this.directory,
      env: { ...inherited, XDG_RUNTIME_DIR: this.directory, XDG_STATE_HOME: this.directory, NO_COLOR: '1', ...env },
    });
  }

  run(...argv: readonly string[]): Promise<Result> {
    return resultOf(this.start(argv));
  }

  /** Means this stage's master. */
  ask(...argv: readonly string[]): Promise<Result> {
    return this.run(...argv, '--name', this.name);
  }
}

export function resultOf(child: ChildProcess): Promise<Result> {
  const text = { out: '', err: '' };
  child.stdout?.on('data', (piece: Buffer) => (text.out += piece.toString('utf8')));
  child.stderr?.on('data', (piece: Buffer) => (text.err += piece.toString('utf8')));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...text }));
  });
}
