/** What every storage backend must do, whichever database is behind it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Storage } from '../../src/storage/open-storage.js';
import { acceptOf, attemptOf, enrollmentOf, rejectOf, testEmbedding } from '../support/embedded-storage.js';
import { eventually } from '../support/eventually.js';

/** Runs the suite over the storage that `open` gives; users it has made are erased again. */
export function describeAuthStore(backend: string, open: () => Promise<Storage>): void {
  describe(`auth store on ${backend}`, () => {
    let storage: Storage;
    const users: string[] = [];
    const newUser = (): string => {
      const userId = randomUUID();
      users.push(userId);
      return userId;
    };
    const enrolledUser = async (): Promise<{ userId: string; version: number }> => {
      const userId = newUser();
      const { version } = await storage.store.saveEnrollment(enrollmentOf(userId));
      return { userId, version };
    };

    beforeAll(async () => {
      storage = await open();
    });
    afterAll(async () => {
      for (const userId of users) {
        await storage.store.eraseUser(userId, { correlationId: 'contract-cleanup', actor: 'test' });
      }
      await storage.close();
    });

    it('knows nothing of a user who was never enrolled', async () => {
      const { store } = storage;
      const userId = randomUUID();
      await store.ping();
      expect(await store.findUser(userId)).toBeUndefined();
      expect(await store.userStatus(userId)).toBeUndefined();
      expect(await store.authHistory(userId, { limit: 10, before: undefined })).toBeUndefined();
      expect(await store.eraseUser(userId, { correlationId: 'erase-0001', actor: 'test' })).toBe(false);
      await expect(store.recordAttempt(attemptOf(userId))).rejects.toMatchObject({ code: 'UserNotFoundError' });
    });

    it('knows that its keys are all there, and that nothing is to be encrypted anew', async () => {
      const { userId } = await enrolledUser();
      expect(await storage.store.missingKeys()).toEqual([]);
      expect(await storage.store.reencrypt({})).toMatchObject({ voiceprints: 0, samples: 0, unreadable: [] });
      expect((await storage.store.findUser(userId))?.samples).toHaveLength(1);
    });

    it('gives a number that must be free to one person, however many ask at once', async () => {
      const { store, calls } = storage;
      const phone = `+1415${randomUUID().replaceAll(/\D/g, '').padEnd(7, '4').slice(0, 7)}`;
      const people = Array.from({ length: 4 }, newUser);
      const saving = people.map((userId) =>
        store.saveEnrollment(enrollmentOf(userId, { phone, phoneMustBeFree: true })),
      );
      const outcomes = await Promise.allSettled(saving);
      const refused = outcomes.filter(({ status }) => status === 'rejected');
      expect(refused).toHaveLength(3);
      for (const outcome of refused) {
        expect(outcome).toMatchObject({
          reason: { code: 'EnrollmentConflict', message: "The caller's number belongs to another enrolled user" },
        });
      }
      const [owner, ...others] = await calls.usersByPhone(phone);
      expect([people.includes(owner ?? ''), others]).toEqual([true, []]);
      // It stays theirs, and whoever may say so can give it to somebody else as well.
      const { voiceprint } = (await store.findUser(owner ?? '')) ?? {};
      const more = { phone, phoneMustBeFree: true, expectedVersion: voiceprint?.version ?? 0 };
      await store.saveEnrollment(enrollmentOf(owner ?? '', more));
      await store.saveEnrollment(enrollmentOf(newUser(), { phone }));
      expect(await calls.usersByPhone(phone)).toHaveLength(2);
    });

    it('refuses ids that are not UUIDs', async () => {
      await expect(storage.store.findUser("x' or true --")).rejects.toMatchObject({ code: 'ValidationError' });
    });

    it('gives back exactly what was enrolled', async () => {
      const { store } = storage;
      const userId = newUser();
      const first = enrollmentOf(userId, { consentReference: 'consent/2026-17' });
      const saved = await store.saveEnrollment(first);
      expect(saved.samples).toBe(1);
      expect(saved.version).toBeGreaterThan(0);
      const second = enrollmentOf(userId, {
        phone: undefined,
        expectedVersion: saved.version,
        centroid: testEmbedding(3),
        keptSampleIds: [first.newSample.id],
        netSpeechMs: 12_345.6,
      });
      const again = await store.saveEnrollment(second);
      expect(again).toEqual({ samples: 2, version: saved.version + 1 });

      expect(await store.findUser(userId)).toEqual({
        userId,
        phone: '+14155550100',
        lockedUntil: undefined,
        voiceprint: {
          modelId: first.modelId,
          centroid: second.centroid,
          sampleCount: 2,
          netSpeechMs: 12_346,
          version: again.version,
        },
        samples: [first.newSample, second.newSample],
      });
      const status = await store.userStatus(userId);
      expect(status).toMatchObject({ userId, enrolled: true, samples: 2, netSpeechMs: 12_346, failedAttempts: 0 });
      expect(status?.enrolledAt).toBeInstanceOf(Date);
      expect(status?.lastAttempt).toBeUndefined();
    });

    it('keeps five samples at most and forgets those that are not kept', async () => {
      const { store } = storage;
      const userId = newUser();
      let version = 0;
      let kept: string[] = [];
      for (let sample = 1; sample <= 5; sample++) {
        const record = enrollmentOf(userId, { expectedVersion: version, keptSampleIds: kept });
        ({ version } = await store.saveEnrollment(record));
        kept = [...kept, record.newSample.id];
      }
      const sixth = enrollmentOf(userId, { expectedVersion: version, keptSampleIds: kept });
      await expect(store.saveEnrollment(sixth)).rejects.toMatchObject({ code: 'InternalError' });
      expect((await store.findUser(userId))?.samples.map(({ id }) => id)).toEqual(kept);

      const replaced = await store.saveEnrollment({ ...sixth, keptSampleIds: kept.slice(1) });
      expect(replaced.samples).toBe(5);
      const ids = (await store.findUser(userId))?.samples.map(({ id }) => id);
      expect(ids).toEqual([...kept.slice(1), sixth.newSample.id]);
    });

    it('refuses an enrollment against a voiceprint that has changed', async () => {
      const { userId, version } = await enrolledUser();
      for (const expectedVersion of [0, version + 1]) {
        const stale = enrollmentOf(userId, { expectedVersion });
        await expect(storage.store.saveEnrollment(stale)).rejects.toMatchObject({ code: 'EnrollmentConflict' });
      }
      expect((await storage.store.findUser(userId))?.voiceprint?.version).toBe(version);
    });

    it.each([0, 1])('lets exactly one of parallel enrollments win (samples before: %i)', async (before) => {
      const { store } = storage;
      const { userId, version } = before === 0 ? { userId: newUser(), version: 0 } : await enrolledUser();
      const records = Array.from({ length: 6 }, () => enrollmentOf(userId, { expectedVersion: version }));
      const outcomes = await Promise.allSettled(records.map((record) => store.saveEnrollment(record)));
      const winners = records.filter((_, index) => outcomes[index]?.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'EnrollmentConflict' });
      }
      expect((await store.findUser(userId))?.samples).toEqual([winners[0]?.newSample]);
    });

    it('refuses another phone number and keeps everything as it was', async () => {
      const { userId, version } = await enrolledUser();
      const other = enrollmentOf(userId, { expectedVersion: version, phone: '+919876543210' });
      const failure = await storage.store.saveEnrollment(other).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'EnrollmentConflict' });
      expect(String(failure)).not.toMatch(/\d{5}/);
      expect(await storage.store.findUser(userId)).toMatchObject({ phone: '+14155550100', voiceprint: { version } });
    });

    it('never mixes samples of two models', async () => {
      const { store } = storage;
      const { userId, version } = await enrolledUser();
      const old = (await store.findUser(userId))?.samples[0]?.id ?? '';
      const mixed = enrollmentOf(userId, { expectedVersion: version, modelId: 'other', keptSampleIds: [old] });
      await expect(store.saveEnrollment(mixed)).rejects.toMatchObject({ code: 'VoiceprintModelMismatch' });
      const replacesModelId = (await store.findUser(userId))?.voiceprint?.modelId;
      await store.saveEnrollment({ ...mixed, keptSampleIds: [], replacesModelId });
      const user = await store.findUser(userId);
      expect(user?.voiceprint?.modelId).toBe('other');
      expect(user?.samples).toEqual([mixed.newSample]);
    });

    it('replaces a voiceprint of another model only when that model is named, and at once', async () => {
      const { store } = storage;
      const { userId, version } = await enrolledUser();
      const before = (await store.findUser(userId))!;
      const modelId = before.voiceprint!.modelId;
      const changed = enrollmentOf(userId, { expectedVersion: version, modelId: 'newer', keptSampleIds: [] });
      for (const replacesModelId of [undefined, 'newer', 'older']) {
        const saving = store.saveEnrollment({ ...changed, replacesModelId });
        await expect(saving).rejects.toMatchObject({ code: 'VoiceprintModelMismatch' });
      }
      const kept = before.samples.map(({ id }) => id);
      const mixed = store.saveEnrollment({ ...changed, replacesModelId: modelId, keptSampleIds: kept });
      await expect(mixed).rejects.toMatchObject({ code: 'VoiceprintModelMismatch' });
      expect(await store.findUser(userId)).toEqual(before);
      const enrolledAt = (await store.userStatus(userId))!.enrolledAt!;

      await store.saveEnrollment({ ...changed, replacesModelId: modelId });
      const after = (await store.findUser(userId))!;
      expect(after).toMatchObject({ phone: before.phone, voiceprint: { modelId: 'newer', sampleCount: 1 } });
      expect(after.samples).toEqual([changed.newSample]);
      const status = (await store.userStatus(userId))!;
      expect(status.modelId).toBe('newer');
      expect(status.enrolledAt!.getTime()).toBeGreaterThan(enrolledAt.getTime());
      // An attempt that has listened for the old voiceprint is not an accept for the new one.
      const late = await store.recordAttempt(acceptOf(userId, version));
      expect(late).toMatchObject({ decision: 'inconclusive', reason: 'not_enrolled' });
      // Random, so that no version of before can come again.
      expect(after.voiceprint!.version - version).toBeGreaterThan(1000);
      const again = enrollmentOf(userId, { expectedVersion: version, modelId, replacesModelId: 'newer' });
      await expect(store.saveEnrollment(again)).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    });

    it('records an attempt with everything known about it', async () => {
      const { userId, version } = await enrolledUser();
      const record = acceptOf(userId, version, {
        callId: 'call-abc-1',
        netSpeechMs: 3400.4,
        latencyMs: 4100.6,
        looks: 3,
      });
      expect(await storage.store.recordAttempt(record)).toEqual({
        isNew: true,
        attemptId: record.attemptId,
        decision: 'accept',
        reason: 'match',
        failedAttempts: 0,
        lockedUntil: undefined,
        score: record.score,
        threshold: record.threshold,
        netSpeechMs: Math.round(record.netSpeechMs),
        looks: record.looks,
      });
      const summary = {
        id: record.attemptId,
        decision: 'accept',
        reason: 'match',
        score: 0.91,
        threshold: 0.82,
        modelId: record.modelId,
        netSpeechMs: 3400,
        looks: 3,
        latencyMs: 4101,
        source: 'vapi_listen',
        callId: 'call-abc-1',
        correlationId: record.correlationId,
        createdAt: expect.any(Date),
      };
      const history = await storage.store.authHistory(userId, { limit: 1, before: undefined });
      expect(history).toEqual({ attempts: [summary], next: undefined });
      expect((await storage.store.userStatus(userId))?.lastAttempt).toEqual(summary);
    });

    it('counts the same attempt id once', async () => {
      const { userId } = await enrolledUser();
      const { userId: other } = await enrolledUser();
      const record = rejectOf(userId);
      const recorded = await Promise.all([storage.store.recordAttempt(record), storage.store.recordAttempt(record)]);
      const first = recorded.find(({ isNew }) => isNew);
      const again = { ...first, isNew: false };
      expect(recorded).toEqual(expect.arrayContaining([first, again]));
      expect(await storage.store.recordAttempt({ ...record, decision: 'accept', reason: 'match', score: 1 })).toEqual(
        again,
      );
      expect((await storage.store.userStatus(userId))?.failedAttempts).toBe(1);
      await expect(storage.store.recordAttempt({ ...record, userId: other })).rejects.toMatchObject({
        code: 'InternalError',
      });
    });

    it('locks after the configured number of rejects in a row, and then accepts nothing', async () => {
      const { store } = storage;
      const { userId, version } = await enrolledUser();
      const rule = { maxFailedAttempts: 3 };
      await store.recordAttempt(rejectOf(userId, rule));
      await store.recordAttempt(rejectOf(userId, rule));
      expect((await store.recordAttempt(attemptOf(userId, rule))).failedAttempts).toBe(2);
      expect((await store.recordAttempt(acceptOf(userId, version, rule))).failedAttempts).toBe(0);
      await store.recordAttempt(rejectOf(userId, rule));
      expect((await store.recordAttempt(rejectOf(userId, rule))).lockedUntil).toBeUndefined();
      const before = Date.now();
      const locking = await store.recordAttempt(rejectOf(userId, rule));
      expect(locking).toMatchObject({ decision: 'reject', reason: 'no_match', failedAttempts: 3 });
      expect(locking.lockedUntil?.getTime()).toBeGreaterThan(before + 800_000);
      const refused = await store.recordAttempt(acceptOf(userId, version, rule));
      expect(refused).toMatchObject({ decision: 'reject', reason: 'locked_out', lockedUntil: locking.lockedUntil });
      expect((await store.findUser(userId))?.lockedUntil).toEqual(locking.lockedUntil);
      const history = await store.authHistory(userId, { limit: 1, before: undefined });
      expect(history?.attempts[0]).toMatchObject({ decision: 'reject', reason: 'locked_out' });
    });

    it('counts a comparison on poor audio as failed, unless there was none', async () => {
      const { store } = storage;
      const { userId } = await enrolledUser();
      const rule = { maxFailedAttempts: 2 };
      const poor = { ...rule, decision: 'inconclusive', reason: 'low_quality' } as const;
      expect(await store.recordAttempt(attemptOf(userId, poor))).toMatchObject({ failedAttempts: 0 });
      expect(await store.recordAttempt(attemptOf(userId, { ...poor, score: 0.3 }))).toMatchObject({
        decision: 'inconclusive',
        reason: 'low_quality',
        failedAttempts: 1,
        lockedUntil: undefined,
      });
      const locking = await store.recordAttempt(attemptOf(userId, { ...poor, score: 0.81 }));
      expect(locking).toMatchObject({ decision: 'inconclusive', reason: 'low_quality', failedAttempts: 2 });
      expect(locking.lockedUntil).toBeInstanceOf(Date);
      const early = { ...rule, score: 0.3 };
      expect((await store.recordAttempt(attemptOf(userId, early))).reason).toBe('locked_out');
    });

    it('counts parallel rejects one after another', async () => {
      const { userId } = await enrolledUser();
      const records = Array.from({ length: 10 }, () => rejectOf(userId, { maxFailedAttempts: 4 }));
      const recorded = await Promise.all(records.map((record) => storage.store.recordAttempt(record)));
      expect(
        recorded
          .filter(({ reason }) => reason === 'no_match')
          .map((one) => one.failedAttempts)
          .sort(),
      ).toEqual([1, 2, 3, 4]);
      expect(recorded.filter(({ reason }) => reason === 'locked_out')).toHaveLength(6);
    });

    it('counts anew when a lock has expired', async () => {
      const { store } = storage;
      const { userId } = await enrolledUser();
      await store.recordAttempt(rejectOf(userId, { maxFailedAttempts: 1, lockoutMs: 1 }));
      await eventually(async () => expect((await store.findUser(userId))?.lockedUntil).toBeUndefined());
      expect((await store.userStatus(userId))?.failedAttempts).toBe(0);
      const next = await store.recordAttempt(rejectOf(userId, { maxFailedAttempts: 2 }));
      expect(next).toMatchObject({ reason: 'no_match', failedAttempts: 1, lockedUntil: undefined });
    });

    it('accepts only against the present voiceprint', async () => {
      const { store } = storage;
      const { userId, version } = await enrolledUser();
      await store.saveEnrollment(enrollmentOf(userId, { expectedVersion: version }));
      const downgraded = { decision: 'inconclusive', reason: 'not_enrolled' };
      expect(await store.recordAttempt(acceptOf(userId, version))).toMatchObject(downgraded);
      expect(await store.recordAttempt(acceptOf(userId, version + 1, { modelId: 'other' }))).toMatchObject(downgraded);
      expect(await store.recordAttempt(acceptOf(userId, 0))).toMatchObject(downgraded);
      expect(await store.recordAttempt(acceptOf(userId, version + 1))).toMatchObject({ decision: 'accept' });
    });

    it('does not accept against the voiceprint of before an erasure', async () => {
      const { store } = storage;
      const { userId, version } = await enrolledUser();
      await store.eraseUser(userId, { correlationId: 'erase-0002', actor: 'test' });
      await store.saveEnrollment(enrollmentOf(userId));
      expect(await store.recordAttempt(acceptOf(userId, version))).toMatchObject({ decision: 'inconclusive' });
    });

    it.each([
      ['a score below its threshold', { score: 0.5 }],
      ['no score', { score: undefined }],
      ['a reason that is no match', { reason: 'deadline' as const }],
    ])('does not store an accept with %s', async (_, changes) => {
      const { userId, version } = await enrolledUser();
      const wrong = acceptOf(userId, version, changes);
      await expect(storage.store.recordAttempt(wrong)).rejects.toMatchObject({ code: 'InternalError' });
      expect(await storage.store.authHistory(userId, { limit: 5, before: undefined })).toEqual({
        attempts: [],
        next: undefined,
      });
    });

    it('pages through the history newest first, without gaps or repeats', async () => {
      const { store } = storage;
      const { userId } = await enrolledUser();
      const { userId: other } = await enrolledUser();
      const ids: string[] = [];
      for (let count = 0; count < 7; count++) {
        ids.unshift((await store.recordAttempt(attemptOf(userId))).attemptId);
        await store.recordAttempt(attemptOf(other));
      }
      const seen: string[] = [];
      const pages: number[] = [];
      let before: string | undefined;
      do {
        const page = await store.authHistory(userId, { limit: 3, before });
        seen.push(...(page?.attempts.map(({ id }) => id) ?? []));
        pages.push(page?.attempts.length ?? 0);
        before = page?.next;
        await store.recordAttempt(attemptOf(userId));
      } while (before !== undefined);
      expect(seen).toEqual(ids);
      expect(pages).toEqual([3, 3, 1]);
    });

    const yearZero = Buffer.from(JSON.stringify(['0000-01-01T00:00:00Z', randomUUID()])).toString('base64url');
    it.each(['', 'x', 'WyJub3QiLCJhIHBsYWNlIl0', 'a'.repeat(500), yearZero])(
      'refuses the cursor %j',
      async (before) => {
        const { userId } = await enrolledUser();
        await expect(storage.store.authHistory(userId, { limit: 5, before })).rejects.toMatchObject({
          code: 'ValidationError',
        });
      },
    );

    it.each([0, 201, 1.5, Number.NaN])('refuses the page size %d', async (limit) => {
      await expect(storage.store.authHistory(randomUUID(), { limit, before: undefined })).rejects.toMatchObject({
        code: 'ValidationError',
      });
    });

    it('lists who is enrolled with another model, last enrolled first, in pages and with the count of all', async () => {
      const { store } = storage;
      const modelId = `old-${randomUUID()}`;
      const others = async (before?: string) => store.outdatedUsers(modelId, { limit: 2, before });
      const { total } = await others();
      const [early, late] = [newUser(), newUser()];
      for (const userId of [early, newUser(), late, newUser()]) await store.saveEnrollment(enrollmentOf(userId));
      const own = newUser();
      await store.saveEnrollment(enrollmentOf(own, { modelId }));
      const first = await others();
      expect(first.total).toBe(total + 4);
      expect(first.users).toHaveLength(2);
      expect(first.users[1]).toEqual({
        userId: late,
        modelId: enrollmentOf(late).modelId,
        samples: 1,
        enrolledAt: (await store.userStatus(late))?.enrolledAt,
      });
      const second = await others(first.next);
      expect(second.users[1]?.userId).toBe(early);
      const listed = [...first.users, ...second.users].map(({ userId }) => userId);
      expect(new Set(listed).size).toBe(4);
      expect(listed).not.toContain(own);

      // Enrolled anew they leave the list, and nobody else is missed on the way.
      const [{ userId, modelId: replacesModelId }] = first.users as [(typeof first.users)[number]];
      const expectedVersion = (await store.findUser(userId))!.voiceprint!.version;
      await store.saveEnrollment(enrollmentOf(userId, { modelId, expectedVersion, replacesModelId }));
      expect((await others()).total).toBe(total + 3);
      expect(await others(first.next)).toEqual({ ...second, total: total + 3 });
      // To everybody else the model of these two is the outdated one.
      const there = await store.outdatedUsers(enrollmentOf(own).modelId, { limit: 200, before: undefined });
      const known = there.users.filter((user) => user.modelId === modelId).map((user) => user.userId);
      expect(known.sort()).toEqual([own, userId].sort());
    });

    it('refuses pages of such users that cannot be', async () => {
      const page = { limit: 0, before: undefined };
      await expect(storage.store.outdatedUsers('any', page)).rejects.toMatchObject({ code: 'ValidationError' });
      await expect(storage.store.outdatedUsers('any', { limit: 5, before: 'x' })).rejects.toMatchObject({
        code: 'ValidationError',
      });
    });

    it('erases a person', async () => {
      const { store } = storage;
      const { userId } = await enrolledUser();
      await store.recordAttempt(rejectOf(userId));
      expect(await store.eraseUser(userId, { correlationId: 'erase-0003', actor: 'test' })).toBe(true);
      expect(await store.findUser(userId)).toBeUndefined();
      expect(await store.authHistory(userId, { limit: 5, before: undefined })).toBeUndefined();
      expect(await store.eraseUser(userId, { correlationId: 'erase-0003', actor: 'test' })).toBe(false);
      await store.saveEnrollment(enrollmentOf(userId));
      expect(await store.authHistory(userId, { limit: 5, before: undefined })).toEqual({
        attempts: [],
        next: undefined,
      });
    });

    it('counts hits per key in fixed windows', async () => {
      const { store } = storage;
      const key = `ip:${randomUUID()}`;
      const hits = await Promise.all(Array.from({ length: 5 }, () => store.hit(key, 600_000)));
      expect(hits.map((hit) => hit.hits).sort()).toEqual([1, 2, 3, 4, 5]);
      expect(new Set(hits.map(({ resetAt }) => resetAt.getTime())).size).toBe(1);
      expect((await store.hit(`ip:${randomUUID()}`, 600_000)).hits).toBe(1);

      const short = `ip:${randomUUID()}`;
      const first = await store.hit(short, 1);
      await eventually(async () => {
        const next = await store.hit(short, 1);
        expect(next.hits).toBe(1);
        expect(next.resetAt.getTime()).toBeGreaterThan(first.resetAt.getTime());
      });
    });

    it('begins a window anew that ends later than one begun now would', async () => {
      const { store } = storage;
      const key = `ip:${randomUUID()}`;
      // As after a clock that ran ahead by an hour was put right.
      expect((await store.hit(key, 3_660_000)).hits).toBe(1);
      expect((await store.hit(key, 3_660_000)).hits).toBe(2);
      const { hits, resetAt } = await store.hit(key, 60_000);
      expect([hits, resetAt.getTime() < Date.now() + 1_800_000]).toEqual([1, true]);
      expect((await store.hit(key, 60_000)).hits).toBe(2);
    });

    it('has an audit trail that verifies', async () => {
      await enrolledUser();
      expect(await storage.store.verifyAuditChain()).toMatchObject({ intact: true });
    });
  });
}
