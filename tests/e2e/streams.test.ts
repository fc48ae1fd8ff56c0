/** Calls of platforms that dial the service, black box: a stream is expected, comes with its token, and is asked about. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import type { StreamPlatform } from '../../src/domain/calls/calls.js';
import { startStreamCall } from '../../src/telephony/simulator/stream-caller.js';
import type { StreamVariant } from '../../src/telephony/simulator/stream-variants.js';
import { type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

const PHONE = '+14155550192';
const PLATFORMS: readonly StreamPlatform[] = ['twilio', 'telnyx', 'plivo', 'vapi_transcriber'];
const TWILIO_AUTH_TOKEN = 'the-twilio-5ecret';
/** The keys that the simulated caller presses. */
const KEYS = '7351';
const ACCEPT = { success: true, decision: 'accept', reason: 'match' };

const userId = randomUUID();
const audio = { caller: voiceSamples('alice-call-1'), agent: voiceSamples('agent'), sampleRateHz: VOICE_RATE_HZ };
const impostor = { ...audio, caller: voiceSamples('bob-call-1') };
const agentOnly = { ...audio, caller: new Float32Array(0) };
/** Every token that was given out: no log line and no trace may have one. */
const secrets = [PHONE, PHONE.slice(1), TWILIO_AUTH_TOKEN];
let service: LocalService;

beforeAll(async () => {
  service = await startLocalService({ TWILIO_AUTH_TOKEN, MAX_FAILED_ATTEMPTS: '100' }, { secrets });
  await service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: userId, phone: PHONE });
});
afterAll(() => service?.close());

interface Expected {
  readonly platform: StreamPlatform;
  readonly callId: string;
  readonly token: string;
  readonly ticket: Json;
}

async function expectStream(platform: StreamPlatform, claimed: Json = { phone: PHONE }): Promise<Expected> {
  const ticket = await service.client.post('/api/v1/streams', { platform, ...claimed });
  const token = String(ticket.token);
  secrets.push(token);
  return { platform, callId: String(ticket.call_id), token, ticket };
}

function dial(
  { platform, token }: Pick<Expected, 'platform' | 'token'>,
  options: {
    readonly said?: typeof audio;
    readonly variant?: Partial<StreamVariant>;
    readonly signedWith?: string;
  } = {},
) {
  const { said = audio, variant, signedWith = TWILIO_AUTH_TOKEN } = options;
  return startStreamCall({
    platform,
    serviceUrl: service.server.url,
    token,
    audio: said,
    variant: { speed: 4, ...variant },
    ...(platform === 'twilio' && signedWith !== '' ? { twilio: { authToken: signedWith } } : {}),
  });
}

function verify({ platform, callId }: Expected): Promise<Json> {
  return service.client.post('/api/v1/verify-password', { userId, call: { platform, id: callId } });
}

function status({ platform, callId }: Expected): Promise<Json> {
  return service.client.get(`/api/v1/calls/${platform}/${callId}`);
}

async function attempts({ callId }: Expected): Promise<Json[]> {
  const page = await service.client.get(`/api/v1/users/${userId}/auth-history?limit=200`);
  return (page.attempts as Json[]).filter(({ call_id }) => call_id === callId);
}

describe.concurrent.each(PLATFORMS)('a stream of %s', (platform) => {
  const tracks: Partial<StreamVariant> = platform === 'vapi_transcriber' ? {} : { tracks: 'both' };

  it('is expected, comes, and is verified by its call', async () => {
    const expected = await expectStream(platform);
    expect(String(expected.ticket.url)).toContain('/api/v1/streams/');
    expect(expected.ticket.twiml !== null).toBe(platform === 'twilio');
    expect(await status(expected)).toMatchObject({ state: 'connecting', net_speech_seconds: 0 });
    const call = dial(expected);
    const result = await verify(expected);
    expect(result).toMatchObject({ ...ACCEPT, additional_factor_required: true });
    expect(await attempts(expected)).toMatchObject([{ decision: 'accept', id: result.attempt_id, source: platform }]);
    expect(await call.ended).toEqual({ kind: 'closed', code: 1000 });
    expect(call.received).toBe(0);
  });

  it('may be asked about before it has come', async () => {
    const expected = await expectStream(platform);
    const asking = verify(expected);
    dial(expected);
    expect(await asking).toMatchObject(ACCEPT);
  });

  it('with both tracks is judged by the caller alone', async () => {
    const rejected = await expectStream(platform);
    dial(rejected, { said: impostor, variant: tracks });
    expect(await verify(rejected)).toMatchObject({ success: false, decision: 'reject', reason: 'no_match' });
    const accepted = await expectStream(platform);
    dial(accepted, { variant: tracks });
    expect(await verify(accepted)).toMatchObject(ACCEPT);
    const unheard = await expectStream(platform);
    dial(unheard, { said: agentOnly, variant: tracks });
    expect(await verify(unheard)).toMatchObject({ decision: 'inconclusive', reason: 'no_caller_audio' });
  });

  it('is let in once by its token, and by no other', async () => {
    const expected = await expectStream(platform);
    const first = dial(expected);
    expect(await verify(expected)).toMatchObject(ACCEPT);
    const again = dial(expected);
    expect(await again.ended).toEqual({ kind: 'closed', code: 1008 });
    const forged = dial({ platform, token: 'x'.repeat(43) });
    expect(await forged.ended).toEqual({ kind: 'closed', code: 1008 });
    const elsewhere = await expectStream(platform === 'telnyx' ? 'plivo' : 'telnyx');
    const stolen = dial({ platform, token: elsewhere.token });
    expect(await stolen.ended).toEqual({ kind: 'closed', code: 1008 });
    expect(await first.ended).toEqual({ kind: 'closed', code: 1000 });
    expect(await attempts(expected)).toHaveLength(1);
  });
});

describe('a stream of twilio', () => {
  it.each([
    ['wrong', 'not-the-token', 403],
    ['missing', '', 401],
  ])('whose signature is %s is refused, and its token stays good', async (_what, signedWith, statusCode) => {
    const expected = await expectStream('twilio');
    expect(await dial(expected, { signedWith }).ended).toEqual({ kind: 'refused', status: statusCode });
    expect(await status(expected)).toMatchObject({ state: 'connecting' });
    dial(expected);
    expect(await verify(expected)).toMatchObject(ACCEPT);
  });
});

describe('keys that the caller presses', () => {
  it.each(['twilio', 'telnyx', 'plivo'] as const)('on %s are counted and told to nobody', async (platform) => {
    const before = service.server.output().length;
    const expected = await expectStream(platform);
    const call = dial(expected, { variant: { among: 'dtmf' } });
    expect(await verify(expected)).toMatchObject(ACCEPT);
    await call.ended;
    const page = await (await fetch(`${service.server.url}/metrics`)).text();
    expect(
      metricSum(page, 'voice_auth_stream_messages_ignored_total', `platform="${platform}",cause="dtmf"`),
    ).toBeGreaterThan(0);
    // Not as a number among others: times and ids may have these digits by chance.
    const said = service.server.output().slice(before);
    expect(said).not.toMatch(new RegExp(`"${KEYS}"|digit`));
    expect(service.traces()).not.toMatch(/digit/);
    expect(page).not.toContain('digit');
  });
});
