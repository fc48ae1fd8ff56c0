/**
 * Whether the database can be used, asked for readiness and every few seconds besides, so that a server which nobody calls
 * finds out too: that it is away, and, where it did not answer at the start, whether it is one to serve from.
 */
import type { AuthStore } from './domain/ports/auth-store.js';
import type { DatabaseFault } from './domain/ports/health.js';
import type { Logger } from './observability/logger.js';
import type { Metrics } from './observability/metrics.js';
import { StorageError } from './storage/storage-error.js';

export interface DatabaseWatchParts {
  readonly store: Pick<AuthStore, 'ping'>;
  readonly metrics: Pick<Metrics, 'ready'>;
  readonly logger: Logger;
}

const EVERY_MS = 15_000;
const PING_TIMEOUT_MS = 1_000;

/** What a ping came to. */
interface Found {
  readonly fault: DatabaseFault | undefined;
  /** What there is to put right. */
  readonly problem?: string;
}

export class DatabaseWatch {
  readonly #parts: DatabaseWatchParts;
  readonly #timer: NodeJS.Timeout;
  #ping: Promise<Found> | undefined;
  #fault: DatabaseFault | undefined;
  #closed = false;

  /** Asks at once, and from then on. */
  constructor(parts: DatabaseWatchParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.look(), EVERY_MS).unref();
    void this.look();
  }

  /** Asks the database, and says within a second what is wrong with it, if anything. Never rejects. */
  async look(): Promise<DatabaseFault | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Found>((resolve) => {
      timer = setTimeout(() => resolve({ fault: 'no_answer' }), PING_TIMEOUT_MS);
    });
    // One that hangs is waited for again: a database in trouble is not asked ever more.
    this.#ping ??= this.#ask();
    const found = await Promise.race([this.#ping, late]);
    clearTimeout(timer);
    this.#tell(found);
    return found.fault;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  async #ask(): Promise<Found> {
    try {
      await this.#parts.store.ping();
      return { fault: undefined };
    } catch (error) {
      if (error instanceof StorageError && error.fault) return { fault: error.fault, problem: error.message };
      return { fault: 'no_answer' };
    } finally {
      this.#ping = undefined;
    }
  }

  /** To the metrics, and, once per change, to the log. */
  #tell({ fault, problem }: Found): void {
    if (this.#closed) return;
    const { metrics, logger } = this.#parts;
    metrics.ready.set({ component: 'database' }, fault === undefined ? 1 : 0);
    if (fault === this.#fault) return;
    this.#fault = fault;
    const event = 'database';
    if (fault === undefined) logger.info({ event }, 'the database can be used again');
    else if (fault === 'no_answer') logger.warn({ event, reason: fault }, 'the database does not answer in time');
    else logger.error({ event, reason: fault, problem }, 'not ready: the database cannot be used as it is');
  }
}
