import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Cohort, normaliseScore } from '../../../../src/domain/scoring/score-normalisation.js';
import { direction, joined } from '../../../support/toy-models.js';

describe('Cohort', () => {
  // Four speakers whose cosines with the vectors below come out in tenths.
  const rows = Float32Array.of(0.6, 0.8, 0, 1, -1, 0, 0.8, -0.6);
  const cohort = new Cohort(rows, 2, { top: 2 });

  it.each([
    { who: 'the reference', at: [1, 0], mean: 0.7, deviation: 0.1 },
    { who: 'the probe', at: [0.8, 0.6], mean: 0.78, deviation: 0.18 },
    { who: 'the one opposite', at: [-1, 0], mean: 0.5, deviation: 0.5 },
  ])('takes the two closest speakers of $who', ({ at, mean, deviation }) => {
    const statistics = cohort.statistics(Float32Array.from(at));
    expect(statistics.mean).toBeCloseTo(mean, 6);
    expect(statistics.deviation).toBeCloseTo(deviation, 6);
  });

  it('normalises from both sides', () => {
    const [reference, probe] = [cohort.statistics(Float32Array.of(1, 0)), cohort.statistics(Float32Array.of(0.8, 0.6))];
    // (0.8 - 0.7) / 0.1 = 1 and (0.8 - 0.78) / 0.18 = 1/9.
    expect(normaliseScore(0.8, reference, probe)).toBeCloseTo((1 + 1 / 9) / 2, 5);
    expect(normaliseScore(0.8, probe, reference)).toBeCloseTo((1 + 1 / 9) / 2, 5);
  });

  it('counts speakers on the side of the embedding, negative cosines last', () => {
    const opposite = new Cohort(joined(direction(170), direction(180), direction(190), direction(90)), 2, { top: 2 });
    // Closest to 0 degrees: 90 (cosine 0), then 170 or 190 (-0.985), never 180.
    expect(opposite.statistics(direction(0)).mean).toBeCloseTo(Math.cos((170 * Math.PI) / 180) / 2, 5);
  });

  it('takes all speakers when asked for more than there are', () => {
    const all = new Cohort(rows, 2, { top: 100 }).statistics(Float32Array.of(1, 0));
    expect(all.mean).toBeCloseTo((0.6 + 0 - 1 + 0.8) / 4, 6);
  });

  it('does not depend on the order of the speakers', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 359 }), { minLength: 3, maxLength: 12 }),
        fc.integer({ min: 0, max: 359 }),
        (degrees, probe) => {
          const forward = new Cohort(joined(...degrees.map(direction)), 2, { top: 3 }).statistics(direction(probe));
          const backward = new Cohort(joined(...degrees.toReversed().map(direction)), 2, { top: 3 });
          expect(backward.statistics(direction(probe))).toEqual(forward);
        },
      ),
    );
  });

  it('keeps scores finite when all speakers are the same', () => {
    const statistics = new Cohort(joined(direction(60), direction(60)), 2, { top: 2 }).statistics(direction(0));
    expect(statistics.deviation).toBeGreaterThan(0);
    expect(Number.isFinite(normaliseScore(1, statistics, statistics))).toBe(true);
  });

  it('gives no number for an embedding that is none', () => {
    const statistics = cohort.statistics(Float32Array.of(Number.NaN, 0));
    expect(statistics.mean).toBeNaN();
    expect(statistics.deviation).toBeNaN();
  });

  it('refuses a cohort that does not fit', () => {
    expect(() => new Cohort(new Float32Array(7), 2, { top: 2 })).toThrow('whole number of rows');
    expect(() => new Cohort(new Float32Array(8), 0, { top: 2 })).toThrow('whole number of rows');
    expect(() => new Cohort(Float32Array.of(1, 0), 2, { top: 2 })).toThrow('at least two');
    expect(() => new Cohort(new Float32Array(0), 2, { top: 2 })).toThrow('at least two');
    expect(() => cohort.statistics(Float32Array.of(1, 0, 0))).toThrow('differ in size');
  });
});
