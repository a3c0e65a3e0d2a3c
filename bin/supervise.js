#!/usr/bin/env node
import { existsSync } from 'node:fs';

const program = new URL('../dist/cli/main.mjs', import.meta.url);

if (existsSync(program)) {
  const { main } = await import(program.href);
  await main();
} else {
  process.stderr.write(
    `supervise: ${program.pathname} is missing: the package was not built\nhint: run npm run build in its folder\n`,
  );
  process.exitCode = 70;
}
