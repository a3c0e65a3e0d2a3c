/** A client that speaks bytes, for what a proper client never sends. */
import type { Socket } from 'node:net';
import { connect } from 'node:net';

export interface RawAnswer {
  /** null: the connection ended without an answer. */
  readonly status: number | null;
  readonly body: string;
}

/** Connects; rejects when that is refused. */
export function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

/** Sends these pieces and reads until the other side ends. */
export async function exchange(path: string, ...pieces: readonly (string | Buffer)[]): Promise<RawAnswer> {
  const socket = await open(path);
  for (const piece of pieces) socket.write(piece);
  return answerOf(socket);
}

export async function answerOf(socket: Socket): Promise<RawAnswer> {
  const received: Buffer[] = [];
  socket.on('data', (piece: Buffer) => received.push(piece));
  await closed(socket);
  const text = Buffer.concat(received).toString('utf8');
  const status = /^HTTP\/1\.1 (\d+)/.exec(text)?.[1];
  return { status: status === undefined ? null : Number(status), body: text.slice(text.indexOf('\r\n\r\n') + 4) };
}

export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    socket.once('close', () => resolve());
  });
}

/** A request as text, with a body if there is one. */
export function requestText(method: string, path: string, body: string | null = null): string {
  const head = `${method} ${path} HTTP/1.1\r\nhost: x\r\n`;
  return body === null ? `${head}\r\n` : `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
