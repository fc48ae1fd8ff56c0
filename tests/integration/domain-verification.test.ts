/** Verification on the real database: what is decided, and what is recorded of it. */
import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { rejectOf } from '../support/embedded-storage.js';
import { joined, settled, ToyEmbedder, toyNoise, toySilence, toySpeech } from '../support/toy-models.js';
import { AUDIO_URL, LISTEN_URL, play, replacing, ToyService } from '../support/toy-service.js';
import { PHONE, toyWorld } from '../support/toy-world.js';

const OWNER = { degrees: 1, seconds: 4 };
/** Accepted by the last look only. */
const OWNER_WITH_A_COLD = { degrees: 20, seconds: 4.5 };
const STRANGER = { degrees: 45, seconds: 4 };

const world = toyWorld();
beforeEach(async () => {
  await world.service.enroll(world.userId, { degrees: 0, seconds: 5 }, { phone: PHONE });
});

describe('a live call', () => {
  it('of the owner is accepted while it goes on, and recorded as it is answered', async () => {
    const { call, result } = await world.service.verifyCall(world.userId, { correlationId: 'correlation-1' });
    await play(call, OWNER);
    const answer = await result;
    expect(answer).toMatchObject({ decision: 'accept', reason: 'match', looks: 1, threshold: 0.82 });
    expect(answer.score).toBeGreaterThanOrEqual(0.82);
    expect(answer.netSpeechMs).toBeLessThan(2500);
    expect(call.stopped).toBe(true);
    const [row, ...others] = await world.history();
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
    expect(await world.service.count('verifications_total', { decision: 'accept', reason: 'match' })).toBe(1);
  });

  it('that decides nothing early is decided when the caller hangs up', async () => {
    const { call, result } = await world.service.verifyCall(world.userId);
    await play(call, OWNER_WITH_A_COLD);
    expect(call.stopped).toBe(false);
    call.end();
    expect(await result).toMatchObject({ decision: 'accept', reason: 'match', looks: 4 });
  });

  it('of a stranger is rejected', async () => {
    const { call, result } = await world.service.verifyCall(world.userId);
    await play(call, STRANGER);
    call.end();
    expect(await result).toMatchObject({ decision: 'reject', reason: 'no_match' });
    expect(await world.failedAttempts()).toBe(1);
  });

  it('may be judged by a stricter threshold, not by a laxer one', async () => {
    const strict = await world.service.verifyCall(world.userId, { threshold: 0.9 });
    await play(strict.call, OWNER_WITH_A_COLD);
    strict.call.end();
    expect(await strict.result).toMatchObject({ decision: 'reject', threshold: 0.9 });
    const never = replacing(world.store, {
      findUser: () => {
        throw new Error('nobody should be looked up');
      },
    });
    for (const threshold of [0.8199, 0, -1]) {
      await expect(new ToyService(never).verifyUpload(world.userId, OWNER, { threshold })).rejects.toMatchObject({
        code: 'ValidationError',
        details: [{ path: 'threshold', message: 'must not be below the configured 0.82' }],
      });
    }
    expect(await world.recorded()).toEqual(['reject/no_match']);
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
    const { call, result } = await world.service.verifyCall(world.userId, {
      source: { kind: 'listen_url', listenUrl: LISTEN_URL, maxSeconds },
    });
    await play(call, voice);
    if (end === 'closed') call.end();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason, looks: 0, score: undefined });
    expect(await world.recorded()).toEqual([`inconclusive/${reason}`]);
    expect(await world.failedAttempts()).toBe(0);
  });

  it('in which caller and agent are mixed is inconclusive, however well it would match', async () => {
    const { call, result } = await world.service.verifyCall(world.userId);
    await play(call, OWNER, 'mixed');
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'mixed_audio', netSpeechMs: 0 });
  });

  it('that cannot be connected to, or breaks, is an error and no attempt', async () => {
    const refused = new VoiceAuthError('ListenConnectionError', 'The listen socket was refused');
    for (const error of [refused, new Error(`getaddrinfo ENOTFOUND ${LISTEN_URL}`)]) {
      const failing = new ToyService(world.store, {
        parts: { sources: { vapiListen: () => ({ open: () => Promise.reject(error) }) } },
      });
      const { result } = await failing.verifyCall(world.userId);
      await expect(result).rejects.toMatchObject({ code: 'ListenConnectionError' });
      await expect(result).rejects.not.toThrow('secret');
      expect([failing.work.active, await failing.count('verification_errors_total')]).toEqual([0, 1]);
    }
    const broken = await world.service.verifyCall(world.userId);
    await play(broken.call, { degrees: 20, seconds: 3 });
    broken.call.end({ kind: 'failed', error: refused });
    await expect(broken.result).rejects.toBe(refused);
    expect(await world.history()).toEqual([]);
  });
});

describe('an upload', () => {
  it('gets one look, with the whole budget', async () => {
    expect(await world.service.verifyUpload(world.userId, OWNER)).toMatchObject({ decision: 'accept', looks: 1 });
    expect(await world.service.verifyUpload(world.userId, STRANGER)).toMatchObject({ decision: 'reject', looks: 1 });
    expect((await world.history()).map(({ source }) => source)).toEqual(['upload', 'upload']);
  });

  it('of the enrolled recording itself is a replay, and counts as a failed attempt', async () => {
    const answer = await world.service.verifyUpload(world.userId, { degrees: 0, seconds: 5 });
    expect(answer).toMatchObject({ decision: 'reject', reason: 'replayed_audio' });
    expect(await world.failedAttempts()).toBe(1);
  });

  it('with too little speech is inconclusive', async () => {
    expect(await world.service.verifyUpload(world.userId, { degrees: 1, seconds: 1 })).toMatchObject({
      decision: 'inconclusive',
      reason: 'insufficient_speech',
      looks: 0,
    });
    expect(await world.service.verifyUpload(world.userId, new Float32Array(0))).toMatchObject({
      reason: 'no_caller_audio',
    });
  });

  it('that cannot be fetched or judged is an error and no attempt', async () => {
    const source = { kind: 'audio_url', audioUrl: AUDIO_URL, channel: undefined } as const;
    await expect(world.service.verifyUpload(world.userId, OWNER, { source })).rejects.toMatchObject({
      code: 'AudioDownloadError',
    });
    world.service.embedder.failure = new VoiceAuthError('Busy', 'Too many requests wait', { retryAfterSeconds: 2 });
    await expect(world.service.verifyUpload(world.userId, OWNER)).rejects.toBe(world.service.embedder.failure);
    expect(await world.history()).toEqual([]);
    expect(await world.service.count('verification_errors_total', { code: 'Busy' })).toBe(1);
  });
});

describe('failed attempts', () => {
  it('lock the user after as many as allowed, and then nobody is listened to', async () => {
    for (let i = 0; i < 3; i++)
      expect((await world.service.verifyUpload(world.userId, STRANGER)).decision).toBe('reject');
    expect(await world.service.count('lockouts_total')).toBe(1);
    const { result } = await world.service.verifyCall(world.userId);
    await expect(result).rejects.toMatchObject({ code: 'AccountLockedError' });
    const error = (await result.catch((thrown: unknown) => thrown)) as VoiceAuthError;
    expect(error.retryAfterSeconds).toBeGreaterThan(590);
    expect(error.retryAfterSeconds).toBeLessThanOrEqual(600);
    await expect(world.service.verifyUpload(world.userId, OWNER)).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect(world.service.dialled).toBe(0);
    expect(await world.recorded()).toEqual([
      'reject/locked_out',
      'reject/locked_out',
      'reject/no_match',
      'reject/no_match',
      'reject/no_match',
    ]);
    expect(await world.service.count('lockouts_total')).toBe(1);
    expect(await world.failedAttempts()).toBe(3);
  });

  it('are also those whose noise excuses the low score: whoever makes it has no more tries', async () => {
    const drowned = joined(toyNoise(60, 0.8), toySpeech(45, 100), toyNoise(60, 0.8));
    for (let i = 0; i < 3; i++) {
      expect(await world.service.verifyUpload(world.userId, drowned)).toMatchObject({
        decision: 'inconclusive',
        reason: 'low_quality',
      });
    }
    expect(await world.failedAttempts()).toBe(3);
    expect(await world.service.count('lockouts_total')).toBe(1);
    await expect(world.service.verifyUpload(world.userId, OWNER)).rejects.toMatchObject({ code: 'AccountLockedError' });
  });

  it('are also those whose asker closes the connection once there was a look: what they would be told counts', async () => {
    const service = new ToyService(world.store, { verification: { maxFailedAttempts: 5 } });
    for (let i = 1; i <= 5; i++) {
      const seen: (number | undefined)[] = [];
      const { call, asker, result } = await service.verifyCall(world.userId, {
        // The connection is closed by what it tells.
        onProgress: ({ looks, score }) => {
          seen.push(score);
          if (looks === 2) asker.abort();
        },
      });
      await play(call, STRANGER);
      const { attemptId, score } = await result;
      expect(seen.at(-1)).toBeLessThan(0.82);
      expect([await world.failedAttempts(), (await world.recorded())[0]]).toEqual([i, 'reject/no_match']);
      expect((await world.history())[0]).toMatchObject({ id: attemptId, score, looks: 2 });
    }
    expect(await service.count('verifications_total', { decision: 'reject', reason: 'no_match' })).toBe(5);
    expect(await service.count('lockouts_total')).toBe(1);
    await expect(service.verifyUpload(world.userId, OWNER)).rejects.toMatchObject({ code: 'AccountLockedError' });
  });

  it('are none where the asker leaves before the first look, or the server gives up after it', async () => {
    const early = await world.service.verifyCall(world.userId);
    await play(early.call, { degrees: STRANGER.degrees, seconds: 1.9 });
    early.asker.abort();
    expect(await early.result).toMatchObject({ decision: 'inconclusive', reason: 'deadline', looks: 0 });
    const { call, result } = await world.service.verifyCall(world.userId);
    await play(call, STRANGER);
    world.service.shutdown.abort();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline', looks: 2 });
    expect(await world.failedAttempts()).toBe(0);
  });

  it('are forgotten with the next success', async () => {
    for (let i = 0; i < 2; i++) await world.service.verifyUpload(world.userId, STRANGER);
    expect(await world.failedAttempts()).toBe(2);
    expect((await world.service.verifyUpload(world.userId, OWNER)).decision).toBe('accept');
    expect(await world.failedAttempts()).toBe(0);
    for (let i = 0; i < 2; i++) await world.service.verifyUpload(world.userId, STRANGER);
    expect((await world.service.verifyUpload(world.userId, OWNER)).decision).toBe('accept');
  });

  it('are not forgotten by attempts that decide nothing', async () => {
    await world.service.verifyUpload(world.userId, STRANGER);
    await world.service.verifyUpload(world.userId, { degrees: 1, seconds: 1 });
    expect(await world.failedAttempts()).toBe(1);
  });

  it('lock for a while only', async () => {
    const brief = new ToyService(world.store, { verification: { maxFailedAttempts: 1, lockoutMs: 300 } });
    await brief.verifyUpload(world.userId, STRANGER);
    expect(await brief.count('lockouts_total')).toBe(1);
    while ((await world.store.userStatus(world.userId))?.lockedUntil) await settled();
    expect((await brief.verifyUpload(world.userId, OWNER)).decision).toBe('accept');
    expect(await world.failedAttempts()).toBe(0);
  });

  it('that lock the user during a call undo what the call would have come to', async () => {
    const { call, result } = await world.service.verifyCall(world.userId);
    for (let i = 0; i < 3; i++) await world.store.recordAttempt(rejectOf(world.userId, { maxFailedAttempts: 3 }));
    await play(call, OWNER);
    await expect(result).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect((await world.recorded())[0]).toBe('reject/locked_out');
    expect(await world.service.count('verifications_total', { decision: 'accept' })).toBe(0);
  });
});

describe('a user who is not what the call began with', () => {
  it('is unknown', async () => {
    await expect(world.service.verifyUpload(randomUUID(), OWNER)).rejects.toMatchObject({ code: 'UserNotFoundError' });
  });

  it('was erased meanwhile: there is nobody to accept', async () => {
    const { call, result } = await world.service.verifyCall(world.userId);
    await world.store.eraseUser(world.userId, { correlationId: 'erase-00001', actor: 'test-key' });
    await play(call, OWNER);
    await expect(result).rejects.toMatchObject({ code: 'UserNotFoundError' });
    expect(await world.store.authHistory(world.userId, { limit: 10, before: undefined })).toBeUndefined();
  });

  it.each(['enrolled again', 'was erased and enrolled again'])(
    '%s meanwhile: the old voiceprint accepts nobody',
    async (what) => {
      const { call, result } = await world.service.verifyCall(world.userId);
      if (what.includes('erased'))
        await world.store.eraseUser(world.userId, { correlationId: 'erase-00001', actor: 'test-key' });
      await world.service.enroll(world.userId, { degrees: 2, seconds: 5 });
      await play(call, OWNER);
      expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'not_enrolled' });
      expect(await world.recorded()).toEqual(['inconclusive/not_enrolled']);
      expect((await world.service.verifyUpload(world.userId, OWNER)).decision).toBe('accept');
    },
  );

  it('has no voiceprint: nobody is listened to, and it is recorded', async () => {
    const without = replacing(world.store, {
      findUser: async (id) => {
        const user = await world.store.findUser(id);
        return user && { ...user, voiceprint: undefined, samples: [] };
      },
    });
    const bare = new ToyService(without);
    const { result } = await bare.verifyCall(world.userId);
    expect(await result).toMatchObject({
      decision: 'inconclusive',
      reason: 'not_enrolled',
      score: undefined,
      looks: 0,
    });
    expect(bare.dialled).toBe(0);
    expect(await world.recorded()).toEqual(['inconclusive/not_enrolled']);
  });

  it('was enrolled with another model', async () => {
    class OtherEmbedder extends ToyEmbedder {
      override readonly modelId: string = 'toy-2d-v2';
    }
    const newer = new ToyService(world.store, { embedder: new OtherEmbedder() });
    const { result } = await newer.verifyCall(world.userId);
    await expect(result).rejects.toMatchObject({
      code: 'VoiceprintModelMismatch',
      details: { voiceprint: 'toy-2d', service: 'toy-2d-v2' },
    });
    expect([newer.dialled, await world.recorded()]).toEqual([0, []]);
  });
});
