// The Node server of the reload bench: an answer after 5 ms. The handler is the one that pm2's documentation asks for; SIGINT is
// pm2's stop signal. supervise sends SIGTERM, for which the server has none.
import { createServer } from 'node:http';

const server = createServer((_, response) => setTimeout(() => response.end('fine'), 5));
server.listen(Number(process.env.PORT), '127.0.0.1');
process.once('SIGINT', () => server.close(() => process.exit(0)));
