/** What must not happen between questions about one call: answers of others, old speech, second doors, lost calls. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type {
  CallEnrollmentAnswer,
  CallEnrollmentQuestion,
  CallFacts,
  CallVerificationAnswer,
} from '../../src/domain/calls/calls.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { NO_DOORBELL } from '../../src/domain/ports/doorbell.js';
import { PeopleInMemory } from '../../src/domain/users/people-in-memory.js';
import { UserDirectory } from '../../src/domain/users/user-directory.js';
import { deferred } from '../support/deferred.js';
import type { ToyCall } from '../support/toy-calls.js';
import {
  factsOf,
  neighbours,
  openCall,
  questionOf,
  ToyProcess,
  type ToyProcessOptions,
} from '../support/toy-calls-service.js';
import { degreesOf, settled, TOY_MODEL_ID, toySpeech } from '../support/toy-models.js';
import { play, replacing, ToyService } from '../support/toy-service.js';
import { databaseDown, toyWorld } from '../support/toy-world.js';

const OWNER = { degrees: 1, seconds: 4 };
const STRANGER = { degrees: 45, seconds: 8 };

const world = toyWorld();
const processes: ToyProcess[] = [];
const now = performance.now.bind(performance);
let aheadMs: number;
let number: string;

beforeEach(async () => {
  aheadMs = 0;
  number = `+1${randomUUID().replaceAll(/\D/g, '').padEnd(10, '7').slice(0, 10)}`;
  await world.service.enroll(world.userId, { degrees: 0, seconds: 5 }, { phone: number });
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const { service } of processes.splice(0)) await service.close();
});

function startProcess(options: ToyProcessOptions = {}): ToyProcess {
  const started = new ToyProcess(world.store, world.calls, options);
  processes.push(started);
  return started;
}

/** A call that has begun, with looks taken for the owner of its number if it has one. */
async function begun(
  process: ToyProcess,
  facts: Partial<CallFacts> = {},
): Promise<{ call: CallFacts; audio: ToyCall }> {
  const { call, audio } = await openCall(process, facts);
  if (call.callerNumber === number) {
    await expect.poll(async () => (await process.service.status('vapi', call.callId))?.claimed).toBe(true);
  }
  return { call, audio };
}

function decided(answer: CallVerificationAnswer) {
  if (answer.kind !== 'decided') throw new Error(`the answer is ${answer.kind}`);
  return { ...answer.result, userId: answer.userId };
}

function enrolled(answer: CallEnrollmentAnswer) {
  if (answer.kind !== 'enrolled') throw new Error(`the answer is ${answer.kind}`);
  return answer;
}

function enrolling(call: CallFacts, changes: Partial<CallEnrollmentQuestion> = {}): CallEnrollmentQuestion {
  const { threshold: _, ...question } = questionOf(call, { requestId: 'enroll-1' });
  return {
    ...question,
    userId: undefined,
    consentReference: 'form 7',
    phone: undefined,
    identityProven: false,
    actor: 'vapi',
    ...changes,
  };
}

/** Somebody speaks until `answer` is there: before its question has arrived a call that was decided is not listened to. */
async function playUntil(audio: ToyCall, degrees: number, answer: Promise<unknown>): Promise<void> {
  let waiting = true;
  const over = answer.finally(() => {
    waiting = false;
  });
  while (waiting) await play(audio, { degrees, seconds: 1 });
  await over;
}

/** The owner speaks until the embedder was asked for more than `before` windows. */
async function playUntilAsked({ toys: { embedder } }: ToyProcess, audio: ToyCall, before: number): Promise<void> {
  while (embedder.windowsMs.length === before) await play(audio, { degrees: 1, seconds: 0.5 });
}

/** As if so much time had passed: what was said before is that much older. */
function pass(seconds: number): void {
  aheadMs += seconds * 1000;
  vi.spyOn(performance, 'now').mockImplementation(() => now() + aheadMs);
}

/** A process, and how to know that a question has arrived at the call: it has found whom it is about. */
function startWatched(calls: ToyProcessOptions['calls'] = {}) {
  let found = 0;
  const store = replacing(world.store, { findUser: (userId) => world.store.findUser(userId).finally(() => found++) });
  const here = startProcess({ calls, parts: { store, enrollment: new ToyService(store).enrollment } });
  return {
    here,
    /** Asks, and waits until `count` questions have arrived. */
    async arrived<Asked>(ask: () => Asked, count = 1): Promise<{ readonly asked: Asked }> {
      const before = found;
      const asked = ask();
      await expect.poll(() => found).toBe(before + count);
      await settled();
      return { asked };
    },
  };
}

/** Until what was said before has been put aside. */
async function afresh(process: ToyProcess, { callId }: CallFacts): Promise<void> {
  await expect.poll(async () => (await process.service.status('vapi', callId))?.netSpeechMs).toBe(0);
}

const otherUser = async (degrees: number): Promise<string> => {
  const userId = randomUUID();
  await world.service.enroll(userId, { degrees, seconds: 5 });
  return userId;
};

describe('a request id', () => {
  it('is no answer for another user, threshold or kind of question', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, OWNER);
    const other = await otherUser(120);
    expect(decided(await here.service.verify(questionOf(call, { userId: world.userId }))).decision).toBe('accept');
    for (const question of [
      questionOf(call, { userId: other }),
      questionOf(call),
      questionOf(call, { userId: world.userId, threshold: 0.95 }),
    ]) {
      await expect(here.service.verify(question)).rejects.toMatchObject({ code: 'ValidationError' });
    }
    const enrollment = enrolling(call, { requestId: 'tool-1' });
    await expect(here.service.enroll(enrollment)).rejects.toMatchObject({ code: 'ValidationError' });
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  it('is none either while the first question is being answered', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    const asking = here.service.verify(questionOf(call, { userId: world.userId }));
    const other = here.service.verify(questionOf(call, { userId: await otherUser(120) }));
    await expect(other).rejects.toMatchObject({ code: 'ValidationError' });
    await play(audio, OWNER);
    expect(decided(await asking).decision).toBe('accept');
  });
});

describe('who is meant', () => {
  it('stays whoever was named, not the owner of the number', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    const bob = await otherUser(120);
    const first = await here.service.verify(questionOf(call, { userId: bob, deadlineMs: 300 }));
    expect(decided(first)).toMatchObject({ userId: bob, decision: 'inconclusive' });
    const asking = here.service.verify(questionOf(call, { requestId: 'tool-2' }));
    await play(audio, { degrees: 1, seconds: 9 });
    expect(decided(await asking)).toMatchObject({ userId: bob, decision: 'reject' });
  });

  it('is forgotten with a person who is erased', async () => {
    const here = startProcess();
    const { call } = await begun(here, { callerNumber: number });
    const gone = await otherUser(30);
    await here.service.verify(questionOf(call, { userId: gone, deadlineMs: 300 }));
    await world.store.eraseUser(gone, { correlationId: 'erase-0004', actor: 'test' });
    await expect(here.service.verify(questionOf(call, { requestId: 'tool-2' }))).rejects.toMatchObject({
      code: 'UserNotFoundError',
    });
    const later = await here.service.verify(questionOf(call, { requestId: 'tool-3', deadlineMs: 300 }));
    expect(decided(later).userId).toBe(world.userId);
  });
});

describe('a person who is erased while the call goes on', () => {
  it('is looked for no more, and nobody is accepted as them', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    const users = new UserDirectory(world.store, TOY_MODEL_ID, { onErased: (userId) => here.service.forget(userId) });
    await users.erase(world.userId, { correlationId: 'erase-0007', actor: 'test' });
    expect(await here.service.status('vapi', call.callId)).toMatchObject({ claimed: false });
    await play(audio, OWNER);
    expect(here.toys.embedder.windowsMs).toEqual([]);
    expect(await here.service.verify(questionOf(call))).toEqual({ kind: 'unknown_caller' });
  });

  it('is looked for no more either when they were erased elsewhere', async () => {
    const here = startProcess();
    const { call } = await begun(here, { callerNumber: number });
    const people = new PeopleInMemory({ store: world.store, holders: [here.service], bell: NO_DOORBELL });
    await people.forgetTheErased(new AbortController().signal);
    expect(here.service.people()).toEqual([world.userId]);
    await world.store.eraseUser(world.userId, { correlationId: 'erase-0009', actor: 'test' });
    await people.forgetTheErased(new AbortController().signal);
    expect(here.service.people()).toEqual([]);
    expect(await here.service.status('vapi', call.callId)).toMatchObject({ claimed: false });
  });

  it('is not accepted either when the question was asked before', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    const asking = expect(here.service.verify(questionOf(call, { deadlineMs: 2_000 }))).rejects.toMatchObject({
      code: 'UserNotFoundError',
    });
    await settled();
    // Another process has erased them, so this one goes on looking; the database knows better.
    await world.store.eraseUser(world.userId, { correlationId: 'erase-0008', actor: 'test' });
    await play(audio, OWNER);
    await asking;
    expect(await here.toys.count('verifications_total', { decision: 'accept' })).toBe(0);
  });
});

describe('a voiceprint that has a sample added while a question waits', () => {
  it('is the one that the caller is compared with', async () => {
    const { here, arrived } = startWatched();
    const { call, audio } = await begun(here);
    const { asked } = await arrived(() => here.service.verify(questionOf(call, { userId: world.userId })));
    await world.service.enroll(world.userId, { degrees: 2, seconds: 5 });
    await play(audio, OWNER);
    expect(decided(await asked)).toMatchObject({ decision: 'accept', reason: 'match' });
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  it('is not compared with the very speech that was added', async () => {
    const { promise: added, resolve: add } = deferred<void>();
    let reads = 0;
    const store = replacing(world.store, {
      // The answer, read for twice, is held up until the sample is there.
      findUser: async (userId) => {
        if (++reads === 2) await added;
        return world.store.findUser(userId);
      },
    });
    const here = startProcess({ parts: { store } });
    const { call, audio } = await begun(here);
    const claimed = { userId: world.userId };
    const asking = here.service.verify(questionOf(call, claimed));
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.claimed).toBe(true);
    await play(audio, OWNER);
    await expect.poll(() => reads).toBe(2);
    const adding = here.service.enroll(enrolling(call, { ...claimed, identityProven: true }));
    await playUntil(audio, 1, adding);
    expect(enrolled(await adding).result.samples).toBe(2);
    add();
    audio.end();
    expect(decided(await asking)).toMatchObject({ decision: 'inconclusive', reason: 'caller_hung_up' });
    expect(await world.recorded()).toEqual(['inconclusive/caller_hung_up']);
  });

  it('is not compared with it either before the asker knows that it was added', async () => {
    const { promise: added, resolve: add } = deferred<void>();
    const { promise: answered, resolve: answer } = deferred<void>();
    let reads = 0;
    const store = replacing(world.store, {
      findUser: async (userId) => {
        if (++reads === 2) await added;
        return world.store.findUser(userId);
      },
      saveEnrollment: async (record) => {
        const saved = await world.store.saveEnrollment(record);
        add();
        await answered;
        return saved;
      },
    });
    const here = startProcess({ parts: { store, enrollment: new ToyService(store).enrollment } });
    const { call, audio } = await begun(here);
    const claimed = { userId: world.userId };
    const asking = here.service.verify(questionOf(call, claimed));
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.claimed).toBe(true);
    await play(audio, OWNER);
    await expect.poll(() => reads).toBe(2);
    const adding = here.service.enroll(enrolling(call, { ...claimed, identityProven: true }));
    await playUntil(audio, 1, added);
    audio.end();
    expect(decided(await asking)).toMatchObject({ decision: 'inconclusive', reason: 'caller_hung_up' });
    answer();
    expect(enrolled(await adding).result.samples).toBe(2);
    expect(await world.recorded()).toEqual(['inconclusive/caller_hung_up']);
  });
});

describe('a question that comes late', () => {
  it.each([
    ['was accepted', true],
    ['was listened to for nobody', false],
  ])('is about the voice that speaks now, not about one that %s long before', async (_, expected) => {
    const { here, arrived } = startWatched({ acceptFreshMs: 0 });
    const { call, audio } = await begun(here, expected ? { callerNumber: number } : {});
    await play(audio, OWNER);
    const claimed = { userId: world.userId };
    const silent = await here.service.verify(questionOf(call, { ...claimed, deadlineMs: 300 }));
    expect(decided(silent)).toMatchObject({ decision: 'inconclusive', reason: 'insufficient_speech' });
    const { asked } = await arrived(() => here.service.verify(questionOf(call, { ...claimed, requestId: 'tool-2' })));
    await play(audio, STRANGER);
    expect(decided(await asked).decision).toBe('reject');
  });

  it('is told that the caller has hung up, if so, however long ago they were heard', async () => {
    const here = startProcess({ calls: { acceptFreshMs: 0 } });
    const { call, audio } = await begun(here);
    await play(audio, OWNER);
    audio.end();
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.state).toBe('ended');
    const over = { ...call, listenUrl: undefined };
    const answer = await here.service.verify(questionOf(over, { userId: world.userId, deadlineMs: 300 }));
    expect(decided(answer)).toMatchObject({ decision: 'inconclusive', reason: 'caller_hung_up' });
  });

  it('is no enrollment of what was said long before', async () => {
    const here = startProcess({ calls: { acceptFreshMs: 0 } });
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, OWNER);
    const asking = here.service.enroll(enrolling(call, { deadlineMs: 400 }));
    await expect(asking).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect((await world.user())?.samples).toHaveLength(1);
  });

  it.each([
    ['nobody yet', false],
    ['said to be proven', true],
  ])('enrolls who speaks now as somebody who is %s, not who spoke long before', async (_, known) => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    // More than is kept, by somebody whom a further sample could be taken for.
    await play(audio, { degrees: 10, seconds: 15 });
    pass(600);
    const userId = known ? world.userId : randomUUID();
    const asking = here.service.enroll(enrolling(call, { userId, identityProven: known }));
    await afresh(here, call);
    await play(audio, OWNER);
    expect(await asking).toMatchObject({ kind: 'enrolled', userId });
    const newest = (await world.store.findUser(userId))?.samples.at(-1);
    expect(degreesOf(newest?.embedding ?? new Float32Array(2))).toBeCloseTo(1);
    if (!known) await world.store.eraseUser(userId, { correlationId: 'erase-0012', actor: 'test' });
  });

  it('enrolls of what was said lately all, and nothing before it', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    await play(audio, { degrees: 10, seconds: 4 });
    pass(50);
    await play(audio, OWNER);
    pass(20);
    const userId = randomUUID();
    const { result } = enrolled(await here.service.enroll(enrolling(call, { userId })));
    expect(result.netSpeechMs).toBeGreaterThan(3500);
    expect(result.netSpeechMs).toBeLessThan(4500);
    const [sample] = (await world.store.findUser(userId))?.samples ?? [];
    expect(degreesOf(sample?.embedding ?? new Float32Array(2))).toBeCloseTo(1);
    await world.store.eraseUser(userId, { correlationId: 'erase-0013', actor: 'test' });
  });

  it('is told that too little was said since, not that the call is silent, when it is about a new person', async () => {
    const here = startProcess({ calls: { acceptFreshMs: 0 } });
    const { call, audio } = await begun(here);
    await play(audio, OWNER);
    const asking = here.service.enroll(enrolling(call, { userId: randomUUID(), deadlineMs: 400 }));
    await expect(asking).rejects.toMatchObject({
      code: 'AudioProcessingError',
      details: { check: 'net_speech_ms', found: 0 },
    });
  });

  it.each([0.3, 1, 2])('is no accept of an old voice of which only the last %d s are new', async (seconds) => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    const claimed = { userId: world.userId };
    await play(audio, { degrees: 1, seconds: 8 });
    pass(90);
    await play(audio, { degrees: STRANGER.degrees, seconds });
    const answer = decided(await here.service.verify(questionOf(call, { ...claimed, deadlineMs: 300 })));
    expect(answer.decision).not.toBe('accept');
    const asking = here.service.enroll(enrolling(call, { ...claimed, deadlineMs: 400 }));
    await expect(asking).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect((await world.user())?.samples).toHaveLength(1);
  });

  it('is no accept of old and new speech that was taken together before it', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, { degrees: 1, seconds: 1.8 });
    pass(90);
    await play(audio, { degrees: STRANGER.degrees, seconds: 0.5 });
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.looks).toBe(1);
    const answer = decided(await here.service.verify(questionOf(call, { deadlineMs: 300 })));
    expect(answer.decision).toBe('inconclusive');
    expect(answer.netSpeechMs).toBeLessThan(600);
  });

  it('is answered from what was said lately, and from nothing before it', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    await play(audio, { degrees: STRANGER.degrees, seconds: 4 });
    pass(50);
    await play(audio, OWNER);
    pass(20);
    const answer = decided(await here.service.verify(questionOf(call, { userId: world.userId, deadlineMs: 300 })));
    expect(answer.decision).toBe('accept');
    expect(answer.netSpeechMs).toBeGreaterThan(3500);
    expect(answer.netSpeechMs).toBeLessThan(4500);
  });

  it.each([
    ['a call', false],
    ['a call that has ended', true],
  ])('is answered from the last words of %s, too, which are still being judged', async (_, ended) => {
    const { here, arrived } = startWatched();
    const { call, audio } = await begun(here);
    await play(audio, { degrees: STRANGER.degrees, seconds: 1 });
    pass(90);
    here.toys.detector.latch.close();
    audio.say(toySpeech(1, 125));
    if (ended) audio.end();
    const { asked } = await arrived(() => here.service.verify(questionOf(call, { userId: world.userId })));
    here.toys.detector.latch.open();
    const answer = decided(await asked);
    expect(answer.decision).toBe('accept');
    expect(answer.netSpeechMs).toBeGreaterThan(3500);
    expect(answer.netSpeechMs).toBeLessThan(4500);
  });

  it('makes nothing that was said lately count a second time against anybody', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    const ask = (requestId: string, userId: string) =>
      here.service.verify(questionOf(call, { requestId, userId, deadlineMs: 300 }));
    await play(audio, { degrees: STRANGER.degrees, seconds: 1 });
    pass(50);
    await play(audio, STRANGER);
    expect(decided(await ask('tool-1', world.userId)).decision).toBe('reject');
    pass(20);
    // About somebody else it says something still.
    expect(decided(await ask('tool-2', await otherUser(120)))).toMatchObject({ decision: 'reject', looks: 2 });
    expect(decided(await ask('tool-3', world.userId)).decision).toBe('inconclusive');
    expect(await world.failedAttempts()).toBe(1);
  });

  it('ends no other question that waits for the caller to say more', async () => {
    const { here, arrived } = startWatched({ acceptFreshMs: 0 });
    const { call, audio } = await begun(here, { callerNumber: number });
    const first = await arrived(() => here.service.verify(questionOf(call)));
    await play(audio, { degrees: 1, seconds: 1 });
    const second = await arrived(() => here.service.verify(questionOf(call, { requestId: 'tool-2' })));
    await afresh(here, call);
    await play(audio, OWNER);
    for (const answer of await Promise.all([first.asked, second.asked]))
      expect(decided(answer).decision).toBe('accept');
  });

  it('ends no enrollment of a new person that waits for the caller to say more', async () => {
    const { here, arrived } = startWatched({ acceptFreshMs: 0 });
    const { call, audio } = await begun(here);
    const userId = randomUUID();
    const first = await arrived(() => here.service.enroll(enrolling(call, { userId })), 2);
    await play(audio, { degrees: 1, seconds: 1 });
    const second = await arrived(() => here.service.verify(questionOf(call, { userId: world.userId })));
    await afresh(here, call);
    await play(audio, OWNER);
    expect(await first.asked).toMatchObject({ kind: 'enrolled', userId });
    expect(decided(await second.asked).decision).toBe('accept');
    await world.store.eraseUser(userId, { correlationId: 'erase-0014', actor: 'test' });
  });
});

describe('a call that is asked about ever more people', () => {
  it('is no way to try them all, however often it is asked about one of them again', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    const people: string[] = [];
    for (const degrees of [100, 110, 120, 130, 140]) people.push(await otherUser(degrees));
    const ask = (userId: string, number: number) =>
      here.service.verify(questionOf(call, { requestId: `tool-${number}`, userId, deadlineMs: 300 }));
    await play(audio, STRANGER);
    for (const [index, userId] of people.slice(0, 4).entries()) {
      expect(decided(await ask(userId, index)).decision).toBe('reject');
    }
    // Not a moment's want of room: there is nothing to wait for.
    const refused = { code: 'CallConflict', retryAfterSeconds: undefined };
    await expect(ask(people[4]!, 4)).rejects.toMatchObject(refused);
    // What was said is spent for the first one, so this begins anew.
    expect(decided(await ask(people[0]!, 5)).decision).toBe('inconclusive');
    await expect(ask(people[4]!, 6)).rejects.toMatchObject(refused);
  });

  it('is no way to try one of them with ever more thresholds', async () => {
    const here = startProcess();
    const { call } = await begun(here);
    const ask = (threshold: number) =>
      here.service.verify(
        questionOf(call, { requestId: randomUUID(), userId: world.userId, threshold, deadlineMs: 300 }),
      );
    for (const threshold of [0.9, 0.91, 0.92, 0.93])
      expect(decided(await ask(threshold)).decision).toBe('inconclusive');
    await expect(ask(0.94)).rejects.toMatchObject({ code: 'CallConflict', retryAfterSeconds: undefined });
    expect(decided(await ask(0.9)).decision).toBe('inconclusive');
  });
});

describe('a question that is asked again', () => {
  it('is answered from the same accept for a while, for those who act on it', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, OWNER);
    const first = decided(await here.service.verify(questionOf(call)));
    const second = decided(await here.service.verify(questionOf(call, { requestId: 'tool-2' })));
    expect(second).toMatchObject({ decision: 'accept', score: first.score, netSpeechMs: first.netSpeechMs });
    expect(second.attemptId).not.toBe(first.attemptId);
    expect(await world.recorded()).toEqual(['accept/match', 'accept/match']);
  });

  it('is about the voice that speaks now, not about what was said long before', async () => {
    const { here, arrived } = startWatched({ acceptFreshMs: 0 });
    const { call, audio } = await begun(here);
    const first = here.service.verify(questionOf(call, { userId: world.userId }));
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.claimed).toBe(true);
    await play(audio, OWNER);
    expect(decided(await first).decision).toBe('accept');
    const silent = await here.service.verify(questionOf(call, { requestId: 'tool-2', deadlineMs: 300 }));
    expect(decided(silent)).toMatchObject({ decision: 'inconclusive' });
    const { asked } = await arrived(() => here.service.verify(questionOf(call, { requestId: 'tool-3' })));
    await afresh(here, call);
    await play(audio, STRANGER);
    expect(decided(await asked).decision).toBe('reject');
  });

  it('after a reject costs no second failed attempt without a new word', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, STRANGER);
    expect(decided(await here.service.verify(questionOf(call))).decision).toBe('reject');
    for (const requestId of ['tool-2', 'tool-3']) {
      const again = await here.service.verify(questionOf(call, { requestId, deadlineMs: 300 }));
      expect(decided(again).decision).toBe('inconclusive');
    }
    expect(await world.failedAttempts()).toBe(1);
  });

  /** Two questions about the owner of the number that both wait for the caller to speak. */
  async function twoAtOnce(calls: ToyProcessOptions['calls'] = {}) {
    const { here, arrived } = startWatched(calls);
    const { call, audio } = await begun(here, { callerNumber: number });
    const ask = (requestId: string) => here.service.verify(questionOf(call, { requestId }));
    const { asked } = await arrived(() => ['tool-1', 'tool-2'].map(ask), 2);
    return { audio, both: asked };
  }

  it('at the same time costs one failed attempt for what was said once', async () => {
    const { audio, both } = await twoAtOnce();
    await play(audio, STRANGER);
    const answers = (await Promise.all(both)).map((answer) => decided(answer));
    expect(answers.map(({ decision, reason }) => `${decision}/${reason}`).sort()).toEqual([
      'inconclusive/insufficient_speech',
      'reject/no_match',
    ]);
    expect(await world.failedAttempts()).toBe(1);
  });

  it('at the same time is an accept for all who ask', async () => {
    const { audio, both } = await twoAtOnce({ acceptFreshMs: 0 });
    await play(audio, OWNER);
    for (const answer of await Promise.all(both)) expect(decided(answer).decision).toBe('accept');
  });

  it('after its asker had left is answered anew', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    const asker = new AbortController();
    const left = here.service.verify(questionOf(call, { signal: asker.signal }));
    await settled();
    asker.abort();
    expect(decided(await left).reason).toBe('deadline');
    await play(audio, OWNER);
    expect(decided(await here.service.verify(questionOf(call)))).toMatchObject({ decision: 'accept' });
    expect(await world.recorded()).toEqual(['accept/match', 'inconclusive/deadline']);
  });

  it('while it is being given up is answered anew', async () => {
    const recording = deferred<void>();
    let held = false;
    const store = replacing(world.store, {
      recordAttempt: async (record) => {
        if (record.reason === 'deadline') {
          held = true;
          await recording.promise;
        }
        return world.store.recordAttempt(record);
      },
    });
    const here = startProcess({ parts: { store } });
    const { call, audio } = await begun(here, { callerNumber: number });
    const asker = new AbortController();
    const left = here.service.verify(questionOf(call, { signal: asker.signal }));
    await settled();
    asker.abort();
    await expect.poll(() => held).toBe(true);
    const again = here.service.verify(questionOf(call));
    await settled();
    recording.resolve();
    expect(decided(await left).reason).toBe('deadline');
    await play(audio, OWNER);
    expect(decided(await again).decision).toBe('accept');
    expect(await world.recorded()).toEqual(['accept/match', 'inconclusive/deadline']);
  });

  it('is not given up while somebody else waits for the same answer', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    const asker = new AbortController();
    const one = here.service.verify(questionOf(call, { signal: asker.signal }));
    const two = here.service.verify(questionOf(call));
    await settled();
    asker.abort();
    await play(audio, OWNER);
    expect(decided(await two).decision).toBe('accept');
    expect(decided(await one).decision).toBe('accept');
  });
});

describe('a question that is asked in two processes', () => {
  /** One process that listens to a call, another one, and how often the first has looked for questions of others. */
  async function two() {
    let polls = 0;
    const counting = replacing(world.calls, {
      pollCalls: (owner) => world.calls.pollCalls(owner).finally(() => polls++),
    });
    const [here, there] = [startProcess(), startProcess({ parts: { callStore: counting } })];
    neighbours(here, there);
    /** Until the process that listens knows how the questions stand. */
    const told = async () => {
      const before = polls;
      await expect.poll(() => polls).toBeGreaterThan(before + 1);
      await settled();
    };
    return { here, there, told, ...(await begun(there)) };
  }

  it('has one answer when the process that listens is asked the same meanwhile', async () => {
    const { here, there, told, call, audio } = await two();
    const first = here.service.verify(questionOf(call, { userId: world.userId }));
    await expect.poll(async () => (await there.service.status('vapi', call.callId))?.claimed).toBe(true);
    const second = there.service.verify(questionOf(call, { userId: world.userId }));
    await told();
    await play(audio, OWNER);
    expect(decided(await first).decision).toBe('accept');
    expect(await second).toEqual(await first);
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  it.each(['elsewhere', 'here'])('is answered for whoever stays when the one %s leaves', async (where) => {
    const { here, there, told, call, audio } = await two();
    const [leaver, stayer] = where === 'elsewhere' ? [here, there] : [there, here];
    const asker = new AbortController();
    const left = leaver.service.verify(questionOf(call, { userId: world.userId, signal: asker.signal }));
    await told();
    const staying = stayer.service.verify(questionOf(call, { userId: world.userId }));
    await told();
    asker.abort();
    // Whoever left in the other process learns nothing; here it is as if they had stayed.
    if (where === 'elsewhere') await expect(left).rejects.toMatchObject({ code: 'Timeout' });
    await told();
    await play(audio, OWNER);
    expect(decided(await staying).decision).toBe('accept');
    if (where === 'here') expect(await left).toEqual(await staying);
    expect(await world.recorded()).toEqual(['accept/match']);
  });
});

describe('enrolling from a call', () => {
  it('adds to a voiceprint only what was verified as its owner, and a failure counts', async () => {
    const here = startProcess();
    const stranger = await begun(here, { callerNumber: number });
    await play(stranger.audio, STRANGER);
    await expect(here.service.enroll(enrolling(stranger.call))).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect(await world.failedAttempts()).toBe(1);
    const owner = await begun(here, { callerNumber: number });
    const asking = here.service.enroll(enrolling(owner.call));
    await playUntil(owner.audio, 2, asking);
    expect(await asking).toMatchObject({ kind: 'enrolled', userId: world.userId, result: { samples: 2 } });
    expect(await world.recorded()).toEqual(['accept/match', 'reject/no_match']);
  });

  it('counts a sample of somebody else as one failed attempt where the asker answers for who calls', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    await play(audio, STRANGER);
    const proven = { userId: world.userId, identityProven: true };
    await expect(here.service.enroll(enrolling(call, proven))).rejects.toMatchObject({
      code: 'EnrollmentConflict',
      details: { check: 'sample_agreement' },
    });
    const attempt = { decision: 'reject', reason: 'no_match', source: 'vapi', callId: call.callId };
    expect(await world.history()).toMatchObject([attempt]);
    expect(await world.failedAttempts()).toBe(1);
    // The same words count no second time, whatever is asked of them.
    const again = enrolling(call, { ...proven, requestId: 'enroll-2', deadlineMs: 300 });
    await expect(here.service.enroll(again)).rejects.toMatchObject({ code: 'AudioProcessingError' });
    const asking = here.service.verify(questionOf(call, { userId: world.userId, deadlineMs: 300 }));
    expect(decided(await asking)).toMatchObject({ decision: 'inconclusive', reason: 'insufficient_speech' });
    expect(await world.failedAttempts()).toBe(1);
    expect((await world.user())?.samples).toHaveLength(1);
  });

  it.each([
    ['before it is asked for', 2.1],
    ['while it is listened to', 0],
  ])('adds nothing that somebody else says after the owner was accepted %s', async (_, before) => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, { degrees: 1, seconds: before });
    const asking = here.service.enroll(enrolling(call));
    const refused = expect(asking).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    await settled();
    await play(audio, { degrees: 1, seconds: 2.1 - before });
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.looks).toBe(1);
    await playUntil(audio, STRANGER.degrees, refused);
    expect(await world.recorded()).toEqual(['reject/no_match']);
    expect(await world.failedAttempts()).toBe(1);
    expect((await world.user())?.samples).toHaveLength(1);
  });

  it('adds nothing of a stretch that somebody else has said before anybody was claimed', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    // Taken together it is the owner's voice.
    await play(audio, { degrees: 1, seconds: 8 });
    await play(audio, { degrees: 60, seconds: 1.5 });
    const claimed = { userId: world.userId };
    expect(decided(await here.service.verify(questionOf(call, claimed))).decision).toBe('accept');
    expect(await here.service.enroll(enrolling(call, claimed))).toMatchObject({ result: { netSpeechMs: 3000 } });
    const voiceprint = (await world.user())?.voiceprint;
    expect(degreesOf(voiceprint?.centroid ?? new Float32Array(2))).toBeLessThan(1);
  });

  it('goes on when a look at a stretch finds no room', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    const asking = here.service.enroll(enrolling(call));
    await settled();
    await play(audio, { degrees: 1, seconds: 2.1 });
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.looks).toBe(1);
    await settled();
    const before = here.toys.embedder.windowsMs.length;
    here.toys.embedder.failure = new VoiceAuthError('Busy', 'Too many requests wait');
    await playUntilAsked(here, audio, before);
    here.toys.embedder.failure = undefined;
    await playUntil(audio, 1, asking);
    expect(await asking).toMatchObject({ kind: 'enrolled', result: { samples: 2, netSpeechMs: 3000 } });
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  it('is told that there is no room when the last look finds none', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    const refused = expect(here.service.enroll(enrolling(call))).rejects.toMatchObject({ code: 'Busy' });
    await settled();
    await play(audio, { degrees: 1, seconds: 2.1 });
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.looks).toBe(1);
    await settled();
    here.toys.embedder.failure = new VoiceAuthError('Busy', 'Too many requests wait');
    await play(audio, { degrees: 1, seconds: 2 });
    audio.end();
    await refused;
    expect(await world.recorded()).toEqual([]);
  });

  it('stores no more speech than was embedded, whatever is said meanwhile', async () => {
    const here = startProcess();
    const { embedder } = here.toys;
    const { call, audio } = await begun(here);
    const userId = randomUUID();
    embedder.latch.close();
    const asking = here.service.enroll(enrolling(call, { userId }));
    await play(audio, { degrees: 60, seconds: 4 });
    await expect.poll(() => embedder.latch.held).toBe(1);
    const [embeddedMs] = embedder.windowsMs;
    await play(audio, { degrees: 150, seconds: 5 });
    embedder.latch.open();
    expect(await asking).toMatchObject({ kind: 'enrolled', result: { netSpeechMs: embeddedMs } });
    const user = await world.store.findUser(userId);
    expect(user?.samples.map(({ netSpeechMs }) => netSpeechMs)).toEqual([embeddedMs]);
    await world.store.eraseUser(userId, { correlationId: 'erase-0010', actor: 'test' });
  });

  it('embeds before uploads do: a caller waits for it', async () => {
    const here = startProcess();
    const embed = vi.spyOn(here.toys.embedder, 'embed');
    const { call, audio } = await begun(here);
    const userId = randomUUID();
    const asking = here.service.enroll(enrolling(call, { userId }));
    await play(audio, { degrees: 60, seconds: 4 });
    expect(await asking).toMatchObject({ kind: 'enrolled' });
    expect(embed.mock.calls.map(([, { priority }]) => priority)).toEqual(['live']);
    await world.store.eraseUser(userId, { correlationId: 'erase-0011', actor: 'test' });
  });

  it.each([
    ['for a new person', false],
    ['whose speaker is vouched for', true],
  ])('stores nothing %s that is not embedded in time', async (_, known) => {
    const here = startProcess();
    const { embedder } = here.toys;
    const { call, audio } = await begun(here);
    const userId = known ? world.userId : randomUUID();
    await play(audio, OWNER);
    embedder.latch.close();
    const limits = { userId, identityProven: known, deadlineMs: 300 };
    await expect(here.service.enroll(enrolling(call, limits))).rejects.toMatchObject({ code: 'Timeout' });
    embedder.latch.open();
    await settled();
    expect((await world.store.findUser(userId))?.samples.length).toBe(known ? 1 : undefined);
    // Nothing was made of it, so it is there for the next time.
    const again = await here.service.enroll(enrolling(call, { ...limits, requestId: 'enroll-2', deadlineMs: 20_000 }));
    expect(enrolled(again).result.samples).toBe(known ? 2 : 1);
    if (!known) await world.store.eraseUser(userId, { correlationId: 'erase-0015', actor: 'test' });
  });

  it('is answered when only the answer of the database was lost, and makes one sample', async () => {
    let lost = 1;
    const store = replacing(world.store, {
      async saveEnrollment(record) {
        const saved = await world.store.saveEnrollment(record);
        return lost-- > 0 ? databaseDown() : saved;
      },
    });
    const here = startProcess({ parts: { enrollment: new ToyService(store).enrollment } });
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, { degrees: 1, seconds: 2.1 });
    const asking = here.service.enroll(enrolling(call));
    await playUntil(audio, 1, asking);
    expect(await asking).toMatchObject({ kind: 'enrolled', userId: world.userId, result: { samples: 2 } });
    expect(lost).toBe(0);
    expect((await world.user())?.samples).toHaveLength(2);
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  it.each([false, true])(
    'that may have been saved, though nobody was told, uses no word of it again (identity proven: %s)',
    async (identityProven) => {
      const store = replacing(world.store, {
        saveEnrollment: (record) => world.store.saveEnrollment(record).then(databaseDown, databaseDown),
      });
      const here = startProcess({ parts: { enrollment: new ToyService(store).enrollment } });
      const { call, audio } = await begun(here);
      const userId = randomUUID();
      await play(audio, { degrees: 60, seconds: 4 });
      const limits = { userId, deadlineMs: 1000, identityProven };
      await expect(here.service.enroll(enrolling(call, limits))).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
      const again = here.service.enroll(enrolling(call, { ...limits, requestId: 'enroll-2' }));
      await expect(again).rejects.toMatchObject({
        code: identityProven ? 'AudioProcessingError' : 'EnrollmentConflict',
      });
      expect(await world.store.userStatus(userId)).toMatchObject({ samples: 1, failedAttempts: 0 });
      await world.store.eraseUser(userId, { correlationId: 'erase-0011', actor: 'test' });
    },
  );

  it('is too little, and no failed attempt, when no more than the accept was said in time', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    await play(audio, { degrees: 1, seconds: 2.1 });
    const asking = here.service.enroll(enrolling(call, { deadlineMs: 400 }));
    await expect(asking).rejects.toMatchObject({ code: 'AudioProcessingError' });
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  it('tells somebody who is locked out, and that is recorded', async () => {
    const here = startProcess();
    for (let failed = 0; failed < 3; failed++) {
      const { call, audio } = await begun(here, { callerNumber: number });
      await play(audio, STRANGER);
      await here.service.verify(questionOf(call));
    }
    const { call } = await openCall(here, { callerNumber: number });
    await expect(here.service.enroll(enrolling(call))).rejects.toMatchObject({ code: 'AccountLockedError' });
    expect((await world.recorded())[0]).toBe('reject/locked_out');
  });

  it('twice at once gives a new number to one person', async () => {
    const here = startProcess();
    const fresh = `+1415${randomUUID().replaceAll(/\D/g, '').padEnd(7, '3').slice(0, 7)}`;
    const { call, audio } = await begun(here, { callerNumber: fresh });
    const asked = ['enroll-1', 'enroll-2'].map((requestId) => here.service.enroll(enrolling(call, { requestId })));
    const both = Promise.allSettled(asked);
    await settled();
    await play(audio, { degrees: 60, seconds: 4 });
    const outcomes = await both;
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'EnrollmentConflict', message: "The caller's number belongs to another enrolled user" },
    });
    const [userId, ...others] = await world.calls.usersByPhone(fresh);
    expect(others).toEqual([]);
    await world.store.eraseUser(userId ?? '', { correlationId: 'erase-0009', actor: 'test' });
  });

  it('is not followed by a verification of the very same audio', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here);
    const userId = randomUUID();
    const asking = here.service.enroll(enrolling(call, { userId }));
    await play(audio, { degrees: 0, seconds: 4 });
    expect(await asking).toMatchObject({ kind: 'enrolled', userId });
    const verifying = here.service.verify(questionOf(call));
    await afresh(here, call);
    await play(audio, OWNER);
    expect(decided(await verifying)).toMatchObject({ userId, decision: 'accept', reason: 'match' });
    await world.store.eraseUser(userId, { correlationId: 'erase-0005', actor: 'test' });
  });

  it('gives nobody a number unless that is allowed, and never the number of somebody else', async () => {
    const fresh = `+1415${randomUUID().replaceAll(/\D/g, '').padEnd(7, '3').slice(0, 7)}`;
    const careful = startProcess({ calls: { enrollNewNumbers: false } });
    const unknown = await begun(careful, { callerNumber: fresh });
    expect(await careful.service.enroll(enrolling(unknown.call))).toEqual({ kind: 'unknown_caller' });
    const userId = randomUUID();
    const asking = careful.service.enroll(enrolling(unknown.call, { requestId: 'enroll-2', userId }));
    await play(unknown.audio, { degrees: 60, seconds: 4 });
    expect(await asking).toMatchObject({ kind: 'enrolled', userId });
    expect((await world.store.findUser(userId))?.phone).toBeUndefined();
    await world.store.eraseUser(userId, { correlationId: 'erase-0006', actor: 'test' });

    const lax = startProcess();
    const thief = await begun(lax, { callerNumber: number });
    const stolen = expect(lax.service.enroll(enrolling(thief.call, { userId: randomUUID() }))).rejects.toMatchObject({
      code: 'EnrollmentConflict',
    });
    await play(thief.audio, { degrees: 60, seconds: 4 });
    await stolen;
  });

  it('of a caller without number and name makes nobody', async () => {
    const here = startProcess();
    const { call } = await begun(here);
    expect(await here.service.enroll(enrolling(call))).toEqual({ kind: 'unknown_caller' });
  });
});

describe('calls', () => {
  it('whose audio ended before the end was told elsewhere are let go of', async () => {
    const [here, there] = [startProcess(), startProcess({ calls: { maxSessions: 1 } })];
    neighbours(here, there);
    const { call, audio } = await begun(there, { callerNumber: number });
    audio.end();
    await expect.poll(async () => (await there.service.status('vapi', call.callId))?.state).toBe('ended');
    await here.service.end('vapi', call.callId);
    await begun(there, { callerNumber: number });
    expect(there.service.active).toBe(1);
  });

  it('stay with the process that was asked first, however long the question takes', async () => {
    const leaseMs = 2000;
    const [here, there] = [startProcess({ calls: { leaseMs } }), startProcess({ calls: { leaseMs } })];
    const call = factsOf({ callerNumber: number });
    const asking = here.service.verify(questionOf(call, { deadlineMs: 10_000 }));
    await expect.poll(() => here.dialled.length).toBe(1);
    await play(here.call, { degrees: 1, seconds: 1 });
    // Longer than the lease; events of the call keep coming to the other process.
    const until = performance.now() + 1.5 * leaseMs;
    while (performance.now() < until) {
      await there.service.begin(call);
      await settled();
    }
    expect(there.dialled).toEqual([]);
    await play(here.call, { degrees: 1, seconds: 2 });
    expect(decided(await asking).decision).toBe('accept');
  });

  it('of another process are taken over soon after it is gone', async () => {
    const [here, there] = [startProcess(), startProcess()];
    const { call } = await begun(there);
    await here.service.begin(call);
    expect(here.dialled).toEqual([]);
    await there.service.close();
    pass(5);
    await here.service.begin(call);
    await expect.poll(() => here.dialled.length).toBe(1);
  });

  it('go on being heard after one fault of the detector', async () => {
    const here = startProcess();
    const { call, audio } = await begun(here, { callerNumber: number });
    here.toys.detector.failure = new VoiceAuthError('InferenceUnavailable', 'gone');
    await play(audio, OWNER);
    here.toys.detector.failure = undefined;
    await play(audio, OWNER);
    expect(decided(await here.service.verify(questionOf(call))).decision).toBe('accept');
  });

  it('that are taken over in the middle of a question are answered by the other process', async () => {
    const leaseMs = 3000;
    const [here, there] = [startProcess({ calls: { leaseMs } }), startProcess({ calls: { leaseMs } })];
    neighbours(here, there);
    const { call } = await begun(here, { callerNumber: number });
    const asking = here.service.verify(questionOf(call));
    await settled();
    // As if this process had been silent for too long.
    await world.calls.releaseCalls((await owner(call)) ?? '');
    await there.service.begin(call);
    await expect.poll(() => there.dialled.length).toBe(1);
    await play(there.call, OWNER);
    await expect.poll(() => here.service.active, { timeout: 30_000 }).toBe(0);
    expect(decided(await asking)).toMatchObject({ decision: 'accept' });
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  /** The process that holds the call, found by asking as a third one. */
  async function owner(call: CallFacts): Promise<string | undefined> {
    for (const { service } of processes) {
      const name = (service as unknown as { owner: string }).owner;
      if ((await world.calls.beginCall(call, { owner: name, leaseMs: 3000 })).owned) return name;
    }
    return undefined;
  }
});
