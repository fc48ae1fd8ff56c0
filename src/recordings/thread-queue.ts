/** Admission to the decoder threads: first come, first served, with a bounded queue and a bounded wait. */
import { VoiceAuthError } from '../domain/errors.js';
import { cancelled } from './cancelled.js';
import type { DecodeThread } from './decode-thread.js';

export interface ThreadQueueLimits {
  readonly maxWaiting: number;
  readonly queueTimeoutMs: number;
}

interface Waiter {
  readonly admit: (thread: DecodeThread) => void;
  readonly refuse: (error: VoiceAuthError) => void;
}

const RETRY_AFTER_SECONDS = 2;

export class ThreadQueue {
  readonly #threads: readonly DecodeThread[];
  readonly #limits: ThreadQueueLimits;
  readonly #idle: DecodeThread[];
  readonly #waiting: Waiter[] = [];
  #closed = false;

  constructor(threads: readonly DecodeThread[], limits: ThreadQueueLimits) {
    this.#threads = threads;
    this.#limits = limits;
    this.#idle = [...threads];
  }

  /** A thread of the caller's own until `release`. Throws `Busy` when too many wait, and `cancelled(signal)` when aborted. */
  acquire(signal: AbortSignal): Promise<DecodeThread> {
    if (signal.aborted) return Promise.reject(cancelled(signal));
    if (this.#closed) return Promise.reject(busy());
    const thread = this.#idle.pop();
    if (thread !== undefined) return Promise.resolve(thread);
    if (this.#waiting.length >= this.#limits.maxWaiting) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        const index = this.#waiting.indexOf(waiter);
        if (index >= 0) this.#waiting.splice(index, 1);
      };
      const waiter: Waiter = {
        admit: (free) => {
          leave();
          resolve(free);
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      const onAbort = (): void => waiter.refuse(cancelled(signal));
      const timer = setTimeout(() => waiter.refuse(busy()), this.#limits.queueTimeoutMs);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** Gives a thread back, to the longest waiting recording if there is one. */
  release(thread: DecodeThread): void {
    const next = this.#waiting[0];
    if (next === undefined) this.#idle.push(thread);
    else next.admit(thread);
  }

  /** Refuses everything that waits or comes later, and ends the threads. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of [...this.#waiting]) waiter.refuse(busy());
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}

function busy(): VoiceAuthError {
  return new VoiceAuthError('Busy', 'Too many recordings are being decoded.', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  });
}
