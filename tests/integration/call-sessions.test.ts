/** What a call that is listened to does when its questions are given up, its detector fails, or its audio is a mix. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type {
  CallEnrollmentAnswer,
  CallEnrollmentQuestion,
  CallFacts,
  CallVerificationAnswer,
  CallVerificationQuestion,
} from '../../src/domain/calls/calls.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { ToyCall } from '../support/toy-calls.js';
import { factsOf, neighbours, openCall, questionOf, ToyProcess } from '../support/toy-calls-service.js';
import { settled, toySpeech } from '../support/toy-models.js';
import { play, type Voice } from '../support/toy-service.js';
import { toyWorld } from '../support/toy-world.js';

const OWNER = { degrees: 1, seconds: 4 };
/** Whole batches of the detector, and too little for a verification. */
const A_WORD = toySpeech(1, 48);

const world = toyWorld();
const gone = new VoiceAuthError('InferenceUnavailable', 'gone');
let here: ToyProcess;

beforeEach(async () => {
  await world.service.enroll(world.userId, { degrees: 0, seconds: 5 });
  here = new ToyProcess(world.store, world.calls);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await here.service.close();
});

function decided(answer: CallVerificationAnswer) {
  if (answer.kind !== 'decided') throw new Error(`the answer is ${answer.kind}`);
  return answer.result;
}

/** Asks whether the owner is calling, under a request id of its own. */
function ask(call: CallFacts, changes: Partial<CallVerificationQuestion> = {}): Promise<CallVerificationAnswer> {
  return here.service.verify(questionOf(call, { requestId: randomUUID(), userId: world.userId, ...changes }));
}

/** Asks to enroll the owner, under a request id of its own. */
function enroll(call: CallFacts, changes: Partial<CallEnrollmentQuestion> = {}): Promise<CallEnrollmentAnswer> {
  return here.service.enroll({
    call,
    requestId: randomUUID(),
    userId: world.userId,
    deadlineMs: 20_000,
    signal: new AbortController().signal,
    consentReference: 'form 7',
    phone: undefined,
    identityProven: false,
    actor: 'vapi',
    ...changes,
  });
}

/** Until looks are taken for somebody. */
async function claimed({ callId }: CallFacts): Promise<void> {
  await expect.poll(async () => (await here.service.status('vapi', callId))?.claimed).toBe(true);
}

it('an asker who has left before asking gets no accept on record, be it decided already', async () => {
  const { call, audio } = await openCall(here);
  expect(decided(await ask(call, { deadlineMs: 300 })).decision).toBe('inconclusive');
  await play(audio, OWNER);
  await expect.poll(async () => (await here.service.status('vapi', call.callId))?.looks).toBeGreaterThan(0);
  const answer = await ask(call, { signal: AbortSignal.abort() });
  expect(decided(answer)).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  expect(await world.recorded()).toEqual(['inconclusive/deadline', expect.stringMatching(/^inconclusive\//)]);
});

it('an asker who leaves during a look at a sample gets no accept on record', async () => {
  const { call, audio } = await openCall(here);
  const asker = new AbortController();
  const asking = enroll(call, { signal: asker.signal });
  const refused = expect(asking).rejects.toMatchObject({ code: expect.any(String) });
  await claimed(call);
  await play(audio, { degrees: OWNER.degrees, seconds: 2.2 });
  await expect.poll(async () => (await here.service.status('vapi', call.callId))?.looks).toBe(1);
  // By then the first stretch of the sample has been looked at as well.
  await settled();
  here.toys.embedder.latch.close();
  await play(audio, OWNER);
  await expect.poll(() => here.toys.embedder.latch.held).toBe(1);
  asker.abort();
  here.toys.embedder.latch.open();
  await refused;
  expect(await world.recorded()).toEqual(['inconclusive/deadline']);
});

describe('an asker who leaves once there was a look', () => {
  const STRANGER = { degrees: 45, seconds: 4 };
  const looked = ({ callId }: CallFacts, looks: number) =>
    expect.poll(async () => (await here.service.status('vapi', callId))?.looks).toBe(looks);

  /** Asks, and leaves after the caller has said `voice`. */
  async function askAndLeave(call: CallFacts, audio: ToyCall, voice: Voice) {
    const asker = new AbortController();
    const asking = ask(call, { signal: asker.signal });
    await claimed(call);
    await play(audio, voice);
    asker.abort();
    return decided(await asking);
  }

  it('has a failed attempt, and five of them lock', async () => {
    const config = { ...here.toys.verificationConfig, maxFailedAttempts: 5 };
    await here.service.close();
    here = new ToyProcess(world.store, world.calls, { parts: { config } });
    for (let i = 1; i <= 5; i++) {
      const { call, audio } = await openCall(here);
      expect(await askAndLeave(call, audio, STRANGER)).toMatchObject({ decision: 'reject', reason: 'no_match' });
      expect(await world.failedAttempts()).toBe(i);
      await here.service.end('vapi', call.callId);
    }
    expect(await here.toys.count('lockouts_total')).toBe(1);
    const { call } = await openCall(here);
    await expect(ask(call)).rejects.toMatchObject({ code: 'AccountLockedError' });
  });

  it('has one for what was said once, whoever asks next', async () => {
    const { call, audio } = await openCall(here);
    expect(await askAndLeave(call, audio, STRANGER)).toMatchObject({ decision: 'reject' });
    expect(decided(await ask(call, { deadlineMs: 300 }))).toMatchObject({ reason: 'insufficient_speech', looks: 0 });
    expect(await world.failedAttempts()).toBe(1);
    await play(audio, OWNER);
    expect(decided(await ask(call))).toMatchObject({ decision: 'accept' });
  });

  it('has one also where another process listens', async () => {
    const there = new ToyProcess(world.store, world.calls);
    try {
      neighbours(here, there);
      const { call, audio } = await openCall(here);
      const asker = new AbortController();
      const asking = there.service.verify(
        questionOf(call, { requestId: randomUUID(), userId: world.userId, signal: asker.signal }),
      );
      const refused = expect(asking).rejects.toMatchObject({ code: 'Timeout' });
      await claimed(call);
      await play(audio, STRANGER);
      asker.abort();
      await refused;
      await expect.poll(() => world.recorded()).toEqual(['reject/no_match']);
      expect(await world.failedAttempts()).toBe(1);
    } finally {
      await there.service.close();
    }
  });

  it('has one also in the middle of a sample', async () => {
    const { call, audio } = await openCall(here);
    const asker = new AbortController();
    const asking = here.service.enroll({
      call,
      requestId: randomUUID(),
      userId: world.userId,
      deadlineMs: 20_000,
      signal: asker.signal,
      consentReference: 'form 7',
      phone: undefined,
      identityProven: false,
      actor: 'vapi',
    });
    const refused = expect(asking).rejects.toMatchObject({ code: 'Timeout' });
    await claimed(call);
    await play(audio, { degrees: OWNER.degrees, seconds: 2.2 });
    await looked(call, 1);
    const owners = here.toys.embedder.windowsMs.length;
    // The rest of the sample is another's, and the look at it would go on.
    await play(audio, { degrees: 90, seconds: 1.2 });
    await expect.poll(() => here.toys.embedder.windowsMs.length).toBeGreaterThan(owners);
    asker.abort();
    await refused;
    expect(await world.recorded()).toEqual(['reject/no_match']);
    expect(await world.failedAttempts()).toBe(1);
  });

  it('has none when it is the server that gives up', async () => {
    const { call, audio } = await openCall(here);
    const asking = ask(call);
    await claimed(call);
    await play(audio, STRANGER);
    here.toys.shutdown.abort();
    expect(decided(await asking)).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
    expect(await world.failedAttempts()).toBe(0);
  });
});

describe('a fault of the detector', () => {
  it('before enough was said is the answer, once: the next question is about what is said from then on', async () => {
    const { call, audio } = await openCall(here);
    const asking = expect(ask(call)).rejects.toMatchObject({ code: 'InferenceUnavailable' });
    await claimed(call);
    here.toys.detector.failure = gone;
    await play(audio, A_WORD);
    await asking;
    here.toys.detector.failure = undefined;
    expect(decided(await ask(call, { deadlineMs: 300 })).decision).toBe('inconclusive');
    await play(audio, OWNER);
    expect(decided(await ask(call)).decision).toBe('accept');
  });

  it('is the answer to an enrollment that waits to hear more, though the call goes on in that very moment', async () => {
    const { call, audio } = await openCall(here);
    const findUser = vi.spyOn(world.store, 'findUser');
    const asking = expect(enroll(call, { userId: randomUUID() })).rejects.toMatchObject({ code: gone.code });
    // By question and by enrollment; then it listens.
    await expect.poll(() => findUser.mock.settledResults.filter(({ type }) => type === 'fulfilled').length).toBe(2);
    await settled();
    const { detector } = here.toys;
    detector.latch.close();
    detector.failure = gone;
    audio.say(A_WORD);
    await expect.poll(() => detector.latch.held).toBe(1);
    detector.latch.open();
    // Between the fault and whoever is told of it, and too little for another request.
    for (let turn = 0; turn < 20; turn++) {
      audio.say(A_WORD.subarray(0, 64));
      await undefined;
    }
    await settled();
    detector.failure = undefined;
    await play(audio, OWNER);
    await asking;
  });

  it('does not end the looks for whoever is claimed', async () => {
    const { call, audio } = await openCall(here);
    expect(decided(await ask(call, { deadlineMs: 300 })).decision).toBe('inconclusive');
    here.toys.detector.failure = gone;
    await play(audio, A_WORD);
    here.toys.detector.failure = undefined;
    expect(here.toys.embedder.windowsMs).toEqual([]);
    await play(audio, OWNER);
    expect(await here.service.status('vapi', call.callId)).toMatchObject({ claimed: true, looks: 1 });
  });
});

describe('a mix of caller and agent', () => {
  const MIX = { degrees: 30, seconds: 4 };

  it('is not listened to on where we dialled', async () => {
    const { call, audio } = await openCall(here);
    await play(audio, MIX, 'mixed');
    expect(decided(await ask(call))).toMatchObject({ decision: 'inconclusive', reason: 'mixed_audio' });
    expect(audio.stopped).toBe(true);
  });

  it('keeps its connection where the platform dialled us: its call may end with it', async () => {
    const ticket = await here.service.expect({
      platform: 'twilio',
      callId: undefined,
      userId: world.userId,
      callerNumber: undefined,
    });
    const audio = new ToyCall();
    expect(await here.service.admit({ platform: 'twilio', token: ticket.token, source: audio })).toBe(true);
    await audio.opened;
    await play(audio, MIX, 'mixed');
    const call = factsOf({ platform: 'twilio', callId: ticket.callId, listenUrl: undefined });
    expect(decided(await ask(call))).toMatchObject({ decision: 'inconclusive', reason: 'mixed_audio' });
    expect(audio.stopped).toBe(false);
  });
});
