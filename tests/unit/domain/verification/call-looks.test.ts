import { beforeEach, describe, expect, it, vi } from 'vitest';
import { CallerSpeech } from '../../../../src/domain/caller-speech/caller-speech.js';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import type { EnrolledUser } from '../../../../src/domain/ports/auth-store.js';
import { CallLooks, givenUp } from '../../../../src/domain/verification/call-looks.js';
import type { LookRule } from '../../../../src/domain/verification/decide.js';
import {
  direction,
  settled,
  TOY_FRAME_SAMPLES,
  TOY_MODEL_ID,
  TOY_RATE_HZ,
  ToyDetector,
  ToyEmbedder,
  toyCalibration,
  toyNoise,
  toyScorer,
  toySpeech,
} from '../../../support/toy-models.js';
import { failOnUnhandledRejections } from '../../../support/unhandled-rejections.js';

const SECOND = TOY_RATE_HZ / TOY_FRAME_SAMPLES;
const live = { priority: 'live' } as const;
const busy = () => new VoiceAuthError('Busy', 'Too many requests wait');

let embedder: ToyEmbedder;
let speech: CallerSpeech;
let looks: CallLooks;
/** How many looks had been told of, whenever one was. */
let told: number[];

interface Changes {
  readonly rule?: Partial<LookRule>;
  /** Angles of the stored samples. */
  readonly samples?: readonly number[];
  readonly maxSpeechMs?: number;
}

function enrolled(
  samples: readonly number[],
): EnrolledUser & { readonly voiceprint: NonNullable<EnrolledUser['voiceprint']> } {
  return {
    userId: 'user',
    phone: undefined,
    lockedUntil: undefined,
    voiceprint: {
      modelId: TOY_MODEL_ID,
      centroid: direction(0),
      sampleCount: samples.length,
      netSpeechMs: 8000,
      version: 1,
    },
    samples: samples.map((degrees) => ({ id: `sample ${degrees}`, embedding: direction(degrees), netSpeechMs: 8000 })),
  };
}

function start({ rule = {}, samples = [-8], maxSpeechMs = 30_000 }: Changes = {}): void {
  const { sequential, futility } = toyCalibration();
  embedder = new ToyEmbedder();
  const user = enrolled(samples);
  looks = new CallLooks({
    embedder,
    scorer: toyScorer(),
    user,
    voiceprint: user.voiceprint,
    rule: { threshold: 0.82, minSpeechMs: 2000, ...sequential, futility, ...rule },
    inference: live,
  });
  speech = new CallerSpeech({
    detector: new ToyDetector(),
    maxSpeechMs,
    inference: live,
    onSpeech: () => looks.lookIfDue(speech, () => told.push(looks.looks)),
  });
}

/** So many seconds of the voice at `degrees`, in frames of 20 ms, with time for everything that follows from each. */
async function say(degrees: number, seconds: number): Promise<void> {
  await hear(toySpeech(degrees, Math.round(seconds * SECOND)));
}

async function hear(samples: Float32Array): Promise<void> {
  for (let at = 0; at < samples.length; at += 2048) {
    speech.push({ samples: samples.subarray(at, at + 2048), sampleRateHz: TOY_RATE_HZ, track: 'caller', startMs: 0 });
    await settled();
  }
}

beforeEach(() => {
  told = [];
  start();
});
failOnUnhandledRejections();

describe('the looks at a call', () => {
  it('accept the owner at the first, and take no other', async () => {
    await say(0, 1.9);
    expect(looks.looks).toBe(0);
    expect(looks.latest).toBeUndefined();
    await say(0, 4);
    expect(looks.latest).toMatchObject({ kind: 'decided', decision: 'accept', reason: 'match' });
    expect([looks.looks, looks.decided, looks.failed]).toEqual([1, true, false]);
    expect(looks.decidedFromMs).toBeGreaterThanOrEqual(2000);
    expect(looks.decidedFromMs).toBeLessThan(2400);
    await speech.finish();
    await looks.finalLook(speech);
    expect([looks.looks, told]).toEqual([1, [1]]);
  });

  it('come again with every second of speech, and the last one decides', async () => {
    await say(20, 5.5);
    expect(looks.latest?.kind).toBe('listen');
    // At about 2, 3, 4 and 5 seconds.
    expect(told).toEqual([1, 2, 3, 4]);
    const early = looks.latest!.score;
    await speech.finish();
    await looks.finalLook(speech);
    expect(looks.latest).toMatchObject({ kind: 'decided', decision: 'accept' });
    expect(looks.latest!.score).toBeGreaterThan(early);
    expect(looks.looks).toBe(5);
    expect(looks.decidedFromMs).toBeCloseTo(5500, -2);
  });

  it('are as many as the budget was fitted for, however much speech may be used, and one at the end', async () => {
    start({ maxSpeechMs: 60_000 });
    await say(40, 29);
    const early = looks.looks;
    expect(early).toBeGreaterThan(20);
    await say(40, 15);
    expect(looks.looks - early).toBeLessThanOrEqual(1);
    const last = looks.looks;
    await speech.finish();
    await looks.finalLook(speech);
    expect([looks.looks, looks.decided]).toEqual([last + 1, true]);
    expect(looks.decidedFromMs).toBeGreaterThan(40_000);
  });

  it('reject a stranger: early when it is hopeless, else at the end', async () => {
    await say(90, 10);
    expect(looks.latest).toMatchObject({ kind: 'decided', decision: 'reject', reason: 'no_match' });
    expect(looks.decidedFromMs).toBeLessThan(7500);
    start();
    await say(40, 10);
    expect(looks.decided).toBe(false);
    await speech.finish();
    await looks.finalLook(speech);
    expect(looks.latest).toMatchObject({ kind: 'decided', decision: 'reject', reason: 'no_match' });
  });

  it('say nothing about a caller who said too little', async () => {
    await say(0, 1.9);
    await speech.finish();
    await looks.finalLook(speech);
    expect([looks.looks, looks.latest, embedder.windowsMs]).toEqual([0, undefined, []]);
  });

  it('wait for as much speech as the rule wants', async () => {
    start({ rule: { minSpeechMs: 4000 } });
    await say(0, 3.9);
    expect(embedder.windowsMs).toEqual([]);
    await say(0, 0.5);
    expect(looks.latest).toMatchObject({ decision: 'accept' });
  });

  it('spend the whole budget when there is only one, at the end', async () => {
    start({ rule: { threshold: 0.875 } });
    // All at once, as a recording comes: no early look.
    const whole = new CallerSpeech({ detector: new ToyDetector(), maxSpeechMs: 30_000, inference: live });
    whole.push({ samples: toySpeech(20, 3 * SECOND), sampleRateHz: TOY_RATE_HZ, track: 'caller', startMs: 0 });
    await whole.finish();
    await looks.finalLook(whole);
    expect(looks.latest).toMatchObject({ decision: 'accept' });
    const single = looks.latest!.score;
    start({ rule: { threshold: 0.875 } });
    await say(20, 3);
    await speech.finish();
    await looks.finalLook(speech);
    expect(looks.latest).toMatchObject({ decision: 'reject' });
    expect(looks.latest!.score).toBeLessThan(single);
  });

  it.each([[[4]], [[4, -4]], [[-4, 4]]])('know a stored sample when they hear it again, among %j', async (samples) => {
    start({ samples });
    await say(4, 3);
    expect(looks.latest).toMatchObject({ decision: 'reject', reason: 'replayed_audio' });
  });

  it.each([
    ['reject', 'no_match', { snrDb: 3.1, clippedRatio: 0 }],
    ['inconclusive', 'low_quality', { snrDb: 2.9, clippedRatio: 0 }],
    ['reject', 'no_match', { snrDb: 20, clippedRatio: 0.1 }],
    ['inconclusive', 'low_quality', { snrDb: 20, clippedRatio: 0.101 }],
    ['reject', 'no_match', { snrDb: undefined, clippedRatio: 0 }],
    ['inconclusive', 'low_quality', { snrDb: undefined, clippedRatio: 0.101 }],
  ] as const)('%s a stranger: %s at %o', async (decision, reason, quality) => {
    vi.spyOn(speech, 'qualityReport').mockReturnValue({ ...speech.qualityReport(), ...quality });
    await say(40, 4);
    await speech.finish();
    await looks.finalLook(speech);
    expect(looks.latest).toMatchObject({ kind: 'decided', decision, reason });
  });

  it('do not blame a caller whom the line drowns', async () => {
    await hear(toyNoise(60, 0.35));
    for (let i = 0; i < 10; i++) {
      await say(40, 1);
      await hear(toyNoise(10, 0.35));
    }
    expect(speech.qualityReport().snrDb).toBeLessThan(3);
    await speech.finish();
    await looks.finalLook(speech);
    expect(looks.latest).toMatchObject({ decision: 'inconclusive', reason: 'low_quality' });
  });
});

describe('a look in flight', () => {
  it('is the only one; what is said meanwhile goes into the next', async () => {
    embedder.latch.close();
    await say(20, 6);
    expect([embedder.windowsMs.length, embedder.mostAtOnce, looks.looks]).toEqual([1, 1, 0]);
    embedder.latch.open();
    await settled();
    // The next one is due a second after the speech that was there when the first ended.
    await say(20, 0.8);
    expect(looks.looks).toBe(1);
    await say(20, 0.5);
    expect(looks.looks).toBe(2);
    expect(embedder.mostAtOnce).toBe(1);
  });

  it('is judged by the speech it was made from', async () => {
    embedder.latch.close();
    await say(0, 8);
    embedder.latch.open();
    await settled();
    expect(looks.latest).toMatchObject({ decision: 'accept' });
    expect(looks.decidedFromMs).toBeLessThan(2400);
  });

  it('is waited for at the end; its decision stands', async () => {
    embedder.latch.close();
    await say(0, 3);
    const ended = speech.finish().then(() => looks.finalLook(speech));
    await settled();
    expect(embedder.windowsMs).toHaveLength(1);
    embedder.latch.open();
    await ended;
    expect([looks.looks, looks.latest]).toMatchObject([1, { decision: 'accept' }]);
  });

  it('is followed by a last one over all speech when it did not decide', async () => {
    embedder.latch.close();
    await say(20, 3.5);
    const ended = speech.finish().then(() => looks.finalLook(speech));
    await settled();
    embedder.latch.open();
    await ended;
    expect([looks.looks, looks.latest]).toMatchObject([2, { decision: 'accept' }]);
    expect(looks.decidedFromMs).toBe(speech.netSpeechMs);
    expect(embedder.mostAtOnce).toBe(1);
  });
});

describe('a look that fails', () => {
  it('for want of room is made up for by the next', async () => {
    embedder.failure = busy();
    await say(0, 2.5);
    expect([looks.looks, looks.failed]).toEqual([0, false]);
    expect(told.length).toBeGreaterThan(0);
    embedder.failure = undefined;
    await say(0, 0.3);
    expect(looks.latest).toMatchObject({ decision: 'accept' });
    expect(looks.looks).toBe(1);
  });

  it('for want of room at the end is a fault', async () => {
    embedder.failure = busy();
    await say(0, 2.5);
    await speech.finish();
    await expect(looks.finalLook(speech)).rejects.toBe(embedder.failure);
  });

  it('by a fault is the last, is told at once, and thrown at the end', async () => {
    embedder.failure = new VoiceAuthError('InferenceUnavailable', 'The speaker model is not running.');
    await say(0, 6);
    expect([embedder.windowsMs.length, looks.failed, looks.decided, told]).toEqual([1, true, false, [0]]);
    await speech.finish();
    await expect(looks.finalLook(speech)).rejects.toBe(embedder.failure);
  });

  it('does not decide anything', async () => {
    embedder.failure = new VoiceAuthError('InferenceUnavailable', 'The speaker model is not running.');
    await say(0, 3);
    expect(looks.latest).toBeUndefined();
  });

  it('does not bring the process down when the one who is told throws', async () => {
    const error = new Error('the client is gone');
    speech = new CallerSpeech({
      detector: new ToyDetector(),
      maxSpeechMs: 30_000,
      inference: live,
      onSpeech: () =>
        looks.lookIfDue(speech, () => {
          throw error;
        }),
    });
    await say(20, 4);
    expect(looks.looks).toBeGreaterThan(0);
  });
});

describe('what is given up', () => {
  const never = new AbortController().signal;

  it.each([
    ['a stranger is rejected', 45, -8, 'reject', 'no_match'],
    ['a copy of a sample is rejected', 20, 20, 'reject', 'replayed_audio'],
    ['whom the last look would accept is not', 20, -8, 'inconclusive', 'deadline'],
    ['whom a look has accepted is not', 0, -8, 'inconclusive', 'deadline'],
  ])('counts the latest look as the last one: %s', async (_what, degrees, sample, decision, reason) => {
    start({ samples: [sample] });
    await say(degrees, 3.5);
    const { looks: taken, latest, decidedFromMs } = looks;
    expect(taken).toBeGreaterThan(0);
    const finding = givenUp(speech, looks, never);
    expect(finding).toMatchObject({ decision, reason, looks: taken });
    expect(finding.netSpeechMs).toBe(decision === 'reject' ? decidedFromMs : speech.netSpeechMs);
    if (decision !== 'reject') expect(finding.score).toBe(latest!.score);
    expect(embedder.windowsMs.length).toBe(taken);
    expect(givenUp(speech, looks, AbortSignal.abort())).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('counts a low score in noise as such', async () => {
    await hear(toyNoise(60, 0.8));
    await say(45, 3.5);
    expect(looks.latest?.kind).toBe('listen');
    expect(givenUp(speech, looks, never)).toMatchObject({
      decision: 'inconclusive',
      reason: 'low_quality',
      score: expect.any(Number),
    });
  });

  it('before any look is nothing', async () => {
    await say(45, 1.9);
    const { netSpeechMs } = speech;
    expect(givenUp(speech, looks, never)).toEqual({
      decision: 'inconclusive',
      reason: 'deadline',
      score: undefined,
      netSpeechMs,
      looks: 0,
    });
  });
});
