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

  it('is what was observed up to the ten highest scores, and from there on an exponential of their mean excess', () => {
    const knotsOf = (count: number) => {
      const normScores = Array.from({ length: count }, (_, index) => index + 1);
      return fitImpostorTails([{ netSpeechMs: 3000, normScores }])[0]?.knots;
    };
    // The ten highest exceed the next one by 5.5 on average: the claim halves with every 5.5 ln 2.
    expect(knotsOf(100)).toEqual([
      [10, 0.9],
      [30, 0.7],
      [50, 0.5],
      [70, 0.3],
      [80, 0.2],
      [90, 0.1],
      [93.8123, 0.05],
      [98.8519, 0.02],
      [102.6642, 0.01],
      [106.4765, 0.005],
      [111.5161, 0.002],
      [115.3284, 0.001],
      [127.9927, 0.0001],
    ]);
    expect(MIN_IMPOSTOR_SCORES).toBe(50);
    expect(knotsOf(50)).toEqual([
      [5, 0.9],
      [15, 0.7],
      [25, 0.5],
      [35, 0.3],
      [40, 0.2],
      [43.8123, 0.1],
      [47.6246, 0.05],
      [52.6642, 0.02],
      [56.4765, 0.01],
      [60.2888, 0.005],
      [65.3284, 0.002],
      [69.1407, 0.001],
      [81.805, 0.0001],
    ]);
    expect(knotsOf(49)).toBeUndefined();
  });

  it('extends earlier where there are few scores', () => {
    const calibration = calibrationOf(3000, exponential(100, 1));
    for (const fmr of [0.5, 0.1, 0.01]) {
      expect(Math.abs(Math.log(impostorFmr(calibration, -Math.log(fmr), 3000) / fmr))).toBeLessThan(0.3);
    }
  });
});
