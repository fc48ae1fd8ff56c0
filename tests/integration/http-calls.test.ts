/** Running calls and expected streams over HTTP. */
import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CallEnrollmentQuestion, CallVerificationQuestion } from '../../src/domain/calls/calls.js';
import { callStatusReply, expectStreamReply } from '../../src/http/schemas/calls.js';
import { verifyReply } from '../../src/http/schemas/verification.js';
import {
  ACCEPTED,
  bearer,
  ENROLLED,
  failing,
  type KEYS,
  PHONE,
  type TestApp,
  testApp,
  USER,
} from '../support/http-app.js';

const CALL = { platform: 'twilio', id: 'CA0123456789abcdef' };

let t: TestApp;
beforeEach(() => {
  t = testApp();
});

const post = (path: string, scope: keyof typeof KEYS, body: object) =>
  request(t.app).post(path).set('Authorization', bearer(scope)).set('X-Correlation-ID', 'request-0001').send(body);

describe('a running call', () => {
  it('is verified without being dialled', async () => {
    const asked: CallVerificationQuestion[] = [];
    t.behave.calls.verify = async (question) => {
      asked.push(question);
      return { kind: 'decided', userId: USER, result: { ...ACCEPTED, audioMs: 3456 } };
    };
    const body = { userId: USER, call: CALL, threshold: 0.9, maxSeconds: 5 };
    const res = await post('/api/v1/verify-password', 'verify', body);
    expect(res.status).toBe(200);
    expect(verifyReply.parse(res.body)).toMatchObject({ success: true, audio_seconds: 3.456 });
    expect(asked).toMatchObject([
      {
        userId: USER,
        threshold: 0.9,
        deadlineMs: 5000,
        call: { platform: 'twilio', callId: CALL.id, listenUrl: undefined, callerNumber: undefined },
      },
    ]);
    expect(t.verifications).toEqual([]);
    await post('/api/v1/verify-password', 'verify', { userId: USER, call: CALL });
    expect(asked[1]?.deadlineMs).toBe(20_000);
    // Whatever ids a client sends, each request is a question of its own.
    expect(asked[1]?.requestId).not.toBe(asked[0]?.requestId);
  });

  it('is enrolled from', async () => {
    const asked: CallEnrollmentQuestion[] = [];
    t.behave.calls.enroll = async (question) => {
      asked.push(question);
      return { kind: 'enrolled', userId: USER, result: ENROLLED };
    };
    const body = { userId: USER, phone: PHONE, call: CALL, consentReference: 'form 7' };
    const res = await post('/api/v1/enroll-user', 'enroll', body);
    expect(res.status).toBe(200);
    expect(res.body).toMatchObject({ status: 'enrolled', samples: 2 });
    expect(asked).toMatchObject([
      {
        userId: USER,
        consentReference: 'form 7',
        actor: 'enroll',
        phone: PHONE,
        identityProven: true,
        call: { callId: CALL.id },
      },
    ]);
  });

  it('is an error, not an accept, when the answer is about somebody else', async () => {
    t.behave.calls.verify = async () => ({ kind: 'decided', userId: 'another', result: ACCEPTED });
    const res = await post('/api/v1/verify-password', 'verify', { userId: USER, call: CALL });
    expect([res.status, res.body.error]).toEqual([500, 'InternalError']);
  });

  it.each([
    ['CallNotFoundError', 404],
    ['AccountLockedError', 423],
    ['Timeout', 504],
  ] as const)('that cannot be asked about is %s', async (code, status) => {
    t.behave.calls.verify = failing(code, 'no');
    const res = await post('/api/v1/verify-password', 'verify', { userId: USER, call: CALL });
    expect([res.status, res.body.error]).toEqual([status, code]);
  });

  it.each([
    ['an unknown platform', { call: { platform: 'fax', id: CALL.id } }, 'call.platform'],
    ['no id', { call: { platform: 'twilio' } }, 'call.id'],
    ['an id like a phone number', { call: { platform: 'twilio', id: '14155550123' } }, 'call.id'],
    ['more fields', { call: { ...CALL, more: 1 } }, 'call'],
    ['a URL as well', { call: CALL, listenUrl: 'wss://calls.example/x/listen' }, 'audioUrl'],
    ['a channel', { call: CALL, channel: 0 }, 'channel'],
  ])('is refused with %s', async (_, fields, path) => {
    const res = await post('/api/v1/verify-password', 'verify', { userId: USER, ...fields });
    expect(res.status).toBe(400);
    expect((res.body.details as { path: string }[]).map((issue) => issue.path)).toEqual([path]);
  });

  it('can be looked at', async () => {
    const get = () =>
      request(t.app).get(`/api/v1/calls/${CALL.platform}/${CALL.id}`).set('Authorization', bearer('read'));
    expect((await get()).body).toMatchObject({ error: 'CallNotFoundError' });
    t.behave.calls.status = async (platform, callId) => ({
      platform,
      callId,
      state: 'listening',
      netSpeechMs: 2100,
      looks: 1,
      claimed: true,
      startedAt: new Date('2025-01-02T03:04:05.000Z'),
    });
    const res = await get();
    expect(res.status).toBe(200);
    expect(callStatusReply.parse(res.body)).toMatchObject({ call_id: CALL.id, state: 'listening', looks: 1 });
    expect((await request(t.app).get(`/api/v1/calls/fax/${CALL.id}`).set('Authorization', bearer('read'))).status).toBe(
      400,
    );
  });
});

describe('an expected stream', () => {
  it('is answered with what to paste', async () => {
    const res = await post('/api/v1/streams', 'verify', { platform: 'twilio', callId: CALL.id, userId: USER });
    expect(res.status).toBe(200);
    expect(expectStreamReply.parse(res.body)).toMatchObject({
      platform: 'twilio',
      call_id: CALL.id,
      token: 'one-time-token',
      url: 'wss://auth.example/api/v1/streams/twilio',
      twiml: '<Response>one-time-token</Response>',
    });
    const other = await post('/api/v1/streams', 'verify', { platform: 'plivo', phone: PHONE });
    expect(other.body).toMatchObject({ call_id: 'made-up-call-id', twiml: null });
  });

  it.each([
    ['a platform that we dial', { platform: 'vapi' }, 'platform'],
    ['both a user and a number', { platform: 'twilio', userId: USER, phone: PHONE }, 'phone'],
    ['no platform', {}, 'platform'],
  ])('is refused with %s', async (_, body, path) => {
    const res = await post('/api/v1/streams', 'verify', body);
    expect(res.status).toBe(400);
    expect(res.body.details).toMatchObject([{ path }]);
  });

  it('needs a key that may verify, and a free call id', async () => {
    expect((await post('/api/v1/streams', 'read', { platform: 'twilio' })).status).toBe(403);
    t.behave.expectStream = failing('CallConflict', 'The call id is in use');
    expect((await post('/api/v1/streams', 'verify', { platform: 'twilio' })).status).toBe(409);
  });
});
