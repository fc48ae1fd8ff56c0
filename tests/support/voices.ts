/** The committed synthetic voices as calls: who speaks in which recording (see scripts/make-voices.sh). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { resample } from '../../src/audio/resampler.js';
import { readWav } from '../../src/audio/wav.js';

export type VoiceFile =
  | `${'alice' | 'bob' | 'carol' | 'dave'}-${'enroll' | 'call-1'}`
  | 'alice-call-2'
  | 'bob-call-2'
  | 'agent';

export const VOICE_RATE_HZ = 16_000;

/** Path of a recording. */
export function voicePath(name: VoiceFile): string {
  return fileURLToPath(new URL(`../fixtures/voices/${name}.wav`, import.meta.url));
}

/** Samples of a recording, mono at `VOICE_RATE_HZ`. */
export function voiceSamples(name: VoiceFile): Float32Array {
  const { channels, sampleRateHz } = readWav(readFileSync(voicePath(name)));
  return resample(channels[0]!, sampleRateHz, VOICE_RATE_HZ);
}
