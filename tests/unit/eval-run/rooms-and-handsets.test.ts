import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { throughHandset, throughRoom } from '../../../src/eval-run/rooms-and-handsets.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

const RATE_HZ = 8000;
const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const energy = (samples: Float32Array) => samples.reduce((sum, value) => sum + value * value, 0);
const impulse = (at: number, length = RATE_HZ) => Float32Array.from({ length }, (_, i) => (i === at ? 1 : 0));
const sine = (hz: number) =>
  Float32Array.from({ length: RATE_HZ }, (_, i) => 0.1 * Math.sin((2 * Math.PI * hz * i) / RATE_HZ));
const sum = (...sounds: Float32Array[]) =>
  Float32Array.from({ length: RATE_HZ }, (_, i) => sounds.reduce((total, sound) => total + sound[i]!, 0));
const decibels = (ratio: number) => 10 * Math.log10(ratio);

describe('a simulated room', () => {
  it('adds a tail that comes after the direct sound, is as loud as rooms are, and dies away', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const heard = throughRoom(impulse(100), RATE_HZ, randomGenerator(seed));
        expect(heard.subarray(0, 100).every((value) => value === 0)).toBe(true);
        expect(heard[100]).toBe(1);
        const tail = heard.subarray(101);
        const ratioDb = decibels(1 / energy(tail));
        expect(ratioDb).toBeGreaterThanOrEqual(-3.01);
        expect(ratioDb).toBeLessThanOrEqual(15.01);
        const half = 0.21 * RATE_HZ;
        expect(energy(tail.subarray(half))).toBeLessThan(energy(tail.subarray(0, half)));
        expect(energy(tail.subarray(0.43 * RATE_HZ))).toBe(0);
      }),
    );
  });

  it('falls by 60 dB in 0.12 to 0.8 s', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const tail = throughRoom(impulse(0), RATE_HZ, randomGenerator(seed)).subarray(1);
        const end = tail.findLastIndex((value) => value !== 0) + 1;
        // By stretches, because two impulses that meet may add to nothing.
        const stretch = 0.02 * RATE_HZ;
        const start = tail.findIndex((value) => value !== 0);
        const fallenDb = decibels(
          energy(tail.subarray(start, start + stretch)) / energy(tail.subarray(end - stretch, end)),
        );
        const dbPerS = fallenDb / ((end - stretch - start) / RATE_HZ);
        expect(60 / dbPerS).toBeGreaterThan(0.11);
        expect(60 / dbPerS).toBeLessThan(0.9);
      }),
    );
  });

  it('has as many reflections per second at any rate', () => {
    const count = (rateHz: number) =>
      throughRoom(impulse(0, rateHz), rateHz, randomGenerator(3)).filter((value) => value !== 0).length;
    expect(Math.abs(count(16_000) - count(8000))).toBeLessThan(20);
    expect(count(8000)).toBeGreaterThan(100);
  });
});

describe('a simulated handset', () => {
  it('keeps level and length, and delays all frequencies alike by 16 ms', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const heard = throughHandset(impulse(1000), randomGenerator(seed));
        expect(heard.length).toBe(RATE_HZ);
        expect(energy(heard)).toBeCloseTo(1, 4);
        const middle = 1000 + 0.016 * RATE_HZ;
        for (let away = 1; away <= 128; away++) expect(heard[middle - away]).toBeCloseTo(heard[middle + away]!, 6);
        expect(energy(heard.subarray(0, middle - 128)) + energy(heard.subarray(middle + 129))).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  it('is another one for another seed, and the same for the same', () => {
    const differences = (seed: number) => {
      const sound = sum(sine(300), sine(3000));
      const heard = throughHandset(sound, randomGenerator(seed));
      return levelDb(heard, 300) - levelDb(heard, 3000);
    };
    const found = Array.from({ length: 30 }, (_, seed) => differences(seed));
    expect(differences(7)).toBe(found[7]);
    expect(Math.max(...found) - Math.min(...found)).toBeGreaterThan(10);
  });

  it('takes silence', () => {
    expect(throughHandset(new Float32Array(100), randomGenerator(1))).toEqual(new Float32Array(100));
  });
});

/** Level of one frequency, by correlation. */
function levelDb(samples: Float32Array, hz: number): number {
  let [re, im] = [0, 0];
  for (const [i, value] of samples.entries()) {
    re += value * Math.cos((2 * Math.PI * hz * i) / RATE_HZ);
    im += value * Math.sin((2 * Math.PI * hz * i) / RATE_HZ);
  }
  return decibels(re * re + im * im);
}
