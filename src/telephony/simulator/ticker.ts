/**
 * One timer for all simulated calls. Hundreds of interval timers would drift apart from the clock and wake the process all
 * the time; here every call is served once per revolution of a wheel whose slots follow the clock.
 */

const SLOTS = 4;
const SLOT_MS = 5;

export class Ticker {
  readonly #slots: Set<(nowMs: number) => void>[] = Array.from({ length: SLOTS }, () => new Set());
  #members = 0;
  #next = 0;
  #tick = 0;
  #startMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Serves `member` every 20 ms from now on, calls spread over the slots in turn. Returns what takes it off again. */
  add(member: (nowMs: number) => void): () => void {
    const slot = this.#slots[this.#next++ % SLOTS]!;
    slot.add(member);
    this.#members++;
    if (!this.#timer) this.#start();
    return () => {
      if (!slot.delete(member)) return;
      this.#members--;
      if (this.#members === 0) this.#stop();
    };
  }

  #start(): void {
    this.#startMs = performance.now();
    this.#tick = 0;
    this.#schedule();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    const waitMs = this.#startMs + (this.#tick + 1) * SLOT_MS - performance.now();
    this.#timer = setTimeout(() => this.#turn(), Math.max(0, waitMs));
  }

  #turn(): void {
    const nowMs = performance.now();
    const due = Math.floor((nowMs - this.#startMs) / SLOT_MS);
    // After a hold-up every slot is served once: members catch up by the clock, not by the number of calls.
    const first = Math.max(this.#tick + 1, due - SLOTS + 1);
    for (let tick = first; tick <= due; tick++) {
      for (const member of this.#slots[tick % SLOTS]!) member(nowMs);
    }
    this.#tick = Math.max(this.#tick, due);
    if (this.#members > 0) this.#schedule();
  }
}
