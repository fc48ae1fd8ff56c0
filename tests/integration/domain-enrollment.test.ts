/** Enrollment on the real database: which samples make a voiceprint, and that nothing is written by halves. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EnrollmentSource } from '../../src/domain/enrollment/enrollment.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { AuthStore } from '../../src/domain/ports/auth-store.js';
import { cosine, poolEmbeddings } from '../../src/domain/scoring/embedding.js';
import { UserDirectory } from '../../src/domain/users/user-directory.js';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import { rejectOf, storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { privacyLeaks } from '../support/privacy.js';
import { ToyCall } from '../support/toy-calls.js';
import { degreesOf, joined, settled, ToyEmbedder, toyNoise, toySilence, toySpeech } from '../support/toy-models.js';
import { AUDIO_URL, LISTEN_URL, play, replacing, ToyService } from '../support/toy-service.js';

const PHONE = '+14155550123';
const by = { correlationId: 'erase-00001', actor: 'test-key' };
const voice = (degrees: number, seconds = 4) => ({ degrees, seconds });
const listen: EnrollmentSource = { kind: 'listen_url', listenUrl: LISTEN_URL, maxSeconds: undefined };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let storage: Storage;
let store: AuthStore;
let service: ToyService;
let userId: string;
let unhandled: unknown[];
const onUnhandled = (reason: unknown) => unhandled.push(reason);

const databaseDown = () => Promise.reject(new VoiceAuthError('DatabaseUnavailable', 'The database does not answer'));

beforeAll(async () => {
  folder = await temporaryFolder();
  const config = {
    supabase: undefined,
    dataDir: join(folder.path, 'data'),
    timeoutMs: 20_000,
    encryptionKeys: undefined,
  };
  storage = await openStorage(config, storageOptions());
  store = storage.store;
});
afterAll(async () => {
  await storage?.close();
  await folder?.remove();
});

beforeEach(() => {
  unhandled = [];
  process.on('unhandledRejection', onUnhandled);
  service = new ToyService(store);
  userId = randomUUID();
});
afterEach(async () => {
  await settled();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
  expect([service.work.active, service.recordings.active]).toEqual([0, 0]);
  expect(privacyLeaks(service.logs, [PHONE, LISTEN_URL, AUDIO_URL, userId, 'secret'])).toEqual([]);
});

/** Angles of the stored samples, oldest first. */
async function storedAngles(): Promise<number[]> {
  const samples = (await store.findUser(userId))?.samples ?? [];
  return samples.map(({ embedding }) => Math.round(degreesOf(embedding)));
}

describe('samples', () => {
  it('make a voiceprint with the first', async () => {
    const answer = await service.enroll(userId, voice(10), { phone: PHONE });
    expect(answer).toEqual({ score: 1, samples: 1, netSpeechMs: 4000, modelId: 'toy-2d' });
    const user = await store.findUser(userId);
    expect(user).toMatchObject({ phone: PHONE, voiceprint: { sampleCount: 1, netSpeechMs: 4000, modelId: 'toy-2d' } });
    expect(cosine(user!.voiceprint!.centroid, user!.samples[0]!.embedding)).toBeCloseTo(1, 6);
    expect(await service.count('enrollments_total', { outcome: 'enrolled' })).toBe(1);
    expect(await new UserDirectory(store).status(userId)).toMatchObject({ enrolled: true, samples: 1 });
  });

  it('are pooled by their length', async () => {
    await service.enroll(userId, voice(0, 4));
    const answer = await service.enroll(userId, voice(20, 8));
    expect(answer).toMatchObject({ samples: 2, netSpeechMs: 8000 });
    expect(answer.score).toBeGreaterThan(0.55);
    expect(answer.score).toBeLessThan(1);
    const user = (await store.findUser(userId))!;
    const [first, second] = user.samples;
    const expected = poolEmbeddings([
      { embedding: first!.embedding, weight: 4000 },
      { embedding: second!.embedding, weight: 8000 },
    ]);
    expect(cosine(user.voiceprint!.centroid, expected)).toBeCloseTo(1, 6);
    expect(user.voiceprint).toMatchObject({ sampleCount: 2, netSpeechMs: 12_000 });
  });

  it('are at most five: the first one stays, of the others the oldest goes', async () => {
    for (const degrees of [0, 1, 2, 3, 4]) await service.enroll(userId, voice(degrees));
    expect(await storedAngles()).toEqual([0, 1, 2, 3, 4]);
    expect((await service.enroll(userId, voice(5))).samples).toBe(5);
    expect((await service.enroll(userId, voice(6, 5))).samples).toBe(5);
    expect(await storedAngles()).toEqual([0, 3, 4, 5, 6]);
    const { samples, voiceprint } = (await store.findUser(userId))!;
    const kept = samples.map(({ embedding, netSpeechMs }) => ({ embedding, weight: netSpeechMs }));
    expect(cosine(voiceprint!.centroid, poolEmbeddings(kept))).toBeCloseTo(1, 6);
    expect(voiceprint!.netSpeechMs).toBe(samples.reduce((total, { netSpeechMs }) => total + netSpeechMs, 0));
  });

  it('of somebody else are refused, with the numbers, and change nothing', async () => {
    await service.enroll(userId, voice(0), { phone: PHONE });
    const before = await store.findUser(userId);
    await expect(service.enroll(userId, voice(60))).rejects.toMatchObject({
      code: 'EnrollmentConflict',
      details: { check: 'sample_agreement', needed: 0.55 },
    });
    expect(await store.findUser(userId)).toEqual(before);
    expect(await service.count('enrollments_total', { outcome: 'EnrollmentConflict' })).toBe(1);
  });

  it('cannot walk the voiceprint over to somebody else, a little at a time', async () => {
    await service.enroll(userId, voice(0));
    let degrees = 0;
    for (let i = 0; i < 40; i++) {
      degrees += 3;
      await service.enroll(userId, voice(degrees)).catch(() => {
        degrees -= 3;
      });
    }
    const { centroid } = (await store.findUser(userId))!.voiceprint!;
    expect(degreesOf(centroid)).toBeLessThan(45);
  });

  it('taken at the same time are all kept or refused, never half', async () => {
    const outcomes = await Promise.allSettled([1, 2].map((degrees) => service.enroll(userId, voice(degrees))));
    const enrolled = outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(enrolled).toBeGreaterThanOrEqual(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'EnrollmentConflict' });
    }
    const user = (await store.findUser(userId))!;
    expect([user.samples.length, user.voiceprint!.sampleCount]).toEqual([enrolled, enrolled]);
  });

  it('compared with a voiceprint that was changed meanwhile are refused', async () => {
    await service.enroll(userId, voice(0));
    service.embedder.latch.close();
    const slow = service.enroll(userId, voice(1));
    while (service.embedder.latch.held === 0) await settled();
    await new ToyService(store).enroll(userId, voice(2));
    service.embedder.latch.open();
    await expect(slow).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect(await storedAngles()).toEqual([0, 2]);
  });

  it('of a user who was erased meanwhile bring nobody back', async () => {
    await service.enroll(userId, voice(0), { phone: PHONE });
    service.embedder.latch.close();
    const slow = service.enroll(userId, voice(1));
    while (service.embedder.latch.held === 0) await settled();
    await new UserDirectory(store).erase(userId, by);
    service.embedder.latch.open();
    await expect(slow).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect(await store.findUser(userId)).toBeUndefined();
  });
});

describe('who may enroll', () => {
  it('does not change the phone number of somebody else', async () => {
    await service.enroll(userId, voice(0), { phone: PHONE });
    const asked = service.detector.requests.length;
    await expect(service.enroll(userId, voice(1), { phone: '+14155550199' })).rejects.toMatchObject({
      code: 'EnrollmentConflict',
    });
    // Refused before anything was listened to.
    expect(service.detector.requests.length).toBe(asked);
    await service.enroll(userId, voice(1));
    await service.enroll(userId, voice(2), { phone: PHONE });
    expect((await store.findUser(userId))?.phone).toBe(PHONE);
  });

  it('may tell the number later', async () => {
    await service.enroll(userId, voice(0));
    await service.enroll(userId, voice(1), { phone: PHONE });
    expect((await store.findUser(userId))?.phone).toBe(PHONE);
  });

  it('does not name either number in the refusal', async () => {
    await service.enroll(userId, voice(0), { phone: PHONE });
    const error: unknown = await service.enroll(userId, voice(1), { phone: '+14155550199' }).catch((e: unknown) => e);
    expect(JSON.stringify([(error as Error).message, (error as VoiceAuthError).details])).not.toMatch(/\d{5}/);
  });

  it('waits until a locked user is unlocked', async () => {
    await service.enroll(userId, voice(0));
    await store.recordAttempt(rejectOf(userId, { maxFailedAttempts: 1 }));
    await expect(service.enroll(userId, voice(0.5))).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect(await storedAngles()).toEqual([0]);
  });

  it('does not mix models', async () => {
    class OtherEmbedder extends ToyEmbedder {
      override readonly modelId: string = 'toy-2d-v2';
    }
    await service.enroll(userId, voice(0));
    const newer = new ToyService(store, { embedder: new OtherEmbedder() });
    await expect(newer.enroll(userId, voice(0))).rejects.toMatchObject({
      code: 'VoiceprintModelMismatch',
      details: { voiceprint: 'toy-2d', service: 'toy-2d-v2' },
    });
    expect(newer.detector.requests).toEqual([]);
    await new UserDirectory(store).erase(userId, by);
    expect(await newer.enroll(userId, voice(0))).toMatchObject({ samples: 1, modelId: 'toy-2d-v2' });
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
    if (['clipped', 'too quiet'].includes(what)) service.detector.probabilityOf = () => 1;
    await expect(service.enroll(userId, samples)).rejects.toMatchObject({ code: 'AudioProcessingError', details });
    expect(await store.findUser(userId)).toBeUndefined();
  });

  it('cannot be had', async () => {
    const source: EnrollmentSource = { kind: 'audio_url', audioUrl: AUDIO_URL, channel: undefined };
    await expect(service.enroll(userId, voice(0), { source })).rejects.toMatchObject({ code: 'AudioDownloadError' });
    expect(await service.count('enrollments_total', { outcome: 'AudioDownloadError' })).toBe(1);
  });
});

describe('a live call', () => {
  async function startCall(signal = new AbortController().signal) {
    const call = new ToyCall();
    service.nextCall = call;
    const result = service.enroll(userId, voice(0), { source: listen, signal });
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

  it('in which caller and agent are mixed makes no voiceprint', async () => {
    const { call, result } = await startCall();
    await play(call, voice(10, 5), 'mixed');
    await expect(result).rejects.toMatchObject({ code: 'AudioProcessingError', details: { check: 'mixed_audio' } });
    expect(await store.findUser(userId)).toBeUndefined();
  });

  it.each(['asker', 'server'])('is given up with the %s', async (who) => {
    const asker = new AbortController();
    const { call, result } = await startCall(asker.signal);
    await play(call, voice(10, 5));
    (who === 'asker' ? asker : service.shutdown).abort();
    await expect(result).rejects.toMatchObject({ code: 'Timeout' });
    expect(call.stopped).toBe(true);
    expect(await store.findUser(userId)).toBeUndefined();
  });

  it('ends at once when detection fails', async () => {
    const { call, result } = await startCall();
    service.detector.failure = new VoiceAuthError('InferenceUnavailable', 'The speaker model is not running.');
    await play(call, voice(10, 5));
    await expect(result).rejects.toBe(service.detector.failure);
    expect(call.stopped).toBe(true);
  });

  it('that breaks off by a fault makes no voiceprint', async () => {
    const { call, result } = await startCall();
    await play(call, voice(10, 5));
    call.end({ kind: 'failed', error: new VoiceAuthError('ListenConnectionError', 'broken') });
    await expect(result).rejects.toMatchObject({ code: 'ListenConnectionError' });
    expect(await store.findUser(userId)).toBeUndefined();
  });
});

describe('giving up on an upload', () => {
  it.each(['detector', 'embedder'] as const)('while the %s works is no fault of the service', async (model) => {
    service[model].latch.close();
    // As the inference pool does it: what waits is dropped with the reason of the signal.
    const result = service.enroll(userId, voice(0, 6));
    result.catch(() => undefined);
    while (service[model].latch.held === 0) await settled();
    service[model].failure = new DOMException('This operation was aborted', 'AbortError');
    service.shutdown.abort();
    service[model].latch.open();
    await expect(result).rejects.toMatchObject({ code: 'Timeout' });
    expect(await store.findUser(userId)).toBeUndefined();
    expect(await service.count('enrollments_total', { outcome: 'Timeout' })).toBe(1);
  });
});

describe('what fails leaves nothing behind', () => {
  it.each(['findUser', 'saveEnrollment'] as const)('a database that is down: %s', async (method) => {
    const failing = new ToyService(replacing(store, { [method]: databaseDown }));
    await expect(failing.enroll(userId, voice(0))).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect(await store.findUser(userId)).toBeUndefined();
    expect([failing.work.active, failing.recordings.active]).toEqual([0, 0]);
    if (method === 'findUser') expect(failing.detector.requests).toEqual([]);
  });

  it.each(['detector', 'embedder'] as const)('a model that is busy: %s', async (model) => {
    service[model].failure = new VoiceAuthError('Busy', 'Too many requests wait', { retryAfterSeconds: 3 });
    await expect(service.enroll(userId, voice(0))).rejects.toMatchObject({ code: 'Busy', retryAfterSeconds: 3 });
    expect(await store.findUser(userId)).toBeUndefined();
  });

  it('too many at once', async () => {
    service.embedder.latch.close();
    const running = [1, 2].map((degrees) => service.enroll(randomUUID(), voice(degrees)));
    await expect(service.enroll(userId, voice(0))).rejects.toMatchObject({ code: 'Busy' });
    service.embedder.latch.open();
    await Promise.all(running);
    expect(await service.enroll(userId, voice(0))).toMatchObject({ samples: 1 });
  });
});

describe('users', () => {
  it('who are not there are not found, whatever is asked', async () => {
    const users = new UserDirectory(store);
    const notFound = { code: 'UserNotFoundError' };
    await expect(users.status(userId)).rejects.toMatchObject(notFound);
    await expect(users.history(userId, { limit: 10, before: undefined })).rejects.toMatchObject(notFound);
    await expect(users.erase(userId, by)).rejects.toMatchObject(notFound);
    await service.enroll(userId, voice(0));
    expect((await users.history(userId, { limit: 10, before: undefined })).attempts).toEqual([]);
    await users.erase(userId, by);
    await expect(users.erase(userId, by)).rejects.toMatchObject(notFound);
    await expect(users.status(userId)).rejects.toMatchObject(notFound);
  });
});
