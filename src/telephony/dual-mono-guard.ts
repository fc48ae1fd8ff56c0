/**
 * Watches a two-channel stream for channels that carry the same signal. Then there is no channel of the caller alone,
 * whatever a start frame or the configuration says: the stream is a mix, or one channel taken for two.
 */
import { AUDIBLE_DB, dbToPower } from '../audio/level.js';

/** Weight of the past per block: at 20 ms blocks about the last second of sound counts. */
const DECAY = 0.98;
/** Likeness 2 Σlr / (Σl² + Σr²) of the channels: 1 for the same signal, near 0 for two people. */
const SAME = 0.9;
const DIFFERENT = 0.6;
/** Sound that must have contributed (effective number of blocks) before anything is said. */
const MIN_EFFECTIVE_BLOCKS = 8;
/**
 * Mean square of both channels together below which a block says nothing: lines that nobody speaks on have the same idle
 * codes and hum. Of the same signal twice each channel counts from 3 dB below what the energy gate lets through, so
 * nothing that could be used goes unnoticed.
 */
const AUDIBLE_POWER = dbToPower(AUDIBLE_DB) * 32_768 ** 2;

export class DualMonoGuard {
  readonly #blockFrames: number;
  #framesInBlock = 0;
  #leftSum = 0;
  #rightSum = 0;
  #leftBlock = 0;
  #rightBlock = 0;
  #crossBlock = 0;
  #energy = 0;
  #cross = 0;
  #energySquares = 0;
  #identical: boolean;

  /** `identical` is what is known beforehand; sound that shows the opposite changes it. */
  constructor(sampleRateHz: number, identical = false) {
    this.#blockFrames = Math.round(sampleRateHz / 50);
    this.#identical = identical;
  }

  /** Whether the channels carry the same signal at present. */
  get identical(): boolean {
    return this.#identical;
  }

  /** Takes interleaved s16le sample pairs: whole ones, 4 bytes each. */
  add(bytes: Uint8Array): void {
    for (let at = 0; at + 3 < bytes.length; at += 4) {
      const left = ((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16;
      const right = ((bytes[at + 2]! | (bytes[at + 3]! << 8)) << 16) >> 16;
      this.#leftSum += left;
      this.#rightSum += right;
      this.#leftBlock += left * left;
      this.#rightBlock += right * right;
      this.#crossBlock += left * right;
      if (++this.#framesInBlock === this.#blockFrames) this.#endBlock();
    }
  }

  #endBlock(): void {
    // Without the means, so that equal offsets do not pass for likeness.
    const leftMean = this.#leftSum / this.#blockFrames;
    const rightMean = this.#rightSum / this.#blockFrames;
    const energy = this.#leftBlock + this.#rightBlock - leftMean * this.#leftSum - rightMean * this.#rightSum;
    const cross = this.#crossBlock - leftMean * this.#rightSum;
    this.#framesInBlock = 0;
    this.#leftSum = 0;
    this.#rightSum = 0;
    this.#leftBlock = 0;
    this.#rightBlock = 0;
    this.#crossBlock = 0;
    // Silence says nothing and forgets nothing.
    if (energy < AUDIBLE_POWER * this.#blockFrames) return;
    this.#energy = this.#energy * DECAY + energy;
    this.#cross = this.#cross * DECAY + cross;
    this.#energySquares = this.#energySquares * DECAY * DECAY + energy * energy;
    if ((this.#energy * this.#energy) / this.#energySquares < MIN_EFFECTIVE_BLOCKS) return;
    const likeness = (2 * this.#cross) / this.#energy;
    if (likeness >= SAME) this.#identical = true;
    else if (likeness < DIFFERENT) this.#identical = false;
  }
}
