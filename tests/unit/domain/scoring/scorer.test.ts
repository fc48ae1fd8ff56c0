import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scoreFromFmr } from '../../../../src/domain/scoring/calibration.js';
import { direction, knots, toyCalibration, toyScorer } from '../../../support/toy-models.js';

describe('SpeakerScorer', () => {
  const reference = toyScorer().against(direction(0));
  const scoreAt = (degrees: number) => scoreFromFmr(reference.compare(direction(degrees), 5000).fmr);

  it('follows the angle: the farther away, the lower', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 60, noNaN: true }),
        fc.double({ min: 1, max: 20, noNaN: true }),
        (at, more) => {
          expect(scoreAt(at + more)).toBeLessThanOrEqual(scoreAt(at));
        },
      ),
    );
  });

  it('tells owner from stranger, and says how much alike they are', () => {
    const owner = reference.compare(direction(0), 5000);
    expect(owner.cosine).toBeCloseTo(1, 6);
    expect(owner.fmr).toBeLessThan(0.001);
    const stranger = reference.compare(direction(90), 5000);
    expect(stranger.cosine).toBeCloseTo(0, 6);
    expect(stranger.fmr).toBeGreaterThan(0.3);
  });

  it('judges a probe that many resemble more strictly than one that nobody does', () => {
    // Both are 20 degrees away; the cohort lies on the positive side.
    expect(scoreAt(-20)).toBeGreaterThan(scoreAt(20));
  });

  it('asks more of a probe made from little speech when the calibration does', () => {
    const { tails } = toyCalibration();
    const scorer = toyScorer(
      toyCalibration({
        tails: [
          { netSpeechMs: 1000, knots: knots(0, 0.8, 2, 0.2, 4, 0.01) },
          { ...tails[0]!, netSpeechMs: 10_000 },
        ],
      }),
    ).against(direction(0));
    const [short, middle, long] = [1000, 3000, 10_000].map((ms) => scorer.compare(direction(10), ms));
    expect(short!.normScore).toBe(long!.normScore);
    expect(short!.fmr).toBeGreaterThan(middle!.fmr);
    expect(middle!.fmr).toBeGreaterThan(long!.fmr);
  });

  it('gives no number for a probe that is none, and refuses one of another size', () => {
    expect(reference.compare(Float32Array.of(Number.NaN, 0), 5000).fmr).toBeNaN();
    expect(() => reference.compare(Float32Array.of(1, 0, 0), 5000)).toThrow(RangeError);
  });
});
