import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../src/domain/errors.js';
import { meanPower } from '../../../src/eval-run/degradations.js';
import { EvaluationError } from '../../../src/eval-run/eval-error.js';
import { levelNoise, readNoise } from '../../../src/eval-run/noise.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

const RATE_HZ = 16_000;

/** White noise between -peak and peak. */
function hiss(seconds: number, peak: number, seed = 1): Float32Array {
  const random = randomGenerator(seed);
  return Float32Array.from({ length: seconds * RATE_HZ }, () => peak * (2 * random() - 1));
}

function joined(...parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

const levelDb = (samples: Float32Array) => 10 * Math.log10(meanPower(samples));

describe('levelNoise', () => {
  const silence = new Float32Array(RATE_HZ / 10);

  it('makes every half second as loud as the whole, however unlike the cuts are', () => {
    const noise = levelNoise([joined(hiss(1, 0.5), silence, hiss(1, 0.016, 2), silence), hiss(1.5, 0.1, 3)]);
    const whole = levelDb(noise);
    for (let at = 0; at + RATE_HZ / 2 <= noise.length; at += RATE_HZ / 4) {
      expect(Math.abs(levelDb(noise.subarray(at, at + RATE_HZ / 2)) - whole)).toBeLessThan(3);
    }
  });

  it('leaves out the gaps, and cuts that are all but silent beside the others', () => {
    const noise = levelNoise([joined(silence, hiss(1, 0.5), silence, hiss(1, 0.001, 2), silence)]);
    expect(noise.length).toBe(RATE_HZ);
  });

  it('does not change the sound within a stretch', () => {
    const cut = hiss(0.5, 0.2);
    const noise = levelNoise([cut]);
    const gain = noise[1]! / cut[1]!;
    expect(noise.every((value, index) => Math.abs(value - gain * cut[index]!) < 1e-6)).toBe(true);
  });

  it('glides from one gain to the next: no step where two stretches meet', () => {
    const steady = Float32Array.from({ length: RATE_HZ }, (_, i) => Math.sin((2 * Math.PI * 200 * i) / RATE_HZ));
    const noise = levelNoise([steady.map((value, i) => value * (i < RATE_HZ / 2 ? 0.5 : 0.05))]);
    const steps = noise.subarray(1).map((value, i) => Math.abs(value - noise[i]!));
    // A sine of 200 Hz at this level changes by at most 0.011 from one sample to the next; the glide multiplies the loud side's tail.
    expect(Math.max(...steps.subarray(0, RATE_HZ / 2 - 1))).toBeLessThan(0.012);
    expect(noise.every((value) => Math.abs(value) < 0.2)).toBe(true);
  });

  it('makes no burst where a loud stretch follows a soft one', () => {
    const noise = levelNoise([joined(hiss(0.5, 0.01), hiss(0.5, 0.5, 2))]);
    expect(Math.max(...noise.map(Math.abs))).toBeLessThan(0.2);
  });

  it('is empty for silence', () => {
    expect(levelNoise([silence]).length).toBe(0);
    expect(levelNoise([]).length).toBe(0);
  });
});

describe('a noise folder', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'noise-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** Decodes a file to a tone of 20 ms per byte, the first byte being its frequency in units of 50 Hz. */
  const decode = (bytes: Uint8Array) =>
    bytes.length === 0
      ? Promise.reject(new VoiceAuthError('AudioProcessingError', 'The recording is empty'))
      : Promise.resolve({ samples: tone(bytes[0]! * 50, bytes.length * 320), sampleRateHz: RATE_HZ });
  const read = () => readNoise(folder, { decode }, new AbortController().signal);

  function tone(hertz: number, length: number): Float32Array {
    return Float32Array.from({ length }, (_, i) => 0.3 * Math.sin((2 * Math.PI * hertz * i) / RATE_HZ));
  }

  it('is joined to one long recording, in the order of the names', async () => {
    await writeFile(join(folder, 'b.wav'), Uint8Array.of(8, 8));
    await writeFile(join(folder, 'a.wav'), Uint8Array.of(4));
    await writeFile(join(folder, 'notes.txt'), 'no noise');
    const { samples } = await read();
    const expected = joined(tone(200, 320), tone(400, 640)).map((value) => value * (0.1 / 0.3) * Math.SQRT2);
    expect(samples.length).toBe(960);
    expect(samples.every((value, index) => Math.abs(value - expected[index]!) < 1e-4)).toBe(true);
  });

  it('is refused with the name of a file that is no audio, or cannot be read', async () => {
    await writeFile(join(folder, 'a.wav'), '');
    await expect(read()).rejects.toThrow(new EvaluationError(`${join(folder, 'a.wav')}: The recording is empty`));
    await rm(join(folder, 'a.wav'));
    await symlink('nowhere', join(folder, 'b.wav'));
    await expect(read()).rejects.toThrow(new EvaluationError(`${join(folder, 'b.wav')} cannot be read`));
    await rm(join(folder, 'b.wav'));
    await mkdir(join(folder, 'c'));
    await expect(read()).rejects.toThrow(/No audio files/);
  });

  it('is refused when it is silent', async () => {
    await writeFile(join(folder, 'a.wav'), Uint8Array.of(0));
    await expect(read()).rejects.toThrow(/Nothing but silence/);
  });
});
