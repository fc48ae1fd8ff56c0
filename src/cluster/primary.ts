/**
 * The process that starts the workers: they share its port, its database and its metrics page, and it replaces those that
 * die. It serves no requests itself.
 */
import cluster from 'node:cluster';
import type { ClusterMetrics } from '../observability/cluster-metrics.js';
import type { Logger } from '../observability/logger.js';
import type { TransactionRunner } from '../storage/postgrest-shim.js';
import type { PrimaryMessage } from './messages.js';
import { WorkerProcess } from './worker-process.js';

export interface PrimaryOptions {
  readonly workers: number;
  /** The embedded database, if there is one. The caller closes it after the primary. */
  readonly database: TransactionRunner | undefined;
  /** How long the workers may take to end in order. */
  readonly drainTimeoutMs: number;
  /** The page of all processes. */
  readonly metrics: ClusterMetrics;
  readonly logger: Logger;
}

/** The workers did not get ready; the message is what the first of them said. */
export class WorkerStartError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'WorkerStartError';
  }
}

/** A place that always tries to hold a worker. */
interface Slot {
  process: WorkerProcess | undefined;
  readyAtMs: number | undefined;
  /** Workers lost in a row, none of which served for long. */
  losses: number;
  restartTimer: NodeJS.Timeout | undefined;
}

/** Every part of a worker has a shorter limit of its own. */
const START_TIMEOUT_MS = 180_000;
const FIRST_BACK_OFF_MS = 100;
const MAX_BACK_OFF_MS = 10_000;
/** Serving for so long shows that a worker works. */
const PROVEN_MS = 60_000;

export class Primary {
  readonly #options: PrimaryOptions;
  readonly #slots: readonly Slot[];
  readonly #metrics: ClusterMetrics;
  #state: 'starting' | 'serving' | 'closing' = 'starting';
  #url = '';
  #settleStart: (failure?: string) => void = () => undefined;
  #allGone: () => void = () => undefined;

  private constructor(options: PrimaryOptions) {
    this.#options = options;
    this.#metrics = options.metrics;
    this.#slots = Array.from({ length: options.workers }, () => ({
      process: undefined,
      readyAtMs: undefined,
      losses: 0,
      restartTimer: undefined,
    }));
    this.#metrics.workers.set(options.workers);
  }

  /**
   * Starts the workers, each with the arguments of this process, and resolves when all are ready. Throws
   * `WorkerStartError`, with no worker left, as soon as one ends instead.
   */
  static async start(options: PrimaryOptions): Promise<Primary> {
    cluster.schedulingPolicy = cluster.SCHED_RR;
    cluster.setupPrimary({ serialization: 'advanced' });
    const primary = new Primary(options);
    const failure = await new Promise<string | undefined>((resolve) => {
      primary.#settleStart = resolve;
      for (const slot of primary.#slots) primary.#launch(slot);
    });
    if (failure === undefined) return primary;
    await primary.close();
    throw new WorkerStartError(failure);
  }

  /** Where the workers listen, all of them at the same address. */
  get url(): string {
    return this.#url;
  }

  /** Lets the workers end in order, and kills those that take too long. Resolves when none is left. */
  async close(): Promise<void> {
    this.#state = 'closing';
    for (const { restartTimer } of this.#slots) clearTimeout(restartTimer);
    const late = setTimeout(() => {
      for (const process of this.#processes()) process.kill('not gone in time');
    }, this.#options.drainTimeoutMs);
    await new Promise<void>((resolve) => {
      this.#allGone = resolve;
      for (const process of this.#processes()) process.drain();
      if (this.#processes().length === 0) resolve();
    });
    clearTimeout(late);
  }

  #processes(): WorkerProcess[] {
    return this.#slots.flatMap(({ process }) => process ?? []);
  }

  #launch(slot: Slot): void {
    const process: WorkerProcess = new WorkerProcess(
      { database: this.#options.database, startTimeoutMs: START_TIMEOUT_MS, logger: this.#options.logger },
      {
        onReady: (url) => this.#welcome(slot, url),
        onPage: (id) => this.#answerPage(process, id).catch((error: unknown) => this.#lament(error, process)),
        onRing: (ring) => this.#tell(ring, process),
        onGone: (reason, failure) => this.#bury(slot, reason, failure),
      },
    );
    slot.process = process;
  }

  #welcome(slot: Slot, url: string): void {
    slot.readyAtMs = performance.now();
    this.#url = url;
    this.#options.logger.info({ event: 'worker_ready', worker: slot.process?.id }, 'a worker is ready');
    this.#count();
    if (this.#state !== 'starting' || this.#slots.some(({ process }) => !process?.isReady)) return;
    this.#state = 'serving';
    this.#settleStart();
  }

  #bury(slot: Slot, reason: string, failure: string | undefined): void {
    const { process, readyAtMs } = slot;
    slot.process = undefined;
    slot.readyAtMs = undefined;
    if (process) this.#metrics.retire(process.reading).catch((error: unknown) => this.#lament(error, process));
    this.#count();
    if (this.#state === 'starting') {
      this.#settleStart(failure ?? `A server process did not start: ${reason}`);
    } else if (this.#state === 'serving') {
      const proven = readyAtMs !== undefined && performance.now() - readyAtMs >= PROVEN_MS;
      const restartInMs = this.#replace(slot, proven);
      this.#options.logger.error(
        { event: 'worker_lost', worker: process?.id, reason, ready: readyAtMs !== undefined, restartInMs },
        'a worker is lost',
      );
    } else if (this.#processes().length === 0) {
      this.#allGone();
    }
  }

  /** The next one starts the later, the more were lost in a row; returns when. */
  #replace(slot: Slot, proven: boolean): number {
    slot.losses = proven ? 1 : slot.losses + 1;
    const delayMs = slot.losses === 1 ? 0 : Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (slot.losses - 2));
    slot.restartTimer = setTimeout(() => this.#launch(slot), delayMs);
    this.#metrics.workerRestarts.inc();
    return delayMs;
  }

  /** Tells everybody how many workers serve. */
  #count(): void {
    const ready = this.#processes().filter(({ isReady }) => isReady).length;
    this.#metrics.workersReady.set(ready);
    this.#tell({ kind: 'workers', configured: this.#slots.length, ready });
  }

  #tell(message: PrimaryMessage, except?: WorkerProcess): void {
    for (const process of this.#processes()) if (process !== except) process.send(message);
  }

  /** Metrics are not worth the service. */
  #lament(error: unknown, { id }: WorkerProcess): void {
    this.#options.logger.error({ err: error, worker: id }, 'the metrics of the processes could not be put together');
  }

  /** An asker that gets none waits no longer than for any answer. */
  async #answerPage(asker: WorkerProcess, id: number): Promise<void> {
    await Promise.all(this.#processes().map((process) => process.read()));
    // Who is gone by now is among the retired, so that each process is counted once.
    const page = await this.#metrics.page(this.#processes().map(({ reading }) => reading));
    asker.send({ kind: 'page', id, page });
  }
}
