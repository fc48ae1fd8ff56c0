/**
 * Whether a signal is more than silence, and how much of it could be speech. Measured in blocks of at least 20 ms that may
 * span frames: a piece of a few samples, as some senders cut them, shows neither.
 */
import { AUDIBLE_DB, dbToPower } from './level.js';

/**
 * Largest span of digital silence. A-law has no zero: its two idle codes decode to +8 and -8 of 32768, and a silent line may
 * send the one, the other, or both by turns. A constant offset has no span at all.
 */
const IDLE_SPAN = 16 / 32_768;
const AUDIBLE_POWER = dbToPower(AUDIBLE_DB);
const BLOCK_MS = 20;

export class SoundMeter {
  #heard = false;
  #audibleMs = 0;
  #samples = 0;
  #blockMs = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = Number.NEGATIVE_INFINITY;
  #sum = 0;
  #energy = 0;

  /** Whether anything was more than digital silence. */
  get heard(): boolean {
    return this.#heard;
  }

  /** Sound loud enough to be speech. */
  get audibleMs(): number {
    return this.#audibleMs;
  }

  /** Takes the next samples, in [-1, 1]. */
  add(samples: Float32Array, sampleRateHz: number): void {
    for (let i = 0; i < samples.length; i++) {
      const sample = samples[i]!;
      if (sample < this.#least) this.#least = sample;
      if (sample > this.#most) this.#most = sample;
      this.#sum += sample;
      this.#energy += sample * sample;
    }
    this.#samples += samples.length;
    this.#blockMs += (samples.length / sampleRateHz) * 1000;
    if (this.#blockMs >= BLOCK_MS) this.#endBlock();
  }

  #endBlock(): void {
    const mean = this.#sum / this.#samples;
    const power = this.#energy / this.#samples - mean * mean;
    if (this.#most - this.#least > IDLE_SPAN) this.#heard = true;
    if (power > AUDIBLE_POWER) this.#audibleMs += this.#blockMs;
    this.#samples = 0;
    this.#blockMs = 0;
    this.#least = Number.POSITIVE_INFINITY;
    this.#most = Number.NEGATIVE_INFINITY;
    this.#sum = 0;
    this.#energy = 0;
  }
}
