// A Node worker that only waits, for what node:cluster costs. It says when it runs in the way of worker.c.
import { appendFileSync } from 'node:fs';

appendFileSync(process.env.BENCH_REPORT, `${process.hrtime.bigint()} ${process.pid}\n`);
setInterval(() => undefined, 2 ** 30);
