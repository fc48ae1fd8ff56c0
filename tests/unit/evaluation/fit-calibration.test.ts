import { describe, expect, it } from 'vitest';
import { calibrationSchema, impostorFmr } from '../../../src/domain/scoring/calibration.js';
import { NEXT_LOOK_MS } from '../../../src/domain/verification/decide.js';
import type { CallScores } from '../../../src/evaluation/call-procedure.js';
import {
  fitCalibration,
  fitTails,
  formatCalibration,
  LOOKS_S,
  MIN_SPEECH_MS,
  TAILS_S,
} from '../../../src/evaluation/fit-calibration.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

/** Calls of strangers whose every look scores the same: P(score >= x) = exp(-x). */
function strangers(count: number, looks = 4): CallScores[] {
  const random = randomGenerator(3);
  return Array.from({ length: count }, () => {
    const normScore = -Math.log(1 - random());
    return {
      target: false,
      looks: LOOKS_S.slice(0, looks).map((seconds) => ({ netSpeechMs: seconds * 1000, normScore })),
    };
  });
}

const options = { modelId: 'some-model', cohortTop: 100, cohortSha256: 'a'.repeat(64) };

describe('LOOKS_S', () => {
  it('has every look that the service takes at a call, no longer apart', () => {
    const gapsMs = LOOKS_S.slice(1).map((seconds, look) => Math.round((seconds - LOOKS_S[look]!) * 1000));
    expect(LOOKS_S[0]! * 1000).toBe(MIN_SPEECH_MS);
    expect(gapsMs.slice(0, -1)).toEqual(gapsMs.slice(0, -1).fill(NEXT_LOOK_MS));
    expect(gapsMs.at(-1)).toBeLessThan(NEXT_LOOK_MS);
    expect(LOOKS_S.at(-1)! * 1000 + NEXT_LOOK_MS).toBeGreaterThan(30_000);
  });

  it('has the amounts of speech that tails are fitted at', () => {
    expect(LOOKS_S).toEqual(expect.arrayContaining([...TAILS_S]));
  });
});

describe('fitCalibration', () => {
  it('finds the tail that strangers have, for the amounts of speech that there are', () => {
    const calibration = fitCalibration(strangers(20_000), options)!;
    expect(calibration.tails.map(({ netSpeechMs }) => netSpeechMs)).toEqual([2000, 3000, 4000, 5000]);
    expect(Math.log(impostorFmr(calibration, -Math.log(0.01), 3000))).toBeCloseTo(Math.log(0.01), 0);
    expect(calibration).toMatchObject(options);
  });

  it('lets looks that agree spend more early, and asks no owner', () => {
    expect(fitCalibration(strangers(20_000), options)!.sequential.earlyShare).toBeGreaterThan(0.4);
  });

  it('does not look at owners', () => {
    const owners = strangers(500).map((call) => ({ ...call, target: true }));
    expect(fitTails([...owners, ...strangers(1000)])).toEqual(fitTails(strangers(1000)));
  });

  it('is undefined with too few strangers', () => {
    expect(fitCalibration(strangers(49), options)).toBeUndefined();
    expect(fitCalibration([], options)).toBeUndefined();
  });
});

describe('formatCalibration', () => {
  it('gives a text that is read back as it was, with where it comes from and a line per tail', () => {
    const calibration = fitCalibration(strangers(1000), options)!;
    const text = formatCalibration(calibration, { fittedOn: 'toy calls', command: 'voice-auth calibrate toys' });
    const json: unknown = JSON.parse(text);
    expect(calibrationSchema.parse(json)).toEqual({ ...calibration, fittedOn: 'toy calls' });
    expect(json).toMatchObject({ fittedOn: 'toy calls', command: 'voice-auth calibrate toys' });
    expect(text.split('\n').filter((line) => line.includes('knots'))).toHaveLength(calibration.tails.length);
  });
});
