/**
 * The net speech of one call: what the voice-activity detector let through, kept in memory for windows to be cut from.
 * Bounded, and grown as speech comes, because most calls need a fraction of the most they may use.
 */

const INITIAL_SAMPLES = 16_000;

export class SpeechBuffer {
  readonly #capacitySamples: number;
  #store = new Float32Array(0);
  #length = 0;

  /** Holds at most `capacitySamples`. Throws `RangeError` unless it is a positive whole number. */
  constructor(capacitySamples: number) {
    if (!Number.isSafeInteger(capacitySamples) || capacitySamples < 1) {
      throw new RangeError(`capacity must be a positive whole number of samples, not ${capacitySamples}`);
    }
    this.#capacitySamples = capacitySamples;
  }

  /** Samples held. */
  get length(): number {
    return this.#length;
  }

  /** Copies as many of `samples` as still fit, from the first on, and returns how many did. */
  append(samples: Float32Array): number {
    const fitting = Math.min(samples.length, this.#capacitySamples - this.#length);
    const needed = this.#length + fitting;
    if (needed > this.#store.length) {
      const grown = new Float32Array(
        Math.min(this.#capacitySamples, Math.max(needed, 2 * this.#store.length, INITIAL_SAMPLES)),
      );
      grown.set(this.#store.subarray(0, this.#length));
      this.#store = grown;
    }
    this.#store.set(fitting === samples.length ? samples : samples.subarray(0, fitting), this.#length);
    this.#length = needed;
    return fitting;
  }

  /**
   * Samples `start` (inclusive) to `end` (exclusive), not copied. What is held never changes, so a view stays right while
   * more is appended. Throws `RangeError` for samples that are not held.
   */
  view(start: number, end: number): Float32Array {
    if (!(start >= 0 && start <= end && end <= this.#length)) {
      throw new RangeError(`samples ${start} to ${end} are not within the ${this.#length} held`);
    }
    return this.#store.subarray(start, end);
  }
}
