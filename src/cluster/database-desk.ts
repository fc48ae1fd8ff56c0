/** Runs the transactions of one worker on the database of the primary. */
import { VoiceAuthError } from '../domain/errors.js';
import { SqlError } from '../storage/embedded/embedded-database.js';
import type { TransactionRunner } from '../storage/postgrest-shim.js';
import type { WorkerMessage } from './messages.js';
import type { DatabaseAnswer } from './remote-database.js';

export class DatabaseDesk {
  readonly #database: TransactionRunner | undefined;
  readonly #reply: (answer: DatabaseAnswer) => void;
  readonly #running = new Map<number, AbortController>();

  /** Undefined database: there is none here, and every transaction is answered so. */
  constructor(database: TransactionRunner | undefined, reply: (answer: DatabaseAnswer) => void) {
    this.#database = database;
    this.#reply = reply;
  }

  receive(message: Extract<WorkerMessage, { readonly kind: 'transaction' | 'abort' }>): void {
    if (message.kind === 'abort') this.#running.get(message.id)?.abort();
    else void this.#run(message);
  }

  /** The worker is gone: what it asked for and has not begun is never run. */
  close(): void {
    for (const controller of this.#running.values()) controller.abort();
  }

  async #run({ id, statements }: Extract<WorkerMessage, { readonly kind: 'transaction' }>): Promise<void> {
    const controller = new AbortController();
    this.#running.set(id, controller);
    let answer: DatabaseAnswer;
    try {
      if (!this.#database) throw new VoiceAuthError('DatabaseUnavailable', 'There is no embedded database');
      const rows = await this.#database.transaction(statements, { signal: controller.signal });
      answer = { kind: 'rows', id, rows: [...rows] };
    } catch (error) {
      answer = failureOf(id, error);
    }
    this.#running.delete(id);
    if (!controller.signal.aborted) this.#reply(answer);
  }
}

function failureOf(id: number, error: unknown): DatabaseAnswer {
  if (error instanceof SqlError) return { kind: 'refused', id, failure: error.failure };
  const message = error instanceof VoiceAuthError ? error.message : 'The database call failed';
  return { kind: 'unavailable', id, message };
}
