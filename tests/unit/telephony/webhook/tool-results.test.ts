import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES, VoiceAuthError } from '../../../../src/domain/errors.js';
import { DECISIONS, REASONS } from '../../../../src/domain/verification/decision.js';
import { outcomeOfError } from '../../../../src/telephony/vapi/webhook/tool-outcomes.js';
import {
  describeOutcome,
  isOpen,
  labelOf,
  oneLine,
  type ToolOutcome,
  toolResult,
} from '../../../../src/telephony/vapi/webhook/tool-results.js';
import { CALLED_USER, MATCH, TOO_LITTLE } from '../../../support/scripted-calls.js';

const CALL = { id: 'call_fzEw', name: 'verify_caller' };
const STARTED = new Date('2025-01-01T00:00:00Z');

function verification(overrides: Partial<typeof MATCH> = {}, follows = false): ToolOutcome {
  return { kind: 'verification', userId: CALLED_USER, result: { ...MATCH, ...overrides }, follows };
}

function status(netSpeechMs: number, claimed: boolean): ToolOutcome {
  return {
    kind: 'status',
    status: { platform: 'vapi', callId: 'c', state: 'listening', netSpeechMs, looks: 2, claimed, startedAt: STARTED },
  };
}

describe('results as text', () => {
  it.each<[string, ToolOutcome, RegExp]>([
    [
      'a match',
      verification(),
      /^verified: the voice matches .* \(user 3f1c.*\); voice is one signal, ask for another factor before/,
    ],
    ['no match', verification({ decision: 'reject', reason: 'no_match' }), /^not_verified: .* does not match/],
    ['a recording', verification({ decision: 'reject', reason: 'replayed_audio' }), /^not_verified: .* recording/],
    ['a lock', verification({ decision: 'reject', reason: 'locked_out' }), /^locked_out: too many/],
    ['little speech', { ...verification(TOO_LITTLE) }, /^inconclusive: .* too little.*call verify_caller again/],
    ['little speech, to be continued', verification(TOO_LITTLE, true), /^inconclusive: .*the verdict follows/],
    [
      'no voiceprint',
      verification({ ...TOO_LITTLE, reason: 'not_enrolled' }),
      /^inconclusive: .*no enrolled voice .*; do not/,
    ],
    ['an unknown caller', { kind: 'unknown_caller' }, /^unknown_caller: /],
    ['an ambiguous caller', { kind: 'ambiguous_caller' }, /^ambiguous_caller: .*userId/],
    ['no consent', { kind: 'consent_required' }, /^consent_required: nothing was enrolled/],
    ['a thrown lock', { kind: 'locked_out', retryAfterSeconds: 839 }, /^locked_out: .* for 14 min; do not/],
    [
      'a lock of unknown length',
      { kind: 'locked_out', retryAfterSeconds: undefined },
      /^locked_out: .* is locked; do not/,
    ],
    [
      'an enrollment',
      { kind: 'enrollment', userId: CALLED_USER, result: { score: 1, samples: 2, netSpeechMs: 9340, modelId: 'm' } },
      /^enrolled: 9\.3 s of the caller's speech added, the voiceprint has 2 sample\(s\)/,
    ],
    [
      'a status',
      status(3210, true),
      /^listening: 3\.2 s of the caller's speech heard, 2 comparison\(s\) made, the claimed/,
    ],
    ['nobody claimed', status(0, false), /nobody is claimed yet$/],
    ['a call nobody knows', { kind: 'status', status: undefined }, /^unknown_call: /],
    ['a fault', outcomeOfError(new VoiceAuthError('Busy', 'Too many calls')), /^error: Busy Too many calls$/],
    [
      'an unexpected fault',
      outcomeOfError(new Error('s3cret')),
      /^error: InternalError Something went wrong on our side$/,
    ],
  ])('%s', (_what, outcome, expected) => {
    expect(describeOutcome(outcome, 'text')).toMatch(expected);
  });

  it('tell the agent nothing that helps to imitate a voice', () => {
    const near = verification({ decision: 'reject', reason: 'no_match', score: 0.8199, threshold: 0.82 });
    // The user id says who was meant, not how near.
    expect(describeOutcome(near, 'text').replace(CALLED_USER, '')).not.toMatch(/\d/);
  });
});

describe('results as JSON', () => {
  const parsed = (outcome: ToolOutcome) => JSON.parse(describeOutcome(outcome, 'json'));

  it('have the facts of a verification', () => {
    expect(parsed(verification())).toEqual({
      decision: 'accept',
      reason: 'match',
      score: 0.931235,
      threshold: 0.82,
      user_id: CALLED_USER,
      net_speech_seconds: 3.21,
      audio_seconds: 4.2,
      attempt_id: MATCH.attemptId,
      additional_factor_required: true,
      verdict_follows: false,
    });
    expect(parsed(verification(TOO_LITTLE, true))).toMatchObject({ score: null, verdict_follows: true });
  });

  it('write numbers as the HTTP API does', () => {
    expect(parsed(status(1280.0000001, true))).toMatchObject({ net_speech_seconds: 1.28 });
    const uneven = verification({ netSpeechMs: 3210.0000001, audioMs: 4199.9999999, score: 0.12345678 });
    expect(parsed(uneven)).toMatchObject({ net_speech_seconds: 3.21, audio_seconds: 4.2, score: 0.123457 });
  });

  it('have the facts of everything else', () => {
    expect(parsed({ kind: 'unknown_caller' })).toEqual({
      decision: 'inconclusive',
      reason: 'unknown_caller',
      additional_factor_required: true,
    });
    expect(parsed({ kind: 'locked_out', retryAfterSeconds: 60 })).toMatchObject({
      decision: 'reject',
      reason: 'locked_out',
      retry_after_seconds: 60,
    });
    expect(parsed({ kind: 'consent_required' })).toEqual({ status: 'not_enrolled', reason: 'consent_required' });
    expect(parsed(status(1500, true))).toEqual({
      state: 'listening',
      net_speech_seconds: 1.5,
      looks: 2,
      claimed: true,
    });
    expect(parsed({ kind: 'status', status: undefined })).toEqual({ state: 'unknown_call' });
    expect(
      parsed({
        kind: 'enrollment',
        userId: CALLED_USER,
        result: { score: 0.9, samples: 2, netSpeechMs: 9340, modelId: 'm' },
      }),
    ).toEqual({ status: 'enrolled', user_id: CALLED_USER, score: 0.9, samples: 2, net_speech_seconds: 9.34 });
    const busy = new VoiceAuthError('Busy', 'Too many\ncalls', { retryAfterSeconds: 5 });
    expect(parsed(outcomeOfError(busy))).toEqual({ error: 'Busy', message: 'Too many calls', retry_after_seconds: 5 });
  });
});

describe('an entry of the reply', () => {
  it('has the exact id, the name, and a result', () => {
    const id = 'call "1"\n\u2028';
    expect(toolResult({ id, name: 'verify_caller' }, { kind: 'unknown_caller' }, 'text')).toEqual({
      name: 'verify_caller',
      toolCallId: id,
      result: expect.stringMatching(/^unknown_caller/),
    });
  });

  it('has an error instead only for faults', () => {
    expect(toolResult(CALL, outcomeOfError(new VoiceAuthError('Busy', 'Busy')), 'text')).toEqual({
      name: CALL.name,
      toolCallId: CALL.id,
      error: 'error: Busy Busy',
    });
    const locked = outcomeOfError(new VoiceAuthError('AccountLockedError', 'Locked', { retryAfterSeconds: 60 }));
    expect(toolResult(CALL, locked, 'text')).toHaveProperty('result');
  });

  it('is one line, whatever was said', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('a\nb', 'a\r\nb', 'a\u2028b', 'a\u0085b\u2029'),
    );
    const outcome = fc.oneof(
      fc
        .record({ code: fc.constantFrom(...ERROR_CODES), message: text })
        .map(({ code, message }) => outcomeOfError(new VoiceAuthError(code, message, { retryAfterSeconds: 1 }))),
      fc
        .record({ decision: fc.constantFrom(...DECISIONS), reason: fc.constantFrom(...REASONS), attemptId: text })
        .map((result) => verification(result)),
      text.map((userId): ToolOutcome => ({ kind: 'verification', userId, result: MATCH, follows: true })),
    );
    fc.assert(
      fc.property(outcome, fc.constantFrom('text' as const, 'json' as const), (value, format) => {
        const told = describeOutcome(value, format);
        expect(told).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
        expect(told.length).toBeGreaterThan(0);
        if (format === 'json') expect(() => JSON.parse(told)).not.toThrow();
      }),
    );
  });

  it('is not endless', () => {
    expect(oneLine('x'.repeat(5_000))).toHaveLength(1_000);
    expect(oneLine('  a \n\n b ')).toBe('a   b');
  });
});

describe('what more speech can change', () => {
  it('is an answer without a verdict for want of speech or time', () => {
    const open = REASONS.filter((reason) => isOpen({ ...TOO_LITTLE, reason }));
    expect(open).toEqual(['insufficient_speech', 'no_caller_audio', 'deadline']);
    expect(REASONS.filter((reason) => isOpen({ ...MATCH, reason, decision: 'reject' }))).toEqual([]);
  });
});

describe('labels', () => {
  it('are words of a few', () => {
    expect(labelOf(verification())).toBe('accept');
    expect(labelOf({ kind: 'unknown_caller' })).toBe('unknown_caller');
    expect(labelOf({ kind: 'status', status: undefined })).toBe('unknown_call');
    expect(labelOf(status(0, true))).toBe('listening');
    expect(labelOf(outcomeOfError('anything'))).toBe('InternalError');
  });
});
