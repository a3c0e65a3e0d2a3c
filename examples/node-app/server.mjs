// A plain Node HTTP server. It knows nothing of supervise: it listens on a port and closes gracefully on SIGTERM.
import { createServer } from 'node:http';

const port = Number(process.env.PORT ?? 8000);

const server = createServer((request, response) => {
  if (request.url !== '/') {
    response.writeHead(404).end('not found\n');
    return;
  }
  response.setHeader('content-type', 'application/json');
  response.end(
    `${JSON.stringify({ pid: process.pid, slot: process.env.SUPERVISE_SLOT ?? null, worker: process.env.SUPERVISE_WORKER ?? null })}\n`,
  );
});

server.listen(port, () => console.log(`listening on port ${port}`));

process.once('SIGTERM', () => {
  console.log('closing: finishing the requests in hand');
  server.close(() => process.exit(0));
});
