/** Questions to the other end of the channel that wait for their answers: bounded, each with a deadline. */

export interface Question {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Puts the question on the channel. */
  post(id: number): void;
  /** The asker no longer waits. */
  withdraw?(id: number): void;
}

interface Asker<A> {
  resolve(answer: A): void;
  reject(error: unknown): void;
}

export class Questions<A> {
  readonly #max: number;
  readonly #unanswered: (why: 'too_many' | 'late' | 'lost') => Error;
  readonly #askers = new Map<number, Asker<A>>();
  #lastId = 0;
  #lost = false;

  /** At most `max` wait at once; `unanswered` makes the error for a question without an answer. */
  constructor(max: number, unanswered: (why: 'too_many' | 'late' | 'lost') => Error) {
    this.#max = max;
    this.#unanswered = unanswered;
  }

  /** Resolves with the answer. Rejects with the error given to `fail`, with an `unanswered` one, or the signal's reason. */
  ask(question: Question): Promise<A> {
    const { signal } = question;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#lost) return reject(this.#unanswered('lost'));
      if (this.#askers.size >= this.#max) return reject(this.#unanswered('too_many'));
      this.#lastId += 1;
      const id = this.#lastId;
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        this.#askers.delete(id);
      };
      const giveUp = (reason: unknown) => {
        settle();
        reject(reason);
        question.withdraw?.(id);
      };
      const abort = () => giveUp(signal?.reason);
      const timer = setTimeout(() => giveUp(this.#unanswered('late')), question.timeoutMs);
      signal?.addEventListener('abort', abort, { once: true });
      this.#askers.set(id, {
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      question.post(id);
    });
  }

  /** Nothing happens when nobody waits for this answer any more. */
  answer(id: number, answer: A): void {
    this.#askers.get(id)?.resolve(answer);
  }

  fail(id: number, error: unknown): void {
    this.#askers.get(id)?.reject(error);
  }

  /** The other end is gone: no question, now or later, will be answered. */
  lose(): void {
    this.#lost = true;
    for (const asker of [...this.#askers.values()]) asker.reject(this.#unanswered('lost'));
  }
}
