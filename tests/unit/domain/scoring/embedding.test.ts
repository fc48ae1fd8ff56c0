import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cosine, poolEmbeddings } from '../../../../src/domain/scoring/embedding.js';
import { degreesOf, direction } from '../../../support/toy-models.js';

const unitVector = fc
  .array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 })
  .map((values) => ({ values, norm: Math.hypot(...values) }))
  .filter(({ norm }) => norm > 0.1)
  .map(({ values, norm }) => Float32Array.from(values, (value) => value / norm));
const weight = fc.double({ min: 0.01, max: 1000, noNaN: true });
const part = fc.record({ embedding: unitVector, weight });

describe('cosine', () => {
  it.each([
    [0, 0, 1],
    [0, 90, 0],
    [0, 180, -1],
    [30, 90, 0.5],
    [-45, 45, 0],
  ])('between %i and %i degrees is %d', (a, b, expected) => {
    expect(cosine(direction(a), direction(b))).toBeCloseTo(expected, 6);
  });

  it('is symmetric, stays in [-1, 1] and is 1 only with itself', () => {
    fc.assert(
      fc.property(unitVector, unitVector, (a, b) => {
        expect(cosine(a, b)).toBe(cosine(b, a));
        expect(Math.abs(cosine(a, b))).toBeLessThanOrEqual(1 + 1e-6);
        expect(cosine(a, a)).toBeCloseTo(1, 6);
      }),
    );
  });

  it('refuses vectors of different sizes', () => {
    expect(() => cosine(Float32Array.of(1, 0), Float32Array.of(1, 0, 0))).toThrow(RangeError);
  });
});

describe('poolEmbeddings', () => {
  const pooledDegrees = (...parts: readonly (readonly [degrees: number, weight: number])[]) =>
    degreesOf(poolEmbeddings(parts.map(([degrees, weight]) => ({ embedding: direction(degrees), weight }))));

  it('points between its parts, nearer to the heavier one', () => {
    expect(pooledDegrees([0, 1], [90, 1])).toBeCloseTo(45, 4);
    expect(pooledDegrees([0, 3], [90, 1])).toBeCloseTo((Math.atan2(1, 3) * 180) / Math.PI, 4);
    expect(pooledDegrees([10, 1], [20, 1], [30, 1])).toBeCloseTo(20, 4);
  });

  it('is unit length whatever goes in', () => {
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        let pooled: Float32Array;
        try {
          pooled = poolEmbeddings(parts);
        } catch (error) {
          // Only vectors that really cancel out may be refused.
          const sums = Array.from({ length: 8 }, (_, i) =>
            parts.reduce((total, { embedding, weight: w }) => total + w * embedding[i]!, 0),
          );
          expect(error).toBeInstanceOf(RangeError);
          expect(Math.hypot(...sums)).toBeLessThan(1e-6);
          return;
        }
        expect(Math.hypot(...pooled)).toBeCloseTo(1, 5);
      }),
    );
  });

  it('depends neither on the order nor on the unit of the weights, and one part pools to itself', () => {
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 2, maxLength: 5 }),
        fc.double({ min: 0.1, max: 10, noNaN: true }),
        (parts, unit) => {
          const mean = parts.reduce((sum, { embedding, weight: w }) => sum + w * embedding[0]!, 0);
          fc.pre(Math.abs(mean) > 0.01);
          const pooled = poolEmbeddings(parts);
          const other = poolEmbeddings(
            parts.toReversed().map(({ embedding, weight: w }) => ({ embedding, weight: w * unit })),
          );
          expect(cosine(pooled, other)).toBeCloseTo(1, 5);
          expect(cosine(poolEmbeddings(parts.slice(0, 1)), parts[0]!.embedding)).toBeCloseTo(1, 5);
        },
      ),
    );
  });

  it('makes a probe of twice the same window the same as of once', () => {
    const embedding = direction(33);
    const twice = poolEmbeddings([
      { embedding, weight: 4 },
      { embedding, weight: 4 },
    ]);
    expect(cosine(twice, embedding)).toBeCloseTo(1, 6);
  });

  it('refuses what has no direction', () => {
    const pool =
      (...parts: Parameters<typeof poolEmbeddings>[0]) =>
      () =>
        poolEmbeddings(parts);
    expect(pool()).toThrow('no embeddings');
    expect(pool({ embedding: direction(0), weight: 1 }, { embedding: Float32Array.of(1), weight: 1 })).toThrow('sizes');
    expect(pool({ embedding: direction(0), weight: 1 }, { embedding: direction(180), weight: 1 })).toThrow('cancel');
    expect(pool({ embedding: Float32Array.of(Number.NaN, 0), weight: 1 })).toThrow('cancel');
    expect(pool({ embedding: direction(0), weight: Number.POSITIVE_INFINITY })).toThrow('cancel');
    expect(pool({ embedding: direction(0), weight: 0 })).toThrow('cancel');
  });
});
