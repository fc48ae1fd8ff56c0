import { describe, expect, it } from 'vitest';
import { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from '../../../src/audio/g711.js';
import { rmsDb } from './signals.js';

const ALL_CODES = Uint8Array.from({ length: 256 }, (_, code) => code);

function decoded(decode: typeof decodeMulaw, codes: Uint8Array): Float32Array {
  const out = new Float32Array(codes.length);
  expect(decode(codes, out)).toBe(codes.length);
  return out;
}

function linear(decode: typeof decodeMulaw, ...codes: number[]): number[] {
  return [...decoded(decode, Uint8Array.from(codes))].map((value) => value * 32_768);
}

describe('mu-law', () => {
  it('decodes the values of the Recommendation, scaled by four', () => {
    // Table 2a: the largest value is 8031, the top of segment 1 is 31 + 2, 0xff and 0x7f are zero.
    expect(linear(decodeMulaw, 0x80, 0x00, 0xff, 0xfe, 0xf0, 0xef, 0x7e)).toEqual([
      8031 * 4,
      -8031 * 4,
      0,
      2 * 4,
      30 * 4,
      33 * 4,
      -2 * 4,
    ]);
  });

  it('encodes every decoded value as the code it came from', () => {
    const expected = ALL_CODES.slice();
    // There are two zeros; the positive one is sent.
    expected[0x7f] = 0xff;
    expect(encodeMulaw(decoded(decodeMulaw, ALL_CODES))).toEqual(expected);
  });

  it('is never off by more than half a step', () => {
    const values = Float32Array.from({ length: 2 * 32_635 + 1 }, (_, i) => (i - 32_635) / 32_768);
    const back = decoded(decodeMulaw, encodeMulaw(values));
    const excess = values.map(
      (value, i) => Math.abs(back[i]! - value) * 32_768 - (Math.abs(value) * 32_768 + 132) / 32,
    );
    expect(Math.max(...excess)).toBeLessThanOrEqual(0);
  });

  it('clips at full scale', () => {
    expect([...encodeMulaw(new Float32Array([1, -1, 5, -5]))]).toEqual([0x80, 0x00, 0x80, 0x00]);
  });
});

describe('A-law', () => {
  it('decodes the values of the Recommendation, scaled by eight', () => {
    // Table 1a: the smallest value is 1, the largest 4032, the first of the second segment 33.
    expect(linear(decodeAlaw, 0xd5, 0x55, 0xaa, 0x2a, 0xc5)).toEqual([8, -8, 4032 * 8, -4032 * 8, 33 * 8]);
  });

  it('encodes every decoded value as the code it came from', () => {
    expect(encodeAlaw(decoded(decodeAlaw, ALL_CODES))).toEqual(ALL_CODES);
  });

  it('is never off by more than half a step', () => {
    const values = Float32Array.from({ length: 2 * 32_256 + 1 }, (_, i) => (i - 32_256) / 32_768);
    const back = decoded(decodeAlaw, encodeAlaw(values));
    const excess = values.map((value, i) => Math.abs(back[i]! - value) * 32_768 - Math.max(8, Math.abs(value) * 1024));
    expect(Math.max(...excess)).toBeLessThanOrEqual(0);
  });

  it('clips at full scale', () => {
    expect([...encodeAlaw(new Float32Array([1, -1, 5, -5]))]).toEqual([0xaa, 0x2a, 0xaa, 0x2a]);
  });
});

describe('both laws', () => {
  // Tables 5 and 6 of the Recommendation: the codes of a 1 kHz tone at 0 dBm0. The largest code is 3.14 dB (A-law) and
  // 3.17 dB (mu-law) above it, as the peak of a sine.
  it.each([
    { name: 'A-law', decode: decodeAlaw, codes: [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4], overloadDb: 3.14 },
    { name: 'mu-law', decode: decodeMulaw, codes: [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e], overloadDb: 3.17 },
  ])('$name gives the reference tone its level and shape', ({ decode, codes, overloadDb }) => {
    const tone = decoded(decode, Uint8Array.from(codes));
    expect(rmsDb(tone)).toBeCloseTo(-10 * Math.log10(2) - overloadDb, 1);
    expect([...tone.subarray(4)]).toEqual([...tone.subarray(0, 4)].map((value) => -value));
    expect(Math.abs(tone[1]! / tone[0]! - Math.tan((3 * Math.PI) / 8))).toBeLessThan(0.1);
  });

  it('decodes one channel of two and stops where the output is full', () => {
    const out = new Float32Array(2);
    expect(decodeMulaw(Uint8Array.of(0x80, 0xff, 0x00, 0xff, 0x80, 0xff), out, { channels: 2, channel: 0 })).toBe(2);
    expect([...out]).toEqual([32_124 / 32_768, -32_124 / 32_768]);
    expect(() => decodeAlaw(new Uint8Array(2), out, { channels: 1, channel: 1 })).toThrow(RangeError);
  });
});
