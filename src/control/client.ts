/**
 * The typed client of the control API. Every failure is a SuperviseError with the code that the master gave it, or
 * `no-master` when nobody listens there. A request that gets no answer is given up; an operation and a followed
 * stream may take as long as they want.
 */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import type { ErrorCode } from '../core/errors.ts';
import { ExitCode, SuperviseError, errorCodes } from '../core/errors.ts';
import type { History, HistorySpan } from '../core/history.ts';
import type { ReloadCommand, Event, HookResult, LogLine, ScaleChange, Snapshot } from '../core/protocol.ts';
import type { ErrorBody, OperationLine, OperationResult } from './face.ts';
import type { HostUser } from '../core/paths.ts';
import { linesOf } from './lines.ts';
import type { RunningMaster } from './locate.ts';
import { chooseMaster, locateMasters } from './locate.ts';

export type { OperationLine, OperationResult } from './face.ts';

export interface LogQuery {
  readonly target: string | null;
  readonly n: number;
  readonly follow: boolean;
}

/** `signal` ends the wait (and nothing in the master). */
export interface Waiting {
  readonly signal?: AbortSignal;
}

const answerWithinMs = 10_000;
const longestErrorBody = 1024 * 1024;

export type ReloadWish = Pick<ReloadCommand, 'apps' | 'changedOnly' | 'timeoutMs'>;

export class ControlClient {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  /** The snapshot, as it was sent. @throws SuperviseError no-master, operation-failed */
  async statusJson(): Promise<string> {
    return (await this.#text('/v1/status')).trimEnd();
  }

  async status(): Promise<Snapshot> {
    return this.#parse<Snapshot>(await this.statusJson());
  }

  async hooks(): Promise<readonly HookResult[]> {
    return this.#parse<{ hooks: readonly HookResult[] }>(await this.#text('/v1/hooks')).hooks;
  }

  /** What is wrong with an app or a worker, and its last `n` exits, as it was sent. @throws SuperviseError unknown-target */
  async whyJson(target: string, n: number): Promise<string> {
    return (await this.#text(`/v1/why/${encodeURIComponent(target)}?n=${n}`)).trimEnd();
  }

  /** CPU and memory of `host`, an app or a worker. @throws SuperviseError unknown-target */
  async history(target: string, span: HistorySpan): Promise<History> {
    return this.#parse<History>(await this.#text(`/v1/history?target=${encodeURIComponent(target)}&span=${span}`));
  }

  /** How the host was used in the last `lastMs`, and what follows, as it was sent. */
  async capacityJson(lastMs: number): Promise<string> {
    return (await this.#text(`/v1/capacity?lastMs=${lastMs}`)).trimEnd();
  }

  events(query: { since: number; follow: boolean }, waiting: Waiting = {}): AsyncGenerator<Event> {
    return this.#stream<Event>(
      'GET',
      `/v1/events?since=${query.since}${query.follow ? '&follow=1' : ''}`,
      null,
      waiting,
    );
  }

  logs({ target, n, follow }: LogQuery, waiting: Waiting = {}): AsyncGenerator<LogLine> {
    const query = new URLSearchParams({
      n: String(n),
      ...(target === null ? {} : { target }),
      ...(follow ? { follow: '1' } : {}),
    });
    return this.#stream<LogLine>('GET', `/v1/logs?${query.toString()}`, null, waiting);
  }

  stop(how: 'graceful' | 'quick' | 'now', waiting: Waiting = {}): AsyncGenerator<OperationLine> {
    return this.#operate('stop', { how }, waiting);
  }

  reload(how: ReloadWish, waiting: Waiting = {}): AsyncGenerator<OperationLine> {
    return this.#operate('reload', how, waiting);
  }

  restart(target: string, waiting: Waiting = {}): AsyncGenerator<OperationLine> {
    return this.#operate('restart', { target }, waiting);
  }

  scale(app: string, change: ScaleChange, waiting: Waiting = {}): AsyncGenerator<OperationLine> {
    return this.#operate('scale', 'to' in change ? { app, to: change.to } : { app, by: change.by }, waiting);
  }

  retry(target: string | null, waiting: Waiting = {}): AsyncGenerator<OperationLine> {
    return this.#operate('retry', { target }, waiting);
  }

  signal(target: string, signal: string, waiting: Waiting = {}): AsyncGenerator<OperationLine> {
    return this.#operate('signal', { target, signal }, waiting);
  }

  #operate(name: string, body: unknown, waiting: Waiting): AsyncGenerator<OperationLine> {
    return this.#stream<OperationLine>('POST', `/v1/${name}`, JSON.stringify(body), waiting);
  }

  async #text(path: string): Promise<string> {
    const response = await this.#send({ method: 'GET', path, body: null }, 'whole', {});
    let text = '';
    try {
      for await (const piece of response) text += String(piece);
    } catch (error) {
      throw this.#failure(error);
    }
    return text;
  }

  async *#stream<T>(method: 'GET' | 'POST', path: string, body: string | null, waiting: Waiting): AsyncGenerator<T> {
    const response = await this.#send({ method, path, body }, 'head', waiting);
    try {
      for await (const line of linesOf(response)) yield this.#parse<T>(line);
    } catch (error) {
      throw this.#failure(error);
    } finally {
      response.destroy();
    }
  }

  /** Resolves with a successful answer's head. `prompt`: what has to come in time; a stream may be silent after its head. */
  #send(
    what: { method: string; path: string; body: string | null },
    prompt: 'head' | 'whole',
    { signal }: Waiting,
  ): Promise<IncomingMessage> {
    const { method, path, body } = what;
    return new Promise((resolve, reject) => {
      const headers =
        body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const outgoing = request({
        socketPath: this.socketPath,
        method,
        path,
        headers,
        agent: false,
        ...(signal === undefined ? {} : { signal }),
      });
      outgoing.on('error', (error) => reject(this.#failure(error)));
      outgoing.setTimeout(answerWithinMs, () => outgoing.destroy(this.#hangs(answerWithinMs)));
      outgoing.on('response', (response) => {
        response.setEncoding('utf8');
        if (prompt === 'head') outgoing.setTimeout(0);
        if (response.statusCode === 200) return resolve(response);
        this.#refusal(response).then(reject, reject);
      });
      outgoing.end(body ?? undefined);
    });
  }

  async #refusal(response: IncomingMessage): Promise<SuperviseError> {
    let text = '';
    for await (const piece of response) {
      text += String(piece);
      if (text.length > longestErrorBody) break;
    }
    const { error } = this.#parse<Partial<ErrorBody>>(text);
    if (typeof error !== 'object' || error === null) return this.#notSupervise();
    const code: ErrorCode = error.code in errorCodes ? (error.code as ErrorCode) : 'operation-failed';
    return new SuperviseError(code, error.message, {
      ...(error.hint === null ? {} : { hint: error.hint }),
      lastLines: error.lastLines ?? [],
    });
  }

  #parse<T>(text: string): T {
    try {
      return JSON.parse(text) as T;
    } catch {
      throw this.#notSupervise();
    }
  }

  #failure(thrown: unknown): SuperviseError {
    if (thrown instanceof SuperviseError) return thrown;
    const { code, message } = thrown as NodeJS.ErrnoException;
    const at = this.socketPath;
    if (code === 'ENOENT' || code === 'ECONNREFUSED')
      return new SuperviseError('no-master', `no master listens at ${at}`);
    if (code === 'EACCES' || code === 'EPERM') {
      return new SuperviseError('operation-failed', `not allowed to open ${at}`, {
        hint: 'it belongs to another user: run this as that user or as root',
      });
    }
    if (code === 'ABORT_ERR') return new SuperviseError('operation-failed', 'the wait was ended');
    return new SuperviseError('operation-failed', `the connection to the master at ${at} was cut: ${message}`, {
      hint: 'it ended, it has too many clients, or this client read too slowly',
    });
  }

  #hangs(afterMs: number): SuperviseError {
    return new SuperviseError(
      'no-answer',
      `the master at ${this.socketPath} did not answer within ${afterMs / 1000} s`,
      {
        hint: 'it may be stopped (SIGSTOP), or the host is overloaded; `supervise stop --now` kills it',
      },
    );
  }

  #notSupervise(): SuperviseError {
    return new SuperviseError(
      'operation-failed',
      `what listens at ${this.socketPath} does not answer as supervise does`,
    );
  }
}

/**
 * The one master that a command means; `wanted` null: the only one that runs.
 * @throws SuperviseError no-master; usage when several could be meant; operation-failed when it is not ours to ask
 */
export async function runningMaster(wanted: string | null, user: HostUser): Promise<RunningMaster> {
  const nameOf = async (socketPath: string) => (await new ControlClient(socketPath).status()).name;
  return chooseMaster(wanted, await locateMasters(wanted, user, nameOf), user);
}

/** Reads an operation to its end. @throws SuperviseError when the stream ends without a result */
export async function resultOf(
  lines: AsyncIterable<OperationLine>,
  onEvent: (event: Event) => void,
): Promise<OperationResult> {
  for await (const line of lines) {
    if (line.type === 'result') return line;
    onEvent(line);
  }
  throw new SuperviseError('operation-failed', 'the master ended before it reported a result');
}

/** The exit code of a result that came from another version too. */
export function exitCodeOf(result: OperationResult): number {
  return Number.isInteger(result.exitCode) ? result.exitCode : result.ok ? ExitCode.ok : ExitCode.failed;
}
