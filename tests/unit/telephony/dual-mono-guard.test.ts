import { describe, expect, it } from 'vitest';
import { encodeS16le } from '../../../src/audio/pcm.js';
import { DualMonoGuard } from '../../../src/telephony/dual-mono-guard.js';
import { noise, speechLike } from './speech-like.js';

const RATE_HZ = 16_000;
const STEP = 1 / 32_768;

const voice = (seconds: number, seed = 3) => speechLike(seconds, RATE_HZ, seed);
const silence = (seconds: number) => new Float32Array(seconds * RATE_HZ);
const hum = (seconds: number, peak: number) =>
  silence(seconds).map((_, i) => peak * Math.sin((2 * Math.PI * 50 * i) / RATE_HZ));
const joined = (...parts: readonly Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));
const shifted = (samples: Float32Array, steps: number) => samples.map((sample) => sample + steps * STEP);
const scaled = (samples: Float32Array, gain: number) => samples.map((sample) => gain * sample);

/** How much of a stream had been heard, in milliseconds, when the guard first said each new thing; 20 ms at a time. */
function verdicts(guard: DualMonoGuard, left: Float32Array, right: Float32Array): [number, boolean][] {
  const bytes = encodeS16le([left, right]);
  const said: [number, boolean][] = [[0, guard.identical]];
  for (let at = 0; at < bytes.length; at += 1280) {
    guard.add(bytes.subarray(at, at + 1280));
    if (guard.identical !== said.at(-1)![1]) said.push([at / 64 + 20, guard.identical]);
  }
  return said;
}

describe('DualMonoGuard', () => {
  it.each([1, 8, -8, 300])('says nothing of channels that only share an offset of %i steps', (steps) => {
    const caller = shifted(joined(silence(3), voice(3)), steps);
    const agent = shifted(silence(6), steps);
    expect(verdicts(new DualMonoGuard(RATE_HZ), caller, agent)).toEqual([[0, false]]);
  });

  it.each([
    ['hum', hum(3, 25 * STEP)],
    ['noise', noise(3 * RATE_HZ, 30 * STEP)],
    ['idle codes by turns', silence(3).map((_, i) => (i % 2 === 0 ? 8 : -8) * STEP)],
  ])('says nothing of the same %s on lines that nobody speaks on', (_, idle) => {
    const before = verdicts(new DualMonoGuard(RATE_HZ), joined(idle, voice(3)), joined(idle, silence(3)));
    expect(before).toEqual([[0, false]]);
    const known = verdicts(new DualMonoGuard(RATE_HZ, true), idle, idle);
    expect(known).toEqual([[0, true]]);
  });

  it('parts channels by what is said on one of them', () => {
    const said = verdicts(new DualMonoGuard(RATE_HZ, true), voice(3), silence(3));
    expect(said.map(([, identical]) => identical)).toEqual([true, false]);
  });

  it.each([
    ['at once', silence(0)],
    ['after silence', silence(3)],
    ['after an offset', shifted(silence(3), 8)],
    ['after hum', hum(3, 25 * STEP)],
    ['after noise', noise(3 * RATE_HZ, 30 * STEP)],
  ])('knows the same speech twice, loud or quiet, %s', (_, lead) => {
    // From a usual level down to speech that only just passes the energy gate.
    for (const gain of [1, 0.1, 0.007]) {
      const both = joined(lead, scaled(voice(3), gain));
      const said = verdicts(new DualMonoGuard(RATE_HZ), both, both);
      expect(said.map(([, identical]) => identical)).toEqual([false, true]);
      expect(said[1]![0] - lead.length / 16).toBeLessThan(1000);
    }
  });
});
