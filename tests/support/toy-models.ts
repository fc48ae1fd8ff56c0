/**
 * A world small enough to see through: voices are directions in the plane, and the amplitude of an alternating signal says
 * which. Detector and embedder answer at once unless told to hold, and keep what they were asked.
 */
import type { InferenceOptions, SpeakerEmbedder, SpeechDetector } from '../../src/domain/ports/speaker-model.js';
import { type Calibration, calibrationSchema } from '../../src/domain/scoring/calibration.js';
import { SpeakerScorer } from '../../src/domain/scoring/scorer.js';

export const TOY_RATE_HZ = 8000;
export const TOY_FRAME_SAMPLES = 256;
export const TOY_FRAME_MS = 32;
export const TOY_MODEL_ID = 'toy-2d';

/** Quieter than the gate's absolute floor: certainly no speech. */
const QUIET = 0.0005;
const LOWEST_AMPLITUDE = 0.1;
const AMPLITUDE_RANGE = 0.8;

/** The unit vector at `degrees`. */
export function direction(degrees: number): Float32Array {
  return Float32Array.of(Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180));
}

/** The angle of a vector, in degrees. */
export function degreesOf(vector: Float32Array): number {
  return (Math.atan2(vector[1]!, vector[0]!) * 180) / Math.PI;
}

/**
 * `frames` detector frames of the voice at `degrees` (0 to 180): six loud ones, two quiet ones, and so on. The quiet ones
 * count as pauses inside words, so all of it is net speech.
 */
export function toySpeech(degrees: number, frames: number): Float32Array {
  const amplitude = LOWEST_AMPLITUDE + (AMPLITUDE_RANGE * degrees) / 180;
  return alternating(frames, (frame) => (frame % 8 < 6 ? amplitude : QUIET), 1);
}

/** Loud enough for the gate, but no speech to the detector. */
export function toyNoise(frames: number, amplitude = 0.3): Float32Array {
  return alternating(frames, () => amplitude, 2);
}

export function toySilence(frames: number): Float32Array {
  return alternating(frames, () => QUIET, 1);
}

export function joined(...parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Where two signals differ first; undefined when they are the same. Says more than a listing of both. */
export function differsAt(a: Float32Array, b: Float32Array): number | undefined {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (!Object.is(a[i], b[i])) return i;
  return undefined;
}

function alternating(frames: number, amplitudeOf: (frame: number) => number, halfPeriod: number): Float32Array {
  return Float32Array.from({ length: frames * TOY_FRAME_SAMPLES }, (_, index) => {
    const sign = Math.floor(index / halfPeriod) % 2 === 0 ? 1 : -1;
    return sign * amplitudeOf(Math.floor(index / TOY_FRAME_SAMPLES));
  });
}

/** Requests wait while it is shut. */
export class Latch {
  private waiting: (() => void)[] = [];
  private shut = false;

  close(): void {
    this.shut = true;
  }

  open(): void {
    this.shut = false;
    for (const go of this.waiting.splice(0)) go();
  }

  /** Lets one waiting request through. */
  step(): void {
    this.waiting.shift()?.();
  }

  get held(): number {
    return this.waiting.length;
  }

  /** Like the pool, a request that waits fails with the reason of its signal. */
  async pass(signal?: AbortSignal): Promise<void> {
    if (!this.shut) return;
    let go: () => void = () => undefined;
    let giveUp: () => void = () => undefined;
    const opened = new Promise<void>((resolve, reject) => {
      go = resolve;
      giveUp = () => reject(signal?.reason);
    });
    this.waiting.push(go);
    signal?.addEventListener('abort', giveUp);
    try {
      await opened;
    } finally {
      signal?.removeEventListener('abort', giveUp);
      this.waiting = this.waiting.filter((waiting) => waiting !== go);
    }
  }
}

/** Takes alternating neighbours for speech. */
export class ToyDetector implements SpeechDetector {
  readonly sampleRateHz: number = TOY_RATE_HZ;
  readonly frameSamples: number = TOY_FRAME_SAMPLES;
  /** Copies of what it was asked, request by request. */
  readonly requests: Float32Array[] = [];
  /** How often it was asked, also by those who had left. */
  asked = 0;
  readonly latch = new Latch();
  /** Thrown by the next requests. */
  failure: unknown;
  probabilityOf = (frame: Float32Array): number =>
    Math.abs(frame[0]!) > 0.05 && frame[0]! * frame[1]! < 0 ? 0.95 : 0.05;
  /** Most requests in flight at once, on any one stream. */
  mostAtOnce = 0;

  createStream() {
    let running = 0;
    return {
      detect: async (samples: Float32Array, options: InferenceOptions) => {
        this.asked++;
        options.signal?.throwIfAborted();
        const copy = samples.slice();
        this.requests.push(copy);
        this.mostAtOnce = Math.max(this.mostAtOnce, ++running);
        try {
          await this.latch.pass(options.signal);
          if (this.failure) throw this.failure;
          return Float32Array.from({ length: copy.length / this.frameSamples }, (_, index) =>
            this.probabilityOf(copy.subarray(index * this.frameSamples, (index + 1) * this.frameSamples)),
          );
        } finally {
          running--;
        }
      },
    };
  }

  /** Everything it was asked about, in one piece. */
  heard(): Float32Array {
    return joined(...this.requests);
  }
}

/** Reads the direction off the mean amplitude of what is loud. */
export class ToyEmbedder implements SpeakerEmbedder {
  readonly modelId: string = TOY_MODEL_ID;
  readonly sampleRateHz = TOY_RATE_HZ;
  readonly minWindowMs = 1000;
  readonly preferredWindowMs = 4000;
  /** Lengths of the windows it was asked for, in milliseconds. */
  readonly windowsMs: number[] = [];
  readonly latch = new Latch();
  /** Thrown by the next requests. */
  failure: unknown;
  running = 0;
  mostAtOnce = 0;

  async embed(window: Float32Array, options: InferenceOptions): Promise<Float32Array> {
    options.signal?.throwIfAborted();
    this.windowsMs.push((window.length / this.sampleRateHz) * 1000);
    const loud = window.filter((sample) => Math.abs(sample) > 0.05).map(Math.abs);
    const mean = loud.reduce((total, sample) => total + sample, 0) / loud.length;
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.running);
    try {
      await this.latch.pass(options.signal);
      if (this.failure) throw this.failure;
      return direction(((mean - LOWEST_AMPLITUDE) / AMPLITUDE_RANGE) * 180);
    } finally {
      this.running--;
    }
  }
}

/** Knots from a flat list: normScore, fmr, normScore, fmr, ... */
export function knots(...numbers: readonly number[]): [number, number][] {
  return Array.from({ length: numbers.length / 2 }, (_, index) => [numbers[2 * index]!, numbers[2 * index + 1]!]);
}

/**
 * Against a voiceprint at 0 degrees: a probe at 0 is accepted by an early look, one at 20 only by the last look, one at 40
 * never, one at 90 is hopeless. Tests that rely on this check it.
 */
export function toyCalibration(changes: Partial<Calibration> = {}): Calibration {
  return calibrationSchema.parse({
    version: 1,
    modelId: TOY_MODEL_ID,
    cohortTop: 2,
    tails: [
      {
        netSpeechMs: 2000,
        knots: knots(0, 0.5, 2, 0.05, 4, 0.001),
      },
    ],
    sequential: { earlyShare: 0.25, finalShare: 0.75 },
    futility: { minNetSpeechMs: 6000, fmr: 0.3 },
    replayCosine: 0.99999,
    ...changes,
  });
}

export function toyScorer(calibration = toyCalibration()): SpeakerScorer {
  const cohort = joined(...[60, 75, 90, 120, 180].map(direction));
  return new SpeakerScorer(cohort, 2, { calibration });
}

/** Lets everything run that only waits for promises. */
export async function settled(): Promise<void> {
  for (let round = 0; round < 5; round++) await new Promise((resolve) => setImmediate(resolve));
}
