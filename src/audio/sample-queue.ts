/**
 * Samples of a call that have arrived and wait to be processed. A bounded first-in first-out ring: when processing falls
 * behind, the oldest audio goes, never the newest, and the caller is told how much to count it as dropped.
 */

const INITIAL_SAMPLES = 4096;

export class SampleQueue {
  readonly #capacitySamples: number;
  #ring = new Float32Array(0);
  /** Index of the oldest sample. */
  #head = 0;
  #length = 0;

  /** Holds at most `capacitySamples`. Throws `RangeError` unless it is a positive whole number. */
  constructor(capacitySamples: number) {
    if (!Number.isSafeInteger(capacitySamples) || capacitySamples < 1) {
      throw new RangeError(`capacity must be a positive whole number of samples, not ${capacitySamples}`);
    }
    this.#capacitySamples = capacitySamples;
  }

  /** Samples waiting. */
  get length(): number {
    return this.#length;
  }

  /** Copies `samples` to the end and returns how many of the oldest samples (waiting or given) had to go to make room. */
  push(samples: Float32Array): number {
    const dropped = Math.max(0, this.#length + samples.length - this.#capacitySamples);
    const droppedWaiting = this.shift(dropped);
    const kept = dropped > droppedWaiting ? samples.subarray(dropped - droppedWaiting) : samples;
    this.#reserve(this.#length + kept.length);
    let tail = this.#head + this.#length;
    if (tail >= this.#ring.length) tail -= this.#ring.length;
    const beforeWrap = Math.min(kept.length, this.#ring.length - tail);
    this.#ring.set(kept.subarray(0, beforeWrap), tail);
    this.#ring.set(kept.subarray(beforeWrap), 0);
    this.#length += kept.length;
    return dropped;
  }

  /** Moves the oldest samples into the start of `out`, as many as there are or fit, and returns how many. */
  read(out: Float32Array): number {
    const count = Math.min(out.length, this.#length);
    const beforeWrap = Math.min(count, this.#ring.length - this.#head);
    out.set(this.#ring.subarray(this.#head, this.#head + beforeWrap), 0);
    out.set(this.#ring.subarray(0, count - beforeWrap), beforeWrap);
    return this.shift(count);
  }

  /** Discards up to `count` of the oldest samples and returns how many were there to discard. */
  shift(count: number): number {
    const removed = Math.min(count, this.#length);
    this.#head += removed;
    if (this.#head >= this.#ring.length) this.#head -= this.#ring.length;
    this.#length -= removed;
    if (this.#length === 0) this.#head = 0;
    return removed;
  }

  #reserve(needed: number): void {
    if (needed <= this.#ring.length) return;
    const grown = new Float32Array(
      Math.min(this.#capacitySamples, Math.max(needed, 2 * this.#ring.length, INITIAL_SAMPLES)),
    );
    const length = this.read(grown);
    this.#ring = grown;
    this.#head = 0;
    this.#length = length;
  }
}
