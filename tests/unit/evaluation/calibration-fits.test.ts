import { describe, expect, it } from 'vitest';
import { cllr } from '../../../src/evaluation/cllr.js';
import { applyLlr, fitLlr } from '../../../src/evaluation/fit-llr.js';
import { randomGenerator } from '../../../src/evaluation/random.js';
import { sortScores } from '../../../src/evaluation/scores.js';

function normals(count: number, mean: number, seed: number): number[] {
  const random = randomGenerator(seed);
  return Array.from(
    { length: count },
    () => mean + Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}
const labelled = (targets: readonly number[], nontargets: readonly number[]) => ({
  scores: [...targets, ...nontargets],
  labels: [...targets.map(() => true), ...nontargets.map(() => false)],
});

describe('fitLlr', () => {
  it('finds the ratio of two normal distributions: slope = distance, zero halfway', () => {
    const { scores, labels } = labelled(normals(40_000, 3, 1), normals(40_000, 1, 2));
    for (const pTarget of [0.5, 0.05]) {
      const { slope, offset } = fitLlr(scores, labels, { pTarget });
      expect(slope).toBeCloseTo(2, 1);
      expect(-offset / slope).toBeCloseTo(2, 1);
    }
  });

  it('is the best affine map: moving it in any direction loses information', () => {
    const { scores, labels } = labelled(normals(300, 2, 3), normals(900, 0, 4));
    const map = fitLlr(scores, labels, { pTarget: 0.5 });
    const loss = (offset: number, slope: number) =>
      cllr(
        sortScores(
          scores.map((score) => applyLlr({ offset, slope }, score)),
          labels,
        ),
      );
    const best = loss(map.offset, map.slope);
    for (const [dOffset, dSlope] of [
      [0.05, 0],
      [-0.05, 0],
      [0, 0.05],
      [0, -0.05],
    ] as const) {
      expect(loss(map.offset + dOffset, map.slope + dSlope)).toBeGreaterThan(best);
    }
  });

  it('does not depend on the unit of the scores', () => {
    const { scores, labels } = labelled(normals(300, 2, 3), normals(900, 0, 4));
    const plain = fitLlr(scores, labels, { pTarget: 0.05 });
    const scaled = fitLlr(
      scores.map((score) => 1000 * score + 7),
      labels,
      { pTarget: 0.05 },
    );
    expect(applyLlr(scaled, 1007)).toBeCloseTo(applyLlr(plain, 1), 6);
  });

  it('stays finite where the classes do not overlap', () => {
    const { offset, slope } = fitLlr([1, 2, 3, 4], [false, false, true, true], { pTarget: 0.5 });
    expect(Number.isFinite(offset)).toBe(true);
    expect(slope).toBeGreaterThan(1);
    expect(slope).toBeLessThan(1000);
  });

  it.each([
    { what: 'one class', scores: [1, 2], labels: [true, true], message: /needs targets and nontargets/ },
    { what: 'equal scores', scores: [1, 1], labels: [true, false], message: /all scores are equal/ },
    { what: 'NaN', scores: [Number.NaN, 1], labels: [true, false], message: /only finite/ },
  ])('refuses $what', ({ scores, labels, message }) => {
    expect(() => fitLlr(scores, labels, { pTarget: 0.5 })).toThrow(message);
  });
});
