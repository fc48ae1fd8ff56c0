/** Verification when something fails, somebody leaves or there is no room: whatever happens, nobody is accepted by it. */
import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { VerificationProgress } from '../../src/domain/verification/verification.js';
import { settled } from '../support/toy-models.js';
import { LISTEN_URL, play, replacing, samplesOf, ToyService } from '../support/toy-service.js';
import { databaseDown, PHONE, toyWorld } from '../support/toy-world.js';

const OWNER = { degrees: 1, seconds: 4 };
/** Accepted by the last look only. */
const OWNER_WITH_A_COLD = { degrees: 20, seconds: 4.5 };
const STRANGER = { degrees: 45, seconds: 4 };

const world = toyWorld();
beforeEach(async () => {
  await world.service.enroll(world.userId, { degrees: 0, seconds: 5 }, { phone: PHONE });
});

describe('a database that fails', () => {
  it('when the user is looked up: nobody is listened to', async () => {
    const failing = new ToyService(replacing(world.store, { findUser: databaseDown }));
    const { result } = await failing.verifyCall(world.userId);
    await expect(result).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect([failing.dialled, failing.work.active]).toEqual([0, 0]);
  });

  it('when the attempt is recorded: nothing was accepted', async () => {
    const failing = new ToyService(replacing(world.store, { recordAttempt: databaseDown }));
    const { call, result } = await failing.verifyCall(world.userId);
    await play(call, OWNER);
    await expect(result).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await expect(failing.verifyUpload(world.userId, OWNER)).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect(await world.history()).toEqual([]);
    expect(await failing.count('verifications_total')).toBe(0);
    expect(await failing.count('verification_errors_total', { code: 'DatabaseUnavailable' })).toBe(2);
    expect(failing.logs).not.toContain('verification recorded');
  });
});

describe('models that fail', () => {
  const gone = new VoiceAuthError('InferenceUnavailable', 'The speaker model is not running.');

  it.each(['embedder', 'detector'] as const)('end the listening at once: %s', async (model) => {
    world.service[model].failure = gone;
    const { call, result } = await world.service.verifyCall(world.userId);
    await play(call, OWNER);
    expect(call.stopped).toBe(true);
    await expect(result).rejects.toBe(gone);
    expect(await world.history()).toEqual([]);
  });
});

describe('giving up', () => {
  it.each(['asker', 'server'] as const)('by the %s ends listening, is recorded, and accepts nobody', async (who) => {
    const { call, asker, result } = await world.service.verifyCall(world.userId);
    await play(call, OWNER_WITH_A_COLD);
    (who === 'asker' ? asker : world.service.shutdown).abort();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline', looks: 3 });
    expect(call.stopped).toBe(true);
    expect(await world.recorded()).toEqual(['inconclusive/deadline']);
    expect(await world.failedAttempts()).toBe(0);
  });

  it('while a look is in flight that would accept', async () => {
    world.service.embedder.latch.close();
    const { call, asker, result } = await world.service.verifyCall(world.userId);
    await play(call, OWNER);
    asker.abort();
    world.service.embedder.latch.open();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('after the call has ended, while the last look is in flight', async () => {
    world.service.embedder.latch.close();
    const { call, asker, result } = await world.service.verifyCall(world.userId);
    await play(call, OWNER);
    call.end();
    await settled();
    asker.abort();
    world.service.embedder.latch.open();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
    expect(await world.recorded()).toEqual(['inconclusive/deadline']);
  });

  it.each(['detector', 'embedder'] as const)('while the %s is busy with an upload', async (model) => {
    world.service[model].latch.close();
    const asker = new AbortController();
    const result = world.service.verifyUpload(world.userId, OWNER, { signal: asker.signal });
    while (world.service[model].latch.held === 0) await settled();
    asker.abort();
    world.service[model].latch.open();
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('before anything was heard', async () => {
    const result = world.service.verifyUpload(world.userId, OWNER, { signal: AbortSignal.abort() });
    expect(await result).toMatchObject({ decision: 'inconclusive', reason: 'deadline', netSpeechMs: 0 });
    const { result: call } = await world.service.verifyCall(world.userId, { signal: AbortSignal.abort() });
    expect(await call).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('makes no more work for the models', async () => {
    world.service.detector.latch.close();
    const { call, asker, result } = await world.service.verifyCall(world.userId);
    await play(call, OWNER);
    const [asked, embedded] = [world.service.detector.asked, world.service.embedder.windowsMs.length];
    asker.abort();
    await result;
    world.service.detector.latch.open();
    await settled();
    expect([world.service.detector.asked, world.service.embedder.windowsMs.length]).toEqual([asked, embedded]);
  });
});

describe('room', () => {
  it('is for so many at once, and is there again after every kind of end', async () => {
    const first = await world.service.verifyCall(world.userId);
    const second = await world.service.verifyCall(world.userId);
    await expect(world.service.verifyUpload(world.userId, OWNER)).rejects.toMatchObject({
      code: 'Busy',
      retryAfterSeconds: 5,
    });
    expect([world.service.work.active, await world.service.count('active_calls')]).toEqual([2, 2]);
    first.call.end({ kind: 'failed', error: new VoiceAuthError('ListenConnectionError', 'broken') });
    await expect(first.result).rejects.toMatchObject({ code: 'ListenConnectionError' });
    second.asker.abort();
    await second.result;
    expect(world.service.work.active).toBe(0);
    for (const id of [randomUUID(), world.userId])
      await world.service.verifyUpload(id, OWNER, { threshold: 0 }).catch(() => undefined);
    await world.service.verifyUpload(randomUUID(), OWNER).catch(() => undefined);
    expect(world.service.work.active).toBe(0);
    expect(await world.service.count('verification_errors_total', { code: 'Busy' })).toBe(1);
  });
});

describe('progress', () => {
  it('is told after every look, goes forward, and ends with the answer', async () => {
    const told: VerificationProgress[] = [];
    const { call, result } = await world.service.verifyCall(world.userId, {
      onProgress: (progress) => told.push(progress),
    });
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
    world.service.embedder.latch.close();
    let told = 0;
    const { call, asker, result } = await world.service.verifyCall(world.userId, { onProgress: () => told++ });
    await play(call, OWNER);
    asker.abort();
    await result;
    const atEnd = told;
    world.service.embedder.latch.open();
    await settled();
    expect(told).toBe(atEnd);
  });

  it('has no say in the decision: a listener that throws changes nothing', async () => {
    const onProgress = () => {
      throw new Error(`cannot write to ${LISTEN_URL}`);
    };
    const { call, result } = await world.service.verifyCall(world.userId, { onProgress });
    await play(call, OWNER);
    expect(await result).toMatchObject({ decision: 'accept' });
    expect(await world.service.verifyUpload(world.userId, STRANGER, { onProgress })).toMatchObject({
      decision: 'reject',
    });
  });
});
