import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  channelCorrelation,
  decodeS16le,
  downmix,
  encodeS16le,
  floatToInt16,
  int16ToFloat,
} from '../../../src/audio/pcm.js';
import { noise, syllables } from './signals.js';

describe('16-bit samples', () => {
  it('survive the way to float and back, every one', () => {
    const values = Array.from({ length: 65_536 }, (_, i) => i - 32_768);
    expect([...Float32Array.from(values, int16ToFloat)].map(floatToInt16)).toEqual(values);
    expect(int16ToFloat(-32_768)).toBe(-1);
  });

  it('are clipped, and NaN is silence', () => {
    expect([2, 1, -1, -7, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN].map(floatToInt16)).toEqual([
      32_767, 32_767, -32_768, -32_768, 32_767, -32_768, 0,
    ]);
  });
});

describe('decodeS16le', () => {
  it('reads what a DataView reads, at any byte offset, for any length and channel', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat({ max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat({ max: 2 }),
        fc.nat({ max: 60 }),
        (buffer, offset, channels, channelSeed, room) => {
          const bytes = buffer.subarray(Math.min(offset, buffer.length));
          const channel = channelSeed % channels;
          const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
          const frames = Math.min(room, Math.floor(bytes.length / (2 * channels)));
          const expected = Array.from(
            { length: frames },
            (_, i) => view.getInt16(2 * (i * channels + channel), true) / 32_768,
          );
          const out = new Float32Array(room).fill(9);
          expect(decodeS16le(bytes, out, { channels, channel })).toBe(frames);
          expect([...out.subarray(0, frames)]).toEqual(expected);
          expect(out.subarray(frames).every((value) => value === 9)).toBe(true);
        },
      ),
    );
  });

  it('refuses a channel that is not there', () => {
    expect(() => decodeS16le(new Uint8Array(8), new Float32Array(2), { channels: 2, channel: 2 })).toThrow(RangeError);
  });

  it('is undone by encodeS16le', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: -32_768, max: 32_767 }), fc.integer({ min: -32_768, max: 32_767 }))),
        (frames) => {
          const sides = [0, 1].map((side) => Float32Array.from(frames, (frame) => frame[side]! / 32_768));
          const bytes = encodeS16le(sides);
          const decoded = [0, 1].map((channel) => {
            const out = new Float32Array(frames.length);
            decodeS16le(bytes, out, { channels: 2, channel });
            return out;
          });
          expect(decoded).toEqual(sides);
        },
      ),
    );
  });
});

describe('downmix', () => {
  it('takes half of each side, so that it cannot clip', () => {
    expect([...downmix([new Float32Array([1, 1, 0.5]), new Float32Array([1, -1, 0])])]).toEqual([1, 0, 0.25]);
  });

  it('returns a single channel as it is and refuses none or unequal ones', () => {
    const mono = new Float32Array([0.1, 0.2]);
    expect(downmix([mono])).toBe(mono);
    expect(() => downmix([])).toThrow(RangeError);
    expect(() => downmix([mono, new Float32Array(3)])).toThrow(RangeError);
  });
});

describe('channelCorrelation', () => {
  it('is 1 for the same signal at any level, -1 when inverted, whatever the offset', () => {
    const voice = syllables(4000, 8000);
    expect(
      channelCorrelation(
        voice,
        voice.map((value) => 0.01 * value + 0.3),
      ),
    ).toBeCloseTo(1, 4);
    expect(
      channelCorrelation(
        voice,
        voice.map((value) => -value),
      ),
    ).toBeCloseTo(-1, 6);
  });

  it('is near 0 for unrelated signals', () => {
    expect(Math.abs(channelCorrelation(noise(8000, 0.1, 1), noise(8000, 0.1, 2)))).toBeLessThan(0.05);
  });

  it('is high for neighbouring samples of one voice, which is how mono read as stereo looks', () => {
    const voice = syllables(8000, 8000);
    const even = voice.filter((_, i) => i % 2 === 0);
    const odd = voice.filter((_, i) => i % 2 === 1);
    expect(channelCorrelation(even, odd)).toBeGreaterThan(0.5);
  });

  it('is 0 when either side is silent, empty or a constant', () => {
    const voice = syllables(1000, 8000);
    expect(channelCorrelation(voice, new Float32Array(1000))).toBe(0);
    expect(channelCorrelation(new Float32Array(1000).fill(0.2), voice)).toBe(0);
    expect(channelCorrelation(new Float32Array(0), new Float32Array(0))).toBe(0);
  });

  it('stays within [-1, 1] and is symmetric', () => {
    const samples = fc.float32Array({ minLength: 20, maxLength: 20, noNaN: true, min: -1, max: 1 });
    fc.assert(
      fc.property(samples, samples, (a, b) => {
        const value = channelCorrelation(a, b);
        expect(Math.abs(value)).toBeLessThanOrEqual(1);
        expect(channelCorrelation(b, a)).toBeCloseTo(value, 12);
      }),
    );
  });
});
