/** What a server process that is one of several has from the others: database, metrics of all, a doorbell. */
import { VoiceAuthError } from '../domain/errors.js';
import type { Logger } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import type { TransactionRunner } from '../storage/postgrest-shim.js';
import { type PrimaryMessage, parsePrimaryMessage, type WorkerMessage } from './messages.js';
import { Questions } from './questions.js';
import { RemoteDatabase, type RemoteDatabaseOptions } from './remote-database.js';

export interface WorkerLink {
  /** Names this process in logs; a replaced one gets a new number. */
  readonly id: number;
  /** The embedded database, which the primary has; of no use with Supabase. */
  readonly transactionRunner: TransactionRunner;
  /** This process's own metrics, for the server to use. */
  readonly metrics: Metrics;
  /** The metrics of all processes as one page. Throws `Timeout`. */
  metricsPage(): Promise<string>;
  workers(): { readonly configured: number; readonly ready: number };
  /** Tells all other workers, each at most once and without promise: for what they would find out anyway, only later. */
  ring(topic: string, payload: string): void;
  /** Calls `listener` with the payload whenever another worker rings for `topic`. */
  onRing(topic: string, listener: (payload: string) => void): void;
}

export interface PrimaryLinkOptions {
  readonly id: number;
  readonly databaseTimeoutMs: number;
  readonly logger: Logger;
  readonly send: RemoteDatabaseOptions['send'];
}

const PAGE_TIMEOUT_MS = 5_000;
const MAX_PAGES_WAITING = 100;

/** The worker's end of the channel. */
export class PrimaryLink implements WorkerLink {
  readonly id: number;
  readonly metrics = new Metrics();
  readonly transactionRunner: RemoteDatabase;
  readonly #options: PrimaryLinkOptions;
  readonly #pages = new Questions<string>(
    MAX_PAGES_WAITING,
    () => new VoiceAuthError('Timeout', 'The metrics of the other server processes did not come in time'),
  );
  readonly #listeners = new Map<string, ((payload: string) => void)[]>();
  readonly #onDrain: () => void;
  #workers = { configured: 0, ready: 0 };

  /** `onDrain` is called when the primary wants this process to end in order. */
  constructor(options: PrimaryLinkOptions, onDrain: () => void) {
    this.id = options.id;
    this.#options = options;
    this.#onDrain = onDrain;
    this.transactionRunner = new RemoteDatabase({ timeoutMs: options.databaseTimeoutMs, send: options.send });
  }

  metricsPage(): Promise<string> {
    return this.#pages.ask({ timeoutMs: PAGE_TIMEOUT_MS, post: (id) => this.#send({ kind: 'page', id }) });
  }

  workers(): { readonly configured: number; readonly ready: number } {
    return this.#workers;
  }

  ring(topic: string, payload: string): void {
    this.#send({ kind: 'ring', topic, payload });
  }

  onRing(topic: string, listener: (payload: string) => void): void {
    this.#listeners.set(topic, [...(this.#listeners.get(topic) ?? []), listener]);
  }

  /** Takes what came over the channel. */
  receive(received: unknown): void {
    const message = parsePrimaryMessage(received);
    if (message) this.#handle(message);
    else this.#options.logger.warn('a message that the primary should not send');
  }

  /** The channel is closed. */
  lose(): void {
    this.transactionRunner.lose();
    this.#pages.lose();
  }

  #handle(message: PrimaryMessage): void {
    switch (message.kind) {
      case 'rows':
      case 'refused':
      case 'unavailable':
        this.transactionRunner.receive(message);
        break;
      case 'page':
        this.#pages.answer(message.id, message.page);
        break;
      case 'read':
        this.#report(message.id).catch((error: unknown) => {
          this.#options.logger.error({ err: error }, 'the metrics of this process could not be read');
        });
        break;
      case 'workers':
        this.#workers = { configured: message.configured, ready: message.ready };
        break;
      case 'ring':
        for (const listener of this.#listeners.get(message.topic) ?? []) listener(message.payload);
        break;
      case 'drain':
        this.#onDrain();
        break;
    }
  }

  async #report(id: number): Promise<void> {
    this.#send({ kind: 'reading', id, reading: await this.metrics.registry.getMetricsAsJSON() });
  }

  #send(message: WorkerMessage): void {
    this.#options.send(message, () => undefined);
  }
}
