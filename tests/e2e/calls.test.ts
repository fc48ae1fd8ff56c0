/**
 * The story of calls, black box: enrolled on one call, known on the next before anybody asks, and told late where the answer
 * could not wait. The calls are played by hand, so it is the tests that say how far into a call something is asked.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import { type HandToldCallOptions, openHandToldCall } from '../support/hand-told-call.js';
import { type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { TOLD_CALLS_ENVIRONMENT, ToldCall } from '../support/told-calls.js';
import { VOICE_RATE_HZ, type VoiceFile, voicePath, voiceSamples } from '../support/voices.js';

const ALICE_PHONE = '+14155550181';
const NEW_PHONE = '+14155550182';
const SHARED_PHONE = '+14155550183';
const NOBODYS_PHONE = '+14155550184';
const CAROL_PHONE = '+14155550185';
const CONTROL_SECRET = 'secret-control';
const phones = [ALICE_PHONE, CAROL_PHONE, NEW_PHONE, SHARED_PHONE, NOBODYS_PHONE];
const ACCEPT = { decision: 'accept', reason: 'match' };
/** Seconds that VAPI gives a tool call that is to be answered before the caller has said enough. */
const HURRIED = { variant: { toolTimeoutSeconds: 1 } };

const [alice, carol, dave, housemate] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
const cleanups: (() => Promise<unknown>)[] = [];
/** What was put into running calls through their control URLs. */
const controls: Json[] = [];
let service: LocalService;
let control: Server;
let controlUrl: string;

beforeAll(async () => {
  service = await startLocalService(
    { ...TOLD_CALLS_ENVIRONMENT, VAPI_LATE_VERDICT: 'message', CALL_ENROLL_NEW_NUMBERS: 'true' },
    { secrets: [...phones, ...phones.map((phone) => phone.slice(1)), 'hand-played', CONTROL_SECRET] },
  );
  control = createServer(async (request, response) => {
    controls.push({ path: request.url, ...(JSON.parse(await text(request)) as Json) });
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(control, 'listening');
  controlUrl = `http://127.0.0.1:${(control.address() as AddressInfo).port}/${CONTROL_SECRET}`;
  const enroll = (voice: VoiceFile, user_id: string, phone: string) =>
    service.client.upload('/api/v1/enroll', voicePath(voice), { user_id, phone });
  await enroll('alice-enroll', alice, ALICE_PHONE);
  await enroll('carol-enroll', carol, CAROL_PHONE);
  await enroll('dave-enroll', dave, SHARED_PHONE);
  await enroll('alice-enroll', housemate, SHARED_PHONE);
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(async () => {
  control?.closeAllConnections();
  control?.close();
  await service?.close();
});

/** A call in progress that the service listens to. */
function startCall(callId: string, callerNumber: string, options: Partial<HandToldCallOptions> = {}) {
  return openHandToldCall(service, { callId, callerNumber, ...options, cleanups });
}

/** A recording from second to second. */
function spoken(voice: VoiceFile, fromSeconds: number, toSeconds: number): Float32Array {
  return voiceSamples(voice).subarray(fromSeconds * VOICE_RATE_HZ, toSeconds * VOICE_RATE_HZ);
}

async function metrics(): Promise<(name: string, labels?: string) => number> {
  const page = await (await fetch(`${service.server.url}/metrics`)).text();
  return (name, labels) => metricSum(page, name, labels);
}

async function embeddings(): Promise<number> {
  return (await metrics())('voice_auth_inference_seconds_count', 'model="speaker"');
}

describe('a caller who is enrolled', () => {
  it('is known before anybody asks: the question costs no look and no inference', async () => {
    const { audio, call } = await startCall('known-before', CAROL_PHONE);
    // Her first two seconds decide; the rest is thrown away unheard.
    audio.say(spoken('carol-call-1', 0, 6));
    await expect.poll(async () => (await call.status()).looks).toBe(1);
    const embedded = await embeddings();
    const result = await call.verify();
    expect(result).toMatchObject({ ...ACCEPT, user_id: carol, additional_factor_required: true });
    expect(result.audio_seconds).toBeLessThan(6);
    expect(await embeddings()).toBe(embedded);
    expect(await call.attempts(carol)).toMatchObject([{ ...ACCEPT, id: result.attempt_id, looks: 1 }]);
    await call.end();
  });

  it('is told apart from somebody who calls from the same number', async () => {
    const { audio, call } = await startCall('somebody-else', ALICE_PHONE);
    audio.say(spoken('bob-call-1', 0, 6));
    audio.hangUp();
    const result = await call.verify();
    expect(result).toMatchObject({ decision: 'reject', reason: 'no_match', user_id: alice });
    expect(await call.attempts(alice)).toMatchObject([{ decision: 'reject', id: result.attempt_id }]);
    await call.end();
  });

  it('is followed by call_status from the first word to the end', async () => {
    const unheard = new ToldCall(service, { callId: 'followed-call', callerNumber: ALICE_PHONE });
    expect(await unheard.tool('call_status')).toEqual({ state: 'unknown_call' });
    const { audio, call } = await startCall('followed-call', ALICE_PHONE);
    await expect.poll(() => call.tool('call_status')).toMatchObject({ state: 'listening', claimed: true, looks: 0 });
    audio.say(spoken('alice-call-2', 0, 5));
    await expect.poll(async () => (await call.tool('call_status')).looks).toBeGreaterThan(0);
    expect((await call.tool('call_status')).net_speech_seconds).toBeGreaterThanOrEqual(2);
    expect(await call.status()).toMatchObject({ platform: 'vapi', call_id: 'followed-call', state: 'listening' });
    await call.end();
    expect(await call.tool('call_status')).toMatchObject({ state: 'ended', claimed: true });
    await expect.poll(() => audio.listeners).toBe(0);
  });

  it('gets one answer and one attempt, however often an event is delivered', async () => {
    const { audio, call } = await startCall('delivered-twice', ALICE_PHONE, { variant: { deliveries: 2 } });
    audio.say(spoken('alice-call-1', 0, 6));
    const [first, second] = await call.deliveries('verify_caller', { id: 'the-same' });
    expect(first).toMatchObject(ACCEPT);
    expect(second).toEqual(first);
    expect(await call.verify({ id: 'the-same' })).toEqual(first);
    expect(audio.connections).toBe(1);
    expect(await call.attempts(alice)).toHaveLength(1);
    // Another question is another attempt.
    audio.say(spoken('alice-call-1', 6, 11));
    expect((await call.verify({ id: 'another' })).attempt_id).not.toBe(first?.attempt_id);
    expect(await call.attempts(alice)).toHaveLength(2);
    await call.end();
  });
});

describe('a caller whom nobody knows', () => {
  it('is enrolled with consent only, and known by number on the next call', async () => {
    const first = await startCall('enrolling-call', NEW_PHONE);
    first.audio.say(spoken('bob-enroll', 0, 6));
    expect(await first.call.verify()).toMatchObject({ decision: 'inconclusive', reason: 'unknown_caller' });
    for (const args of [undefined, { consent: false }, { consent: 'maybe' }]) {
      const asked = args === undefined ? {} : { arguments: args };
      expect(await first.call.tool('enroll_caller', asked)).toEqual({
        status: 'not_enrolled',
        reason: 'consent_required',
      });
    }
    expect(await first.call.verify()).toMatchObject({ reason: 'unknown_caller' });
    const enrolling = first.call.tool('enroll_caller', { id: 'enroll-once', arguments: { consent: true } });
    first.audio.say(spoken('bob-enroll', 6, 12));
    const enrolled = await enrolling;
    expect(enrolled).toMatchObject({ status: 'enrolled', samples: 1, score: 1 });
    // Delivered again, it adds no second sample.
    const again = await first.call.tool('enroll_caller', { id: 'enroll-once', arguments: { consent: true } });
    expect(again).toEqual(enrolled);
    const status = await service.client.get(`/api/v1/users/${String(enrolled.user_id)}/status`);
    expect(status).toMatchObject({ enrolled: true, samples: 1 });
    await first.call.end();

    const second = await startCall('second-call', NEW_PHONE);
    second.audio.say(spoken('bob-call-1', 0, 6));
    const asking = second.call.verify();
    await expect.poll(async () => (await second.call.status()).looks).toBeGreaterThan(0);
    second.audio.say(spoken('bob-call-1', 6, 11));
    expect(await asking).toMatchObject({ ...ACCEPT, user_id: enrolled.user_id });
    await second.call.end();
  });

  it('is unknown, and so is a number that two people share, until somebody is named', async () => {
    const unknown = await startCall('unknown-number', NOBODYS_PHONE);
    unknown.audio.say(spoken('alice-call-1', 0, 6));
    expect(await unknown.call.verify()).toMatchObject({ decision: 'inconclusive', reason: 'unknown_caller' });
    expect(await unknown.call.verify({ arguments: { userId: alice } })).toMatchObject({ ...ACCEPT, user_id: alice });
    await unknown.call.end();

    const shared = await startCall('shared-number', SHARED_PHONE);
    shared.audio.say(spoken('dave-call-1', 0, 6));
    expect(await shared.call.verify()).toMatchObject({ decision: 'inconclusive', reason: 'ambiguous_caller' });
    expect(await shared.call.attempts(housemate)).toEqual([]);
    expect(await shared.call.attempts(dave)).toEqual([]);
    expect(await shared.call.tool('enroll_caller', { arguments: { consent: true } })).toMatchObject({
      reason: 'ambiguous_caller',
    });
    const asking = shared.call.verify({ arguments: { userId: dave } });
    await expect.poll(async () => (await shared.call.status()).looks).toBeGreaterThan(0);
    shared.audio.say(spoken('dave-call-1', 6, 11));
    expect(await asking).toMatchObject({ ...ACCEPT, user_id: dave });
    await shared.call.end();
  });
});

describe('a verdict that comes late', () => {
  it('is put into the call through its control URL, once', async () => {
    controls.length = 0;
    const { audio, call } = await startCall('late-verdict', ALICE_PHONE, { ...HURRIED, controlUrl });
    const first = await call.verify({ id: 'hurried' });
    expect(first).toMatchObject({ decision: 'inconclusive', verdict_follows: true });
    expect(await call.verify({ id: 'hurried' })).toMatchObject({ attempt_id: first.attempt_id });
    expect(controls).toEqual([]);
    audio.say(spoken('alice-call-1', 0, 6));
    await expect.poll(() => controls.length).toBe(1);
    const told = controls[0]!;
    expect(told).toMatchObject({ path: `/${CONTROL_SECRET}`, type: 'add-message', message: { role: 'system' } });
    const { content } = told.message as { content: string };
    const late = JSON.parse(content.slice(content.indexOf('{'))) as Json;
    expect(late).toMatchObject({ ...ACCEPT, user_id: alice });
    expect(await call.attempts(alice)).toMatchObject([
      { ...ACCEPT, id: late.attempt_id },
      { decision: 'inconclusive', id: first.attempt_id },
    ]);
    await call.end();
    expect((await metrics())('voice_auth_tool_calls_total', 'outcome="delivered"')).toBe(1);
    expect(controls).toHaveLength(1);
  });

  it('is not told to a call that is over', async () => {
    controls.length = 0;
    const { call } = await startCall('late-and-over', ALICE_PHONE, { ...HURRIED, controlUrl });
    expect(await call.verify()).toMatchObject({ decision: 'inconclusive', verdict_follows: true });
    await call.end();
    await expect
      .poll(async () => (await metrics())('voice_auth_tool_calls_total', 'tool="late_verdict",outcome="stopped"'))
      .toBe(1);
    expect(controls).toEqual([]);
  });
});
