/**
 * Is a headerless stream of 16-bit samples one channel or two interleaved ones? Decided from the samples alone, by what
 * neighbours have to do with each other.
 *
 * - One channel: neighbours x[n], x[n+1] resemble each other (speech is low-pass), and even and odd samples have the same
 *   energy and the same relations, because they are the same signal.
 * - Two channels: x[n] resembles x[n+2], the next sample of its own channel, and not x[n+1], which is somebody else. Or
 *   one channel is silent, and every other sample is much weaker.
 * - Two identical channels (dual mono): x[2k] equals x[2k+1] while x[2k+1] and x[2k+2] differ.
 *
 * The dangerous mistake is to take one mixed channel for two (half the samples of a mix still sound like the mix), so
 * `stereo` needs strong evidence; noise and silence stay `unknown`.
 */

export type ChannelLayout = 'unknown' | 'mono' | 'stereo' | 'identical';

const BLOCK_SAMPLES = 256;
/** Root mean square of 16-bit samples above which a block counts as audible: about -50 dBFS. */
const AUDIBLE_RMS = 100;
/** Blocks that must really contribute (sum of energies squared over sum of squares), so that one click decides nothing. */
const MIN_EFFECTIVE_BLOCKS = 12;

/** Energy imbalance (Ee - Eo) / (Ee + Eo) beyond which one channel is silent: 6 dB. */
const IMBALANCE_OF_STEREO = 0.6;
const IMBALANCE_OF_MONO = 0.25;
const OWN_CHANNEL_CORRELATION = 0.4;
const CROSS_TO_OWN_RATIO = 0.35;
const NEIGHBOUR_CORRELATION_OF_MONO = 0.5;
const IDENTICAL_CORRELATION = 0.9;
/** Pair differences of dual mono against differences between pairs; 1 for a single channel. */
const IDENTICAL_DIFFERENCE_RATIO = 0.3;

/** Sums over even (e) and odd (o) samples, means taken out per block so that hum and offsets do not pass for likeness. */
interface Sums {
  even: number;
  odd: number;
  evenToOdd: number;
  oddToEven: number;
  twoApart: number;
}

export class ChannelLayoutEvidence {
  readonly #sums: Sums = { even: 0, odd: 0, evenToOdd: 0, oddToEven: 0, twoApart: 0 };
  readonly #block = new Int16Array(BLOCK_SAMPLES + 2);
  /** Samples in `#block`; the first two are the last two of the block before. */
  #filled = 2;
  #lowByte: number | undefined;
  #energySquares = 0;
  #audibleBlocks = 0;

  /** Takes the next bytes of the stream; samples may be split between calls. The stream begins with an even sample. */
  add(bytes: Uint8Array): void {
    let at = 0;
    if (this.#lowByte !== undefined && bytes.length > 0) {
      this.#push(this.#lowByte | (bytes[0]! << 8));
      this.#lowByte = undefined;
      at = 1;
    }
    const whole = bytes.length - ((bytes.length - at) & 1);
    for (; at < whole; at += 2) this.#push(bytes[at]! | (bytes[at + 1]! << 8));
    if (at < bytes.length) this.#lowByte = bytes[at]!;
  }

  /** Samples that belong to audible blocks so far. */
  get audibleSamples(): number {
    return this.#audibleBlocks * BLOCK_SAMPLES;
  }

  layout(): ChannelLayout {
    const { even, odd, evenToOdd, oddToEven, twoApart } = this.#sums;
    const energy = even + odd;
    if (energy <= 0 || (energy * energy) / this.#energySquares < MIN_EFFECTIVE_BLOCKS) return 'unknown';
    const imbalance = Math.abs(even - odd) / energy;
    const neighbours = (evenToOdd + oddToEven) / energy;
    const own = twoApart / energy;
    const withinPairs = energy - 2 * evenToOdd;
    const betweenPairs = energy - 2 * oddToEven;
    if ((2 * evenToOdd) / energy >= IDENTICAL_CORRELATION && withinPairs < IDENTICAL_DIFFERENCE_RATIO * betweenPairs) {
      return 'identical';
    }
    // A pure tone at a quarter of the rate is unbalanced too, but opposite to itself two samples on.
    if (imbalance >= IMBALANCE_OF_STEREO && own > -0.3) return 'stereo';
    if (own >= OWN_CHANNEL_CORRELATION && Math.abs(neighbours) <= CROSS_TO_OWN_RATIO * own) return 'stereo';
    const symmetric = withinPairs < 2 * betweenPairs && betweenPairs < 2 * withinPairs;
    if (neighbours >= NEIGHBOUR_CORRELATION_OF_MONO && imbalance <= IMBALANCE_OF_MONO && symmetric) return 'mono';
    return 'unknown';
  }

  #push(unsigned: number): void {
    this.#block[this.#filled++] = unsigned;
    if (this.#filled === BLOCK_SAMPLES + 2) this.#endBlock();
  }

  #endBlock(): void {
    const x = this.#block;
    let evenSum = 0;
    let oddSum = 0;
    let even = 0;
    let odd = 0;
    let evenToOdd = 0;
    let oddToEven = 0;
    let twoApart = 0;
    for (let i = 2; i < BLOCK_SAMPLES + 2; i += 2) {
      const e = x[i]!;
      const o = x[i + 1]!;
      const before = x[i - 1]!;
      evenSum += e;
      oddSum += o;
      even += e * e;
      odd += o * o;
      evenToOdd += e * o;
      oddToEven += before * e;
      twoApart += x[i - 2]! * e + before * o;
    }
    const pairs = BLOCK_SAMPLES / 2;
    const evenMean = evenSum / pairs;
    const oddMean = oddSum / pairs;
    even -= evenSum * evenMean;
    odd -= oddSum * oddMean;
    const sums = this.#sums;
    sums.even += even;
    sums.odd += odd;
    sums.evenToOdd += evenToOdd - evenSum * oddMean;
    sums.oddToEven += oddToEven - evenSum * oddMean;
    sums.twoApart += twoApart - evenSum * evenMean - oddSum * oddMean;
    const energy = even + odd;
    this.#energySquares += energy * energy;
    if (energy > AUDIBLE_RMS * AUDIBLE_RMS * BLOCK_SAMPLES) this.#audibleBlocks++;
    x[0] = x[BLOCK_SAMPLES]!;
    x[1] = x[BLOCK_SAMPLES + 1]!;
    this.#filled = 2;
  }
}
