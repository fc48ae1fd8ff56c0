import { describe, expect, it } from 'vitest';
import { type Calibration, calibrationSchema, impostorFmr } from '../../../src/domain/scoring/calibration.js';
import { Cohort } from '../../../src/domain/scoring/score-normalisation.js';
import { randomGenerator } from '../../../src/evaluation/random.js';
import {
  checkRecorded,
  fitRecorded,
  type RecordedVoice,
  type StrangerScores,
  scoreStrangers,
} from '../../../src/evaluation/recorded-calibration.js';
import { MIN_PEOPLE, supportedFmr } from '../../../src/evaluation/supported-rates.js';
import { direction, joined, knots, toyCalibration } from '../../support/toy-models.js';

/** Tails like fmr = 10^-normScore at 2 s and at 10 s. */
const base: Calibration = toyCalibration({
  tails: [2000, 10_000].map((netSpeechMs) => ({ netSpeechMs, knots: knots(0.1, 0.8, 1, 0.1, 2, 0.01, 3, 0.001) })),
});

/** Everybody against everybody, P(score >= x) = 10^-(x - shift), with one sample each. */
function strangers(people: number, netSpeechMs: number, shift: number): StrangerScores {
  const random = randomGenerator(people);
  const pairs = Array.from({ length: people * people }, (_, at) => [Math.floor(at / people), at % people] as const);
  const between = pairs.filter(([a, b]) => a !== b);
  return {
    speakers: {
      enroll: Uint32Array.from(between, ([a]) => a),
      test: Uint32Array.from(between, ([, b]) => b),
      speakers: people,
    },
    normScores: Float64Array.from(between, () => shift - Math.log10(1 - random())),
    netSpeechMs: new Float64Array(between.length).fill(netSpeechMs),
  };
}

describe('scoreStrangers', () => {
  const cohort = new Cohort(joined(...[0, 60, 90, 120].map(direction)), 2, { top: 2 });
  const voice = (degrees: number, ...samples: readonly number[]): RecordedVoice => ({
    voiceprint: direction(degrees),
    samples: samples.map((at) => ({ embedding: direction(at), netSpeechMs: 1000 * at })),
  });

  it('compares every sample with the voiceprints of the others, and never with its own', () => {
    const { speakers, normScores, netSpeechMs } = scoreStrangers([voice(5, 4, 6), voice(80, 85), voice(40)], cohort);
    const pairs = [...speakers.enroll].map((enroll, at) => [speakers.test[at], enroll]);
    expect(pairs).toEqual([
      [0, 1],
      [0, 2],
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 2],
    ]);
    expect([...netSpeechMs]).toEqual([4000, 4000, 6000, 6000, 85_000, 85_000]);
    // 4 degrees are nearer to 40 than to 80.
    expect(normScores[1]!).toBeGreaterThan(normScores[0]!);
  });

  it('has nothing to compare of one person', () => {
    expect(scoreStrangers([voice(5, 4)], cohort).normScores).toHaveLength(0);
  });
});

describe('fitRecorded', () => {
  it('needs 25 people: 300 pairs, 30 of them beyond the score of one in ten', () => {
    expect(MIN_PEOPLE).toBe(25);
    expect(supportedFmr((25 * 24) / 2)).toBeCloseTo(0.1);
    expect(fitRecorded(strangers(24, 10_000, 0), base)).toBeUndefined();
    expect(fitRecorded(strangers(25, 10_000, 0), base)).toBeDefined();
  });

  it('fits what enough pairs have, and leaves amounts of speech without samples as they were', () => {
    const { calibration, amounts } = fitRecorded(strangers(100, 11_000, 0.5), base)!;
    expect(amounts.find(({ netSpeechMs }) => netSpeechMs === 10_000)).toEqual({
      netSpeechMs: 10_000,
      pairs: 4950,
      smallestFmr: 30 / 4950,
    });
    expect(amounts.filter(({ smallestFmr }) => smallestFmr !== undefined)).toHaveLength(1);
    expect(calibration.tails[0]).toEqual(base.tails[0]);
    expect(Math.log10(impostorFmr(calibration, 1.5, 10_000))).toBeCloseTo(-1, 1);
    expect(calibrationSchema.parse(calibration)).toEqual(calibration);
    expect({ ...calibration, tails: [] }).toEqual({ ...base, tails: [] });
  });

  it('goes on as before beyond the smallest rate, from where the own tail has come', () => {
    const { calibration } = fitRecorded(strangers(100, 10_000, 0.5), base)!;
    const last = calibration.tails.at(-1)!.knots;
    expect(last.at(-1)![1]).toBe(0.0001);
    const [at, rate] = [last.findLast(([, fmr]) => fmr >= 30 / 4950)!, 0.001];
    const beyond = last.find(([, fmr]) => fmr === rate)!;
    expect(beyond[0] - at[0]).toBeCloseTo(Math.log10(at[1] / rate), 1);
  });

  it('is never less careful than before where the data say nothing', () => {
    const { calibration } = fitRecorded(strangers(30, 10_000, -0.8), base)!;
    for (const normScore of [2.5, 3, 4, 5]) {
      expect(impostorFmr(calibration, normScore, 10_000)).toBeGreaterThanOrEqual(
        impostorFmr(base, normScore, 10_000) * 0.99,
      );
    }
    // Where they do say something it is taken: these strangers score low.
    expect(impostorFmr(calibration, 0.5, 10_000)).toBeLessThan(impostorFmr(base, 0.5, 10_000));
  });
});

describe('checkRecorded', () => {
  it('finds how often a claim is broken, and says nothing where the pairs are too few', () => {
    const claims = checkRecorded(strangers(100, 10_000, 0.5), base, { resamples: 20, seed: 1 });
    const tenth = claims.find(({ claimed }) => claimed === 0.1)!;
    expect(tenth.observed!.value).toBeCloseTo(10 ** -0.5, 1);
    expect(tenth.observed!.interval!.low).toBeLessThan(tenth.observed!.value);
    expect(claims.filter(({ observed }) => observed === undefined).map(({ claimed }) => claimed)).toEqual([
      0.003, 0.001,
    ]);
  });
});
