/**
 * Commands that take their time, as a stream: what happens on the way, then one result.
 *
 * The subscription comes before the command, because a master may report within `handle`. A client that leaves ends
 * its stream only; the operation goes on.
 */
import type { SuperviseError } from '../core/errors.ts';
import { ExitCode } from '../core/errors.ts';
import type { Command, Event, Reply } from '../core/protocol.ts';
import type { MasterFace, OperationResult } from './face.ts';
import type { LineStream } from './line-stream.ts';

export interface OperationRequest {
  readonly master: MasterFace;
  readonly command: Command;
  /** Opens the answer; called once, only when the master has accepted the command. */
  readonly open: () => LineStream;
}

/** @throws SuperviseError what the master refuses the command with; nothing is written then */
export function runOperation({ master, command, open }: OperationRequest): void {
  const early: Event[] = [];
  let take = (event: Event): void => void early.push(event);
  const cancel = master.subscribe((event) => take(event));
  const reply = handleOrCancel(master, command, cancel);
  if (!reply.ok) {
    cancel();
    throw reply.error satisfies SuperviseError;
  }
  const stream = open();
  stream.onClose(cancel);
  const finish = (result: OperationResult) => {
    cancel();
    stream.write(result);
    stream.end();
  };
  const { operation } = reply;
  if (operation === null)
    return finish({ type: 'result', ok: true, exitCode: ExitCode.ok, message: reply.message, lastLines: [] });
  const follow = new OperationView(operation, command);
  take = (event) => {
    if (follow.concerns(event)) stream.write(event);
    const result = follow.resultOf(event);
    if (result !== null) {
      take = () => {};
      finish(result);
    }
  };
  for (const event of early) take(event);
}

function handleOrCancel(master: MasterFace, command: Command, cancel: () => void): Reply {
  try {
    return master.handle(command);
  } catch (error) {
    cancel();
    throw error;
  }
}

/** Which of all events belong to one operation, and which of them ends it. */
class OperationView {
  readonly #operation: number;
  readonly #command: Command;
  #lastLines: readonly string[] = [];

  constructor(operation: number, command: Command) {
    this.#operation = operation;
    this.#command = command;
  }

  concerns(event: Event): boolean {
    if (event.type === 'operation.started' || event.type === 'operation.progress')
      return event.operation === this.#operation;
    if (!event.type.startsWith('rollout.') || !('app' in event) || this.#command.type !== 'reload') return false;
    if (event.type === 'rollout.rolled_back') this.#lastLines = event.lastLines;
    return this.#command.apps === null || this.#command.apps.includes(event.app);
  }

  resultOf(event: Event): OperationResult | null {
    if (event.type === 'operation.finished' && event.operation === this.#operation) {
      const { ok, message } = event;
      const lastLines = event.lastLines.length > 0 || ok ? event.lastLines : this.#lastLines;
      return { type: 'result', ok, exitCode: ok ? ExitCode.ok : ExitCode.failed, message, lastLines };
    }
    if (event.type !== 'master.stopped') return null;
    const ok = this.#command.type === 'stop' && event.exitCode === 0;
    const message = this.#command.type === 'stop' ? 'the master ended' : 'the master ended before this was done';
    return { type: 'result', ok, exitCode: ok ? ExitCode.ok : ExitCode.failed, message, lastLines: [] };
  }
}
