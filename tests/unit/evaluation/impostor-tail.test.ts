import { describe, expect, it } from 'vitest';
import { calibrationSchema, impostorFmr } from '../../../src/domain/scoring/calibration.js';
import { fitImpostorTails, MIN_IMPOSTOR_SCORES } from '../../../src/evaluation/impostor-tail.js';

/** Exactly the quantiles of an exponential distribution with this mean, shifted. */
function exponential(count: number, mean: number, shift = 0): number[] {
  return Array.from({ length: count }, (_, index) => shift - mean * Math.log((index + 0.5) / count));
}

function calibrationOf(netSpeechMs: number, normScores: readonly number[]) {
  return calibrationSchema.parse({
    version: 1,
    modelId: 'toy',
    cohortTop: 2,
    tails: fitImpostorTails([{ netSpeechMs, normScores }]),
    sequential: { earlyShare: 0.25, finalShare: 0.75 },
    futility: { minNetSpeechMs: 6000, fmr: 0.3 },
    replayCosine: 0.99,
  });
}

describe('the impostor tail', () => {
  it.each([0.5, 0.1, 0.02, 0.005, 1e-3, 1e-4, 1e-6])('claims %f where an exponential has it', (fmr) => {
    const calibration = calibrationOf(3000, exponential(20_000, 1.5, -2));
    const normScore = -2 - 1.5 * Math.log(fmr);
    expect(Math.abs(Math.log(impostorFmr(calibration, normScore, 3000) / fmr))).toBeLessThan(0.1);
  });

  it('does not follow single highest scores', () => {
    const scores = exponential(2000, 1);
    const claimAt = (of: readonly number[]) => impostorFmr(calibrationOf(3000, of), 12, 3000);
    // Somebody's twin among 2000: the claim at 12 rises by much less than the one in 2000 that the twin alone would say.
    expect(claimAt([...scores, 12.5])).toBeLessThan(1e-4);
    expect(claimAt([...scores, 12.5])).toBeGreaterThan(claimAt(scores));
  });

  it('is ordered by speech, whatever the order of the samples', () => {
    const tails = fitImpostorTails([
      { netSpeechMs: 5000, normScores: exponential(1000, 1) },
      { netSpeechMs: 2000, normScores: exponential(1000, 2) },
    ]);
    expect(tails.map(({ netSpeechMs }) => netSpeechMs)).toEqual([2000, 5000]);
    expect(tails[0]!.knots.at(-1)![0]).toBeGreaterThan(tails[1]!.knots.at(-1)![0]);
  });

  it('leaves out too few scores and scores that are all alike', () => {
    const few = exponential(MIN_IMPOSTOR_SCORES - 1, 1);
    const alike = Array.from({ length: 1000 }, () => 1);
    expect(fitImpostorTails([{ netSpeechMs: 3000, normScores: few }])).toEqual([]);
    expect(fitImpostorTails([{ netSpeechMs: 3000, normScores: alike }])).toEqual([]);
  });

  it('extends earlier where there are few scores', () => {
    const calibration = calibrationOf(3000, exponential(100, 1));
    for (const fmr of [0.5, 0.1, 0.01]) {
      expect(Math.abs(Math.log(impostorFmr(calibration, -Math.log(fmr), 3000) / fmr))).toBeLessThan(0.3);
    }
  });
});
