// The Node server of the balance bench: unmodified, answers with its pid. `/burn` costs some ms of CPU first, `/wait` takes 5 ms.
// A boot of BENCH_BOOT_MS stands for a heavy application.
import { pbkdf2Sync } from 'node:crypto';
import { createServer } from 'node:http';

Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(process.env.BENCH_BOOT_MS ?? 0));
const pid = String(process.pid);
const server = createServer(({ url }, response) => {
  if (url === '/wait') return void setTimeout(() => response.end(pid), 5);
  if (url === '/burn') pbkdf2Sync('a', 'b', 4000, 32, 'sha256');
  response.end(pid);
});
server.listen(Number(process.env.PORT), '127.0.0.1');
process.once('SIGINT', () => server.close(() => process.exit(0)));
