import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Calibration,
  calibrationSchema,
  fmrFromScore,
  impostorFmr,
  scoreFromFmr,
} from '../../../../src/domain/scoring/calibration.js';
import { knots, toyCalibration } from '../../../support/toy-models.js';

const shippedJson: unknown = JSON.parse(
  readFileSync(new URL('../../../../models/phone-resnet-192-v4/calibration.json', import.meta.url), 'utf8'),
);
const shipped = calibrationSchema.parse(shippedJson);

/** Random calibrations that the schema takes. */
const anyCalibration: fc.Arbitrary<Calibration> = fc
  .array(
    fc.record({
      gapMs: fc.integer({ min: 100, max: 8000 }),
      start: fc.double({ min: -6, max: 4, noNaN: true }),
      knots: fc.array(
        fc.record({
          step: fc.double({ min: 0.01, max: 3, noNaN: true }),
          factor: fc.double({ min: 0.05, max: 0.99, noNaN: true }),
        }),
        { minLength: 3, maxLength: 12 },
      ),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((tails) => {
    let netSpeechMs = 0;
    return toyCalibration({
      tails: tails.map(({ gapMs, start, knots }) => {
        let [at, fmr] = [start, 1];
        netSpeechMs += gapMs;
        return {
          netSpeechMs,
          knots: knots.map(({ step, factor }): [number, number] => {
            at += step;
            fmr *= factor;
            return [at, fmr];
          }),
        };
      }),
    });
  });
const shippedOrAny = fc.oneof(fc.constant(shipped), anyCalibration);
const normScore = fc.double({ min: -30, max: 40, noNaN: true });
const netSpeech = fc.double({ min: 1, max: 60_000, noNaN: true });

describe('the meaning of a score', () => {
  it.each([
    { score: 0.82, oneIn: 171 },
    { score: 0.9, oneIn: 1000 },
    { score: 0.954, oneIn: 10_274 },
    { score: 0.7, oneIn: 37 },
    { score: 0.5, oneIn: 8 },
    { score: 0, oneIn: 1 },
  ])('$score stands for one false match in $oneIn', ({ score, oneIn }) => {
    expect(Math.round(1 / fmrFromScore(score))).toBe(oneIn);
  });

  it('one in 10,000 is 0.954 when rounded', () => {
    expect(scoreFromFmr(1e-4)).toBeCloseTo(0.954, 3);
    expect(scoreFromFmr(1e-3)).toBeCloseTo(0.9, 9);
  });

  it('goes there and back', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (score) => {
        expect(scoreFromFmr(fmrFromScore(score))).toBeCloseTo(score, 9);
      }),
    );
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (fmr) => {
        expect(fmrFromScore(scoreFromFmr(fmr))).toBeCloseTo(fmr, 9);
      }),
    );
  });

  it('falls as the false-match probability rises, and stays in [0, 1] outside of it', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -2, max: 8, noNaN: true }),
        fc.double({ min: 0, max: 8, noNaN: true }),
        (a, more) => {
          expect(scoreFromFmr(a + more)).toBeLessThanOrEqual(scoreFromFmr(a));
          expect(scoreFromFmr(a)).toBeGreaterThanOrEqual(0);
          expect(scoreFromFmr(a)).toBeLessThanOrEqual(1);
          expect(fmrFromScore(a)).toBeGreaterThanOrEqual(0);
          expect(fmrFromScore(a)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('is no number for no number: nothing can be accepted with it', () => {
    expect(scoreFromFmr(Number.NaN)).toBeNaN();
  });
});

describe('impostorFmr', () => {
  it('gives back the knots of the shipped calibration', () => {
    for (const { netSpeechMs, knots } of shipped.tails) {
      for (const [at, fmr] of knots) expect(impostorFmr(shipped, at, netSpeechMs)).toBeCloseTo(fmr, 9);
    }
  });

  it('is log-linear between knots and between amounts of speech', () => {
    const calibration = toyCalibration({
      tails: [
        { netSpeechMs: 2000, knots: knots(0, 0.5, 2, 0.05, 4, 0.0005) },
        { netSpeechMs: 8000, knots: knots(0, 0.4, 2, 0.01, 4, 0.0001) },
      ],
    });
    expect(impostorFmr(calibration, 3, 2000)).toBeCloseTo(0.005, 9);
    // Four seconds lie half-way between two and eight on the logarithmic scale.
    expect(impostorFmr(calibration, 2, 4000)).toBeCloseTo(Math.sqrt(0.05 * 0.01), 9);
    expect(impostorFmr(calibration, 2, 500)).toBeCloseTo(0.05, 9);
    expect(impostorFmr(calibration, 2, 60_000)).toBeCloseTo(0.01, 9);
  });

  it('goes on beyond the last knot with the slope of the last decade', () => {
    // The last piece alone would be too flat: the decade reaches back to the knot at 2.
    const calibration = toyCalibration({
      tails: [{ netSpeechMs: 2000, knots: knots(0, 0.5, 2, 0.02, 3.9, 0.0011, 4, 0.001) }],
    });
    const slope = Math.log(0.02 / 0.001) / 2;
    expect(impostorFmr(calibration, 5, 2000)).toBeCloseTo(0.001 * Math.exp(-slope), 9);
  });

  it('never rises with the normScore', () => {
    fc.assert(
      fc.property(
        shippedOrAny,
        normScore,
        fc.double({ min: 0, max: 10, noNaN: true }),
        netSpeech,
        (c, at, more, ms) => {
          expect(impostorFmr(c, at + more, ms)).toBeLessThanOrEqual(impostorFmr(c, at, ms) * (1 + 1e-9));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is a probability above 0, at both ends too', () => {
    fc.assert(
      fc.property(shippedOrAny, fc.double({ min: -1e5, max: 1e5, noNaN: true }), netSpeech, (c, at, ms) => {
        const fmr = impostorFmr(c, at, ms);
        expect(fmr).toBeGreaterThan(0);
        expect(fmr).toBeLessThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });

  it('has no jump at a knot, nor at an amount of speech', () => {
    const near = 1e-10;
    const close = (a: number, b: number) => expect(Math.abs(Math.log(a / b))).toBeLessThan(1e-4);
    fc.assert(
      fc.property(shippedOrAny, fc.nat(), fc.nat(), normScore, (calibration, tailPick, knotPick, anywhere) => {
        const tail = calibration.tails[tailPick % calibration.tails.length]!;
        const at = tail.knots[knotPick % tail.knots.length]![0];
        close(
          impostorFmr(calibration, at - near, tail.netSpeechMs),
          impostorFmr(calibration, at + near, tail.netSpeechMs),
        );
        const ms = tail.netSpeechMs;
        close(impostorFmr(calibration, anywhere, ms * (1 - near)), impostorFmr(calibration, anywhere, ms * (1 + near)));
      }),
      { numRuns: 500 },
    );
  });

  it('lies between the tails of the amounts of speech around it', () => {
    fc.assert(
      fc.property(shippedOrAny, normScore, netSpeech, (calibration, at, ms) => {
        const around = calibration.tails.map(({ netSpeechMs }) => impostorFmr(calibration, at, netSpeechMs));
        const fmr = impostorFmr(calibration, at, ms);
        expect(fmr).toBeLessThanOrEqual(Math.max(...around) * (1 + 1e-9));
        expect(fmr).toBeGreaterThanOrEqual(Math.min(...around) * (1 - 1e-9));
      }),
    );
  });

  it('stays no number for no number', () => {
    expect(impostorFmr(shipped, Number.NaN, 5000)).toBeNaN();
  });
});

describe('calibrationSchema', () => {
  type Changed = Record<string, unknown>;
  const good = toyCalibration() as unknown as Changed;
  const usual = knots(0, 0.5, 2, 0.05, 4, 0.001);
  const withKnots = (changed: unknown): Changed => ({ tails: [{ netSpeechMs: 2000, knots: changed }] });
  const withTails = (...amounts: number[]): Changed => ({
    tails: amounts.map((netSpeechMs) => ({ netSpeechMs, knots: usual })),
  });

  it('takes the shipped calibration and the toy one', () => {
    expect(shipped.modelId).toBe('phone-resnet-192-v4');
    expect(calibrationSchema.safeParse(good).success).toBe(true);
    expect(calibrationSchema.safeParse({ ...good, ...withTails(1000, 2000, 2001) }).success).toBe(true);
  });

  it.each<[string, Changed]>([
    ['another version', { version: 2 }],
    ['no model id', { modelId: undefined }],
    ['a cohort of one', { cohortTop: 1 }],
    ['half a speaker', { cohortTop: 2.5 }],
    ['no tails', { tails: [] }],
    ['tails out of order', withTails(4000, 2000)],
    ['two tails for one amount of speech', withTails(2000, 2000)],
    ['a tail for no speech', withTails(0)],
    ['an infinite amount of speech', withTails(Number.POSITIVE_INFINITY)],
    ['two knots', withKnots(usual.slice(0, 2))],
    ['no knots', withKnots(undefined)],
    ['normScores that fall', withKnots(knots(0, 0.5, -2, 0.05, 4, 0.001))],
    ['normScores that repeat', withKnots(knots(0, 0.5, 0, 0.05, 4, 0.001))],
    ['fmr that rises', withKnots(knots(0, 0.05, 2, 0.5, 4, 0.001))],
    ['fmr that repeats', withKnots(knots(0, 0.5, 2, 0.5, 4, 0.001))],
    ['an fmr of 0', withKnots(knots(0, 0.5, 2, 0.05, 4, 0))],
    ['an fmr of 1', withKnots(knots(0, 1, 2, 0.05, 4, 0.001))],
    ['a negative fmr', withKnots(knots(0, 0.5, 2, 0.05, 4, -0.001))],
    ['a normScore that is no number', withKnots(knots(0, 0.5, Number.NaN, 0.05, 4, 0.001))],
    ['an infinite normScore', withKnots(knots(Number.NEGATIVE_INFINITY, 0.5, 2, 0.05, 4, 0.001))],
    ['a knot without fmr', withKnots([[0, 0.5], [2], [4, 0.001]])],
    ['a knot that is no pair', withKnots([[0, 0.5], 2, [4, 0.001]])],
    ['an early share above the whole budget', { sequential: { earlyShare: 1.5, finalShare: 0.75 } }],
    ['no final share', { sequential: { earlyShare: 0.25, finalShare: 0 } }],
    ['no shares', { sequential: undefined }],
    ['futility before any speech', { futility: { minNetSpeechMs: 0, fmr: 0.3 } }],
    ['futility for everybody', { futility: { minNetSpeechMs: 6000, fmr: 0 } }],
    ['a replay that is not alike', { replayCosine: 0 }],
    ['a replay more alike than itself', { replayCosine: 1.01 }],
  ])('refuses %s', (_, change) => {
    expect(calibrationSchema.safeParse({ ...good, ...change }).success).toBe(false);
  });
});
