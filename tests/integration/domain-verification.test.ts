/** Verification on the real database: what is decided, what is recorded, and what is never accepted. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { AttemptSummary, AuthStore } from '../../src/domain/ports/auth-store.js';
import type { VerificationProgress } from '../../src/domain/verification/verification.js';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import { rejectOf, storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { privacyLeaks } from '../support/privacy.js';
import { settled, ToyEmbedder, toySilence } from '../support/toy-models.js';
import { AUDIO_URL, LISTEN_URL, play, replacing, samplesOf, ToyService } from '../support/toy-service.js';

const PHONE = '+14155550123';
const OWNER = { degrees: 1, seconds: 4 };
/** Accepted by the last look only. */
const OWNER_WITH_A_COLD = { degrees: 20, seconds: 4.5 };
const STRANGER = { degrees: 45, seconds: 4 };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let storage: Storage;
let store: AuthStore;
let service: ToyService;
let userId: string;
let unhandled: unknown[];
const onUnhandled = (reason: unknown) => unhandled.push(reason);

const databaseDown = () => Promise.reject(new VoiceAuthError('DatabaseUnavailable', 'The database does not answer'));
const history = async (id = userId): Promise<readonly AttemptSummary[]> =>
  (await store.authHistory(id, { limit: 50, before: undefined }))?.attempts ?? [];
const stored = async () => (await history()).map(({ decision, reason }) => `${decision}/${reason}`);
const failedAttempts = async () => (await store.userStatus(userId))?.failedAttempts;

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

beforeEach(async () => {
  unhandled = [];
  process.on('unhandledRejection', onUnhandled);
  service = new ToyService(store);
  userId = randomUUID();
  await service.enroll(userId, { degrees: 0, seconds: 5 }, { phone: PHONE });
});
afterEach(async () => {
  await settled();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
  expect([service.work.active, service.recordings.active, await service.count('active_calls')]).toEqual([0, 0, 0]);
  expect(privacyLeaks(service.logs, [PHONE, LISTEN_URL, AUDIO_URL, userId, 'secret'])).toEqual([]);
});

describe('a live call', () => {
  it('of the owner is accepted while it goes on, and recorded as it is answered', async () => {
    const { call, result } = await service.verifyCall(userId, { correlationId: 'correlation-1' });
    await play(call, OWNER);
    const answer = await result;
    expect(answer).toMatchObject({ decision: 'accept', reason: 'match', looks: 1, threshold: 0.82 });
    expect(answer.score).toBeGreaterThanOrEqual(0.82);
    expect(answer.netSpeechMs).toBeLessThan(2500);
    expect(call.stopped).toBe(true);
    const [row, ...others] = await history();
    expect(others).toEqual([]);
    expect(row).toMatchObject({
      id: answer.attemptId,
      decision: 'accept',
      reason: 'match',
      score: answer.score,
      threshold: 0.82,
      modelId: 'toy-2d',
      netSpeechMs: Math.round(answer.netSpeechMs),
      looks: 1,
      source: 'vapi_listen',
      callId: 'call-0001',
      correlationId: 'correlation-1',
    });
    expect(await service.count('verifications_total', { decision: 'accept', reason: 'match' })).toBe(1);
  });

  it('that decides nothing early is decided when the caller hangs up', async () => {
    const { call, result } = await service.verifyCall(userId);
    await play(call, OWNER_WITH_A_COLD);
    expect(call.stopped).toBe(false);
    call.end();
    expect(await result).toMatchObject({ decision: 'accept', reason: 'match', looks: 4 });
  });

  it('of a stranger is rejected', async () => {
    const { call, result } = await service.verifyCall(userId);
    await play(call, STRANGER);
    call.end();
    expect(await result).toMatchObject({ decision: 'reject', reason: 'no_match' });
    expect(await failedAttempts()).toBe(1);
  });

  it('may be judged by a stricter threshold, not by a laxer one', async () => {
    const strict = await service.verifyCall(userId, { threshold: 0.9 });
    await play(strict.call, OWNER_WITH_A_COLD);
    strict.call.end();
    expect(await strict.result).toMatchObject({ decision: 'reject', threshold: 0.9 });
    const never = replacing(store, {
      findUser: () => {
        throw new Error('nobody should be looked up');
      },
    });
    for (const threshold of [0.8199, 0, -1]) {
      await expect(new ToyService(never).verifyUpload(userId, OWNER, { threshold })).rejects.toMatchObject({
        code: 'ValidationError',
        details: [{ path: 'threshold', message: 'must not be below the configured 0.82' }],
      });
    }
    expect(await stored()).toEqual(['reject/no_match']);
  });

  it.each([
    ['hung up too early', { degrees: 1, seconds: 1.9 }, 'closed', 'caller_hung_up'],
    ['was silent', new Float32Array(16_000), 'closed', 'no_caller_audio'],
    ['said nothing', toySilence(100), 'closed', 'caller_hung_up'],
    ['was never heard', new Float32Array(0), 'closed', 'no_caller_audio'],
    ['said too little in the time', { degrees: 1, seconds: 1.9 }, 'deadline', 'insufficient_speech'],
    ['was silent all the time', new Float32Array(16_000), 'deadline', 'no_caller_audio'],
  ] as const)('whose caller %s is inconclusive', async (_, voice, end, reason) => {
    const maxSeconds = end === 'deadline' ? 0.2 : undefined;
    const { call, result } = await service.verifyCall(userId, {
      source: { kind: 'listen_url', listenUrl: LISTEN_URL, maxSeconds },
    });
    await play(call, voice);
    if (end === 'closed') call.end();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason, looks: 0, score: undefined });
    expect(await stored()).toEqual([`inconclusive/${reason}`]);
    expect(await failedAttempts()).toBe(0);
  });

  it('in which caller and agent are mixed is inconclusive, however well it would match', async () => {
    const { call, result } = await service.verifyCall(userId);
    await play(call, OWNER, 'mixed');
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'mixed_audio', netSpeechMs: 0 });
  });

  it('that cannot be connected to, or breaks, is an error and no attempt', async () => {
    const refused = new VoiceAuthError('ListenConnectionError', 'The listen socket was refused');
    for (const error of [refused, new Error(`getaddrinfo ENOTFOUND ${LISTEN_URL}`)]) {
      const failing = new ToyService(store, {
        parts: { calls: { vapiListen: () => ({ open: () => Promise.reject(error) }) } },
      });
      const { result } = await failing.verifyCall(userId);
      await expect(result).rejects.toMatchObject({ code: 'ListenConnectionError' });
      await expect(result).rejects.not.toThrow('secret');
      expect([failing.work.active, await failing.count('verification_errors_total')]).toEqual([0, 1]);
    }
    const broken = await service.verifyCall(userId);
    await play(broken.call, { degrees: 20, seconds: 3 });
    broken.call.end({ kind: 'failed', error: refused });
    await expect(broken.result).rejects.toBe(refused);
    expect(await history()).toEqual([]);
  });
});

describe('an upload', () => {
  it('gets one look, with the whole budget', async () => {
    expect(await service.verifyUpload(userId, OWNER)).toMatchObject({ decision: 'accept', looks: 1 });
    expect(await service.verifyUpload(userId, STRANGER)).toMatchObject({ decision: 'reject', looks: 1 });
    expect((await history()).map(({ source }) => source)).toEqual(['upload', 'upload']);
  });

  it('of the enrolled recording itself is a replay, and counts as a failed attempt', async () => {
    const answer = await service.verifyUpload(userId, { degrees: 0, seconds: 5 });
    expect(answer).toMatchObject({ decision: 'reject', reason: 'replayed_audio' });
    expect(await failedAttempts()).toBe(1);
  });

  it('with too little speech is inconclusive', async () => {
    expect(await service.verifyUpload(userId, { degrees: 1, seconds: 1 })).toMatchObject({
      decision: 'inconclusive',
      reason: 'insufficient_speech',
      looks: 0,
    });
    expect(await service.verifyUpload(userId, new Float32Array(0))).toMatchObject({ reason: 'no_caller_audio' });
  });

  it('that cannot be fetched or judged is an error and no attempt', async () => {
    const source = { kind: 'audio_url', audioUrl: AUDIO_URL, channel: undefined } as const;
    await expect(service.verifyUpload(userId, OWNER, { source })).rejects.toMatchObject({ code: 'AudioDownloadError' });
    service.embedder.failure = new VoiceAuthError('Busy', 'Too many requests wait', { retryAfterSeconds: 2 });
    await expect(service.verifyUpload(userId, OWNER)).rejects.toBe(service.embedder.failure);
    expect(await history()).toEqual([]);
    expect(await service.count('verification_errors_total', { code: 'Busy' })).toBe(1);
  });
});

describe('failed attempts', () => {
  it('lock the user after as many as allowed, and then nobody is listened to', async () => {
    for (let i = 0; i < 3; i++) expect((await service.verifyUpload(userId, STRANGER)).decision).toBe('reject');
    expect(await service.count('lockouts_total')).toBe(1);
    const { result } = await service.verifyCall(userId);
    await expect(result).rejects.toMatchObject({ code: 'AccountLockedError' });
    const error = (await result.catch((thrown: unknown) => thrown)) as VoiceAuthError;
    expect(error.retryAfterSeconds).toBeGreaterThan(590);
    expect(error.retryAfterSeconds).toBeLessThanOrEqual(600);
    await expect(service.verifyUpload(userId, OWNER)).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect(service.dialled).toBe(0);
    expect(await stored()).toEqual([
      'reject/locked_out',
      'reject/locked_out',
      'reject/no_match',
      'reject/no_match',
      'reject/no_match',
    ]);
    expect(await service.count('lockouts_total')).toBe(1);
    expect(await failedAttempts()).toBe(3);
  });

  it('are forgotten with the next success', async () => {
    for (let i = 0; i < 2; i++) await service.verifyUpload(userId, STRANGER);
    expect(await failedAttempts()).toBe(2);
    expect((await service.verifyUpload(userId, OWNER)).decision).toBe('accept');
    expect(await failedAttempts()).toBe(0);
    for (let i = 0; i < 2; i++) await service.verifyUpload(userId, STRANGER);
    expect((await service.verifyUpload(userId, OWNER)).decision).toBe('accept');
  });

  it('are not forgotten by attempts that decide nothing', async () => {
    await service.verifyUpload(userId, STRANGER);
    await service.verifyUpload(userId, { degrees: 1, seconds: 1 });
    expect(await failedAttempts()).toBe(1);
  });

  it('lock for a while only', async () => {
    const brief = new ToyService(store, { verification: { maxFailedAttempts: 1, lockoutMs: 300 } });
    await brief.verifyUpload(userId, STRANGER);
    await expect(brief.verifyUpload(userId, OWNER)).rejects.toMatchObject({ retryAfterSeconds: 1 });
    while ((await store.userStatus(userId))?.lockedUntil) await settled();
    expect((await brief.verifyUpload(userId, OWNER)).decision).toBe('accept');
    expect(await failedAttempts()).toBe(0);
  });

  it('that lock the user during a call undo what the call would have come to', async () => {
    const { call, result } = await service.verifyCall(userId);
    for (let i = 0; i < 3; i++) await store.recordAttempt(rejectOf(userId, { maxFailedAttempts: 3 }));
    await play(call, OWNER);
    await expect(result).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect((await stored())[0]).toBe('reject/locked_out');
    expect(await service.count('verifications_total', { decision: 'accept' })).toBe(0);
  });
});

describe('a user who is not what the call began with', () => {
  it('is unknown', async () => {
    await expect(service.verifyUpload(randomUUID(), OWNER)).rejects.toMatchObject({ code: 'UserNotFoundError' });
  });

  it('was erased meanwhile: there is nobody to accept', async () => {
    const { call, result } = await service.verifyCall(userId);
    await store.eraseUser(userId, { correlationId: 'erase-00001', actor: 'test-key' });
    await play(call, OWNER);
    await expect(result).rejects.toMatchObject({ code: 'UserNotFoundError' });
    expect(await store.authHistory(userId, { limit: 10, before: undefined })).toBeUndefined();
  });

  it.each(['enrolled again', 'was erased and enrolled again'])(
    '%s meanwhile: the old voiceprint accepts nobody',
    async (what) => {
      const { call, result } = await service.verifyCall(userId);
      if (what.includes('erased')) await store.eraseUser(userId, { correlationId: 'erase-00001', actor: 'test-key' });
      await service.enroll(userId, { degrees: 2, seconds: 5 });
      await play(call, OWNER);
      expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'not_enrolled' });
      expect(await stored()).toEqual(['inconclusive/not_enrolled']);
      expect((await service.verifyUpload(userId, OWNER)).decision).toBe('accept');
    },
  );

  it('has no voiceprint: nobody is listened to, and it is recorded', async () => {
    const without = replacing(store, {
      findUser: async (id) => {
        const user = await store.findUser(id);
        return user && { ...user, voiceprint: undefined, samples: [] };
      },
    });
    const bare = new ToyService(without);
    const { result } = await bare.verifyCall(userId);
    expect(await result).toMatchObject({
      decision: 'inconclusive',
      reason: 'not_enrolled',
      score: undefined,
      looks: 0,
    });
    expect(bare.dialled).toBe(0);
    expect(await stored()).toEqual(['inconclusive/not_enrolled']);
  });

  it('was enrolled with another model', async () => {
    class OtherEmbedder extends ToyEmbedder {
      override readonly modelId: string = 'toy-2d-v2';
    }
    const newer = new ToyService(store, { embedder: new OtherEmbedder() });
    const { result } = await newer.verifyCall(userId);
    await expect(result).rejects.toMatchObject({
      code: 'VoiceprintModelMismatch',
      details: { voiceprint: 'toy-2d', service: 'toy-2d-v2' },
    });
    expect([newer.dialled, await stored()]).toEqual([0, []]);
  });
});

describe('a database that fails', () => {
  it('when the user is looked up: nobody is listened to', async () => {
    const failing = new ToyService(replacing(store, { findUser: databaseDown }));
    const { result } = await failing.verifyCall(userId);
    await expect(result).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect([failing.dialled, failing.work.active]).toEqual([0, 0]);
  });

  it('when the attempt is recorded: nothing was accepted', async () => {
    const failing = new ToyService(replacing(store, { recordAttempt: databaseDown }));
    const { call, result } = await failing.verifyCall(userId);
    await play(call, OWNER);
    await expect(result).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await expect(failing.verifyUpload(userId, OWNER)).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect(await history()).toEqual([]);
    expect(await failing.count('verifications_total')).toBe(0);
    expect(await failing.count('verification_errors_total', { code: 'DatabaseUnavailable' })).toBe(2);
    expect(failing.logs).not.toContain('verification recorded');
  });
});

describe('models that fail', () => {
  const gone = new VoiceAuthError('InferenceUnavailable', 'The speaker model is not running.');

  it.each(['embedder', 'detector'] as const)('end the listening at once: %s', async (model) => {
    service[model].failure = gone;
    const { call, result } = await service.verifyCall(userId);
    await play(call, OWNER);
    await expect(result).rejects.toBe(gone);
    expect(call.stopped).toBe(true);
    expect(await history()).toEqual([]);
  });
});

describe('giving up', () => {
  it.each(['asker', 'server'] as const)('by the %s ends listening, is recorded, and accepts nobody', async (who) => {
    const { call, asker, result } = await service.verifyCall(userId);
    await play(call, OWNER_WITH_A_COLD);
    (who === 'asker' ? asker : service.shutdown).abort();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline', looks: 3 });
    expect(call.stopped).toBe(true);
    expect(await stored()).toEqual(['inconclusive/deadline']);
    expect(await failedAttempts()).toBe(0);
  });

  it('while a look is in flight that would accept', async () => {
    service.embedder.latch.close();
    const { call, asker, result } = await service.verifyCall(userId);
    await play(call, OWNER);
    asker.abort();
    service.embedder.latch.open();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('after the call has ended, while the last look is in flight', async () => {
    service.embedder.latch.close();
    const { call, asker, result } = await service.verifyCall(userId);
    await play(call, OWNER);
    call.end();
    await settled();
    asker.abort();
    service.embedder.latch.open();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
    expect(await stored()).toEqual(['inconclusive/deadline']);
  });

  it.each(['detector', 'embedder'] as const)('while the %s is busy with an upload', async (model) => {
    service[model].latch.close();
    const asker = new AbortController();
    const result = service.verifyUpload(userId, OWNER, { signal: asker.signal });
    while (service[model].latch.held === 0) await settled();
    asker.abort();
    service[model].latch.open();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('before anything was heard', async () => {
    const result = service.verifyUpload(userId, OWNER, { signal: AbortSignal.abort() });
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline', netSpeechMs: 0 });
    const { result: call } = await service.verifyCall(userId, { signal: AbortSignal.abort() });
    expect(await call).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('makes no more work for the models', async () => {
    service.detector.latch.close();
    const { call, asker, result } = await service.verifyCall(userId);
    await play(call, OWNER);
    const [asked, embedded] = [service.detector.requests.length, service.embedder.windowsMs.length];
    asker.abort();
    await result;
    service.detector.latch.open();
    await settled();
    expect([service.detector.requests.length, service.embedder.windowsMs.length]).toEqual([asked, embedded]);
  });
});

describe('room', () => {
  it('is for so many at once, and is there again after every kind of end', async () => {
    const first = await service.verifyCall(userId);
    const second = await service.verifyCall(userId);
    await expect(service.verifyUpload(userId, OWNER)).rejects.toMatchObject({ code: 'Busy', retryAfterSeconds: 5 });
    expect([service.work.active, await service.count('active_calls')]).toEqual([2, 2]);
    first.call.end({ kind: 'failed', error: new VoiceAuthError('ListenConnectionError', 'broken') });
    await expect(first.result).rejects.toMatchObject({ code: 'ListenConnectionError' });
    second.asker.abort();
    await second.result;
    expect(service.work.active).toBe(0);
    for (const id of [randomUUID(), userId])
      await service.verifyUpload(id, OWNER, { threshold: 0 }).catch(() => undefined);
    await service.verifyUpload(randomUUID(), OWNER).catch(() => undefined);
    expect(service.work.active).toBe(0);
    expect(await service.count('verification_errors_total', { code: 'Busy' })).toBe(1);
  });
});

describe('progress', () => {
  it('is told after every look, goes forward, and ends with the answer', async () => {
    const told: VerificationProgress[] = [];
    const { call, result } = await service.verifyCall(userId, { onProgress: (progress) => told.push(progress) });
    await play(call, OWNER_WITH_A_COLD);
    call.end();
    const answer = await result;
    const atEnd = told.length;
    const looks = told.map((progress) => progress.looks);
    expect(new Set(looks)).toEqual(new Set([1, 2, 3, 4]));
    for (const key of ['looks', 'netSpeechMs', 'elapsedMs'] as const) {
      const values = told.map((progress) => progress[key]);
      expect(values).toEqual(values.toSorted((a, b) => a - b));
    }
    expect(told.at(-1)).toMatchObject({ looks: 4, score: answer.score });
    call.say(samplesOf(OWNER));
    await settled();
    expect(told.length).toBe(atEnd);
  });

  it('is not told any more when the asker has gone', async () => {
    service.embedder.latch.close();
    let told = 0;
    const { call, asker, result } = await service.verifyCall(userId, { onProgress: () => told++ });
    await play(call, OWNER);
    asker.abort();
    await result;
    const atEnd = told;
    service.embedder.latch.open();
    await settled();
    expect(told).toBe(atEnd);
  });

  it('has no say in the decision: a listener that throws changes nothing', async () => {
    const onProgress = () => {
      throw new Error(`cannot write to ${LISTEN_URL}`);
    };
    const { call, result } = await service.verifyCall(userId, { onProgress });
    await play(call, OWNER);
    expect(await result).toMatchObject({ decision: 'accept' });
    expect(await service.verifyUpload(userId, STRANGER, { onProgress })).toMatchObject({ decision: 'reject' });
  });
});
