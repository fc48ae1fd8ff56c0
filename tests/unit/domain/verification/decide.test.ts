import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ListeningEnd } from '../../../../src/domain/caller-speech/listen-to-call.js';
import { fmrFromScore, scoreFromFmr } from '../../../../src/domain/scoring/calibration.js';
import {
  decideLook,
  inconclusiveReason,
  type Look,
  type LookRule,
  type LookVerdict,
} from '../../../../src/domain/verification/decide.js';

const rule: LookRule = {
  threshold: 0.9,
  minSpeechMs: 2000,
  earlyShare: 0.25,
  finalShare: 0.75,
  futility: { minNetSpeechMs: 6000, fmr: 0.3 },
};
/** A threshold of 0.9 is a budget of one in 1000. */
const BUDGET = 1e-3;
const look: Look = {
  netSpeechMs: 5000,
  fmr: BUDGET / 10,
  sampleCosine: 0.8,
  replayCosine: 0.999,
  final: false,
  lowQuality: false,
  looks: 2,
};
const verdict = (changes: Partial<Look>, rules: Partial<LookRule> = {}) =>
  decideLook({ ...look, ...changes }, { ...rule, ...rules });
const said = (result: LookVerdict) => (result.kind === 'decided' ? `${result.decision}/${result.reason}` : 'listen');

const final = true;
const lowQuality = true;
const copy = { sampleCosine: 0.9991 };

describe('decideLook', () => {
  it.each<[string, Partial<Look>, string]>([
    // The budget of one look: a quarter of it early, three quarters at the end, all of it for the only look.
    ['early, just within a quarter of the budget', { fmr: BUDGET * 0.2499 }, 'accept/match'],
    ['early, just over a quarter', { fmr: BUDGET * 0.2501 }, 'listen'],
    ['early and first, just over a quarter', { fmr: BUDGET * 0.2501, looks: 1 }, 'listen'],
    ['last of several, within three quarters', { fmr: BUDGET * 0.7499, final }, 'accept/match'],
    ['last of several, over three quarters', { fmr: BUDGET * 0.7501, final }, 'reject/no_match'],
    ['the only look, within the budget', { fmr: BUDGET * 0.9999, final, looks: 1 }, 'accept/match'],
    ['the only look, over the budget', { fmr: BUDGET * 1.0001, final, looks: 1 }, 'reject/no_match'],
    // Too little speech: never accept, never reject.
    ['too little speech, perfect', { netSpeechMs: 1999, fmr: 1e-12 }, 'listen'],
    ['too little speech at the end, perfect', { netSpeechMs: 1999, fmr: 1e-12, final, looks: 1 }, 'listen'],
    ['too little speech at the end, a stranger', { netSpeechMs: 1999, fmr: 1, final }, 'listen'],
    ['too little speech, a copy', { netSpeechMs: 1999, fmr: 1e-12, ...copy }, 'listen'],
    ['just enough speech', { netSpeechMs: 2000, fmr: 1e-12 }, 'accept/match'],
    // A copy of a stored sample.
    ['a copy, early', copy, 'reject/replayed_audio'],
    ['a copy, at the end', { ...copy, final }, 'reject/replayed_audio'],
    ['exactly as alike as a copy', { sampleCosine: 0.999 }, 'reject/replayed_audio'],
    ['almost a copy', { sampleCosine: 0.99899 }, 'accept/match'],
    ['a copy that does not reach the threshold, early', { ...copy, fmr: 0.01 }, 'listen'],
    ['a copy that does not reach the threshold, at the end', { ...copy, fmr: 0.01, final }, 'reject/no_match'],
    ['a likeness that is no number', { sampleCosine: Number.NaN }, 'reject/replayed_audio'],
    // Hopeless cases are not listened to until the end.
    ['hopeless after enough speech', { netSpeechMs: 6000, fmr: 0.31 }, 'reject/no_match'],
    ['hopeless, but not enough speech to say so', { netSpeechMs: 5999, fmr: 0.99 }, 'listen'],
    ['not quite hopeless', { netSpeechMs: 20_000, fmr: 0.3 }, 'listen'],
    ['hopeless, but too noisy to blame the caller', { netSpeechMs: 20_000, fmr: 0.99, lowQuality }, 'listen'],
    // Low quality only excuses a low score.
    ['noisy and matching', { lowQuality }, 'accept/match'],
    ['noisy, at the end', { fmr: 0.5, lowQuality, final }, 'inconclusive/low_quality'],
    ['noisy and a copy', { ...copy, lowQuality }, 'reject/replayed_audio'],
    [
      'noisy and hopeless, at the end',
      { netSpeechMs: 20_000, fmr: 0.99, lowQuality, final },
      'inconclusive/low_quality',
    ],
    // What is no number accepts nobody.
    ['no number', { fmr: Number.NaN }, 'listen'],
    ['no number after much speech', { fmr: Number.NaN, netSpeechMs: 20_000 }, 'listen'],
    ['no amount of speech', { netSpeechMs: Number.NaN }, 'listen'],
  ])('%s', (_, changes, expected) => {
    expect(said(verdict(changes))).toBe(expected);
  });

  it('never accepts at the end on an fmr that is no number', () => {
    expect(said(verdict({ fmr: Number.NaN, final }))).not.toMatch(/accept/);
  });

  it('has no early reject under a threshold so lax that the hopeless could still pass', () => {
    const hopeless: Partial<Look> = { netSpeechMs: 20_000, fmr: 0.31 };
    const turningPoint = scoreFromFmr(rule.futility.fmr);
    expect(said(verdict(hopeless, { threshold: turningPoint + 1e-6 }))).toBe('reject/no_match');
    expect(said(verdict(hopeless, { threshold: turningPoint - 1e-6 }))).toBe('listen');
    expect(said(verdict({ ...hopeless, fmr: 0.99 }, { threshold: 0.2 }))).toBe('listen');
  });

  it('reports the score that was compared: what is left of the budget counts', () => {
    const fmr = 1e-4;
    expect(verdict({ fmr }).score).toBeCloseTo(scoreFromFmr(fmr / 0.25), 12);
    expect(verdict({ fmr, final }).score).toBeCloseTo(scoreFromFmr(fmr / 0.75), 12);
    expect(verdict({ fmr, final, looks: 1 }).score).toBeCloseTo(scoreFromFmr(fmr), 12);
    expect(verdict({ fmr: 0.9 }).score).toBe(0);
  });
});

const probability = fc.double({ min: Number.MIN_VALUE, max: 1, noNaN: true });
const anyFmr = fc.oneof(
  probability,
  fc.double({ min: -35, max: 0, noNaN: true }).map((log) => Math.exp(log)),
);
const anyLook: fc.Arbitrary<Look> = fc.record({
  netSpeechMs: fc.double({ min: 0, max: 30_000, noNaN: true }),
  fmr: anyFmr,
  sampleCosine: fc.oneof(fc.double({ min: -1, max: 1, noNaN: true }), fc.double({ min: 0.998, max: 1, noNaN: true })),
  replayCosine: fc.constantFrom(0.99, 0.999, 1),
  final: fc.boolean(),
  lowQuality: fc.boolean(),
  looks: fc.integer({ min: 1, max: 30 }),
});
const anyRule: fc.Arbitrary<LookRule> = fc.record({
  threshold: fc.double({ min: 0, max: 0.9999, noNaN: true }),
  minSpeechMs: fc.integer({ min: 1500, max: 10_000 }),
  earlyShare: fc.double({ min: 0.01, max: 1, noNaN: true }),
  finalShare: fc.double({ min: 0.01, max: 1, noNaN: true }),
  futility: fc.record({ minNetSpeechMs: fc.integer({ min: 1, max: 20_000 }), fmr: probability }),
});
const many = { numRuns: 2000 };

describe('decideLook, whatever the facts', () => {
  it('accepts only what reaches the threshold, with enough speech, and is no copy', () => {
    fc.assert(
      fc.property(anyLook, anyRule, (facts, rules) => {
        const result = decideLook(facts, rules);
        expect(result.score).toBeGreaterThanOrEqual(0);
        expect(result.score).toBeLessThanOrEqual(1);
        if (result.kind !== 'decided' || result.decision !== 'accept') return;
        expect(result.reason).toBe('match');
        expect(result.score).toBeGreaterThanOrEqual(rules.threshold);
        // The claim itself: the look spent no more than the threshold stands for.
        expect(facts.fmr).toBeLessThanOrEqual(fmrFromScore(rules.threshold) * (1 + 1e-9));
        expect(facts.netSpeechMs).toBeGreaterThanOrEqual(rules.minSpeechMs);
        expect(facts.sampleCosine).toBeLessThan(facts.replayCosine);
      }),
      many,
    );
  });

  it('decides nothing on too little speech, and always something at the end of enough', () => {
    fc.assert(
      fc.property(anyLook, anyRule, (facts, rules) => {
        const { kind } = decideLook(facts, rules);
        if (facts.netSpeechMs < rules.minSpeechMs) expect(kind).toBe('listen');
        else if (facts.final) expect(kind).toBe('decided');
      }),
      many,
    );
  });

  it('accepts nothing under a stricter threshold that it would not accept under a laxer one', () => {
    fc.assert(
      fc.property(anyLook, anyRule, fc.double({ min: 0, max: 0.9999, noNaN: true }), (facts, rules, other) => {
        const [lax, strict] = [rules.threshold, other].sort((a, b) => a - b);
        const strictly = decideLook(facts, { ...rules, threshold: strict! });
        if (said(strictly) === 'accept/match') {
          expect(said(decideLook(facts, { ...rules, threshold: lax! }))).toBe('accept/match');
        }
      }),
      many,
    );
  });

  it('takes no more when a look is worse: a higher fmr never turns into an accept', () => {
    fc.assert(
      fc.property(anyLook, anyRule, fc.double({ min: 1, max: 100, noNaN: true }), (facts, rules, factor) => {
        const worse = decideLook({ ...facts, fmr: Math.min(1, facts.fmr * factor) }, rules);
        if (said(worse) === 'accept/match') expect(said(decideLook(facts, rules))).toBe('accept/match');
      }),
      many,
    );
  });
});

/** Plays looks at one impostor's call, one per second of speech from the second on; whether one accepted. */
function falselyAccepted(fmrs: readonly number[], threshold: number): boolean {
  for (const [index, fmr] of fmrs.entries()) {
    const last = index === fmrs.length - 1;
    const result = verdict(
      { fmr, netSpeechMs: 2000 + 1000 * index, final: last, looks: index + 1 },
      { threshold, futility: { minNetSpeechMs: 6000, fmr: 1 } },
    );
    if (result.kind === 'decided') return result.decision === 'accept';
  }
  return false;
}

/** Uniform numbers that are the same on every run (a linear congruential generator, Numerical Recipes' constants). */
function uniforms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

describe('the false-match claim over a whole call', () => {
  const threshold = scoreFromFmr(0.05);
  const CALLS = 20_000;
  const rateOf = (callOf: () => readonly number[]) =>
    Array.from({ length: CALLS }, () => falselyAccepted(callOf(), threshold)).filter(Boolean).length / CALLS;

  it('holds exactly for a call with one look', () => {
    const next = uniforms(1);
    expect(rateOf(() => [next()])).toBeCloseTo(0.05, 2);
  });

  it('holds with room to spare when all looks say the same', () => {
    const next = uniforms(2);
    const rate = rateOf(() => Array<number>(29).fill(next()));
    expect(rate).toBeGreaterThan(0.03);
    expect(rate).toBeLessThan(0.05);
  });

  it.each([2, 4, 29])('is the union of its shares when %i looks know nothing of one another', (looks) => {
    // Nobody's voice behaves like that: this is the bound which the shares of the calibration do not cover, and why they
    // have to be chosen on real calls.
    const next = uniforms(3);
    const rate = rateOf(() => Array.from({ length: looks }, next));
    const expected = 1 - (1 - 0.25 * 0.05) ** (looks - 1) * (1 - 0.75 * 0.05);
    expect(Math.abs(rate - expected)).toBeLessThan(0.01);
    expect(expected).toBeLessThanOrEqual(0.05 * (0.25 * (looks - 1) + 0.75));
  });
});

describe('inconclusiveReason', () => {
  it.each<[ListeningEnd, boolean, string]>([
    ['closed', true, 'caller_hung_up'],
    ['closed', false, 'no_caller_audio'],
    ['deadline', true, 'insufficient_speech'],
    ['deadline', false, 'no_caller_audio'],
    ['enough', true, 'insufficient_speech'],
    ['recording_end', true, 'insufficient_speech'],
    ['recording_end', false, 'no_caller_audio'],
    ['aborted', true, 'deadline'],
    ['aborted', false, 'deadline'],
    ['mixed', true, 'mixed_audio'],
    ['mixed', false, 'mixed_audio'],
  ])('after %s, caller heard: %s', (end, heardCaller, expected) => {
    expect(inconclusiveReason({ end, heardCaller })).toBe(expected);
  });
});
