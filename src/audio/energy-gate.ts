/**
 * A cheap test in front of the neural speech detector: most of a call is one side listening, and a level costs a
 * hundredth of an inference. It only ever saves work: in doubt it says "may be speech" and leaves the decision to the
 * detector.
 */
import { AUDIBLE_DB, powerToDb, SILENCE_DB } from './level.js';

export interface EnergyGateOptions {
  readonly sampleRateHz: number;
  /** Samples in every frame, e.g. the detector's. */
  readonly frameSamples: number;
}

/**
 * How far above the noise floor the gate opens. The floor is a minimum, and steady noise stays about this close to its own
 * minimum. On telephone calls with white noise added at 10 dB SNR, 0.1 to 0.2 % of the frames that the detector takes
 * for speech without the noise are lost, all at faint beginnings; with other noises fewer.
 */
const MARGIN_DB = 2.5;
/** Stays open this long after the last loud frame: word ends fade below the noise, and pauses inside words are short. */
const HANGOVER_MS = 300;
/**
 * The noise floor is the quietest frame of the last three seconds (minimum statistics: Martin, IEEE Trans. Speech and
 * Audio Processing 9(5), 2001, here on the whole band). Nobody speaks for three seconds without a gap between syllables,
 * so speech does not raise its own floor.
 */
const FLOOR_MEMORY_MS = 3000;
/** The memory is kept as minima of this many equal parts, of which the oldest is forgotten at a time. */
const FLOOR_PARTS = 6;
/** Until this much was heard, what seems the floor may be speech: everything audible passes. */
const WARM_UP_MS = 1000;
/** Removes an offset and hum below the voice, which would cover quiet speech or look like it. */
const HIGH_PASS_HZ = 100;

export class EnergyGate {
  readonly #frameSamples: number;
  readonly #hangoverFrames: number;
  readonly #warmUpFrames: number;
  readonly #partFrames: number;
  readonly #highPassPole: number;
  readonly #partMinimaDb = new Float64Array(FLOOR_PARTS).fill(Number.POSITIVE_INFINITY);
  #part = 0;
  #framesInPart = 0;
  #framesHeard = 0;
  #framesLeftOpen = 0;
  #previousInput = 0;
  #previousOutput = 0;

  constructor({ sampleRateHz, frameSamples }: EnergyGateOptions) {
    const frameMs = (1000 * frameSamples) / sampleRateHz;
    this.#frameSamples = frameSamples;
    this.#hangoverFrames = Math.round(HANGOVER_MS / frameMs);
    this.#warmUpFrames = Math.ceil(WARM_UP_MS / frameMs);
    this.#partFrames = Math.ceil(FLOOR_MEMORY_MS / FLOOR_PARTS / frameMs);
    this.#highPassPole = Math.exp((-2 * Math.PI * HIGH_PASS_HZ) / sampleRateHz);
  }

  /** Present estimate of the noise level in dBFS, above 100 Hz; the bottom of the scale before the first frame. */
  get floorDb(): number {
    const floorDb = Math.min(...this.#partMinimaDb);
    return Number.isFinite(floorDb) ? floorDb : SILENCE_DB;
  }

  /** Takes the next frame; false = certainly no speech. Throws `RangeError` for a frame of another length. */
  push(frame: Float32Array): boolean {
    if (frame.length !== this.#frameSamples) {
      throw new RangeError(`expected frames of ${this.#frameSamples} samples, got ${frame.length}`);
    }
    const levelDb = powerToDb(this.#highPassedPower(frame));
    this.#trackFloor(levelDb);
    const warmingUp = this.#framesHeard <= this.#warmUpFrames;
    const loud = levelDb > AUDIBLE_DB && (warmingUp || levelDb > this.floorDb + MARGIN_DB);
    if (loud) this.#framesLeftOpen = this.#hangoverFrames;
    else if (this.#framesLeftOpen > 0) this.#framesLeftOpen--;
    else return false;
    return true;
  }

  #trackFloor(levelDb: number): void {
    this.#framesHeard++;
    if (this.#framesInPart === this.#partFrames) {
      this.#framesInPart = 0;
      this.#part = (this.#part + 1) % FLOOR_PARTS;
      this.#partMinimaDb[this.#part] = Number.POSITIVE_INFINITY;
    }
    this.#framesInPart++;
    this.#partMinimaDb[this.#part] = Math.min(this.#partMinimaDb[this.#part]!, levelDb);
  }

  /** Mean square after a first-order high-pass. */
  #highPassedPower(frame: Float32Array): number {
    const pole = this.#highPassPole;
    let input = this.#previousInput;
    let output = this.#previousOutput;
    let energy = 0;
    for (let i = 0; i < frame.length; i++) {
      const sample = frame[i]!;
      output = sample - input + pole * output;
      input = sample;
      energy += output * output;
    }
    this.#previousInput = input;
    this.#previousOutput = output;
    return energy / frame.length;
  }
}
