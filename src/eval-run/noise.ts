/** A folder of noise recordings, joined to one long one in which every stretch is as loud as the next. */
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { resample } from '../audio/resampler.js';
import { meanPower, type Sound } from './degradations.js';
import { EvaluationError, faultOfRecording } from './eval-error.js';
import { AUDIO_FILES } from './read-corpus.js';
import type { SpeechPath } from './service-path.js';

const RATE_HZ = 16_000;
/** Frames whose loudness says whether there is any noise in them. */
const FRAME_SAMPLES = RATE_HZ / 50;
/** Frames so far below the loudest of the folder are the gaps between noises. */
const GAP_DB = 40;
/** Noise is brought to one level stretch by stretch. */
const STRETCH_FRAMES = 25;
const LEVEL_RMS = 0.1;

/**
 * All audio files of the folder in the order of their names, levelled. Throws `EvaluationError` when there is none, none but
 * silence, or that names a bad one.
 */
export async function readNoise(
  folder: string,
  service: Pick<SpeechPath, 'decode'>,
  signal: AbortSignal,
): Promise<Sound> {
  const names = await readdir(folder).catch(() => []);
  const parts: Float32Array[] = [];
  for (const name of names.sort()) {
    if (!AUDIO_FILES.has(extname(name).toLowerCase())) continue;
    const path = join(folder, name);
    const bytes = await readFile(path).catch(() => {
      throw new EvaluationError(`${path} cannot be read`);
    });
    const { samples, sampleRateHz } = await service.decode(bytes, signal).catch((error: unknown) => {
      throw faultOfRecording(path, error);
    });
    parts.push(resample(samples, sampleRateHz, RATE_HZ));
  }
  if (parts.length === 0) throw new EvaluationError(`No audio files in the noise folder ${folder}`);
  const samples = levelNoise(parts);
  if (samples.length === 0) throw new EvaluationError(`Nothing but silence in the noise folder ${folder}`);
  return { samples, sampleRateHz: RATE_HZ };
}

/**
 * Joins noises at 16 kHz so that a signal-to-noise ratio holds for every half second of it, not only on the average: folders of
 * noise are short cuts of very different loudness with gaps between them, and the loudest few would carry all the power.
 * Frames of 20 ms that lie 40 dB or more below the loudest of all are left out; what lies between such gaps is brought to the
 * same RMS in stretches of at most half a second.
 */
export function levelNoise(parts: readonly Float32Array[]): Float32Array {
  const loudness = parts.map((part) =>
    Float64Array.from({ length: Math.floor(part.length / FRAME_SAMPLES) }, (_, frame) =>
      meanPower(part.subarray(frame * FRAME_SAMPLES, (frame + 1) * FRAME_SAMPLES)),
    ),
  );
  const loudest = loudness.reduce((most, powers) => powers.reduce((a, b) => Math.max(a, b), most), 0);
  const least = loudest / 10 ** (GAP_DB / 10);
  const joined = new Float32Array(loudness.reduce((sum, powers) => sum + powers.length, 0) * FRAME_SAMPLES);
  let [length, before] = [0, Number.POSITIVE_INFINITY];
  for (const [index, powers] of loudness.entries()) {
    for (let from = 0, to = 0; from < powers.length; from = Math.max(to, from + 1)) {
      to = from;
      while (to < from + STRETCH_FRAMES && powers[to]! > least) to++;
      if (to === from) continue;
      const stretch = parts[index]!.subarray(from * FRAME_SAMPLES, to * FRAME_SAMPLES);
      const gain = LEVEL_RMS / Math.sqrt(meanPower(stretch));
      // From a loud stretch to a soft one within a frame; the other way it would be a burst.
      const first = Math.min(before, gain);
      for (let i = 0; i < stretch.length; i++) {
        joined[length++] = stretch[i]! * (first + (gain - first) * Math.min(1, i / FRAME_SAMPLES));
      }
      before = gain;
    }
  }
  return joined.slice(0, length);
}
