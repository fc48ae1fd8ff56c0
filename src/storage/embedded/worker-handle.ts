/**
 * One running database worker, seen from the main thread: starting it, handing it a transaction, ending it. What to do
 * when it hangs or dies is decided in `embedded-database`.
 */
import { Worker } from 'node:worker_threads';
import { VoiceAuthError } from '../../domain/errors.js';
import type { DatabaseOrigin, DatabaseWorkerData, WorkerReply, WorkerRequest } from './worker-messages.js';

export interface WorkerEvents {
  /** The answer to a transaction. */
  onReply(reply: Extract<WorkerReply, { readonly kind: 'result' | 'error' }>): void;
  /** The thread ended by itself, which it never should. */
  onLost(): void;
}

export interface StartedWorker {
  readonly handle: WorkerHandle;
  readonly origin: DatabaseOrigin;
  readonly migrationsApplied: number;
}

export class WorkerHandle {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #ending = false;

  private constructor(worker: Worker, exited: Promise<void>) {
    this.#worker = worker;
    this.#exited = exited;
  }

  /**
   * Starts a worker and resolves when its database is open. Throws `DatabaseUnavailable` saying why it is not, or that `signal`
   * was aborted meanwhile, with no thread left.
   */
  static async start(
    workerModule: URL,
    workerData: DatabaseWorkerData,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly events: WorkerEvents },
  ): Promise<StartedWorker> {
    // An empty environment: the database needs none of the service's secrets.
    const worker = new Worker(workerModule, { workerData, env: {} });
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const handle = new WorkerHandle(worker, exited);
    const ready = await handle.#untilReady(options.timeoutMs, options.signal);
    if (ready.kind !== 'ready') {
      await handle.terminate();
      throw unavailable(ready.kind === 'failed' ? ready.message : 'it did not open in time');
    }
    worker.on('message', (reply: WorkerReply) => {
      if (reply.kind === 'result' || reply.kind === 'error') options.events.onReply(reply);
    });
    void exited.then(() => {
      if (!handle.#ending) options.events.onLost();
    });
    return { handle, origin: ready.origin, migrationsApplied: ready.migrationsApplied };
  }

  post(request: WorkerRequest): void {
    this.#worker.postMessage(request);
  }

  /** Lets the database close its files; ends the thread by force after `timeoutMs`. True when it closed by itself. */
  async close(timeoutMs: number): Promise<boolean> {
    this.#ending = true;
    this.post({ kind: 'close' });
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, timeoutMs, false);
    });
    const clean = await Promise.race([this.#exited.then(() => true), expired]);
    clearTimeout(timer);
    if (!clean) await this.terminate();
    return clean;
  }

  /** Ends the thread whatever it is doing; resolves when it has ended. */
  async terminate(): Promise<void> {
    this.#ending = true;
    await this.#worker.terminate();
    await this.#exited;
  }

  #untilReady(timeoutMs: number, signal: AbortSignal): Promise<WorkerReply | { readonly kind: 'late' }> {
    return new Promise((resolve) => {
      const late = () => settle({ kind: 'late' });
      const timer = setTimeout(late, timeoutMs);
      const settle = (outcome: WorkerReply | { readonly kind: 'late' }) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', late);
        resolve(outcome);
      };
      signal.addEventListener('abort', late);
      if (signal.aborted) late();
      this.#worker.once('message', settle);
      // Kept for the worker's life: an error without a listener would bring the process down; `exit` follows it.
      this.#worker.on('error', (error) => settle({ kind: 'failed', message: error.message }));
      this.#worker.once('exit', () => settle({ kind: 'failed', message: 'its worker thread ended' }));
    });
  }
}

function unavailable(reason: string): VoiceAuthError {
  return new VoiceAuthError('DatabaseUnavailable', `The embedded database could not be opened: ${reason}`, {
    retryAfterSeconds: 1,
  });
}
