import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sliceWindows } from '../../../src/audio/windows.js';

const lengths = fc
  .tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 0, max: 50 }))
  .map(([minSamples, more]) => ({ minSamples, preferredSamples: minSamples + more }));

describe('sliceWindows', () => {
  it.each([
    { total: 0, windows: [] },
    { total: 14, windows: [] },
    { total: 15, windows: [[0, 15]] },
    { total: 29, windows: [[0, 29]] },
    { total: 30, windows: [[0, 30]] },
    {
      total: 31,
      windows: [
        [0, 30],
        [16, 31],
      ],
    },
    {
      total: 45,
      windows: [
        [0, 30],
        [30, 45],
      ],
    },
    {
      total: 60,
      windows: [
        [0, 30],
        [30, 60],
      ],
    },
    {
      total: 61,
      windows: [
        [0, 30],
        [30, 60],
        [46, 61],
      ],
    },
  ])('cuts $total samples (15 to 30 per window)', ({ total, windows }) => {
    const found = sliceWindows(total, { minSamples: 15, preferredSamples: 30 });
    expect(found.map(({ start, end }) => [start, end])).toEqual(windows);
  });

  it('covers every sample with windows of allowed length, or makes none', () => {
    fc.assert(
      fc.property(fc.nat({ max: 500 }), lengths, (total, options) => {
        const windows = sliceWindows(total, options);
        if (total < options.minSamples) {
          expect(windows).toEqual([]);
          return;
        }
        let covered = 0;
        for (const { start, end } of windows) {
          expect(start).toBeLessThanOrEqual(covered);
          expect(end - start).toBeGreaterThanOrEqual(options.minSamples);
          expect(end - start).toBeLessThanOrEqual(options.preferredSamples);
          covered = end;
        }
        expect(covered).toBe(total);
      }),
    );
  });

  it('leaves all windows but the last alone when more speech arrives', () => {
    fc.assert(
      fc.property(fc.nat({ max: 500 }), fc.nat({ max: 200 }), lengths, (total, more, options) => {
        const before = sliceWindows(total, options).slice(0, -1);
        expect(sliceWindows(total + more, options).slice(0, before.length)).toEqual(before);
      }),
    );
  });

  it.each([
    [10, 0, 5],
    [10, 6, 5],
    [-1, 1, 5],
    [10.5, 1, 5],
    [10, 1, Number.NaN],
  ])('refuses total %d with windows of %d to %d', (total, minSamples, preferredSamples) => {
    expect(() => sliceWindows(total, { minSamples, preferredSamples })).toThrow(RangeError);
  });
});
