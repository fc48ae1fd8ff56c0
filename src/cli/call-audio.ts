/** Audio files as parts of a simulated call. */
import { downmix } from '../audio/pcm.js';
import { resample } from '../audio/resampler.js';
import type { RecordingDecoder } from '../domain/ports/recordings.js';
import { CommandError } from './command-error.js';
import { readInput } from './input-file.js';

/** The rate at which parts of a call are put together. */
export const CALL_RATE_HZ = 16_000;

/** Decodes files, mixed down to mono at `CALL_RATE_HZ`, one after another. Throws `CommandError` naming a bad file. */
export async function readCallAudio(decoder: RecordingDecoder, files: readonly string[]): Promise<Float32Array> {
  const parts: Float32Array[] = [];
  for (const file of files) {
    const bytes = await readInput(file);
    const recording = await decoder.decode(bytes, { signal: AbortSignal.timeout(60_000) }).catch((error: unknown) => {
      throw new CommandError(`Cannot decode ${file}: ${error instanceof Error ? error.message : 'unknown error'}`);
    });
    parts.push(resample(downmix(recording.channels), recording.sampleRateHz, CALL_RATE_HZ));
  }
  const whole = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
