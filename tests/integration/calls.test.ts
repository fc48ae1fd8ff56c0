/** Running calls on the real database: listened to from their start, asked about later, here or in another process. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CallVerificationAnswer } from '../../src/domain/calls/calls.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { TimerWheel } from '../../src/domain/timing/timer-wheel.js';
import { deferred } from '../support/deferred.js';
import { HandClock } from '../support/hand-clock.js';
import { ToyCall } from '../support/toy-calls.js';
import {
  dialled,
  factsOf,
  neighbours,
  openCall,
  questionOf,
  ToyProcess,
  type ToyProcessOptions,
} from '../support/toy-calls-service.js';
import { settled, toySilence, toySpeech } from '../support/toy-models.js';
import { play, replacing } from '../support/toy-service.js';
import { toyWorld } from '../support/toy-world.js';

const OWNER = { degrees: 1, seconds: 4 };
const STRANGER = { degrees: 45, seconds: 4 };

const world = toyWorld();
const processes: ToyProcess[] = [];
let number: string;

function startProcess(options: ToyProcessOptions = {}): ToyProcess {
  const started = new ToyProcess(world.store, world.calls, options);
  processes.push(started);
  return started;
}

function decided(answer: CallVerificationAnswer) {
  if (answer.kind !== 'decided') throw new Error(`the answer is ${answer.kind}`);
  return answer.result;
}

/** Until this process has heard so much speech of a call. */
async function heard(process: ToyProcess, callId: string, netSpeechMs: number): Promise<void> {
  await expect
    .poll(async () => (await process.service.status('vapi', callId))?.netSpeechMs ?? 0)
    .toBeGreaterThanOrEqual(netSpeechMs);
}

/** Until looks are taken for the owner of the number. */
async function expected(process: ToyProcess, callId: string): Promise<void> {
  await expect.poll(async () => (await process.service.status('vapi', callId))?.claimed).toBe(true);
}

beforeEach(async () => {
  number = `+1${randomUUID().replaceAll(/\D/g, '').padEnd(10, '7').slice(0, 10)}`;
  await world.service.enroll(world.userId, { degrees: 0, seconds: 5 }, { phone: number });
});
afterEach(async () => {
  for (const { service } of processes.splice(0)) await service.close();
});

describe('a call that is listened to from its start', () => {
  it('has the answer before it is asked, for the owner of the number', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, { callerNumber: number });
    await expected(here, call.callId);
    await play(audio, OWNER);
    const asked = here.toys.embedder.windowsMs.length;
    const answer = await here.service.verify(questionOf(call));
    expect(answer).toMatchObject({ kind: 'decided', userId: world.userId });
    expect(decided(answer)).toMatchObject({ decision: 'accept', reason: 'match', looks: 1, threshold: 0.82 });
    expect(asked).toBe(1);
    // Nothing was left to be computed.
    expect(here.toys.embedder.windowsMs.length).toBe(asked);
    const [row] = await world.history();
    expect(row).toMatchObject({
      source: 'vapi',
      callId: call.callId,
      decision: 'accept',
      correlationId: call.correlationId,
    });
  });

  it('rests once it knows, and hears on when somebody else is claimed', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, { callerNumber: number });
    await expected(here, call.callId);
    await play(audio, OWNER);
    const heardMs = async () => (await here.service.status('vapi', call.callId))?.netSpeechMs ?? 0;
    const before = await heardMs();
    expect(before).toBeLessThan(3000);
    const other = randomUUID();
    await world.service.enroll(other, { degrees: 120, seconds: 5 });
    const asking = here.service.verify(questionOf(call, { userId: other }));
    const speakOn = async () => {
      await play(audio, { degrees: 1, seconds: 1 });
      return heardMs();
    };
    // What is said before the claim is made is thrown away.
    await expect.poll(speakOn).toBeGreaterThan(before);
    await play(audio, { degrees: 1, seconds: 9 });
    expect(decided(await asking)).toMatchObject({ decision: 'reject', reason: 'no_match' });
    // What had been said before is not embedded twice.
    expect(here.toys.embedder.windowsMs.filter((ms) => ms === before)).toHaveLength(1);
  });

  it('says where the speech ended that it was answered from, when all of it was said before', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here);
    await play(audio, { degrees: 1, seconds: 8 });
    const result = decided(await here.service.verify(questionOf(call, { userId: world.userId })));
    expect(result).toMatchObject({ decision: 'accept', looks: 1 });
    expect(result.netSpeechMs).toBeGreaterThan(7000);
    expect(result.audioMs).toBeGreaterThanOrEqual(result.netSpeechMs);
  });

  it('waits for speech when it is asked early, and answers the moment it knows', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here);
    const asking = here.service.verify(questionOf(call, { userId: world.userId }));
    await play(audio, OWNER);
    const result = decided(await asking);
    expect(result).toMatchObject({ decision: 'accept', looks: 1 });
    expect(result.audioMs).toBeGreaterThan(0);
    expect(audio.stopped).toBe(false);
  });

  it('answers at the deadline with what is known', async () => {
    const here = startProcess();
    const { call: quiet } = await openCall(here);
    const { call: little, audio } = await openCall(here);
    await play(audio, { degrees: 1, seconds: 1 });
    const limits = { userId: world.userId, deadlineMs: 300 };
    expect(decided(await here.service.verify(questionOf(quiet, limits)))).toMatchObject({
      decision: 'inconclusive',
      reason: 'no_caller_audio',
    });
    expect(decided(await here.service.verify(questionOf(little, limits)))).toMatchObject({
      decision: 'inconclusive',
      reason: 'insufficient_speech',
    });
    expect(await world.recorded()).toEqual(['inconclusive/insufficient_speech', 'inconclusive/no_caller_audio']);
    expect(await world.failedAttempts()).toBe(0);
  });

  it('goes on after an inconclusive answer', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, { callerNumber: number });
    await play(audio, { degrees: 1, seconds: 1 });
    expect(decided(await here.service.verify(questionOf(call, { deadlineMs: 300 }))).decision).toBe('inconclusive');
    await play(audio, { degrees: 1, seconds: 2 });
    expect(decided(await here.service.verify(questionOf(call, { requestId: 'tool-2' })))).toMatchObject({
      decision: 'accept',
      looks: 1,
    });
  });

  it('says who cannot be told apart', async () => {
    const here = startProcess();
    const unknown = factsOf({ callerNumber: '+14155550000' });
    await here.service.begin(unknown);
    expect(await here.service.verify(questionOf(unknown))).toEqual({ kind: 'unknown_caller' });
    expect(await here.service.verify(questionOf(factsOf()))).toEqual({ kind: 'unknown_caller' });
    await world.service.enroll(randomUUID(), { degrees: 90, seconds: 5 }, { phone: number });
    expect(await here.service.verify(questionOf(factsOf({ callerNumber: number })))).toEqual({
      kind: 'ambiguous_caller',
    });
  });

  it('keeps the claim with a stricter threshold, and refuses a laxer one', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, { callerNumber: number });
    await play(audio, OWNER);
    const strict = await here.service.verify(questionOf(call, { threshold: 0.9 }));
    expect(decided(strict)).toMatchObject({ decision: 'accept', threshold: 0.9 });
    await expect(here.service.verify(questionOf(call, { requestId: 'lax', threshold: 0.5 }))).rejects.toMatchObject({
      code: 'ValidationError',
    });
  });

  it('never takes mixed audio, a silent caller or the agent alone for somebody', async () => {
    const here = startProcess();
    for (const [track, reason] of [
      ['mixed', 'mixed_audio'],
      ['agent', 'no_caller_audio'],
    ] as const) {
      const { call, audio } = await openCall(here, { callerNumber: number });
      const asking = here.service.verify(questionOf(call, { deadlineMs: 400 }));
      for (let second = 0; second < 4 && !audio.stopped; second++) {
        audio.say(toySpeech(30, 32), track);
        await settled();
      }
      expect(decided(await asking), track).toMatchObject({ decision: 'inconclusive', reason });
    }
  });
});

describe('the same question', () => {
  it('gets the same answer, at the same time and later, and is one attempt', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, { callerNumber: number });
    const both = [here.service.verify(questionOf(call)), here.service.verify(questionOf(call))];
    await play(audio, OWNER);
    const [one, two] = await Promise.all(both);
    expect(two).toEqual(one);
    await play(audio, STRANGER);
    expect(await here.service.verify(questionOf(call))).toEqual(one);
    expect(await world.recorded()).toEqual(['accept/match']);
    expect(decided(await here.service.verify(questionOf(call, { requestId: 'tool-2' }))).attemptId).not.toBe(
      decided(one as CallVerificationAnswer).attemptId,
    );
  });

  it('is asked again after an error, and then answered', async () => {
    const here = startProcess();
    here.next.push(new ToyCall(false), new ToyCall());
    const { call, audio } = await openCall(here, { callerNumber: number });
    audio.refuse();
    await settled();
    // The event of the question names the URL again, so it is dialled again.
    const asking = here.service.verify(questionOf(call));
    await play(await dialled(here, 2), OWNER);
    expect(decided(await asking).decision).toBe('accept');
  });

  it('is an error, and no attempt, when the call cannot be listened to', async () => {
    const here = startProcess();
    here.next.push(new ToyCall(false), new ToyCall(false));
    const { call, audio } = await openCall(here, { callerNumber: number });
    audio.refuse();
    const asking = here.service.verify(questionOf(call));
    (await dialled(here, 2)).refuse();
    await expect(asking).rejects.toMatchObject({ code: 'ListenConnectionError' });
    await expect(here.service.verify(questionOf(factsOf({ listenUrl: undefined })))).rejects.toMatchObject({
      code: 'CallNotFoundError',
    });
    expect(await world.recorded()).toEqual([]);
  });
});

describe('the audio of a call', () => {
  it('is connected to again when it broke off, and what was heard before counts', async () => {
    const here = startProcess();
    const { call, audio: first } = await openCall(here, { callerNumber: number });
    await play(first, { degrees: 1, seconds: 1.5 });
    first.end({ kind: 'lost' });
    const asking = here.service.verify(questionOf(call));
    await play(await dialled(here, 2), { degrees: 1, seconds: 1.2 });
    const result = decided(await asking);
    expect(result).toMatchObject({ decision: 'accept', looks: 1 });
    expect(result.netSpeechMs).toBeGreaterThan(1900);
    // All of it was speech.
    expect(result.audioMs).toBeGreaterThanOrEqual(result.netSpeechMs);
  });

  it('that failed long ago without the end of the call is dialled again when an event says where', async () => {
    const clock = new HandClock();
    const here = startProcess({ parts: { timers: new TimerWheel({ clock }) } });
    const { call, audio } = await openCall(here, { callerNumber: number });
    await play(audio, { degrees: 1, seconds: 1 });
    audio.end({ kind: 'failed', error: new VoiceAuthError('ListenConnectionError', 'The listen socket broke') });
    await expect.poll(() => here.toys.count('call_sessions_ended_total', { end: 'failed' })).toBe(1);
    clock.advance(121_000);
    await expect.poll(async () => (await here.service.status('vapi', call.callId))?.state).toBe('lost');
    expect([here.service.active, await here.toys.count('call_sessions')]).toEqual([0, 0]);
    const asking = here.service.verify(questionOf(call));
    await play(await dialled(here, 2), OWNER);
    expect(decided(await asking)).toMatchObject({ decision: 'accept' });
  });

  it('that ends leaves a caller who hung up, or a decision from what was said', async () => {
    const here = startProcess();
    const { call: short, audio: first } = await openCall(here, { callerNumber: number });
    await play(first, { degrees: 1, seconds: 1 });
    await here.service.end('vapi', short.callId);
    first.end({ kind: 'stopped' });
    expect(decided(await here.service.verify(questionOf(short)))).toMatchObject({
      decision: 'inconclusive',
      reason: 'caller_hung_up',
    });
    const { call: long, audio: second } = await openCall(here, { callerNumber: number });
    await expected(here, long.callId);
    await play(second, { degrees: 20, seconds: 4.5 });
    await here.service.end('vapi', long.callId);
    second.end({ kind: 'stopped' });
    expect(decided(await here.service.verify(questionOf(long)))).toMatchObject({ decision: 'accept', looks: 4 });
    expect(await here.service.status('vapi', long.callId)).toMatchObject({ state: 'ended' });
    // An event of a call that has ended does not dial it again.
    await here.service.begin(long);
    expect(here.dialled.length).toBe(2);
  });

  it('that ends while the detector is too busy leaves what was judged before', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, { callerNumber: number });
    await expected(here, call.callId);
    await play(audio, { degrees: 20, seconds: 4.5 });
    const { detector } = here.toys;
    const judged = detector.requests.length;
    detector.failure = new VoiceAuthError('Busy', 'Too many requests wait');
    audio.say(toySpeech(20, 4));
    await here.service.end('vapi', call.callId);
    audio.end({ kind: 'stopped' });
    await expect.poll(() => detector.requests.length).toBeGreaterThan(judged);
    await settled();
    detector.failure = undefined;
    expect(decided(await here.service.verify(questionOf(call)))).toMatchObject({ decision: 'accept', looks: 4 });
    expect(await here.toys.count('audio_frames_dropped_total', { cause: 'backlog' })).toBeGreaterThan(0);
  });

  it('is heard no further than a verification may use', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here);
    await play(audio, { degrees: 1, seconds: 14 });
    expect((await here.service.status('vapi', call.callId))?.netSpeechMs).toBeLessThan(12_100);
    expect(decided(await here.service.verify(questionOf(call, { userId: world.userId }))).decision).toBe('accept');
    expect([here.dialled.length, audio.stopped]).toEqual([1, false]);
  });
});

describe('enrolling from a call', () => {
  const enrolling = (call: ReturnType<typeof factsOf>, userId?: string) => ({
    ...questionOf(call, { requestId: 'enroll-1' }),
    userId,
    consentReference: `vapi:${call.callId}`,
    phone: undefined,
    identityProven: false,
    actor: 'vapi',
  });

  it('makes a voiceprint for a new caller, who is then known by number', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, {
      callerNumber: `+1415${randomUUID().replaceAll(/\D/g, '').padEnd(7, '3').slice(0, 7)}`,
    });
    const asking = here.service.enroll(enrolling(call));
    await play(audio, { degrees: 60, seconds: 4 });
    const answer = await asking;
    expect(answer).toMatchObject({ kind: 'enrolled', result: { score: 1, samples: 1, modelId: 'toy-2d' } });
    expect(await here.service.enroll(enrolling(call))).toEqual(answer);
    if (answer.kind !== 'enrolled') throw new Error('not enrolled');
    const user = await world.store.findUser(answer.userId);
    expect(user).toMatchObject({ phone: call.callerNumber, voiceprint: { sampleCount: 1 } });
    await world.store.eraseUser(answer.userId, { correlationId: 'erase-0003', actor: 'test' });
  });

  it('writes nothing when too little is said in time, or caller and agent are mixed', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here);
    await play(audio, { degrees: 60, seconds: 1 });
    const userId = randomUUID();
    await expect(here.service.enroll({ ...enrolling(call, userId), deadlineMs: 400 })).rejects.toMatchObject({
      code: 'AudioProcessingError',
    });
    expect(await world.store.findUser(userId)).toBeUndefined();
  });
});

describe('two processes', () => {
  it('answer alike: the one that is asked lets the one that listens answer', async () => {
    const [here, there] = [startProcess(), startProcess()];
    neighbours(here, there);
    const { call, audio } = await openCall(there, { callerNumber: number });
    await here.service.begin(call);
    expect(here.dialled).toEqual([]);
    const asking = here.service.verify(questionOf(call));
    await play(audio, OWNER);
    const answer = await asking;
    expect(decided(answer)).toMatchObject({ decision: 'accept', looks: 1 });
    expect(await there.service.verify(questionOf(call))).toEqual(answer);
    expect(here.toys.embedder.windowsMs).toEqual([]);
    expect(await world.recorded()).toEqual(['accept/match']);
  });

  it('pass on errors, too', async () => {
    const [here, there] = [startProcess(), startProcess()];
    neighbours(here, there);
    const { call } = await openCall(there);
    await expect(here.service.verify(questionOf(call, { userId: randomUUID() }))).rejects.toMatchObject({
      code: 'UserNotFoundError',
    });
  });

  it('end a call for each other', async () => {
    const [here, there] = [startProcess(), startProcess()];
    neighbours(here, there);
    const { call, audio } = await openCall(there, { callerNumber: number });
    await here.service.end('vapi', call.callId);
    await expect.poll(() => audio.stopped).toBe(true);
    audio.end({ kind: 'stopped' });
    expect(await here.service.status('vapi', call.callId)).toMatchObject({ state: 'ended' });
  });

  it('take over from one that has died, with the next event of the call, even in the middle of a question', async () => {
    const [here, there] = [startProcess(), startProcess({ calls: { leaseMs: 1 } })];
    const call = factsOf({ callerNumber: number });
    // Its lease ends at once and it never renews: as good as dead.
    await there.service.begin(call);
    await dialled(there);
    const asking = here.service.verify(questionOf(call));
    await play(await dialled(here), OWNER);
    expect(decided(await asking)).toMatchObject({ decision: 'accept' });
    expect(await here.toys.count('call_takeovers_total')).toBe(1);
    await expect.poll(() => there.service.active).toBe(0);
  });

  it('take over from one that has shut down in order, at once', async () => {
    const [here, there] = [startProcess(), startProcess()];
    const { call } = await openCall(there, { callerNumber: number });
    await there.service.close();
    await here.service.begin(call);
    await play(await dialled(here), OWNER);
    expect(decided(await here.service.verify(questionOf(call))).decision).toBe('accept');
    expect(await here.toys.count('call_takeovers_total')).toBe(0);
  });
});

describe('questions that wait for a process that shuts down', () => {
  it('are all answered by the one that was asked, which takes the call over with the first of them', async () => {
    const [here, there] = [startProcess(), startProcess()];
    neighbours(here, there);
    const { call } = await openCall(there);
    const other = randomUUID();
    await world.service.enroll(other, { degrees: 2, seconds: 5 });
    const asked = [world.userId, other].map((userId) =>
      here.service.verify(questionOf(call, { userId, requestId: `about ${userId}`, deadlineMs: 8_000 })),
    );
    const both = Promise.all(asked);
    await expect.poll(async () => (await there.service.status('vapi', call.callId))?.claimed).toBe(true);
    await settled();
    await there.service.close();
    const audio = await dialled(here);
    await play(audio, OWNER);
    await play(audio, OWNER);
    for (const answer of await both) expect(decided(answer).decision).toBe('accept');
  });
});

describe('when things go wrong', () => {
  it('a database that is away for a while costs time, not the answer', async () => {
    let away = 3;
    const flaky = replacing(world.calls, {
      askCall: (asking) =>
        away-- > 0 ? Promise.reject(new VoiceAuthError('DatabaseUnavailable', 'away')) : world.calls.askCall(asking),
    });
    const here = startProcess({ parts: { callStore: flaky } });
    const call = factsOf({ callerNumber: number });
    const asking = here.service.verify(questionOf(call));
    await play(await dialled(here), OWNER);
    expect(decided(await asking).decision).toBe('accept');
  });

  it('a database that stays away is an error and nothing is accepted', async () => {
    const down = () => Promise.reject(new VoiceAuthError('DatabaseUnavailable', 'away'));
    const here = startProcess({ parts: { store: replacing(world.store, { recordAttempt: down }) } });
    const { call, audio } = await openCall(here, { callerNumber: number });
    await play(audio, OWNER);
    await expect(here.service.verify(questionOf(call, { deadlineMs: 800 }))).rejects.toMatchObject({
      code: 'DatabaseUnavailable',
    });
    expect(await world.recorded()).toEqual([]);
  });

  it('a shutdown in the middle says deadline, and that is recorded', async () => {
    const here = startProcess();
    const { call } = await openCall(here, { callerNumber: number });
    const asking = here.service.verify(questionOf(call));
    await expect.poll(async () => (await world.calls.callRequest(call, 'tool-1', 'nobody')).alive).toBe(true);
    await settled();
    here.toys.shutdown.abort();
    expect(decided(await asking)).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
    expect(await world.recorded()).toEqual(['inconclusive/deadline']);
  });

  it('an asker who has left gets no accept on record', async () => {
    const here = startProcess();
    const { call } = await openCall(here, { callerNumber: number });
    const asker = new AbortController();
    const asking = here.service.verify(questionOf(call, { signal: asker.signal }));
    await settled();
    asker.abort();
    expect(decided(await asking)).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
  });

  it('too many calls are refused, and ended ones make room', async () => {
    const here = startProcess();
    const calls = Array.from({ length: 4 }, () => factsOf());
    for (const call of calls) await here.service.begin(call);
    await expect(here.service.begin(factsOf())).rejects.toMatchObject({ code: 'Busy' });
    expect(await here.toys.count('call_sessions')).toBe(4);
    await here.service.end('vapi', calls[0]!.callId);
    await here.service.begin(factsOf());
    expect(await here.toys.count('call_sessions')).toBe(4);
  });

  it('a URL that may not be dialled is refused before anything is written', async () => {
    const refuse = () => {
      throw new VoiceAuthError('ValidationError', 'listenUrl: must name a public host');
    };
    const here = startProcess({ parts: { sources: { vapiListen: refuse } } });
    const call = factsOf();
    await expect(here.service.begin(call)).rejects.toMatchObject({ code: 'ValidationError' });
    expect(await here.service.status('vapi', call.callId)).toBeUndefined();
  });

  it('a faulty detector or embedder is an error, and the next question is looked at anew', async () => {
    const here = startProcess();
    const { call, audio } = await openCall(here, { callerNumber: number });
    here.toys.embedder.failure = new VoiceAuthError('InferenceUnavailable', 'gone');
    await play(audio, OWNER);
    await expect(here.service.verify(questionOf(call))).rejects.toMatchObject({ code: 'InferenceUnavailable' });
    here.toys.embedder.failure = undefined;
    expect(decided(await here.service.verify(questionOf(call))).decision).toBe('accept');
  });
});

describe('a stream that dials us', () => {
  it('is expected, let in once, and asked about by the call id it was given', async () => {
    const here = startProcess();
    const ticket = await here.service.expect({
      platform: 'twilio',
      callId: undefined,
      userId: world.userId,
      callerNumber: undefined,
    });
    const call = factsOf({ platform: 'twilio', callId: ticket.callId, listenUrl: undefined });
    // Asked before the stream is there, and waits for it.
    const asking = here.service.verify(questionOf(call));
    const audio = new ToyCall();
    expect(await here.service.admit({ platform: 'plivo', token: ticket.token, source: audio })).toBe(false);
    expect(await here.service.admit({ platform: 'twilio', token: ticket.token, source: audio })).toBe(true);
    expect(await here.service.admit({ platform: 'twilio', token: ticket.token, source: new ToyCall() })).toBe(false);
    await audio.opened;
    await settled();
    await play(audio, OWNER);
    expect(decided(await asking)).toMatchObject({ decision: 'accept' });
    audio.end();
    await expect.poll(async () => (await here.service.status('twilio', ticket.callId))?.state).toBe('ended');
    expect((await world.history())[0]).toMatchObject({ source: 'twilio', callId: ticket.callId });
  });

  it('with a token that was not issued here is refused without asking the database', async () => {
    const asked: string[] = [];
    const callStore = replacing(world.calls, {
      redeemStream: async ({ token }: { readonly token: string }) => {
        asked.push(token);
        return undefined;
      },
    });
    const here = startProcess({ parts: { callStore } });
    const issued = { platform: 'telnyx', callId: undefined, userId: undefined, correlationId: 'expect-0002' } as const;
    const { token } = await here.service.expect({ ...issued, callerNumber: undefined });
    for (const other of ['', 'x', token.slice(1), `${token}A`, `.${token.slice(1)}`, `${token}\n`]) {
      expect(await here.service.admit({ platform: 'telnyx', token: other, source: new ToyCall() })).toBe(false);
    }
    expect(asked).toEqual([]);
    await here.service.admit({ platform: 'telnyx', token, source: new ToyCall() });
    expect(asked).toEqual([token]);
  });

  it("for which there is no room any more is refused, and its call is nobody's", async () => {
    const redeeming = deferred<void>();
    const going = deferred<void>();
    const callStore = replacing(world.calls, {
      async redeemStream(...about) {
        redeeming.resolve();
        await going.promise;
        return world.calls.redeemStream(...about);
      },
    });
    const here = startProcess({ calls: { maxSessions: 1 }, parts: { callStore } });
    const expecting = { platform: 'twilio', callId: undefined, userId: world.userId, callerNumber: undefined } as const;
    const { callId, token } = await here.service.expect(expecting);
    const admitting = here.service.admit({ platform: 'twilio', token, source: new ToyCall() });
    const refused = expect(admitting).rejects.toMatchObject({ code: 'Busy' });
    await redeeming.promise;
    await openCall(here);
    going.resolve();
    await refused;
    expect((await here.service.status('twilio', callId))?.state).toBe('lost');
  });

  it('that never comes is an error at the deadline', async () => {
    const here = startProcess();
    const { callId } = await here.service.expect({
      platform: 'telnyx',
      callId: `expected-${randomUUID()}`,
      userId: world.userId,
      callerNumber: undefined,
    });
    const call = factsOf({ platform: 'telnyx', callId, listenUrl: undefined });
    await expect(here.service.verify(questionOf(call, { deadlineMs: 400 }))).rejects.toMatchObject({
      code: 'CallNotFoundError',
    });
    expect(await world.recorded()).toEqual([]);
  });
});

it('hears nothing in silence', async () => {
  const here = startProcess();
  const { call, audio } = await openCall(here, { callerNumber: number });
  await play(audio, toySilence(100));
  await heard(here, call.callId, 0);
  expect(decided(await here.service.verify(questionOf(call, { deadlineMs: 300 }))).decision).toBe('inconclusive');
});
