/** One decoder thread as seen from the server: started when needed, given one recording at a time, replaced when it fails. */
import { Worker } from 'node:worker_threads';
import type { DecodingJob } from './decode-recording.js';
import type { DecodeReply, WorkerMessage } from './decode-worker.js';

/** What became of a recording: the thread's answer, or why there is none. */
export type ThreadOutcome =
  | DecodeReply
  | { readonly kind: 'timed_out' }
  /** The recording killed the thread. */
  | { readonly kind: 'crashed' }
  /** The thread could not start or was closed, which is not the recording's fault. */
  | { readonly kind: 'unavailable' };

/** A job whose bytes have a buffer of their own, which is handed over to the thread. */
export interface ThreadJob extends DecodingJob {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** JavaScript heap of a thread. Decoded samples lie outside it; they are limited by the duration allowed. */
const HEAP_LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32 };

export class DecodeThread {
  readonly #module: URL;
  #worker: Worker | undefined;
  #settle: ((outcome: ThreadOutcome) => void) | undefined;
  #closed = false;

  /** `module` is the compiled `decode-worker.js`. */
  constructor(module: URL) {
    this.#module = module;
  }

  /**
   * Decodes one recording. One call at a time. Never rejects: after `timeoutMs`, or when the thread dies, the outcome says
   * so and the next call gets a fresh thread.
   */
  run(job: ThreadJob, timeoutMs: number): Promise<ThreadOutcome> {
    if (this.#closed) return Promise.resolve({ kind: 'unavailable' });
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#settle?.({ kind: 'timed_out' });
        void this.#discard();
      }, timeoutMs);
      this.#settle = (outcome) => {
        clearTimeout(timer);
        this.#settle = undefined;
        resolve(outcome);
      };
      this.#worker ??= this.#start();
      this.#worker.postMessage(job, [job.bytes.buffer]);
    });
  }

  /** Ends the thread for good, whatever it is doing. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#settle?.({ kind: 'unavailable' });
    await this.#discard();
  }

  async #discard(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #start(): Worker {
    // No environment (it holds the service's secrets), no inherited flags, and no way to write to our output.
    const worker = new Worker(this.#module, {
      name: 'decode',
      env: {},
      execArgv: [],
      stdout: true,
      stderr: true,
      resourceLimits: HEAP_LIMITS,
    });
    worker.stdout.resume();
    worker.stderr.resume();
    let ready = false;
    worker.on('message', (message: WorkerMessage) => {
      if (this.#worker !== worker) return;
      if (message.kind === 'ready') ready = true;
      else this.#settle?.(message);
    });
    // An error can overtake the messages sent before it, `ready` among them. The exit that follows it cannot: Node drains them first.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#settle?.({ kind: ready ? 'crashed' : 'unavailable' });
    });
    // An idle thread must not keep a finished program alive.
    worker.unref();
    return worker;
  }
}
