import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SpeechBuffer } from '../../../src/audio/speech-buffer.js';

describe('SpeechBuffer', () => {
  it('holds the first samples up to its capacity, in order, and says how many fitted', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60_000 }),
        fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 6 }),
        (capacity, pieces) => {
          const buffer = new SpeechBuffer(capacity);
          let next = 0;
          for (const length of pieces) {
            const fitted = Math.min(length, capacity - buffer.length);
            expect(buffer.append(Float32Array.from({ length }, (_, i) => next + i))).toBe(fitted);
            next += fitted;
            expect(buffer.length).toBe(next);
          }
          expect(buffer.view(0, next).every((value, i) => value === i)).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('keeps a view right while more is appended', () => {
    const buffer = new SpeechBuffer(100_000);
    buffer.append(new Float32Array([1, 2, 3]));
    const view = buffer.view(1, 3);
    buffer.append(new Float32Array(90_000).fill(9));
    expect([...view]).toEqual([2, 3]);
  });

  it('does not take the memory of a full call for a short one', () => {
    const buffer = new SpeechBuffer(480_000);
    buffer.append(new Float32Array(100));
    expect(buffer.view(0, 1).buffer.byteLength).toBeLessThanOrEqual(64_000);
    buffer.append(new Float32Array(470_000));
    expect(buffer.view(0, 1).buffer.byteLength).toBeLessThanOrEqual(480_000 * 4);
  });

  it('gives views without copying, and only of what it holds', () => {
    const buffer = new SpeechBuffer(10);
    buffer.append(new Float32Array(5));
    expect(buffer.view(0, 2).buffer).toBe(buffer.view(2, 5).buffer);
    for (const [start, end] of [
      [-1, 2],
      [0, 6],
      [3, 2],
      [Number.NaN, 2],
    ] as const) {
      expect(() => buffer.view(start, end)).toThrow(RangeError);
    }
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses a capacity of %d', (capacity) => {
    expect(() => new SpeechBuffer(capacity)).toThrow(RangeError);
  });
});
