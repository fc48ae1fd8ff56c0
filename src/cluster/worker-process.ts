/**
 * One worker as the primary sees it: forked, ready, asked for its metrics, drained, and gone exactly once. A worker that
 * cannot be reached is killed, so that all faults look alike.
 */
import cluster, { type Worker } from 'node:cluster';
import type { MetricsReading } from '../observability/cluster-metrics.js';
import type { Logger } from '../observability/logger.js';
import type { TransactionRunner } from '../storage/postgrest-shim.js';
import { DatabaseDesk } from './database-desk.js';
import { type PrimaryMessage, parseWorkerMessage, type WorkerMessage } from './messages.js';
import { Questions } from './questions.js';
import { closeUntakenConnections } from './untaken-connections.js';

export interface WorkerEvents {
  onReady(url: string): void;
  /** It wants the metrics page of all processes. */
  onPage(id: number): void;
  onRing(ring: Extract<WorkerMessage, { readonly kind: 'ring' }>): void;
  /** Nothing comes from it any more. `reason` is about the process; `failure` is what it said of its start. */
  onGone(reason: string, failure: string | undefined): void;
}

export interface WorkerProcessOptions {
  readonly database: TransactionRunner | undefined;
  readonly startTimeoutMs: number;
  readonly logger: Logger;
}

/** A worker that is too busy to answer counts with what it said last. */
const READ_TIMEOUT_MS = 2_000;
const MAX_READS_WAITING = 1_000;

export class WorkerProcess {
  readonly #options: WorkerProcessOptions;
  readonly #events: WorkerEvents;
  readonly #worker: Worker | undefined;
  readonly #desk: DatabaseDesk;
  readonly #reads = new Questions<void>(MAX_READS_WAITING, () => new Error('no reading'));
  readonly #startTimer: NodeJS.Timeout | undefined;
  #reading: MetricsReading = [];
  #ready = false;
  #gone = false;
  #reason: string | undefined;
  #failure: string | undefined;

  constructor(options: WorkerProcessOptions, events: WorkerEvents) {
    this.#options = options;
    this.#events = events;
    this.#desk = new DatabaseDesk(options.database, (answer) => this.send(answer));
    let worker: Worker;
    try {
      worker = cluster.fork();
    } catch {
      setImmediate(() => this.#leave('the process cannot be started'));
      return;
    }
    this.#worker = worker;
    closeUntakenConnections(worker);
    worker.on('message', (message: unknown) => this.#receive(message));
    worker.on('error', () => {
      if (worker.process.pid === undefined) this.#leave('the process cannot be started');
      else this.kill('the process cannot be reached');
    });
    worker.on('disconnect', () => {
      // Most often because it died: `exit` says of what.
      if (!worker.exitedAfterDisconnect) worker.process.kill('SIGKILL');
    });
    worker.on('exit', (code, signal) => this.#leave(signal ? `signal ${signal}` : `exit code ${code}`));
    this.#startTimer = setTimeout(() => this.kill('not ready in time'), options.startTimeoutMs);
  }

  get id(): number {
    return this.#worker?.id ?? 0;
  }

  get isReady(): boolean {
    return this.#ready && !this.#gone;
  }

  /** What its metrics were when it was last asked. */
  get reading(): MetricsReading {
    return this.#reading;
  }

  /** Asks for its metrics; resolves when `reading` is up to date, or the worker is too busy or gone. */
  async read(): Promise<void> {
    if (!this.isReady) return;
    await this.#reads
      .ask({ timeoutMs: READ_TIMEOUT_MS, post: (id) => this.send({ kind: 'read', id }) })
      .catch(() => undefined);
  }

  send(message: PrimaryMessage): void {
    if (this.#gone || !this.#worker?.isConnected()) return;
    this.#worker.process.send?.(message, undefined, undefined, (error) => {
      if (error) this.kill('the process cannot be written to');
    });
  }

  /** Lets it finish in order; one that is not ready has nothing to finish. */
  drain(): void {
    if (this.#ready) this.send({ kind: 'drain' });
    else this.kill('not needed any more');
  }

  /** Ends the process at once; `onGone` follows with this reason. */
  kill(reason: string): void {
    this.#reason ??= reason;
    this.#worker?.process.kill('SIGKILL');
  }

  #receive(received: unknown): void {
    if (this.#gone) return;
    const message = parseWorkerMessage(received);
    if (message) this.#handle(message);
    else this.#options.logger.warn({ worker: this.id }, 'a message that a worker should not send');
  }

  #handle(message: WorkerMessage): void {
    switch (message.kind) {
      case 'ready':
        clearTimeout(this.#startTimer);
        this.#ready = true;
        this.#events.onReady(message.url);
        break;
      case 'failed':
        this.#failure = message.message;
        break;
      case 'transaction':
      case 'abort':
        this.#desk.receive(message);
        break;
      case 'page':
        this.#events.onPage(message.id);
        break;
      case 'reading':
        this.#reading = message.reading;
        this.#reads.answer(message.id);
        break;
      case 'ring':
        this.#events.onRing(message);
        break;
    }
  }

  #leave(reason: string): void {
    if (this.#gone) return;
    this.#gone = true;
    clearTimeout(this.#startTimer);
    this.#desk.close();
    this.#reads.lose();
    this.#events.onGone(this.#reason ?? reason, this.#failure);
  }
}
