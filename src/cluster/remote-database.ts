/**
 * The embedded database as a worker uses it: the primary has it, and runs the transactions that come over the channel.
 * Fails like the database itself, so that the worker's storage does not notice the difference.
 */
import { VoiceAuthError } from '../domain/errors.js';
import { type DatabaseRows, SqlError } from '../storage/embedded/embedded-database.js';
import type { Statement } from '../storage/embedded/worker-messages.js';
import type { TransactionRunner } from '../storage/postgrest-shim.js';
import type { PrimaryMessage, WorkerMessage } from './messages.js';
import { Questions } from './questions.js';

export type DatabaseAnswer = Extract<PrimaryMessage, { readonly kind: 'rows' | 'refused' | 'unavailable' }>;

export interface RemoteDatabaseOptions {
  /** Longest time from call to answer. */
  readonly timeoutMs: number;
  /** Calls `onFailure` when the message could not be sent. */
  readonly send: (message: WorkerMessage, onFailure: () => void) => void;
}

const MAX_WAITING = 2_000;
const UNANSWERED = {
  too_many: 'Too many database calls are waiting',
  late: 'The database did not answer in time',
  lost: 'The process that has the database is gone',
} as const;

export class RemoteDatabase implements TransactionRunner {
  readonly #options: RemoteDatabaseOptions;
  readonly #calls = new Questions<DatabaseRows>(MAX_WAITING, (why) => unavailable(UNANSWERED[why]));

  constructor(options: RemoteDatabaseOptions) {
    this.#options = options;
  }

  /**
   * Runs the statements in one transaction and returns the rows of the last. Throws `SqlError` when PostgreSQL refuses one,
   * `DatabaseUnavailable` when there was no answer in time or there is no primary (nothing was written, or it is unknown),
   * and the signal's reason when aborted.
   */
  transaction(
    statements: readonly Statement[],
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<DatabaseRows> {
    const { send, timeoutMs } = this.#options;
    return this.#calls.ask({
      timeoutMs,
      signal: options.signal,
      post: (id) => {
        send({ kind: 'transaction', id, statements: [...statements] }, () =>
          this.#calls.fail(id, unavailable(UNANSWERED.lost)),
        );
      },
      withdraw: (id) => send({ kind: 'abort', id }, () => undefined),
    });
  }

  receive(answer: DatabaseAnswer): void {
    if (answer.kind === 'rows') this.#calls.answer(answer.id, answer.rows);
    else if (answer.kind === 'refused') this.#calls.fail(answer.id, new SqlError(answer.failure));
    else this.#calls.fail(answer.id, unavailable(answer.message));
  }

  /** The primary is gone: fails what waits and all that comes. */
  lose(): void {
    this.#calls.lose();
  }
}

function unavailable(message: string): VoiceAuthError {
  return new VoiceAuthError('DatabaseUnavailable', message, { retryAfterSeconds: 1 });
}
