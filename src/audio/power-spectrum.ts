/**
 * Power spectrum of real frames: an FFT of half the length over pairs of samples, with all tables and working memory made
 * once. Of our own because the libraries at hand are several times slower or do not run on Node 20.
 */

export class PowerSpectrum {
  /** Samples per frame. */
  readonly size: number;
  /** Spectral lines per frame: 0 Hz up to, and without, half the sample rate. */
  readonly bins: number;

  private readonly half: number;
  private readonly re: Float64Array;
  private readonly im: Float64Array;
  private readonly reversed: Uint32Array;
  /** Factors of the stages after the second, stage after stage. */
  private readonly stageCos: Float64Array;
  private readonly stageSin: Float64Array;
  private readonly splitCos: Float64Array;
  private readonly splitSin: Float64Array;

  /** `size` is a power of two, at least 8. */
  constructor(size: number) {
    if (size < 8 || !Number.isInteger(Math.log2(size)))
      throw new RangeError('the size must be a power of two, 8 or more');
    this.size = size;
    this.half = size / 2;
    this.bins = this.half;
    this.re = new Float64Array(this.half);
    this.im = new Float64Array(this.half);
    this.reversed = bitReversal(this.half);
    const angles: number[] = [];
    for (let length = 8; length <= this.half; length *= 2) {
      for (let k = 0; k < length / 2; k++) angles.push((-2 * Math.PI * k) / length);
    }
    this.stageCos = Float64Array.from(angles, Math.cos);
    this.stageSin = Float64Array.from(angles, Math.sin);
    const split = Array.from({ length: this.half }, (_, k) => (-2 * Math.PI * k) / size);
    this.splitCos = Float64Array.from(split, Math.cos);
    this.splitSin = Float64Array.from(split, Math.sin);
  }

  /** Writes the `bins` squared magnitudes of `frame` (its first `size` values) to `power`. */
  transform(frame: Float64Array, power: Float64Array): void {
    const { re, im, reversed, half } = this;
    for (let i = 0; i < half; i++) {
      const from = 2 * reversed[i]!;
      re[i] = frame[from]!;
      im[i] = frame[from + 1]!;
    }
    this.firstTwoStages();
    this.laterStages();
    this.split(power);
  }

  /** Their factors are 1 and -i, so they need no multiplication. */
  private firstTwoStages(): void {
    const { re, im, half } = this;
    for (let i = 0; i < half; i += 4) {
      const aRe = re[i]! + re[i + 1]!;
      const aIm = im[i]! + im[i + 1]!;
      const bRe = re[i]! - re[i + 1]!;
      const bIm = im[i]! - im[i + 1]!;
      const cRe = re[i + 2]! + re[i + 3]!;
      const cIm = im[i + 2]! + im[i + 3]!;
      const dRe = re[i + 2]! - re[i + 3]!;
      const dIm = im[i + 2]! - im[i + 3]!;
      re[i] = aRe + cRe;
      im[i] = aIm + cIm;
      re[i + 1] = bRe + dIm;
      im[i + 1] = bIm - dRe;
      re[i + 2] = aRe - cRe;
      im[i + 2] = aIm - cIm;
      re[i + 3] = bRe - dIm;
      im[i + 3] = bIm + dRe;
    }
  }

  private laterStages(): void {
    const { re, im, half, stageCos, stageSin } = this;
    let factors = 0;
    for (let length = 8; length <= half; length *= 2) {
      const step = length / 2;
      for (let start = 0; start < half; start += length) {
        for (let k = 0; k < step; k++) {
          const upper = start + k;
          const lower = upper + step;
          const cos = stageCos[factors + k]!;
          const sin = stageSin[factors + k]!;
          const tRe = re[lower]! * cos - im[lower]! * sin;
          const tIm = re[lower]! * sin + im[lower]! * cos;
          re[lower] = re[upper]! - tRe;
          im[lower] = im[upper]! - tIm;
          re[upper] = re[upper]! + tRe;
          im[upper] = im[upper]! + tIm;
        }
      }
      factors += step;
    }
  }

  /** From the transform of the pairs to that of the samples. */
  private split(power: Float64Array): void {
    const { re, im, half, splitCos, splitSin } = this;
    const sum = re[0]! + im[0]!;
    power[0] = sum * sum;
    for (let k = 1; k < half; k++) {
      const mirror = half - k;
      const evenRe = (re[k]! + re[mirror]!) / 2;
      const evenIm = (im[k]! - im[mirror]!) / 2;
      const oddRe = (im[k]! + im[mirror]!) / 2;
      const oddIm = (re[mirror]! - re[k]!) / 2;
      const lineRe = evenRe + oddRe * splitCos[k]! - oddIm * splitSin[k]!;
      const lineIm = evenIm + oddRe * splitSin[k]! + oddIm * splitCos[k]!;
      power[k] = lineRe * lineRe + lineIm * lineIm;
    }
  }
}

function bitReversal(length: number): Uint32Array {
  const bits = Math.log2(length);
  return Uint32Array.from({ length }, (_, index) => {
    let reversed = 0;
    for (let bit = 0; bit < bits; bit++) if (index & (1 << bit)) reversed |= 1 << (bits - 1 - bit);
    return reversed;
  });
}
