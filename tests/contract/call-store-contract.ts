/** What every storage backend must do about running calls. Two owners stand for two processes. */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CallAsking, CallKey, CallProgress, CallStore, StoredAnswer } from '../../src/domain/ports/call-store.js';
import type { Storage } from '../../src/storage/open-storage.js';
import { enrollmentOf } from '../support/embedded-storage.js';

const LONG = 600_000;

export function describeCallStore(backend: string, open: () => Promise<Storage>): void {
  describe(`call store on ${backend}`, () => {
    let storage: Storage;
    let calls: CallStore;
    const users: string[] = [];
    const [here, there] = [randomUUID(), randomUUID()];
    const newCall = (): CallKey => ({ platform: 'vapi', callId: `contract-${randomUUID()}` });
    const hold = (owner: string, leaseMs = LONG) => ({ owner, leaseMs });
    const enrolled = async (phone = '+14155550199'): Promise<string> => {
      const userId = randomUUID();
      users.push(userId);
      await storage.store.saveEnrollment(enrollmentOf(userId, { phone }));
      return userId;
    };
    const asking = (call: CallKey, changes: Partial<CallAsking> = {}): CallAsking => ({
      ...call,
      requestId: 'tool-1',
      kind: 'verify',
      fingerprint: 'about-nobody',
      args: {
        userId: undefined,
        threshold: 0.9,
        callerNumber: '+14155550101',
        consentReference: undefined,
        phone: undefined,
        replaceModel: true,
        actor: undefined,
        correlationId: 'contract-0001',
      },
      deadlineMs: 20_000,
      asker: here,
      mayListen: true,
      leaseMs: LONG,
      ...changes,
    });
    const progress = (call: CallKey, changes: Partial<CallProgress> = {}): CallProgress => ({
      ...call,
      state: 'listening',
      netSpeechMs: 4_200,
      looks: 3,
      claimed: true,
      ...changes,
    });
    const decided = (userId: string): StoredAnswer => ({
      kind: 'verify',
      answer: {
        kind: 'decided',
        userId,
        result: {
          attemptId: randomUUID(),
          decision: 'accept',
          reason: 'match',
          score: 0.93,
          threshold: 0.82,
          netSpeechMs: 2_240,
          looks: 2,
          audioMs: 3_100,
        },
      },
    });

    beforeAll(async () => {
      storage = await open();
      calls = storage.calls;
    });
    afterAll(async () => {
      await calls.releaseCalls(here);
      await calls.releaseCalls(there);
      for (const userId of users) {
        await storage.store.eraseUser(userId, { correlationId: 'contract-cleanup', actor: 'test' });
      }
      await storage.close();
    });

    it('gives a call to the first process that asks, and to no other while its lease runs', async () => {
      const call = newCall();
      expect(await calls.beginCall(call, hold(here))).toEqual({
        state: 'connecting',
        owned: true,
        tookOver: false,
        userId: undefined,
      });
      expect(await calls.beginCall(call, hold(here))).toMatchObject({ owned: true, tookOver: false });
      expect(await calls.beginCall(call, hold(there))).toMatchObject({ owned: false, tookOver: false });
      expect(await calls.callStatus(call)).toMatchObject({ state: 'connecting', netSpeechMs: 0, claimed: false });
    });

    it('gives it to exactly one of many that ask at once', async () => {
      const call = newCall();
      const owners = Array.from({ length: 8 }, () => randomUUID());
      const holds = await Promise.all(owners.map((owner) => calls.beginCall(call, hold(owner))));
      expect(holds.filter(({ owned }) => owned)).toHaveLength(1);
    });

    it('moves a call whose lease has ended, and says that it was taken over', async () => {
      const call = newCall();
      await calls.beginCall(call, hold(there, 1));
      await expect.poll(async () => (await calls.beginCall(call, hold(here))).owned).toBe(true);
      expect(await calls.renewCalls(there, LONG, [progress(call)])).toEqual([call]);
      expect(await calls.renewCalls(here, LONG, [progress(call)])).toEqual([]);
      const other = newCall();
      await calls.beginCall(other, hold(there, 1));
      await expect.poll(async () => (await calls.callStatus(other))?.state).toBe('lost');
      expect(await calls.beginCall(other, hold(here))).toMatchObject({ owned: true, tookOver: true });
    });

    it('moves a call that was let go of at once, which is no takeover', async () => {
      const [one, two] = [newCall(), newCall()];
      await calls.beginCall(one, hold(there));
      await calls.beginCall(two, hold(there));
      await calls.releaseCalls(there, one);
      expect(await calls.beginCall(one, hold(here))).toMatchObject({ owned: true, tookOver: false });
      expect(await calls.beginCall(two, hold(here))).toMatchObject({ owned: false });
      await calls.releaseCalls(there);
      expect(await calls.beginCall(two, hold(here))).toMatchObject({ owned: true, tookOver: false });
    });

    it('remembers how far a call is', async () => {
      const call = newCall();
      await calls.beginCall(call, hold(here));
      await calls.renewCalls(here, LONG, [progress(call)]);
      expect(await calls.callStatus(call)).toMatchObject({
        state: 'listening',
        netSpeechMs: 4_200,
        looks: 3,
        claimed: true,
      });
      expect((await calls.callStatus(call))?.startedAt).toBeInstanceOf(Date);
      expect(await calls.callStatus(newCall())).toBeUndefined();
    });

    it('keeps an ended call ended', async () => {
      const call = newCall();
      await calls.beginCall(call, hold(here));
      await calls.endCall(call);
      expect((await calls.pollCalls(here)).ended).toContainEqual(call);
      await calls.renewCalls(here, LONG, [progress(call)]);
      expect(await calls.callStatus(call)).toMatchObject({ state: 'ended' });
      await calls.releaseCalls(here, call);
      expect((await calls.pollCalls(here)).ended).not.toContainEqual(call);
      expect(await calls.beginCall(call, hold(there))).toMatchObject({ state: 'ended', owned: false });
    });

    it('hands a question to the process that listens, and its answer to everybody who asks the same', async () => {
      const userId = await enrolled();
      const call = newCall();
      await calls.beginCall(call, hold(there));
      expect(await calls.askCall(asking(call))).toEqual({
        state: 'connecting',
        owned: false,
        tookOver: false,
        userId: undefined,
        alive: true,
        attemptId: expect.any(String) as string,
        answer: undefined,
      });
      const ofCall = async () =>
        (await calls.pollCalls(there)).questions.filter(({ callId }) => callId === call.callId);
      const questions = await ofCall();
      expect(questions).toEqual([
        {
          ...call,
          requestId: 'tool-1',
          kind: 'verify',
          args: asking(call).args,
          attemptId: expect.any(String) as string,
          remainingMs: expect.any(Number) as number,
        },
      ]);
      expect(questions[0]?.remainingMs).toBeGreaterThan(0);
      expect(questions[0]?.remainingMs).toBeLessThanOrEqual(20_000);
      expect(await calls.callRequest(call, 'tool-1', here)).toEqual({ answer: undefined, alive: true });
      // Whoever has the call itself need not wait for anybody.
      expect(await calls.callRequest(call, 'tool-1', there)).toEqual({ answer: undefined, alive: false });
      const answer = decided(userId);
      await calls.answerCall(call, 'tool-1', answer);
      expect(await calls.callRequest(call, 'tool-1', here)).toEqual({ answer, alive: true });
      expect(await calls.askCall(asking(call))).toMatchObject({ answer });
      expect(await calls.askCall(asking(call, { asker: there }))).toMatchObject({ answer });
      expect(await ofCall()).toEqual([]);
      // Another question has no answer yet.
      expect(await calls.askCall(asking(call, { requestId: 'tool-2' }))).toMatchObject({ answer: undefined });
    });

    it('tells an error to whoever waits, and forgets it when the question is asked again', async () => {
      const call = newCall();
      await calls.beginCall(call, hold(there));
      await calls.askCall(asking(call));
      const fault: StoredAnswer = { kind: 'error', code: 'ListenConnectionError', message: 'refused' };
      await calls.answerCall(call, 'tool-1', fault);
      expect(await calls.callRequest(call, 'tool-1', here)).toEqual({ answer: fault, alive: true });
      expect(await calls.askCall(asking(call))).toMatchObject({ answer: undefined });
      const { questions } = await calls.pollCalls(there);
      expect(questions.filter(({ callId }) => callId === call.callId)).toHaveLength(1);
    });

    it('refuses a request id that was used for another question', async () => {
      const call = newCall();
      await calls.askCall(asking(call));
      await expect(calls.askCall(asking(call, { fingerprint: 'about-somebody' }))).rejects.toMatchObject({
        code: 'ValidationError',
      });
    });

    it('keeps the attempt id of a question until it is withdrawn or has failed', async () => {
      const call = newCall();
      const attemptId = async () => (await calls.askCall(asking(call)))?.attemptId;
      const first = await attemptId();
      expect(await attemptId()).toBe(first);
      await calls.withdrawQuestion(call, 'tool-1', here);
      const second = await attemptId();
      expect(second).not.toBe(first);
      await calls.answerCall(call, 'tool-1', { kind: 'error', code: 'Busy', message: 'no' });
      expect(await attemptId()).not.toBe(second);
    });

    it('lets no later answer replace the first', async () => {
      const call = newCall();
      const [one, two] = [await enrolled(), await enrolled()];
      await calls.askCall(asking(call));
      await calls.answerCall(call, 'tool-1', decided(one));
      await calls.answerCall(call, 'tool-1', decided(two));
      expect(await calls.askCall(asking(call))).toMatchObject({ answer: { answer: { userId: one } } });
      await calls.withdrawQuestion(call, 'tool-1', here);
      expect(await calls.askCall(asking(call))).toMatchObject({ answer: { answer: { userId: one } } });
    });

    it('remembers who was named, also for a process that takes the call over', async () => {
      const userId = await enrolled();
      const call = newCall();
      const named = { ...asking(call).args, userId };
      await calls.askCall(asking(call, { args: named, asker: there }));
      await calls.releaseCalls(there, call);
      expect(await calls.beginCall(call, hold(here))).toMatchObject({ owned: true, userId });
    });

    it('does not keep what its own process knows of a question, nor what is withdrawn', async () => {
      const call = newCall();
      await calls.beginCall(call, hold(there));
      await calls.askCall(asking(call));
      await calls.withdrawQuestion(call, 'tool-1', here);
      expect((await calls.pollCalls(there)).questions.filter(({ callId }) => callId === call.callId)).toEqual([]);
    });

    it('keeps what another process has asked since for that one, as a new attempt', async () => {
      const call = newCall();
      const third = randomUUID();
      await calls.beginCall(call, hold(there));
      await calls.askCall(asking(call));
      const asked = await calls.askCall(asking(call, { asker: third }));
      const ofCall = async () =>
        (await calls.pollCalls(there)).questions.filter(({ callId }) => callId === call.callId);
      await calls.withdrawQuestion(call, 'tool-1', here);
      const kept = await ofCall();
      expect(kept.map(({ requestId, args }) => ({ requestId, args }))).toEqual([
        { requestId: 'tool-1', args: asking(call).args },
      ]);
      expect(kept[0]!.attemptId).not.toBe(asked!.attemptId);
      expect(kept[0]!.remainingMs).toBeGreaterThan(0);
      await calls.withdrawQuestion(call, 'tool-1', third);
      expect(await ofCall()).toEqual([]);
    });

    it('knows that a call is over whose beginning comes late', async () => {
      const call = newCall();
      await calls.endCall(call);
      expect(await calls.beginCall(call, hold(here))).toMatchObject({ state: 'ended', owned: false });
    });

    it('does not hand a process its own questions, nor those whose time is up', async () => {
      const call = newCall();
      await calls.beginCall(call, hold(there));
      await calls.askCall(asking(call, { asker: there }));
      await calls.askCall(asking(call, { requestId: 'late', deadlineMs: 1 }));
      await expect
        .poll(async () => (await calls.pollCalls(there)).questions.filter(({ callId }) => callId === call.callId))
        .toEqual([]);
    });

    it('knows nothing of a call that nobody may listen to', async () => {
      const call = newCall();
      expect(await calls.askCall(asking(call, { mayListen: false }))).toBeUndefined();
      expect(await calls.askCall(asking(call))).toMatchObject({ owned: true, alive: true, tookOver: false });
      await calls.releaseCalls(here, call);
      expect(await calls.askCall(asking(call, { asker: there, mayListen: false }))).toMatchObject({
        owned: false,
        alive: false,
      });
    });

    it('forgets answers about a person with the person', async () => {
      const userId = await enrolled();
      const call = newCall();
      await calls.beginCall(call, hold(here));
      await calls.askCall(asking(call));
      await calls.answerCall(call, 'tool-1', decided(userId));
      await storage.store.eraseUser(userId, { correlationId: 'erase-0002', actor: 'test' });
      expect(await calls.callRequest(call, 'tool-1', here)).toMatchObject({ answer: undefined });
      // An answer that comes after the erasure is not kept either.
      await calls.askCall(asking(call, { requestId: 'tool-2' }));
      await calls.answerCall(call, 'tool-2', decided(userId));
      expect(await calls.callRequest(call, 'tool-2', here)).toMatchObject({ answer: undefined });
    });

    it('forgets questions about a person, and their number in others, with the person', async () => {
      const phone = `+1415${String(Date.now()).slice(-7)}`;
      const userId = await enrolled(phone);
      const call = newCall();
      await calls.beginCall(call, hold(there));
      const { args } = asking(call);
      const questions: readonly Partial<CallAsking>[] = [
        { requestId: 'names-them', args: { ...args, userId } },
        { requestId: 'comes-from-their-number', args: { ...args, callerNumber: phone } },
        { requestId: 'says-their-number', kind: 'enroll', args: { ...args, userId: randomUUID(), phone } },
        { requestId: 'about-somebody-else' },
      ];
      for (const question of questions) await calls.askCall(asking(call, question));
      const open = async () =>
        (await calls.pollCalls(there)).questions
          .filter(({ callId }) => callId === call.callId)
          .map(({ requestId }) => requestId)
          .sort();
      expect(await open()).toEqual(questions.map(({ requestId }) => requestId).sort());
      await storage.store.eraseUser(userId, { correlationId: 'erase-0003', actor: 'test' });
      expect(await open()).toEqual(['about-somebody-else']);
    });

    it('lets a stream in by its token, once, in time, on its platform', async () => {
      const userId = await enrolled();
      const token = randomBytes(32).toString('base64url');
      const call: CallKey = { platform: 'twilio', callId: `contract-${randomUUID()}` };
      const { expiresAt } = await calls.expectStream({ ...call, token, ttlMs: LONG, userId });
      expect(expiresAt.getTime()).toBeGreaterThan(Date.now());
      expect(await calls.callStatus(call)).toMatchObject({ state: 'connecting', claimed: true });
      expect(await calls.askCall(asking(call))).toMatchObject({ state: 'waiting', owned: false });
      expect(await calls.redeemStream({ platform: 'plivo', token }, hold(here))).toBeUndefined();
      expect(await calls.redeemStream({ platform: 'twilio', token: `${token}x` }, hold(here))).toBeUndefined();
      expect(await calls.redeemStream({ platform: 'twilio', token }, hold(here))).toEqual({
        callId: call.callId,
        userId,
      });
      expect(await calls.redeemStream({ platform: 'twilio', token }, hold(here))).toBeUndefined();
      expect(await calls.beginCall(call, hold(here))).toMatchObject({ owned: true, userId });
    });

    it('lets no stream in whose token has expired, and allows the call id to be expected anew', async () => {
      const token = randomBytes(32).toString('base64url');
      const call: CallKey = { platform: 'twilio', callId: `contract-${randomUUID()}` };
      const { expiresAt } = await calls.expectStream({ ...call, token, ttlMs: 1, userId: undefined });
      await expect.poll(() => Date.now()).toBeGreaterThan(expiresAt.getTime() + 1);
      expect(await calls.redeemStream({ platform: 'twilio', token }, hold(here))).toBeUndefined();
      const again = randomBytes(32).toString('base64url');
      await expect
        .poll(() =>
          calls.expectStream({ ...call, token: again, ttlMs: LONG, userId: undefined }).then(() => true, String),
        )
        .toBe(true);
      expect(await calls.redeemStream({ platform: 'twilio', token }, hold(here))).toBeUndefined();
      await expect(calls.expectStream({ ...call, token, ttlMs: LONG, userId: undefined })).rejects.toMatchObject({
        code: 'CallConflict',
      });
      await expect(
        calls.expectStream({ ...newCall(), platform: 'twilio', token, ttlMs: LONG, userId: randomUUID() }),
      ).rejects.toMatchObject({ code: 'UserNotFoundError' });
    });

    it('finds nobody, one, or two of several enrolled users of a number', async () => {
      const number = `+1${String(Date.now()).slice(-10)}`;
      expect(await calls.usersByPhone(number)).toEqual([]);
      const first = await enrolled(number);
      expect(await calls.usersByPhone(number)).toEqual([first]);
      const second = await enrolled(number);
      await enrolled(number);
      expect(await calls.usersByPhone(number)).toEqual([first, second]);
    });
  });
}
