/** How good the audio of a speaker is, measured as it comes, so that a refusal can name the number that was found. */
import { dbToPower, powerToDb, SILENCE_DB } from './level.js';

export interface QualityReport {
  /** Mean power of the speech frames; undefined when there was none. */
  readonly speechLevelDb: number | undefined;
  /** Median power of the other frames; undefined when there was none. */
  readonly noiseLevelDb: number | undefined;
  /** Undefined unless there were frames of both kinds. */
  readonly snrDb: number | undefined;
  /** Share of the speech samples that are clipped, in [0, 1]. */
  readonly clippedRatio: number;
  readonly speechFrames: number;
}

/** Resolution of the noise histogram. */
const BIN_DB = 0.5;
/** The range of `snrDb`: speech at or below the noise has no SNR in dB, and digital silence would have an infinite one. */
const MIN_SNR_DB = -20;
const MAX_SNR_DB = 100;

export class QualityMeter {
  readonly #upper = new ClippingCounter();
  readonly #lower = new ClippingCounter();
  /** Non-speech frames by level: a median in constant memory. */
  readonly #noiseFramesByLevel = new Uint32Array(1 - SILENCE_DB / BIN_DB);
  #noiseFrames = 0;
  #speechFrames = 0;
  #speechSamples = 0;
  #speechEnergy = 0;

  /** Takes the next frame (samples in [-1, 1], any length; an empty one is ignored) and whether it is speech. */
  push(frame: Float32Array, isSpeech: boolean): void {
    if (frame.length === 0) return;
    let energy = 0;
    for (let i = 0; i < frame.length; i++) energy += frame[i]! * frame[i]!;
    if (isSpeech) {
      this.#speechFrames++;
      this.#speechSamples += frame.length;
      this.#speechEnergy += energy;
      this.#upper.push(frame, 1);
      this.#lower.push(frame, -1);
    } else {
      this.#noiseFrames++;
      this.#noiseFramesByLevel[levelBin(powerToDb(energy / frame.length))]!++;
      this.#upper.interrupt();
      this.#lower.interrupt();
    }
  }

  /** What was found so far. */
  report(): QualityReport {
    const speechPower = this.#speechSamples > 0 ? this.#speechEnergy / this.#speechSamples : undefined;
    const noiseLevelDb = this.#noiseFrames > 0 ? this.#medianNoiseDb() : undefined;
    return {
      speechLevelDb: speechPower === undefined ? undefined : powerToDb(speechPower),
      noiseLevelDb,
      snrDb: speechPower === undefined || noiseLevelDb === undefined ? undefined : snrDb(speechPower, noiseLevelDb),
      clippedRatio: this.#speechSamples > 0 ? (this.#upper.clipped + this.#lower.clipped) / this.#speechSamples : 0,
      speechFrames: this.#speechFrames,
    };
  }

  /** The median, because a word that the detector missed would lift the mean by tens of dB. */
  #medianNoiseDb(): number {
    let below = 0;
    let bin = 0;
    for (; bin < this.#noiseFramesByLevel.length - 1; bin++) {
      below += this.#noiseFramesByLevel[bin]!;
      if (below * 2 >= this.#noiseFrames) break;
    }
    return SILENCE_DB + bin * BIN_DB;
  }
}

/**
 * Counts clipped samples at one side of the waveform: runs at near full scale or, for audio that was clipped and made
 * quieter later, at a flat top, which is the highest level ever reached. Speech comes near its own maximum in peaks of a
 * sample or two, at a different height each time; a limiter cuts many peaks at one height for several samples. So a
 * sample counts in a run of three or more, and only while nothing has been clearly higher.
 */
class ClippingCounter {
  /** The largest code of mu-law is 0.9804 and that of A-law 0.9844 of full scale. */
  static readonly #FULL_SCALE = 0.98;
  /** A flat top is as flat as 16 bits can show; a 100 Hz voice at 16 kHz passes through so thin a slice in two samples. */
  static readonly #FLATNESS = 0.0005;
  /** Below -20 dBFS a level that repeats is coarse quantisation, not a limiter. */
  static readonly #LOWEST_TOP = 0.1;
  static readonly #SHORTEST_RUN = 3;

  clipped = 0;
  #run = 0;
  #highest = 0;
  #threshold = ClippingCounter.#LOWEST_TOP;

  /** `side` is 1 for the upper side of the waveform, -1 for the lower. */
  push(frame: Float32Array, side: 1 | -1): void {
    for (let i = 0; i < frame.length; i++) {
      const sample = side * frame[i]!;
      if (sample >= this.#threshold) this.#count(sample);
      else this.#run = 0;
    }
  }

  /** Ends a run: the next frame does not follow the last. */
  interrupt(): void {
    this.#run = 0;
  }

  #count(sample: number): void {
    if (sample > this.#highest) this.#raise(sample);
    this.#run++;
    if (this.#run === ClippingCounter.#SHORTEST_RUN) this.clipped += this.#run;
    else if (this.#run > ClippingCounter.#SHORTEST_RUN) this.clipped++;
  }

  /** What was counted at a lower top was no top, unless it was at full scale. */
  #raise(sample: number): void {
    const wasFullScale = this.#highest >= ClippingCounter.#FULL_SCALE;
    const clearlyHigher = sample > this.#highest * (1 + ClippingCounter.#FLATNESS);
    this.#highest = sample;
    if (wasFullScale) return;
    this.#threshold = Math.max(
      ClippingCounter.#LOWEST_TOP,
      Math.min(ClippingCounter.#FULL_SCALE, sample * (1 - ClippingCounter.#FLATNESS)),
    );
    if (clearlyHigher) {
      this.clipped = 0;
      this.#run = 0;
    }
  }
}

function snrDb(speechPower: number, noiseLevelDb: number): number {
  const noisePower = dbToPower(noiseLevelDb);
  const ratio = Math.max((speechPower - noisePower) / noisePower, dbToPower(MIN_SNR_DB));
  return Math.min(MAX_SNR_DB, 10 * Math.log10(ratio));
}

function levelBin(levelDb: number): number {
  return Math.max(0, Math.min(-SILENCE_DB / BIN_DB, Math.round((levelDb - SILENCE_DB) / BIN_DB)));
}
