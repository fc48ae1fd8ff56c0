/** Enrollment on the real database: which samples make a voiceprint, and that nothing is written by halves. */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CallerSpeech } from '../../src/domain/caller-speech/caller-speech.js';
import type { EnrollmentSource } from '../../src/domain/enrollment/enrollment.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { cosine, poolEmbeddings } from '../../src/domain/scoring/embedding.js';
import { UserDirectory } from '../../src/domain/users/user-directory.js';
import { rejectOf } from '../support/embedded-storage.js';
import { ToyCall } from '../support/toy-calls.js';
import {
  degreesOf,
  joined,
  settled,
  TOY_RATE_HZ,
  ToyEmbedder,
  toyNoise,
  toySilence,
  toySpeech,
} from '../support/toy-models.js';
import { AUDIO_URL, LISTEN_URL, play, replacing, samplesOf, ToyService } from '../support/toy-service.js';
import { databaseDown, PHONE, toyWorld } from '../support/toy-world.js';

const by = { correlationId: 'erase-00001', actor: 'test-key' };
const voice = (degrees: number, seconds = 4) => ({ degrees, seconds });
const listen: EnrollmentSource = { kind: 'listen_url', listenUrl: LISTEN_URL, maxSeconds: undefined };

/** What is told of a sample that does not match. */
const MISMATCH = {
  code: 'EnrollmentConflict',
  message: 'The sample does not match the voiceprint',
  details: { check: 'sample_agreement', needed: 0.82 },
};

const world = toyWorld();

/** Angles of the stored samples, oldest first. */
async function storedAngles(): Promise<number[]> {
  const samples = (await world.user())?.samples ?? [];
  return samples.map(({ embedding }) => Math.round(degreesOf(embedding)));
}

describe('samples', () => {
  it('make a voiceprint with the first', async () => {
    const answer = await world.service.enroll(world.userId, voice(10), { phone: PHONE });
    expect(answer).toEqual({ score: 1, samples: 1, netSpeechMs: 4000, modelId: 'toy-2d' });
    const user = await world.user();
    expect(user).toMatchObject({ phone: PHONE, voiceprint: { sampleCount: 1, netSpeechMs: 4000, modelId: 'toy-2d' } });
    expect(cosine(user!.voiceprint!.centroid, user!.samples[0]!.embedding)).toBeCloseTo(1, 6);
    expect(await world.service.count('enrollments_total', { outcome: 'enrolled' })).toBe(1);
    expect(await new UserDirectory(world.store, 'toy-2d').status(world.userId)).toMatchObject({
      enrolled: true,
      samples: 1,
    });
  });

  it('are pooled by their length, the first no less than all others together', async () => {
    await world.service.enroll(world.userId, voice(0, 8));
    const answer = await world.service.enroll(world.userId, voice(20, 4));
    expect(answer).toMatchObject({ samples: 2, netSpeechMs: 4000 });
    expect(answer.score).toBeGreaterThan(0.82);
    expect(answer.score).toBeLessThan(1);
    const pooled = async (...weights: number[]) => {
      const { samples, voiceprint } = (await world.user())!;
      const parts = weights.map((weight, index) => ({ embedding: samples[index]!.embedding, weight }));
      return cosine(voiceprint!.centroid, poolEmbeddings(parts));
    };
    expect(await pooled(8000, 4000)).toBeCloseTo(1, 6);
    await world.service.enroll(world.userId, voice(15, 12));
    expect(await pooled(16_000, 4000, 12_000)).toBeCloseTo(1, 6);
    expect((await world.user())!.voiceprint).toMatchObject({ sampleCount: 3, netSpeechMs: 24_000 });
  });

  it('of a stranger who was taken for the owner do not shut the owner out, however many there are', async () => {
    await world.service.enroll(world.userId, voice(0, 4));
    for (const degrees of [23, 24, 25, 26, 27]) await world.service.enroll(world.userId, voice(degrees, 12));
    expect(await storedAngles()).toEqual([0, 24, 25, 26, 27]);
    expect(degreesOf((await world.user())!.voiceprint!.centroid)).toBeLessThan(14);
    // Strict enough to reject the owner against a voiceprint that the stranger has taken over.
    const owner = await world.service.verifyUpload(world.userId, voice(1), { threshold: 0.9 });
    expect(owner).toMatchObject({ decision: 'accept' });
  });

  it('are at most five: the first one stays, of the others the oldest goes', async () => {
    for (const degrees of [0, 1, 2, 3, 4]) await world.service.enroll(world.userId, voice(degrees));
    expect(await storedAngles()).toEqual([0, 1, 2, 3, 4]);
    expect((await world.service.enroll(world.userId, voice(5))).samples).toBe(5);
    expect((await world.service.enroll(world.userId, voice(6, 5))).samples).toBe(5);
    expect(await storedAngles()).toEqual([0, 3, 4, 5, 6]);
    const { samples, voiceprint } = (await world.user())!;
    const [first, ...others] = samples.map(({ embedding, netSpeechMs }) => ({ embedding, weight: netSpeechMs }));
    const kept = [{ ...first!, weight: 17_000 }, ...others];
    expect(cosine(voiceprint!.centroid, poolEmbeddings(kept))).toBeCloseTo(1, 6);
    expect(voiceprint!.netSpeechMs).toBe(samples.reduce((total, { netSpeechMs }) => total + netSpeechMs, 0));
  });

  it('of somebody else are refused, change nothing and count as failed attempts; how near they were is not told', async () => {
    await world.service.enroll(world.userId, voice(0), { phone: PHONE });
    const before = await world.user();
    const refused: unknown = await world.service
      .enroll(world.userId, voice(30), { callId: 'call-0001' })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject(MISMATCH);
    expect((refused as VoiceAuthError).details).toEqual(MISMATCH.details);
    expect(await world.user()).toEqual(before);
    expect(await world.service.count('enrollments_total', { outcome: 'EnrollmentConflict' })).toBe(1);
    const attempt = { decision: 'reject', reason: 'no_match', threshold: 0.82, source: 'upload', callId: 'call-0001' };
    const [recorded, ...more] = await world.history();
    expect(recorded).toMatchObject({ ...attempt, netSpeechMs: 4000, looks: 1, modelId: 'toy-2d' });
    expect(recorded?.score).toBeGreaterThan(0.7);
    expect([more, await world.failedAttempts()]).toEqual([[], 1]);
  });

  it('lock the user when too many in a row are of somebody else', async () => {
    await world.service.enroll(world.userId, voice(0));
    for (const degrees of [60, 61, 62]) {
      await expect(world.service.enroll(world.userId, voice(degrees))).rejects.toMatchObject(MISMATCH);
    }
    expect(await world.service.count('lockouts_total')).toBe(1);
    const locked = { code: 'AccountLockedError' };
    await expect(world.service.enroll(world.userId, voice(1))).rejects.toMatchObject(locked);
    await expect(world.service.verifyUpload(world.userId, voice(1))).rejects.toMatchObject(locked);
    expect(await storedAngles()).toEqual([0]);
  });

  it('of somebody else, asked for in a time in which the user was locked, are told so', async () => {
    await world.service.enroll(world.userId, voice(0));
    world.service.embedder.latch.close();
    const slow = world.service.enroll(world.userId, voice(60));
    while (world.service.embedder.latch.held === 0) await settled();
    await world.store.recordAttempt(rejectOf(world.userId, { maxFailedAttempts: 1 }));
    world.service.embedder.latch.open();
    await expect(slow).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect((await world.recorded())[0]).toBe('reject/locked_out');
  });

  it('of the owner, asked for in a time in which the user was locked, are not added', async () => {
    await world.service.enroll(world.userId, voice(0));
    world.service.embedder.latch.close();
    const slow = world.service.enroll(world.userId, voice(5));
    while (world.service.embedder.latch.held === 0) await settled();
    await world.store.recordAttempt(rejectOf(world.userId, { maxFailedAttempts: 1 }));
    world.service.embedder.latch.open();
    const { lockedUntil } = (await world.user())!;
    await expect(slow).rejects.toMatchObject({
      code: 'AccountLockedError',
      details: { locked_until: lockedUntil!.toISOString() },
    });
    expect(await storedAngles()).toEqual([0]);
  });

  it('of somebody else that cannot be recorded fail with that', async () => {
    await world.service.enroll(world.userId, voice(0));
    const failing = new ToyService(replacing(world.store, { recordAttempt: databaseDown }));
    await expect(failing.enroll(world.userId, voice(60))).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect(await storedAngles()).toEqual([0]);
  });

  it('that are copies of a kept one are refused, and are no failed attempts', async () => {
    await world.service.enroll(world.userId, voice(0));
    await world.service.enroll(world.userId, voice(10), { sampleId: randomUUID() });
    const before = await world.user();
    for (const copy of [voice(0), voice(10), voice(10, 6)]) {
      await expect(world.service.enroll(world.userId, copy)).rejects.toMatchObject({
        code: 'EnrollmentConflict',
        details: { check: 'sample_copy' },
      });
    }
    expect(await world.user()).toEqual(before);
    expect([await world.recorded(), await world.failedAttempts()]).toEqual([[], 0]);
    expect(await world.service.enroll(world.userId, voice(1))).toMatchObject({ samples: 3 });
  });

  it('of the same id are one, whoever asks again', async () => {
    const sampleId = randomUUID();
    await world.service.enroll(world.userId, voice(0));
    await world.service.enroll(world.userId, voice(10), { sampleId });
    expect(await world.service.enroll(world.userId, voice(10), { sampleId })).toMatchObject({ samples: 2, score: 1 });
    await world.store.recordAttempt(rejectOf(world.userId, { maxFailedAttempts: 1 }));
    expect(await world.service.enroll(world.userId, voice(10), { sampleId })).toMatchObject({ samples: 2, score: 1 });
  });

  it('cannot walk the voiceprint over to somebody else, a little at a time', async () => {
    await world.service.enroll(world.userId, voice(0));
    const patient = new ToyService(world.store, { verification: { maxFailedAttempts: 100 } });
    let degrees = 0;
    for (let i = 0; i < 40; i++) {
      degrees += 3;
      await patient.enroll(world.userId, voice(degrees)).catch(() => {
        degrees -= 3;
      });
    }
    const { centroid } = (await world.user())!.voiceprint!;
    expect(degreesOf(centroid)).toBeLessThan(45);
  });

  it('taken at the same time are all kept or refused, never half', async () => {
    const outcomes = await Promise.allSettled(
      [1, 2].map((degrees) => world.service.enroll(world.userId, voice(degrees))),
    );
    const enrolled = outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(enrolled).toBeGreaterThanOrEqual(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'EnrollmentConflict' });
    }
    const user = (await world.user())!;
    expect([user.samples.length, user.voiceprint!.sampleCount]).toEqual([enrolled, enrolled]);
  });

  it('compared with a voiceprint that was changed meanwhile are refused', async () => {
    await world.service.enroll(world.userId, voice(0));
    world.service.embedder.latch.close();
    const slow = world.service.enroll(world.userId, voice(1));
    while (world.service.embedder.latch.held === 0) await settled();
    await new ToyService(world.store).enroll(world.userId, voice(2));
    world.service.embedder.latch.open();
    await expect(slow).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect(await storedAngles()).toEqual([0, 2]);
  });

  it('of a user who was erased meanwhile bring nobody back', async () => {
    await world.service.enroll(world.userId, voice(0), { phone: PHONE });
    world.service.embedder.latch.close();
    const slow = world.service.enroll(world.userId, voice(1));
    while (world.service.embedder.latch.held === 0) await settled();
    await new UserDirectory(world.store, 'toy-2d').erase(world.userId, by);
    world.service.embedder.latch.open();
    await expect(slow).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect(await world.user()).toBeUndefined();
  });
});

describe('who may enroll', () => {
  it('does not change the phone number of somebody else', async () => {
    await world.service.enroll(world.userId, voice(0), { phone: PHONE });
    const asked = world.service.detector.requests.length;
    await expect(world.service.enroll(world.userId, voice(1), { phone: '+14155550199' })).rejects.toMatchObject({
      code: 'EnrollmentConflict',
    });
    // Refused before anything was listened to.
    expect(world.service.detector.requests.length).toBe(asked);
    await world.service.enroll(world.userId, voice(1));
    await world.service.enroll(world.userId, voice(2), { phone: PHONE });
    expect((await world.user())?.phone).toBe(PHONE);
  });

  it('may tell the number later', async () => {
    await world.service.enroll(world.userId, voice(0));
    await world.service.enroll(world.userId, voice(1), { phone: PHONE });
    expect((await world.user())?.phone).toBe(PHONE);
  });

  it('does not name either number in the refusal', async () => {
    await world.service.enroll(world.userId, voice(0), { phone: PHONE });
    const error: unknown = await world.service
      .enroll(world.userId, voice(1), { phone: '+14155550199' })
      .catch((e: unknown) => e);
    expect(JSON.stringify([(error as Error).message, (error as VoiceAuthError).details])).not.toMatch(/\d{5}/);
  });

  it('waits until a locked user is unlocked', async () => {
    await world.service.enroll(world.userId, voice(0));
    await world.store.recordAttempt(rejectOf(world.userId, { maxFailedAttempts: 1 }));
    await expect(world.service.enroll(world.userId, voice(0.5))).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect(await storedAngles()).toEqual([0]);
  });

  it('does not mix models', async () => {
    class OtherEmbedder extends ToyEmbedder {
      override readonly modelId: string = 'toy-2d-v2';
    }
    await world.service.enroll(world.userId, voice(0));
    const newer = new ToyService(world.store, { embedder: new OtherEmbedder() });
    await expect(newer.enroll(world.userId, voice(0))).rejects.toMatchObject({
      code: 'VoiceprintModelMismatch',
      details: { voiceprint: 'toy-2d', service: 'toy-2d-v2' },
    });
    expect(newer.detector.requests).toEqual([]);
    await new UserDirectory(world.store, 'toy-2d').erase(world.userId, by);
    expect(await newer.enroll(world.userId, voice(0))).toMatchObject({ samples: 1, modelId: 'toy-2d-v2' });
  });
});

describe('a voiceprint of another model', () => {
  class OtherEmbedder extends ToyEmbedder {
    override readonly modelId: string = 'toy-2d-v2';
  }
  const newService = () => new ToyService(world.store, { embedder: new OtherEmbedder() });
  const replace = { replaceModel: true, consentReference: 'form 12' };

  it('gives way to a new one when that is asked for, with all its samples, whoever speaks', async () => {
    for (const degrees of [0, 1, 2]) await world.service.enroll(world.userId, voice(degrees), { phone: PHONE });
    const before = (await world.user())!;
    const newer = newService();
    expect(await newer.enroll(world.userId, voice(90), replace)).toEqual({
      score: 1,
      samples: 1,
      netSpeechMs: 4000,
      modelId: 'toy-2d-v2',
    });
    const after = (await world.user())!;
    expect(after).toMatchObject({ phone: PHONE, voiceprint: { modelId: 'toy-2d-v2', sampleCount: 1 } });
    expect(await storedAngles()).toEqual([90]);
    expect(after.voiceprint!.version).toBeGreaterThan(before.voiceprint!.version);
    expect(await new UserDirectory(world.store, 'toy-2d').status(world.userId)).toMatchObject({
      modelId: 'toy-2d-v2',
      samples: 1,
    });
    // Both ways: the former service must not take the new voiceprint for its own.
    await expect(world.service.verifyUpload(world.userId, voice(0))).rejects.toMatchObject({
      code: 'VoiceprintModelMismatch',
    });
    expect(await newer.verifyUpload(world.userId, voice(0))).toMatchObject({ decision: 'reject', reason: 'no_match' });
  });

  it('is added to as ever once it is of this model: asking to replace is no way around the agreement', async () => {
    const newer = newService();
    await newer.enroll(world.userId, voice(0));
    await expect(newer.enroll(world.userId, voice(90), replace)).rejects.toMatchObject({
      code: 'EnrollmentConflict',
      details: { check: 'sample_agreement' },
    });
    expect(await newer.enroll(world.userId, voice(1), replace)).toMatchObject({ samples: 2 });
  });

  it('stays when the new sample is not good enough, the person is locked, or somebody else was quicker', async () => {
    await world.service.enroll(world.userId, voice(0));
    const before = await world.user();
    await expect(newService().enroll(world.userId, voice(0, 1), replace)).rejects.toMatchObject({
      code: 'AudioProcessingError',
    });
    const slow = newService();
    slow.embedder.latch.close();
    const late = slow.enroll(world.userId, voice(3), replace);
    while (slow.embedder.latch.held === 0) await settled();
    expect(await world.user()).toEqual(before);
    await newService().enroll(world.userId, voice(2), replace);
    slow.embedder.latch.open();
    await expect(late).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect(await storedAngles()).toEqual([2]);
    await world.store.recordAttempt(rejectOf(world.userId, { maxFailedAttempts: 1 }));
    await expect(world.service.enroll(world.userId, voice(0), replace)).rejects.toMatchObject({
      code: 'AccountLockedError',
    });
  });
});

describe('audio that is not good enough', () => {
  /** Loud samples cut off at full scale, four in a row at either side. */
  const clipped = (sample: number, i: number) => (Math.abs(sample) < 0.05 ? sample : i % 8 < 4 ? 1 : -1);

  it.each([
    ['too short', toySpeech(0, 93), { check: 'net_speech_ms', found: 2976, needed: 3000 }],
    [
      'mostly pauses',
      joined(toySpeech(0, 50), toyNoise(100), toySilence(100)),
      { check: 'net_speech_ms', found: 1664 },
    ],
    ['silent', new Float32Array(40_000), { check: 'silence', found: 0 }],
    ['empty', new Float32Array(0), { check: 'silence' }],
    ['clipped', toySpeech(0, 150).map(clipped), { check: 'clipped_ratio', needed: 0.05 }],
    ['noisy', joined(toyNoise(100, 0.2), toySpeech(0, 120)), { check: 'snr_db', needed: 6 }],
    ['too quiet', toySpeech(0, 150).map((sample) => sample * 0.04), { check: 'speech_level_db', needed: -45 }],
  ])('is refused with what was found: %s', async (what, samples, details) => {
    // Which the toy detector would not take for speech.
    if (['clipped', 'too quiet'].includes(what)) world.service.detector.probabilityOf = () => 1;
    await expect(world.service.enroll(world.userId, samples)).rejects.toMatchObject({
      code: 'AudioProcessingError',
      details,
    });
    expect(await world.user()).toBeUndefined();
  });

  it('cannot be had', async () => {
    const source: EnrollmentSource = { kind: 'audio_url', audioUrl: AUDIO_URL, channel: undefined };
    await expect(world.service.enroll(world.userId, voice(0), { source })).rejects.toMatchObject({
      code: 'AudioDownloadError',
    });
    expect(await world.service.count('enrollments_total', { outcome: 'AudioDownloadError' })).toBe(1);
  });
});

describe('a live call', () => {
  async function startCall(signal = new AbortController().signal) {
    const call = new ToyCall();
    world.service.nextCall = call;
    const result = world.service.enroll(world.userId, voice(0), { source: listen, signal });
    result.catch(() => undefined);
    await call.opened;
    return { call, result };
  }

  it('enrolls with what was said until the caller hung up', async () => {
    const { call, result } = await startCall();
    await play(call, voice(10, 5));
    call.end();
    expect(await result).toMatchObject({ samples: 1, score: 1 });
    expect(await storedAngles()).toEqual([10]);
  });

  it('ends when enough was said', async () => {
    const { call, result } = await startCall();
    await play(call, voice(10, 14));
    expect(await result).toMatchObject({ netSpeechMs: 12_000 });
    expect(call.stopped).toBe(true);
  });

  it('of somebody else is recorded as one that was listened to', async () => {
    await world.service.enroll(world.userId, voice(0));
    const { call, result } = await startCall();
    await play(call, voice(60, 5));
    call.end();
    await expect(result).rejects.toMatchObject(MISMATCH);
    expect(await world.history()).toMatchObject([{ decision: 'reject', reason: 'no_match', source: 'vapi_listen' }]);
    const labels = { decision: 'reject', reason: 'no_match', source: 'listen_url' };
    expect(await world.service.count('verifications_total', labels)).toBe(1);
  });

  it('in which caller and agent are mixed makes no voiceprint', async () => {
    const { call, result } = await startCall();
    await play(call, voice(10, 5), 'mixed');
    await expect(result).rejects.toMatchObject({ code: 'AudioProcessingError', details: { check: 'mixed_audio' } });
    expect(await world.user()).toBeUndefined();
  });

  it.each(['asker', 'server'])('is given up with the %s', async (who) => {
    const asker = new AbortController();
    const { call, result } = await startCall(asker.signal);
    await play(call, voice(10, 5));
    (who === 'asker' ? asker : world.service.shutdown).abort();
    await expect(result).rejects.toMatchObject({ code: 'Timeout' });
    expect(call.stopped).toBe(true);
    expect(await world.user()).toBeUndefined();
  });

  it('ends at once when detection fails', async () => {
    const { call, result } = await startCall();
    world.service.detector.failure = new VoiceAuthError('InferenceUnavailable', 'The speaker model is not running.');
    await play(call, voice(10, 5));
    expect(call.stopped).toBe(true);
    await expect(result).rejects.toBe(world.service.detector.failure);
  });

  it('that breaks off by a fault makes no voiceprint', async () => {
    const { call, result } = await startCall();
    await play(call, voice(10, 5));
    call.end({ kind: 'failed', error: new VoiceAuthError('ListenConnectionError', 'broken') });
    await expect(result).rejects.toMatchObject({ code: 'ListenConnectionError' });
    expect(await world.user()).toBeUndefined();
  });
});

describe('a running call', () => {
  it.each([
    ['was recorded while it was heard', true, []],
    ['was not recorded', false, ['reject/no_match']],
  ])('whose sample does not match is recorded once: the attempt %s', async (_, recordsAttempts, recorded) => {
    await world.service.enroll(world.userId, voice(0));
    const { detector, shutdown } = world.service;
    const speech = new CallerSpeech({
      detector,
      maxSpeechMs: 12_000,
      inference: { priority: 'live', signal: shutdown.signal },
    });
    speech.push({ samples: samplesOf(voice(60)), sampleRateHz: TOY_RATE_HZ, track: 'caller', startMs: 0 });
    await speech.finish();
    const hear = async () => ({ speech, mixed: false });
    const source = { kind: 'call', platform: 'twilio', recordsAttempts, hear } as const;
    await expect(world.service.enroll(world.userId, voice(60), { source })).rejects.toMatchObject(MISMATCH);
    expect(await world.recorded()).toEqual(recorded);
  });
});

describe('giving up on an upload', () => {
  it.each(['detector', 'embedder'] as const)('while the %s works is no fault of the service', async (model) => {
    world.service[model].latch.close();
    // As the inference pool does it: what waits is dropped with the reason of the signal.
    const result = world.service.enroll(world.userId, voice(0, 6));
    result.catch(() => undefined);
    while (world.service[model].latch.held === 0) await settled();
    world.service[model].failure = new DOMException('This operation was aborted', 'AbortError');
    world.service.shutdown.abort();
    world.service[model].latch.open();
    await expect(result).rejects.toMatchObject({ code: 'Timeout' });
    expect(await world.user()).toBeUndefined();
    expect(await world.service.count('enrollments_total', { outcome: 'Timeout' })).toBe(1);
  });
});

describe('what fails leaves nothing behind', () => {
  it.each(['findUser', 'saveEnrollment'] as const)('a database that is down: %s', async (method) => {
    const failing = new ToyService(replacing(world.store, { [method]: databaseDown }));
    await expect(failing.enroll(world.userId, voice(0))).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect(await world.user()).toBeUndefined();
    expect([failing.work.active, failing.recordings.active]).toEqual([0, 0]);
    if (method === 'findUser') expect(failing.detector.requests).toEqual([]);
  });

  it.each(['detector', 'embedder'] as const)('a model that is busy: %s', async (model) => {
    world.service[model].failure = new VoiceAuthError('Busy', 'Too many requests wait', { retryAfterSeconds: 3 });
    await expect(world.service.enroll(world.userId, voice(0))).rejects.toMatchObject({
      code: 'Busy',
      retryAfterSeconds: 3,
    });
    expect(await world.user()).toBeUndefined();
  });

  it('too many at once', async () => {
    world.service.embedder.latch.close();
    const running = [1, 2].map((degrees) => world.service.enroll(randomUUID(), voice(degrees)));
    await expect(world.service.enroll(world.userId, voice(0))).rejects.toMatchObject({ code: 'Busy' });
    world.service.embedder.latch.open();
    await Promise.all(running);
    expect(await world.service.enroll(world.userId, voice(0))).toMatchObject({ samples: 1 });
  });
});

describe('users', () => {
  it('who are not there are not found, whatever is asked', async () => {
    const users = new UserDirectory(world.store, 'toy-2d');
    const notFound = { code: 'UserNotFoundError' };
    await expect(users.status(world.userId)).rejects.toMatchObject(notFound);
    await expect(users.history(world.userId, { limit: 10, before: undefined })).rejects.toMatchObject(notFound);
    await expect(users.erase(world.userId, by)).rejects.toMatchObject(notFound);
    await world.service.enroll(world.userId, voice(0));
    expect((await users.history(world.userId, { limit: 10, before: undefined })).attempts).toEqual([]);
    await users.erase(world.userId, by);
    await expect(users.erase(world.userId, by)).rejects.toMatchObject(notFound);
    await expect(users.status(world.userId)).rejects.toMatchObject(notFound);
  });
});
