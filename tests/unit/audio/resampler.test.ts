import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resample, StreamingResampler } from '../../../src/audio/resampler.js';
import { concat, noise, rmsDb, sine } from './signals.js';

/** Telephony and recording rates, a ratio with many phases (11025), and one too odd for a row per phase (47999). */
const RATES: [number, number][] = [
  [8_000, 16_000],
  [16_000, 8_000],
  [24_000, 16_000],
  [32_000, 16_000],
  [48_000, 16_000],
  [44_100, 16_000],
  [22_050, 16_000],
  [11_025, 16_000],
  [8_000, 48_000],
  [47_999, 16_000],
  [8_001, 16_000],
];

/** The whole output of a stream whose input comes in pieces of the given lengths, then all the rest. */
function inPieces(resampler: StreamingResampler, input: Float32Array, lengths: readonly number[]): Float32Array {
  const parts: Float32Array[] = [];
  let at = 0;
  for (const length of [...lengths, input.length]) {
    parts.push(resampler.process(input.subarray(at, at + length)).slice());
    at = Math.min(input.length, at + length);
  }
  parts.push(resampler.flush().slice());
  return concat(...parts);
}

/** Away from the ends, where the signal is cut off and no filter can be right. */
function middle(samples: Float32Array, rateHz: number): Float32Array {
  const margin = Math.ceil(rateHz * 0.02);
  return samples.subarray(margin, samples.length - margin);
}

describe.each(RATES)('from %d to %d Hz', (fromHz, toHz) => {
  const nyquistHz = Math.min(fromHz, toHz) / 2;
  const samples = Math.round(fromHz * 0.15);

  it('gives a tone in the pass band back as the same tone: level, phase, and nothing beside it', () => {
    for (const share of [0.01, 0.1, 0.25, 0.5, 0.7, 0.8, 0.84]) {
      const tone = { samples, rateHz: fromHz, amplitude: 0.8 };
      const out = resample(sine(nyquistHz * share, tone), fromHz, toHz);
      const ideal = sine(nyquistHz * share, { samples: out.length, rateHz: toHz, amplitude: 0.8 });
      // The difference holds ripple, delay, images and aliases together.
      const difference = out.map((value, i) => value - ideal[i]!);
      expect(rmsDb(middle(difference, toHz)) - rmsDb(ideal)).toBeLessThan(-80);
    }
  });

  it('passes a constant unchanged', () => {
    const out = middle(resample(new Float32Array(samples).fill(0.5), fromHz, toHz), toHz);
    expect(out.every((value) => Math.abs(value - 0.5) < 1e-6)).toBe(true);
  });

  it('does not depend on how the input is cut', () => {
    const input = noise(6_000, 0.1);
    const whole = resample(input, fromHz, toHz);
    expect(whole.length).toBe(Math.ceil((input.length * toHz) / fromHz));
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 700 }), { maxLength: 25 }), (lengths) => {
        const pieces = inPieces(new StreamingResampler(fromHz, toHz), input, lengths);
        expect(Buffer.from(pieces.buffer).equals(Buffer.from(whole.buffer))).toBe(true);
      }),
      { numRuns: 8, examples: [[[1, 1, 1, 1, 0, 160, 4096]], [Array.from({ length: 60 }, () => 1)]] },
    );
  });
});

describe.each(RATES.filter(([fromHz, toHz]) => toHz < fromHz))('down from %d to %d Hz', (fromHz, toHz) => {
  it('removes at least 80 dB of everything that would alias', () => {
    const samples = Math.round(fromHz * 0.15);
    const nyquistHz = toHz / 2;
    for (const excess of [1.001, 1.02, 1.1, 1.3, 1.6, 1.99].filter((share) => nyquistHz * share < fromHz / 2)) {
      const tone = sine(nyquistHz * excess, { samples, rateHz: fromHz });
      expect(rmsDb(middle(resample(tone, fromHz, toHz), toHz)) - rmsDb(tone)).toBeLessThan(-80);
    }
  });
});

describe('StreamingResampler', () => {
  it('is linear in phase: an impulse comes out symmetric around its own time', () => {
    const input = new Float32Array(801);
    input[400] = 1;
    const out = resample(input, 8_000, 16_000);
    expect(out[800]).toBeCloseTo(0.925, 2);
    for (let i = 1; i < 60; i++) expect(out[800 + i]).toBeCloseTo(out[800 - i]!, 3);
  });

  it('makes the length promised for any input, also none and one sample', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8_000, max: 48_000 }),
        fc.constantFrom(8_000, 16_000, 44_100),
        fc.nat({ max: 300 }),
        (fromHz, toHz, length) => {
          expect(resample(new Float32Array(length), fromHz, toHz).length).toBe(Math.ceil((length * toHz) / fromHz));
        },
      ),
      {
        numRuns: 25,
        examples: [
          [8_000, 16_000, 0],
          [48_000, 16_000, 1],
        ],
      },
    );
  });

  it('delays a live stream by no more than a frame', () => {
    const resampler = new StreamingResampler(8_000, 16_000);
    expect(resampler.process(new Float32Array(160)).length).toBeGreaterThanOrEqual(320 - 2 * 40);
    expect(resampler.process(new Float32Array(160)).length).toBe(320);
  });

  it('begins a new stream after flush', () => {
    const input = noise(1_000, 0.1);
    const resampler = new StreamingResampler(44_100, 16_000);
    const first = inPieces(resampler, input, []);
    expect(inPieces(resampler, input, [100])).toEqual(first);
  });

  it('keeps two streams of the same rates apart', () => {
    const input = noise(1_000, 0.1);
    const busy = new StreamingResampler(8_000, 16_000);
    const other = new StreamingResampler(8_000, 16_000);
    const parts: Float32Array[] = [];
    for (let at = 0; at < input.length; at += 100) {
      parts.push(busy.process(input.subarray(at, at + 100)).slice());
      other.process(new Float32Array(77).fill(1));
    }
    parts.push(busy.flush().slice());
    expect(concat(...parts)).toEqual(resample(input, 8_000, 16_000));
  });

  it('passes samples through when the rates are equal', () => {
    const input = noise(100, 0.1);
    const resampler = new StreamingResampler(16_000, 16_000);
    expect(resampler.process(input)).toBe(input);
    expect(resampler.flush().length).toBe(0);
    expect(resample(input, 16_000, 16_000)).toBe(input);
  });

  it.each([
    [7_999, 16_000],
    [16_000, 48_001],
    [16_000.5, 8_000],
    [Number.NaN, 8_000],
  ])('refuses %d to %d Hz', (fromHz, toHz) => {
    expect(() => new StreamingResampler(fromHz, toHz)).toThrow(RangeError);
  });
});
