import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cllr, cllrCosts, minCllr, weightedCllr } from '../../../src/evaluation/cllr.js';
import { actDcf, bayesThreshold, bestThreshold, minDcf, normalisedDcf } from '../../../src/evaluation/dcf.js';
import { convexHull, detCurve, pMissAtPFa } from '../../../src/evaluation/det.js';
import { eer, rocchEer } from '../../../src/evaluation/eer.js';
import { sortScores } from '../../../src/evaluation/scores.js';
import {
  allRates,
  type LabelledScore,
  ratesAt,
  textbookActDcf,
  textbookCllr,
  textbookEer,
  textbookMinCllr,
  textbookMinDcf,
  textbookPMissAtPFa,
  textbookRocchEer,
} from '../../support/textbook-metrics.js';

const sorted = (trials: readonly LabelledScore[]) =>
  sortScores(
    trials.map(({ score }) => score),
    trials.map(({ target }) => target),
  );
const of = (targets: readonly number[], nontargets: readonly number[]) => [
  ...targets.map((score) => ({ score, target: true })),
  ...nontargets.map((score) => ({ score, target: false })),
];
const curveOf = (targets: readonly number[], nontargets: readonly number[]) =>
  detCurve(sorted(of(targets, nontargets)));

/** Random scores of both classes, a third of them from a few values so that there are ties, some with weights. */
const anyTrials = fc
  .array(
    fc.record({
      score: fc.oneof(
        fc.double({ min: -12, max: 12, noNaN: true }),
        fc.double({ min: -12, max: 12, noNaN: true }),
        fc.integer({ min: -2, max: 2 }),
      ),
      target: fc.boolean(),
      weight: fc.integer({ min: 0, max: 3 }),
    }),
    { minLength: 2, maxLength: 40 },
  )
  .filter((trials) =>
    [true, false].every((kind) => trials.some(({ target, weight }) => target === kind && weight > 0)),
  );

describe('error rates by hand', () => {
  // Accepting from 2 on misses 1 of 4 owners and matches 1 of 4 strangers.
  const [targets, nontargets] = [
    [1, 3, 4, 5],
    [-1, 0, 0.5, 2],
  ];

  it('gives a point for every distinct score and one for nobody', () => {
    const curve = curveOf([1, 2], [0, 1]);
    expect([...curve.thresholds]).toEqual([0, 1, 2, Number.POSITIVE_INFINITY]);
    expect([...curve.pMiss]).toEqual([0, 0, 0.5, 1]);
    expect([...curve.pFa]).toEqual([1, 0.5, 0, 0]);
  });

  it('reads the equal error rate where both errors are 1 in 4', () => {
    expect(eer(curveOf(targets, nontargets))).toBe(0.25);
    // The hull cuts the corner between (0.25, 0) and (0, 0.25) at 1 in 8.
    expect(rocchEer(curveOf(targets, nontargets))).toBe(0.125);
  });

  it('interpolates between the two points around the crossing', () => {
    // Two owners, three strangers: (pFa, pMiss) = (1, 0), (2/3, 0), (2/3, 1/2), (1/3, 1/2), (0, 1/2), (0, 1).
    expect(eer(curveOf([1, 4], [0, 2, 3]))).toBeCloseTo(0.5, 12);
    // One tie of everybody: the line from (1, 0) to (0, 1).
    expect(eer(curveOf([7, 7], [7, 7, 7]))).toBe(0.5);
    expect(rocchEer(curveOf([7, 7], [7, 7, 7]))).toBe(0.5);
  });

  it('is 0 for scores that do not overlap, 1 for the wrong way round, and half on the hull then', () => {
    expect(eer(curveOf([2, 3], [0, 1]))).toBe(0);
    expect(eer(curveOf([0, 1], [2, 3]))).toBe(1);
    expect(rocchEer(curveOf([0, 1], [2, 3]))).toBe(0.5);
  });

  it('gives misses at a false match rate that is not exceeded', () => {
    const curve = curveOf(targets, nontargets);
    expect(pMissAtPFa(curve, 0.25)).toBe(0);
    expect(pMissAtPFa(curve, 0.2499)).toBe(0.25);
    expect(pMissAtPFa(curve, 0)).toBe(0.25);
  });

  it('hits a rate of exactly 1 in 100 and not only what rounds below it', () => {
    const strangers = Array.from({ length: 100 }, (_, index) => index);
    expect(pMissAtPFa(curveOf([99, 97.5, 1000], strangers), 0.01)).toBeCloseTo(1 / 3, 12);
    expect(pMissAtPFa(curveOf([99, 1000], strangers), 0.01)).toBe(0);
  });
});

describe('costs by hand', () => {
  it('normalises by the better of accepting everybody and nobody (NIST SRE)', () => {
    expect(normalisedDcf(0.5, 0.01, { pTarget: 0.01 })).toBeCloseTo(0.5 + 99 * 0.01, 12);
    expect(normalisedDcf(1, 0, { pTarget: 0.05 })).toBe(1);
    expect(normalisedDcf(0, 1, { pTarget: 0.9 })).toBeCloseTo(1, 12);
    // SRE 2008: misses cost 10, one attempt in 100 is by the owner.
    expect(normalisedDcf(0.2, 0.03, { pTarget: 0.01, costMiss: 10 })).toBeCloseTo(0.2 + 9.9 * 0.03, 12);
  });

  it('finds the least cost and its threshold', () => {
    const trials = of([1, 3, 4, 5], [-1, 0, 0.5, 2]);
    const curve = detCurve(sorted(trials));
    expect(minDcf(curve, { pTarget: 0.01 })).toBe(0.25);
    expect(bestThreshold(curve, { pTarget: 0.01 })).toBe(2.5);
    expect(minDcf(curve, { pTarget: 0.9 })).toBeCloseTo(0.25, 12);
    expect(bestThreshold(curve, { pTarget: 0.9 })).toBe(0.75);
    const neighbours = detCurve(sorted(of([Number.MIN_VALUE], [0])));
    expect(bestThreshold(neighbours, { pTarget: 0.5 })).toBe(Number.MIN_VALUE);
  });

  it('refuses everybody where that is cheapest', () => {
    const curve = curveOf([0, 1], [2, 3]);
    expect(minDcf(curve, { pTarget: 0.01 })).toBe(1);
    expect(bestThreshold(curve, { pTarget: 0.01 })).toBe(Number.POSITIVE_INFINITY);
  });

  it('accepts log-likelihood ratios from the Bayes threshold on', () => {
    expect(bayesThreshold({ pTarget: 0.01 })).toBeCloseTo(Math.log(99), 12);
    const trials = sorted(of([Math.log(99), 4, 10], [Math.log(98), 7]));
    expect(actDcf(trials, { pTarget: 0.01 })).toBeCloseTo(1 / 3 + 99 / 2, 9);
    expect(actDcf(trials, { pTarget: 0.01 }, { threshold: 8 })).toBeCloseTo(2 / 3, 12);
  });

  it.each([0, 1, -0.1, Number.NaN])('refuses a prior of %s', (pTarget) => {
    expect(() => normalisedDcf(0.5, 0.5, { pTarget })).toThrow(/0 < pTarget < 1/);
  });
});

describe('Cllr by hand', () => {
  it('is 1 bit for ratios that say nothing', () => {
    expect(cllr(sorted(of([0, 0], [0, 0, 0])))).toBe(1);
    expect(minCllr(curveOf([0, 0], [0, 0, 0]))).toBeCloseTo(1, 12);
  });

  it('is log2(1 + 1/3) where every ratio is 3 and right', () => {
    expect(cllr(sorted(of([Math.log(3)], [-Math.log(3)])))).toBeCloseTo(Math.log2(4 / 3), 12);
  });

  it('counts confident mistakes without overflowing', () => {
    expect(cllr(sorted(of([-2000], [-2000])))).toBeCloseTo(1000 / Math.LN2, 6);
  });

  it('pools what is out of order', () => {
    // Blocks: one stranger; a stranger above an owner, pooled to ratio 1 of halves; one owner.
    expect(minCllr(curveOf([1, 3], [0, 2]))).toBeCloseTo(0.5, 12);
    expect(minCllr(curveOf([2, 3], [0, 1]))).toBe(0);
  });
});

describe('against the textbook', () => {
  const parameters = { numRuns: 400 };

  it('agrees on equal error rates', () => {
    fc.assert(
      fc.property(anyTrials, (trials) => {
        const plain = trials.map(({ score, target }) => ({ score, target }));
        const curve = detCurve(sorted(plain));
        expect(eer(curve)).toBeCloseTo(textbookEer(plain), 6);
        expect(rocchEer(curve)).toBeCloseTo(textbookRocchEer(plain), 6);
      }),
      parameters,
    );
  });

  it('agrees on costs, misses and Cllr', () => {
    fc.assert(
      fc.property(anyTrials, fc.constantFrom(0.01, 0.05, 0.5, 0.9), (trials, pTarget) => {
        const plain = trials.map(({ score, target }) => ({ score, target }));
        const input = sorted(plain);
        const curve = detCurve(input);
        expect(minDcf(curve, { pTarget })).toBeCloseTo(textbookMinDcf(plain, pTarget), 6);
        expect(actDcf(input, { pTarget })).toBeCloseTo(textbookActDcf(plain, pTarget), 6);
        for (const fmr of [0.5, 0.1, 0.01])
          expect(pMissAtPFa(curve, fmr)).toBeCloseTo(textbookPMissAtPFa(plain, fmr), 6);
        expect(cllr(input)).toBeCloseTo(textbookCllr(plain), 6);
        expect(minCllr(curve)).toBeCloseTo(textbookMinCllr(plain), 6);
      }),
      parameters,
    );
  });

  it('agrees when trials have weights', () => {
    fc.assert(
      fc.property(anyTrials, (trials) => {
        const input = sorted(trials);
        const weights = Float64Array.from(input.order, (index) => trials[index]!.weight);
        const curve = detCurve(input, weights);
        expect(curve.pMiss.length).toBe(allRates(trials).length);
        expect(eer(curve)).toBeCloseTo(textbookEer(trials), 6);
        expect(rocchEer(curve)).toBeCloseTo(textbookRocchEer(trials), 6);
        expect(minDcf(curve, { pTarget: 0.05 })).toBeCloseTo(textbookMinDcf(trials, 0.05), 6);
        expect(actDcf(input, { pTarget: 0.05 }, { weights })).toBeCloseTo(textbookActDcf(trials, 0.05), 6);
        expect(weightedCllr(input, cllrCosts(input), weights)).toBeCloseTo(textbookCllr(trials), 6);
        expect(minCllr(curve)).toBeCloseTo(textbookMinCllr(trials), 6);
      }),
      parameters,
    );
  });

  it('has every order of the figures right', () => {
    fc.assert(
      fc.property(anyTrials, (trials) => {
        const input = sorted(trials);
        const curve = detCurve(input);
        const hull = convexHull(curve);
        expect(rocchEer(curve, hull)).toBeLessThanOrEqual(eer(curve) + 1e-12);
        expect(minCllr(curve, hull)).toBeLessThanOrEqual(Math.min(1, cllr(input)) + 1e-9);
        expect(minDcf(curve, { pTarget: 0.05 }, hull)).toBeLessThanOrEqual(actDcf(input, { pTarget: 0.05 }) + 1e-12);
        const threshold = bestThreshold(curve, { pTarget: 0.05 });
        const { pMiss, pFa } = ratesAt(
          trials.map(({ score, target }) => ({ score, target })),
          threshold,
        );
        expect(normalisedDcf(pMiss, pFa, { pTarget: 0.05 })).toBeCloseTo(minDcf(curve, { pTarget: 0.05 }, hull), 9);
      }),
      parameters,
    );
  });

  it('does not change when scores are stretched and shifted', () => {
    fc.assert(
      fc.property(anyTrials, (trials) => {
        // Powers of two, so that no two scores get closer or farther by rounding.
        const moved = trials.map((trial) => ({ ...trial, score: 4 * trial.score }));
        const [before, after] = [detCurve(sorted(trials)), detCurve(sorted(moved))];
        expect(eer(after)).toBe(eer(before));
        expect(minCllr(after)).toBe(minCllr(before));
      }),
    );
  });
});

describe('what cannot be measured', () => {
  it.each([
    { what: 'no target', scores: [1, 2], labels: [false, false], message: /no target trials/ },
    { what: 'no nontarget', scores: [1, 2], labels: [true, true], message: /no nontarget trials/ },
    { what: 'nothing', scores: [], labels: [], message: /no target trials/ },
    {
      what: 'an infinite score',
      scores: [1, Number.POSITIVE_INFINITY],
      labels: [true, false],
      message: /score 2 is Inf/,
    },
    { what: 'NaN', scores: [Number.NaN, 1], labels: [true, false], message: /score 1 is NaN/ },
    { what: 'a missing label', scores: [1, 2], labels: [true], message: /2 scores, but 1 label/ },
  ])('refuses $what', ({ scores, labels, message }) => {
    expect(() => sortScores(scores, labels)).toThrow(message);
  });

  it('refuses weights that leave nobody of a kind', () => {
    const input = sorted(of([1], [0]));
    expect(() => detCurve(input, Float64Array.of(0, 1))).toThrow(/both need weight/);
    expect(() => detCurve(input, Float64Array.of(1, 0))).toThrow(/both need weight/);
  });
});
