/**
 * What is done to a recording before the service hears it: telephone band, codecs, noise, rooms and handsets. Written `mulaw`,
 * `alaw`, `gsm`, `opus-8k`, `opus-12k`, `band-8k`, `white-10db`, `noise-10db`, `room`, `handset`, several in their order with `+`
 * between them.
 */
import { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from '../audio/g711.js';
import { resample } from '../audio/resampler.js';
import { randomGenerator } from '../evaluation/random.js';
import { EvaluationError } from './eval-error.js';
import { throughHandset, throughRoom } from './rooms-and-handsets.js';

export type DegradationStep =
  | { readonly kind: 'mulaw' | 'alaw' | 'band' | 'gsm' | 'room' | 'handset' }
  | { readonly kind: 'opus'; readonly kbitPerS: number }
  | { readonly kind: 'white' | 'noise'; readonly snrDb: number };

export interface Degradation {
  /** `as-is` when there are no steps. */
  readonly name: string;
  readonly steps: readonly DegradationStep[];
}

export interface Sound {
  readonly samples: Float32Array;
  readonly sampleRateHz: number;
}

export interface DegradationDeps {
  /** Encodes and decodes with a codec that this project does not have. */
  readonly codec: ((sound: Sound, step: DegradationStep) => Promise<Sound>) | undefined;
  /** Noise for `noise-<snr>db`. */
  readonly noise: Sound | undefined;
  /** Makes noise, rooms and handsets the same in every run, and others for every recording. */
  readonly seed: number;
}

const PHONE_RATE_HZ = 8000;
const STEP_SEEDS_APART = 0x9e3779b9;

/** Throws `EvaluationError` for a name that is not one of the above. */
export function parseDegradation(name: string): Degradation {
  if (name === 'as-is') return { name, steps: [] };
  return { name, steps: name.split('+').map(parseStep) };
}

/** Whether recordings of noise are needed. */
export function needsNoise({ steps }: Degradation): boolean {
  return steps.some(({ kind }) => kind === 'noise');
}

/** Whether the seed makes a difference. */
export function isDrawn({ steps }: Degradation): boolean {
  return steps.some(({ kind }) => kind === 'white' || kind === 'noise' || kind === 'room' || kind === 'handset');
}

/** Applies the steps in their order. */
export async function degrade(sound: Sound, degradation: Degradation, deps: DegradationDeps): Promise<Sound> {
  let current = sound;
  for (const [index, step] of degradation.steps.entries()) {
    // Every step draws numbers of its own: the room has nothing to do with the noise in it.
    current = await applyStep(current, step, { ...deps, seed: (deps.seed + index * STEP_SEEDS_APART) >>> 0 });
  }
  return current;
}

async function applyStep(sound: Sound, step: DegradationStep, deps: DegradationDeps): Promise<Sound> {
  switch (step.kind) {
    case 'band':
      return toPhoneRate(sound);
    case 'mulaw':
    case 'alaw': {
      const { samples } = toPhoneRate(sound);
      const decoded = new Float32Array(samples.length);
      if (step.kind === 'mulaw') decodeMulaw(encodeMulaw(samples), decoded);
      else decodeAlaw(encodeAlaw(samples), decoded);
      return { samples: decoded, sampleRateHz: PHONE_RATE_HZ };
    }
    case 'gsm':
    case 'opus':
      if (!deps.codec) throw new EvaluationError(`The codec ${step.kind} needs ffmpeg`);
      return deps.codec(step.kind === 'gsm' ? toPhoneRate(sound) : sound, step);
    case 'room':
      return unclipped(throughRoom(sound.samples, sound.sampleRateHz, randomGenerator(deps.seed)), sound.sampleRateHz);
    case 'handset': {
      const { samples } = toPhoneRate(sound);
      return unclipped(throughHandset(samples, randomGenerator(deps.seed)), PHONE_RATE_HZ);
    }
    case 'white':
      return unclipped(
        addNoise(sound.samples, whiteNoise(sound.samples.length, deps.seed), step.snrDb),
        sound.sampleRateHz,
      );
    case 'noise': {
      if (!deps.noise) throw new EvaluationError('Noise from a folder needs --noise');
      const noise = noiseFor(deps.noise, sound, deps.seed);
      return unclipped(addNoise(sound.samples, noise, step.snrDb), sound.sampleRateHz);
    }
  }
}

function parseStep(text: string): DegradationStep {
  for (const kind of ['mulaw', 'alaw', 'gsm', 'room', 'handset'] as const) if (text === kind) return { kind };
  if (text === 'band-8k') return { kind: 'band' };
  const opus = /^opus-(\d+)k$/.exec(text);
  if (opus && Number(opus[1]) >= 6 && Number(opus[1]) <= 64) return { kind: 'opus', kbitPerS: Number(opus[1]) };
  const noisy = /^(white|noise)-(-?\d+)db$/.exec(text);
  if (noisy) return { kind: noisy[1] as 'white' | 'noise', snrDb: Number(noisy[2]) };
  throw new EvaluationError(
    `"${text}" is no condition: as-is, mulaw, alaw, gsm, opus-8k, opus-12k, band-8k, white-<snr>db, noise-<snr>db, ` +
      'room, handset, or several with + between them',
  );
}

function toPhoneRate({ samples, sampleRateHz }: Sound): Sound {
  return { samples: resample(samples, sampleRateHz, PHONE_RATE_HZ), sampleRateHz: PHONE_RATE_HZ };
}

/** Mixes noise in at the ratio of mean powers asked for. */
function addNoise(samples: Float32Array, noise: Float32Array, snrDb: number): Float32Array {
  const [signalPower, noisePower] = [meanPower(samples), meanPower(noise)];
  if (signalPower === 0 || noisePower === 0) return samples;
  const gain = Math.sqrt(signalPower / noisePower / 10 ** (snrDb / 10));
  return samples.map((value, index) => value + gain * noise[index]!);
}

/** Scaled down when it would clip. */
function unclipped(samples: Float32Array, sampleRateHz: number): Sound {
  const peak = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return { samples: peak <= 1 ? samples : samples.map((value) => value / peak), sampleRateHz };
}

/** Mean square of samples; 0 for none. */
export function meanPower(samples: Float32Array): number {
  return samples.reduce((sum, value) => sum + value * value, 0) / Math.max(1, samples.length);
}

function whiteNoise(length: number, seed: number): Float32Array {
  const random = randomGenerator(seed);
  const noise = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    noise[i] = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  }
  return noise;
}

/** As much noise as there is sound, at its rate, from a place of its own, round and round. */
function noiseFor(noise: Sound, sound: Sound, seed: number): Float32Array {
  const length = Math.ceil((sound.samples.length * noise.sampleRateHz) / sound.sampleRateHz);
  const from = Math.floor(randomGenerator(seed)() * noise.samples.length);
  const stretch = Float32Array.from({ length }, (_, index) => noise.samples[(from + index) % noise.samples.length]!);
  return resample(stretch, noise.sampleRateHz, sound.sampleRateHz).subarray(0, sound.samples.length);
}
