/**
 * Log-mel filter-bank features as Kaldi defines them (compute-fbank-feats with snip_edges, without dither), for speaker
 * models whose graph starts at features. Computed in double precision; nothing is allocated per frame. What each step does
 * and in which order is the model's business as much as its weights: every parameter comes from the model's manifest.
 */
import { PowerSpectrum } from './power-spectrum.js';

export const FBANK_WINDOWS = ['povey', 'hamming', 'hanning', 'rectangular'] as const;
export type FbankWindow = (typeof FBANK_WINDOWS)[number];

export interface FbankOptions {
  readonly numMelBins: number;
  readonly frameLengthMs: number;
  readonly frameShiftMs: number;
  readonly window: FbankWindow;
  readonly removeDcOffset: boolean;
  /** 0 = none. */
  readonly preemphasis: number;
  readonly lowFreqHz: number;
  /** At most half the sample rate. */
  readonly highFreqHz: number;
  /** Power spectrum; false = magnitudes. */
  readonly usePower: boolean;
  /** One more column with the log-energy of the frame: the first, or with `htkCompat` the last. */
  readonly useEnergy: boolean;
  /** Energy of the frame before pre-emphasis and window. */
  readonly rawEnergy: boolean;
  /** Energies below count as this; 0 = no floor. */
  readonly energyFloor: number;
  readonly htkCompat: boolean;
  /** What a full-scale sample is to the front end: 1, or 32768. */
  readonly inputScale: 'unit' | 'int16';
  /** Per window: each column loses its mean, or nothing is done. */
  readonly meanNormalisation: 'window' | 'none';
}

/** Kaldi's floor under every logarithm: the spacing of 32-bit floats at 1. */
const LOG_FLOOR = 2 ** -23;
const INT16_SCALE = 32_768;

export class Fbank {
  /** Values per frame: the mel bins, and the energy if it is used. */
  readonly columns: number;
  readonly frameLength: number;
  readonly frameShift: number;

  private readonly options: FbankOptions;
  private readonly scale: number;
  private readonly window: Float64Array;
  private readonly spectrum: PowerSpectrum;
  private readonly frame: Float64Array;
  private readonly power: Float64Array;
  private readonly banks: MelBanks;
  private readonly firstBin: number;
  private readonly energyColumn: number;

  /** Throws `RangeError` for a frame without samples and for a mel bin that no line of the spectrum falls into. */
  constructor(sampleRateHz: number, options: FbankOptions) {
    this.options = options;
    this.frameLength = Math.floor((sampleRateHz * options.frameLengthMs) / 1000);
    this.frameShift = Math.floor((sampleRateHz * options.frameShiftMs) / 1000);
    if (this.frameLength < 2 || this.frameShift < 1) throw new RangeError('a frame must have samples');
    this.scale = options.inputScale === 'int16' ? INT16_SCALE : 1;
    this.window = windowOf(options.window, this.frameLength);
    this.spectrum = new PowerSpectrum(Math.max(8, 2 ** Math.ceil(Math.log2(this.frameLength))));
    this.frame = new Float64Array(this.spectrum.size);
    this.power = new Float64Array(this.spectrum.bins);
    this.banks = melBanks(sampleRateHz, this.spectrum, options);
    this.columns = options.numMelBins + (options.useEnergy ? 1 : 0);
    this.firstBin = options.useEnergy && !options.htkCompat ? 1 : 0;
    this.energyColumn = options.htkCompat ? options.numMelBins : 0;
  }

  /** Whole frames in so many samples. */
  frameCount(samples: number): number {
    return samples < this.frameLength ? 0 : 1 + Math.floor((samples - this.frameLength) / this.frameShift);
  }

  /** Features of mono samples in [-1, 1], frame after frame; empty when there is less than one frame. */
  compute(samples: Float32Array): Float32Array {
    const frames = this.frameCount(samples.length);
    const features = new Float32Array(frames * this.columns);
    for (let index = 0; index < frames; index++) this.computeFrame(samples, index, features);
    if (this.options.meanNormalisation === 'window') this.removeMeans(features, frames);
    return features;
  }

  private computeFrame(samples: Float32Array, index: number, features: Float32Array): void {
    const { options, frame, power, frameLength, banks } = this;
    const at = index * this.columns;
    this.load(samples, index * this.frameShift);
    if (options.useEnergy && options.rawEnergy) features[at + this.energyColumn] = this.logEnergy();
    this.emphasizeAndWindow();
    if (options.useEnergy && !options.rawEnergy) features[at + this.energyColumn] = this.logEnergy();
    frame.fill(0, frameLength);
    this.spectrum.transform(frame, power);
    if (!options.usePower) for (let line = 0; line < power.length; line++) power[line] = Math.sqrt(power[line]!);
    const { first, length, weights } = banks;
    let weight = 0;
    for (let bin = 0; bin < options.numMelBins; bin++) {
      let sum = 0;
      const end = first[bin]! + length[bin]!;
      for (let line = first[bin]!; line < end; line++) sum += weights[weight++]! * power[line]!;
      features[at + this.firstBin + bin] = Math.log(Math.max(sum, LOG_FLOOR));
    }
  }

  private load(samples: Float32Array, start: number): void {
    const { frame, frameLength, scale } = this;
    let sum = 0;
    for (let i = 0; i < frameLength; i++) {
      const value = samples[start + i]! * scale;
      frame[i] = value;
      sum += value;
    }
    if (!this.options.removeDcOffset) return;
    const mean = sum / frameLength;
    for (let i = 0; i < frameLength; i++) frame[i] = frame[i]! - mean;
  }

  private emphasizeAndWindow(): void {
    const { frame, window, frameLength } = this;
    const { preemphasis } = this.options;
    // Backwards, so that each sample still sees its predecessor as it was; the first one stands in for its own.
    for (let i = frameLength - 1; i > 0; i--) frame[i] = (frame[i]! - preemphasis * frame[i - 1]!) * window[i]!;
    frame[0] = frame[0]! * (1 - preemphasis) * window[0]!;
  }

  private logEnergy(): number {
    const { frame, frameLength } = this;
    const { energyFloor } = this.options;
    let energy = 0;
    for (let i = 0; i < frameLength; i++) energy += frame[i]! * frame[i]!;
    return Math.log(Math.max(energy, LOG_FLOOR, energyFloor));
  }

  private removeMeans(features: Float32Array, frames: number): void {
    const { columns } = this;
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let at = column; at < features.length; at += columns) sum += features[at]!;
      const mean = sum / frames;
      for (let at = column; at < features.length; at += columns) features[at] = features[at]! - mean;
    }
  }
}

/** For each bin, the spectral lines it hears and how much of each; the weights lie one bin after the other. */
interface MelBanks {
  readonly first: Uint32Array;
  readonly length: Uint32Array;
  readonly weights: Float64Array;
}

/** Triangles of equal width on the mel scale, each from the centre of the one before to that of the one after. */
function melBanks(sampleRateHz: number, spectrum: PowerSpectrum, options: FbankOptions): MelBanks {
  const { numMelBins, lowFreqHz, highFreqHz } = options;
  const lineHz = sampleRateHz / spectrum.size;
  const low = mel(lowFreqHz);
  const step = (mel(highFreqHz) - low) / (numMelBins + 1);
  const first = new Uint32Array(numMelBins);
  const length = new Uint32Array(numMelBins);
  const weights: number[] = [];
  for (let bin = 0; bin < numMelBins; bin++) {
    const left = low + bin * step;
    const centre = left + step;
    const right = centre + step;
    for (let line = 0; line < spectrum.bins; line++) {
      const at = mel(line * lineHz);
      if (at <= left || at >= right) continue;
      if (length[bin] === 0) first[bin] = line;
      length[bin] = length[bin]! + 1;
      weights.push(at <= centre ? (at - left) / step : (right - at) / step);
    }
    if (length[bin] === 0) throw new RangeError('too many mel bins: one of them has no spectral line');
  }
  return { first, length, weights: Float64Array.from(weights) };
}

function mel(hz: number): number {
  return 1127 * Math.log(1 + hz / 700);
}

function windowOf(kind: FbankWindow, length: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => {
    const cosine = Math.cos((2 * Math.PI * i) / (length - 1));
    switch (kind) {
      case 'povey':
        return (0.5 - 0.5 * cosine) ** 0.85;
      case 'hamming':
        return 0.54 - 0.46 * cosine;
      case 'hanning':
        return 0.5 - 0.5 * cosine;
      case 'rectangular':
        return 1;
    }
  });
}
