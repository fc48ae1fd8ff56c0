/** A folder of noise recordings, joined to one long one. */
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { resample } from '../audio/resampler.js';
import type { Sound } from './degradations.js';
import { EvaluationError } from './eval-error.js';
import { AUDIO_FILES } from './read-corpus.js';
import type { SpeechPath } from './service-path.js';

const RATE_HZ = 16_000;

/** All audio files of the folder in the order of their names. Throws `EvaluationError` when there is none. */
export async function readNoise(
  folder: string,
  service: Pick<SpeechPath, 'decode'>,
  signal: AbortSignal,
): Promise<Sound> {
  const names = await readdir(folder).catch(() => []);
  const parts: Float32Array[] = [];
  for (const name of names.sort()) {
    if (!AUDIO_FILES.has(extname(name).toLowerCase())) continue;
    const { samples, sampleRateHz } = await service.decode(await readFile(join(folder, name)), signal);
    parts.push(resample(samples, sampleRateHz, RATE_HZ));
  }
  if (parts.length === 0) throw new EvaluationError(`No audio files in the noise folder ${folder}`);
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return { samples: joined, sampleRateHz: RATE_HZ };
}
