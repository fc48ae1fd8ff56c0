/** Codecs of the evaluation that need an installed ffmpeg; without one there is nothing to try. */
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/config.js';
import { findCodec, missingForCodec } from '../../src/eval-run/codecs.js';
import { degrade, parseDegradation } from '../../src/eval-run/degradations.js';
import { tone } from '../support/inference.js';

const never = new AbortController().signal;
const codec = findCodec(loadConfig().recordings.programSearchPath, never);
const sound = { samples: tone(3), sampleRateHz: 16_000 };

/** Correlation at the best lag: codecs delay. */
function likeness(a: Float32Array, b: Float32Array): number {
  let best = 0;
  for (let lag = -400; lag <= 400; lag++) {
    let [cross, powerA, powerB] = [0, 0, 0];
    for (let i = 8000; i < 16_000; i++) {
      const [x, y] = [a[i]!, b[i + lag]!];
      cross += x * y;
      powerA += x * x;
      powerB += y * y;
    }
    best = Math.max(best, cross / Math.sqrt(powerA * powerB));
  }
  return best;
}

describe.skipIf(codec === undefined)('codecs through ffmpeg', () => {
  it.each(['gsm', 'opus-8k', 'opus-12k'])('%s changes the sound and keeps what was said', async (name) => {
    const degradation = parseDegradation(name);
    expect(await missingForCodec(degradation, codec)).toBeUndefined();
    const coded = await degrade(sound, degradation, { codec, noise: undefined, seed: 1 });
    const durationS = coded.samples.length / coded.sampleRateHz;
    expect(Math.abs(durationS - 3)).toBeLessThan(0.1);
    const reference = await degrade(sound, parseDegradation('band-8k'), { codec, noise: undefined, seed: 1 });
    if (coded.sampleRateHz === 8000) {
      expect(likeness(reference.samples, coded.samples)).toBeGreaterThan(0.8);
      expect(coded.samples).not.toEqual(reference.samples);
    }
  });

  it('stops when it is told to', async () => {
    const stopped = findCodec(loadConfig().recordings.programSearchPath, AbortSignal.abort())!;
    await expect(stopped(sound, { kind: 'gsm' })).rejects.toThrow();
  });
});

describe('without ffmpeg', () => {
  it('says what is missing, and only for conditions that need it', async () => {
    expect(findCodec('', never)).toBeUndefined();
    expect(await missingForCodec(parseDegradation('mulaw+gsm'), undefined)).toBe('ffmpeg is not installed');
    expect(await missingForCodec(parseDegradation('mulaw+white-10db'), undefined)).toBeUndefined();
  });

  it('says when the program cannot do it', async () => {
    const broken = () => Promise.reject(new Error('no such encoder'));
    expect(await missingForCodec(parseDegradation('gsm'), broken)).toBe('the installed ffmpeg has no encoder for gsm');
  });
});
