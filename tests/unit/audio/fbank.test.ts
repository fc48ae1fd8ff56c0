import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fbank, type FbankOptions } from '../../../src/audio/fbank.js';
import { PowerSpectrum } from '../../../src/audio/power-spectrum.js';

interface GoldenCase {
  readonly name: string;
  readonly sampleRateHz: number;
  readonly options: FbankOptions;
  readonly samples: string;
  readonly frames: number;
  readonly columns: number;
  readonly features: string;
}

const { cases } = JSON.parse(readFileSync(new URL('../../fixtures/fbank/golden.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly GoldenCase[];
};

const KALDI = cases[0]!.options;
const RATE = 16_000;
const mel = (hz: number) => 1127 * Math.log(1 + hz / 700);

function int16(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readInt16LE(2 * i) / 32_768);
}

function float32(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
}

/** White noise, the same for the same seed. */
function noise(samples: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: samples }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return 0.2 * (state / 2 ** 31 - 1);
  });
}

describe('features beside the reference in double precision', () => {
  it('cover the front ends that the published models need', () => {
    expect(cases.map(({ name }) => name)).toEqual(expect.arrayContaining(['WeSpeaker', '3D-Speaker']));
  });

  it.each(cases.map((golden) => [golden.name, golden] as const))('%s', (_, golden) => {
    const fbank = new Fbank(golden.sampleRateHz, golden.options);
    const samples = int16(golden.samples);
    expect([fbank.frameCount(samples.length), fbank.columns]).toEqual([golden.frames, golden.columns]);
    const features = fbank.compute(samples);
    const expected = float32(golden.features);
    expect(features).toHaveLength(expected.length);
    expect(largestDifference(features, expected)).toBeLessThan(1e-5);
    // A second time, in the working memory of the first.
    expect(fbank.compute(samples)).toEqual(features);
  });
});

describe('frames', () => {
  it.each([
    [0, 0],
    [399, 0],
    [400, 1],
    [559, 1],
    [560, 2],
    [16_000, 98],
  ])('of %i samples are %i, and none begins without its end', (samples, frames) => {
    const fbank = new Fbank(RATE, KALDI);
    expect(fbank.frameCount(samples)).toBe(frames);
    expect(fbank.compute(noise(samples, 1))).toHaveLength(frames * 80);
  });

  it('depend on their own samples only', () => {
    const fbank = new Fbank(RATE, KALDI);
    const samples = noise(4000, 3);
    const whole = fbank.compute(samples);
    const third = fbank.compute(samples.subarray(2 * 160, 2 * 160 + 400));
    expect(third).toEqual(whole.slice(2 * 80, 3 * 80));
  });
});

describe('properties', () => {
  const normalised: FbankOptions = { ...KALDI, meanNormalisation: 'window' };

  it('of the mean over a window: every column has none', () => {
    const fbank = new Fbank(RATE, normalised);
    const features = fbank.compute(noise(8000, 5));
    for (let column = 0; column < fbank.columns; column++) {
      let sum = 0;
      for (let at = column; at < features.length; at += fbank.columns) sum += features[at]!;
      expect(Math.abs(sum)).toBeLessThan(1e-3);
    }
  });

  it('a louder or quieter recording has the same features, where it is far from the floor', () => {
    const fbank = new Fbank(RATE, normalised);
    fc.assert(
      fc.property(fc.double({ min: 0.05, max: 4, noNaN: true }), fc.integer({ min: 1, max: 1e6 }), (gain, seed) => {
        const samples = noise(2000, seed);
        const louder = samples.map((sample) => sample * gain);
        return largestDifference(fbank.compute(samples), fbank.compute(louder)) < 1e-3;
      }),
      { numRuns: 30 },
    );
  });

  it('without mean normalisation a gain is a constant: twice its logarithm', () => {
    const fbank = new Fbank(RATE, KALDI);
    const samples = noise(2000, 9);
    const shifted = fbank.compute(samples.map((sample) => sample * 2)).map((value) => value - 2 * Math.log(2));
    expect(largestDifference(fbank.compute(samples), shifted)).toBeLessThan(1e-4);
  });

  it('an offset changes nothing', () => {
    const fbank = new Fbank(RATE, KALDI);
    const samples = noise(2000, 11);
    const offset = fbank.compute(samples.map((sample) => sample + 0.25));
    expect(largestDifference(fbank.compute(samples), offset)).toBeLessThan(1e-3);
  });

  it('silence is the floor everywhere, and nothing at all once its mean is gone', () => {
    const silence = new Float32Array(2000);
    expect([...new Set(new Fbank(RATE, KALDI).compute(silence))]).toEqual([Math.fround(Math.log(2 ** -23))]);
    expect([...new Set(new Fbank(RATE, normalised).compute(silence))]).toEqual([0]);
  });

  it('an impulse has a flat spectrum: each bin is the sum of its weights', () => {
    const fbank = new Fbank(RATE, { ...KALDI, removeDcOffset: false, preemphasis: 0, window: 'rectangular' });
    const samples = new Float32Array(400);
    samples[123] = 1 / 32_768;
    const features = fbank.compute(samples);
    // A triangle lets through half its width in lines: those at high frequencies, of many lines, to within a few per cent.
    const edge = (index: number) => 700 * (Math.exp((mel(20) + ((mel(8000) - mel(20)) * index) / 81) / 1127) - 1);
    for (let bin = 60; bin < 80; bin++) {
      const lines = (edge(bin + 2) - edge(bin)) / 2 / (RATE / 512);
      expect(Math.abs(Math.exp(features[bin]!) / lines - 1), `bin ${bin}`).toBeLessThan(0.05);
    }
    const everything = features.reduce((sum, value) => sum + Math.exp(value), 0);
    // The triangles add up to 1 between the first and the last centre: about all 256 lines, one each.
    expect(everything).toBeGreaterThan(245);
    expect(everything).toBeLessThan(256);
  });

  it('a tone is heard by the bins around its frequency', () => {
    const fbank = new Fbank(RATE, KALDI);
    const tone = Float32Array.from({ length: 400 }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 1000 * i) / RATE));
    const features = fbank.compute(tone);
    const expected = ((mel(1000) - mel(20)) / (mel(8000) - mel(20))) * 81 - 1;
    expect(Math.abs(features.indexOf(Math.max(...features)) - expected)).toBeLessThan(1);
  });
});

describe('PowerSpectrum', () => {
  it.each([8, 16, 32, 256, 512, 1024])('of %i samples is that of the definition', (size) => {
    const spectrum = new PowerSpectrum(size);
    const frame = Float64Array.from(noise(size, size));
    const power = new Float64Array(spectrum.bins);
    spectrum.transform(frame, power);
    for (let k = 0; k < size / 2; k++) {
      let re = 0;
      let im = 0;
      for (let n = 0; n < size; n++) {
        re += frame[n]! * Math.cos((2 * Math.PI * k * n) / size);
        im -= frame[n]! * Math.sin((2 * Math.PI * k * n) / size);
      }
      expect(power[k]).toBeCloseTo(re * re + im * im, 9);
    }
  });

  it.each([0, 4, 12, 500])('refuses %i samples', (size) => {
    expect(() => new PowerSpectrum(size)).toThrow(RangeError);
  });
});
