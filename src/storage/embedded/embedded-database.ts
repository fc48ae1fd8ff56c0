/**
 * The embedded PostgreSQL as the main thread uses it: transactions in, rows out, one after another, each with a
 * deadline. PostgreSQL in WASM cannot cancel a statement, so a transaction that runs too long costs the worker its life;
 * a new one reopens the files, where every answered transaction still is.
 */
import { fileURLToPath } from 'node:url';
import { VoiceAuthError } from '../../domain/errors.js';
import type { Logger } from '../../observability/logger.js';
import { WorkerHandle } from './worker-handle.js';
import type { DatabaseOrigin, SqlFailure, Statement, WorkerReply, WorkerRequest } from './worker-messages.js';

export interface EmbeddedDatabaseOptions {
  readonly databaseDir: string;
  /** Longest wait in the queue, and longest run of one transaction. */
  readonly callTimeoutMs: number;
  readonly logger: Logger;
  readonly openTimeoutMs?: number;
  readonly workerModule?: URL;
  readonly migrationsDir?: string;
  /** Undefined = the one the build has put beside this module. */
  readonly snapshotFile?: string;
}

export type DatabaseRows = readonly Record<string, unknown>[];

/** PostgreSQL refused a statement; the transaction was rolled back. The text may quote rows: never log or show it. */
export class SqlError extends Error {
  readonly failure: SqlFailure;

  constructor(failure: SqlFailure) {
    super('The database refused a statement');
    this.name = 'SqlError';
    this.failure = failure;
  }
}

interface Call {
  readonly request: Exclude<WorkerRequest, { readonly kind: 'close' }>;
  /** Longest run. */
  readonly limitMs: number;
  settle(outcome: { readonly rows: DatabaseRows } | { readonly error: unknown }): void;
  timer: NodeJS.Timeout | undefined;
}

/** initdb in WASM takes up to ten seconds on a busy small machine. */
const OPEN_TIMEOUT_MS = 90_000;
const REOPEN_DELAY_MS = 1_000;
const CLOSE_TIMEOUT_MS = 10_000;
const MAX_WAITING = 2_000;
const MIGRATIONS_DIR = fileURLToPath(new URL('../../../supabase/migrations/', import.meta.url));
const SNAPSHOT_FILE = fileURLToPath(new URL('./snapshot.tar.gz', import.meta.url));

export class EmbeddedDatabase {
  readonly #options: EmbeddedDatabaseOptions;
  readonly #waiting: Call[] = [];
  #running: Call | undefined;
  #worker: WorkerHandle | undefined;
  #reopening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #drained = false;
  /** Ends an opening that nobody waits for any more. */
  readonly #abandon = new AbortController();
  #idle: (() => void) | undefined;
  #lastId = 0;
  #origin: DatabaseOrigin = 'existing';

  private constructor(options: EmbeddedDatabaseOptions) {
    this.#options = options;
  }

  /**
   * Opens the database in `databaseDir` (created when missing) in a worker thread and applies pending migrations. The
   * caller holds the folder's lock. Throws `DatabaseUnavailable` with the reason.
   */
  static async open(options: EmbeddedDatabaseOptions): Promise<EmbeddedDatabase> {
    const database = new EmbeddedDatabase(options);
    await database.#start();
    return database;
  }

  /** How the database came about at this start. */
  get origin(): DatabaseOrigin {
    return this.#origin;
  }

  /**
   * Runs the statements in one transaction and returns the rows of the last. Throws `SqlError` when PostgreSQL refuses one,
   * `DatabaseUnavailable` when it took too long, the worker died or the database is closed (nothing was written, or it
   * is unknown), and the signal's reason when aborted: a waiting transaction is then dropped, a running one finishes.
   */
  transaction(
    statements: readonly Statement[],
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<DatabaseRows> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#closing) return reject(unavailable('The database is closed'));
      if (this.#waiting.length >= MAX_WAITING) return reject(unavailable('Too many database calls are waiting'));
      this.#lastId += 1;
      const abort = () => {
        this.#drop(call);
        call.settle({ error: signal?.reason });
      };
      const call: Call = {
        request: { kind: 'transaction', id: this.#lastId, statements },
        limitMs: this.#options.callTimeoutMs,
        timer: undefined,
        settle: (outcome) => {
          signal?.removeEventListener('abort', abort);
          if ('rows' in outcome) resolve(outcome.rows);
          else reject(outcome.error);
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      call.timer = setTimeout(() => {
        this.#drop(call);
        call.settle({ error: unavailable('The database did not get to the call in time') });
      }, this.#options.callTimeoutMs);
      this.#waiting.push(call);
      this.#next();
    });
  }

  /**
   * Runs one statement outside a transaction (`vacuum`, `checkpoint`), behind the calls that wait already, for at most
   * `limitMs`; calls wait for it meanwhile. Throws like `transaction`.
   */
  maintain(sql: string, limitMs: number): Promise<DatabaseRows> {
    return new Promise((resolve, reject) => {
      if (this.#closing) return reject(unavailable('The database is closed'));
      this.#lastId += 1;
      this.#waiting.push({
        request: { kind: 'maintenance', id: this.#lastId, sql },
        limitMs,
        timer: undefined,
        settle: (outcome) => ('rows' in outcome ? resolve(outcome.rows) : reject(outcome.error)),
      });
      this.#next();
    });
  }

  /** Refuses new calls, lets the accepted ones finish (bounded by the call deadline), and closes the files. */
  close(): Promise<void> {
    this.#closing ??= this.#drainAndClose();
    return this.#closing;
  }

  async #start(): Promise<void> {
    const { handle, origin, migrationsApplied } = await WorkerHandle.start(
      this.#options.workerModule ?? new URL('./database-worker.js', import.meta.url),
      {
        databaseDir: this.#options.databaseDir,
        migrationsDir: this.#options.migrationsDir ?? MIGRATIONS_DIR,
        snapshotFile: this.#options.snapshotFile ?? SNAPSHOT_FILE,
      },
      {
        timeoutMs: this.#options.openTimeoutMs ?? OPEN_TIMEOUT_MS,
        signal: this.#abandon.signal,
        events: { onReply: (reply) => this.#finish(reply), onLost: () => void this.#restart('worker thread ended') },
      },
    );
    this.#origin = origin;
    this.#worker = handle;
    this.#options.logger.info({ origin, migrations_applied: migrationsApplied }, 'embedded database open');
    this.#next();
  }

  #next(): void {
    if (this.#running || !this.#worker) return;
    const call = this.#waiting.shift();
    if (!call) {
      this.#idle?.();
      return;
    }
    clearTimeout(call.timer);
    this.#running = call;
    call.timer = setTimeout(() => void this.#restart('a call ran too long'), call.limitMs);
    this.#worker.post(call.request);
  }

  #finish(reply: Extract<WorkerReply, { readonly kind: 'result' | 'error' }>): void {
    const call = this.#running;
    if (!call || call.request.id !== reply.id) return;
    this.#running = undefined;
    clearTimeout(call.timer);
    call.settle(reply.kind === 'result' ? { rows: reply.rows } : { error: new SqlError(reply.error) });
    this.#next();
  }

  /** Takes a call out of the queue; a running one is left to the worker and its watchdog. */
  #drop(call: Call): void {
    const index = this.#waiting.indexOf(call);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    clearTimeout(call.timer);
  }

  #restart(cause: string): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    const call = this.#running;
    this.#running = undefined;
    clearTimeout(call?.timer);
    call?.settle({ error: unavailable('The database did not answer in time') });
    if (this.#drained) return worker?.terminate() ?? Promise.resolve();
    this.#options.logger.error({ cause }, 'embedded database stopped; reopening it');
    this.#reopening ??= this.#reopen(worker).finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  async #reopen(worker: WorkerHandle | undefined): Promise<void> {
    await worker?.terminate();
    while (!this.#worker && !this.#abandon.signal.aborted) {
      try {
        await this.#start();
      } catch (error) {
        if (this.#abandon.signal.aborted) return;
        this.#options.logger.error({ err: error }, 'embedded database could not be reopened');
        if (this.#closing) return;
        await new Promise((resolve) => setTimeout(resolve, REOPEN_DELAY_MS));
      }
    }
  }

  async #drainAndClose(): Promise<void> {
    if (this.#running || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#options.callTimeoutMs);
        this.#idle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#drained = true;
    for (const call of this.#waiting.splice(0)) {
      clearTimeout(call.timer);
      call.settle({ error: unavailable('The database is closed') });
    }
    this.#abandon.abort();
    await this.#reopening;
    const clean = await this.#worker?.close(CLOSE_TIMEOUT_MS);
    this.#worker = undefined;
    clearTimeout(this.#running?.timer);
    this.#running?.settle({ error: unavailable('The database is closed') });
    if (clean === false) this.#options.logger.warn('embedded database did not close in time');
  }
}

function unavailable(message: string): VoiceAuthError {
  return new VoiceAuthError('DatabaseUnavailable', message, { retryAfterSeconds: 1 });
}
