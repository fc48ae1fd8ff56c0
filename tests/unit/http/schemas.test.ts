import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { enrollFields, enrollUserBody } from '../../../src/http/schemas/enrollment.js';
import { fieldIssues, phone, userId } from '../../../src/http/schemas/fields.js';
import { historyQuery } from '../../../src/http/schemas/users.js';
import { verifyFields, verifyPasswordBody } from '../../../src/http/schemas/verification.js';

const LIMITS = { configuredThreshold: 0.82, maxListenSeconds: 65 };
const USER = '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90';
const AUDIO = 'https://recordings.example/a.wav';
const LISTEN = 'wss://calls.example/x/listen';

const ENROLL_FIELDS = 'userId, phone, audioUrl, listenUrl, call, channel, consentReference, replaceModel, maxSeconds';

function issuesOf(schema: z.ZodType, value: unknown): Record<string, string> {
  const result = schema.safeParse(value);
  if (result.success) return {};
  return Object.fromEntries(fieldIssues(result.error, schema).map(({ path, message }) => [path, message]));
}

describe('issues', () => {
  const schemas = [
    enrollUserBody(LIMITS),
    verifyPasswordBody(LIMITS),
    enrollFields,
    verifyFields(LIMITS),
    historyQuery,
  ] as const;
  const fields = ['userId', 'user_id', 'phone', 'audioUrl', 'listenUrl', 'channel', 'threshold', 'maxSeconds', 'limit'];

  it('never repeat what was sent, neither values nor names of unknown fields', () => {
    const secret = fc.constantFrom('s3cretvalue', '+1s3cretvalue', 'https://s3cretvalue', 'ftp://s3cretvalue/x');
    const value = fc.oneof(secret, fc.array(secret), fc.record({ s3cretvalue: secret }));
    const body = fc.dictionary(fc.constantFrom(...fields, 's3cretvalue', '__proto__'), value);
    fc.assert(
      fc.property(fc.constantFrom(...schemas), fc.oneof(body, value), (schema, input) => {
        expect(JSON.stringify(issuesOf(schema, input)).toLowerCase()).not.toContain('s3cret');
      }),
    );
  });

  it('say what is missing and what is wrong', () => {
    expect(issuesOf(enrollUserBody(LIMITS), { phone: '0123', audioUrl: 'file:///etc/passwd', more: 1 })).toEqual({
      userId: 'is required',
      phone: 'must be an E.164 number such as +14155550123',
      audioUrl: 'must be an https URL',
      '': `unknown fields are not accepted; known here: ${ENROLL_FIELDS}`,
    });
  });

  it('say which fields are known where there are others', () => {
    const upload = issuesOf(verifyFields(LIMITS), { userId: USER });
    expect(upload).toEqual({
      user_id: 'is required',
      '': 'unknown fields are not accepted; known here: user_id, threshold, channel',
    });
    const call = issuesOf(verifyPasswordBody(LIMITS), {
      userId: USER,
      call: { platform: 'vapi', id: 'call-0001', a: 1 },
    });
    expect(call).toEqual({ call: 'unknown fields are not accepted; known here: platform, id' });
    expect(issuesOf(z.strictObject({}), { a: 1 })).toEqual({ '': 'unknown fields are not accepted' });
  });
});

describe('requests', () => {
  const base = { userId: USER, phone: '+14155550123' };

  it.each([
    ['neither URL', {}, { audioUrl: 'exactly one of audioUrl, listenUrl and call is required' }],
    [
      'both URLs',
      { audioUrl: AUDIO, listenUrl: LISTEN },
      { audioUrl: 'exactly one of audioUrl, listenUrl and call is required' },
    ],
    ['a channel of a live call', { listenUrl: LISTEN, channel: 0 }, { channel: 'goes with audioUrl only' }],
    [
      'a time limit of a recording',
      { audioUrl: AUDIO, maxSeconds: 5 },
      { maxSeconds: 'goes with listenUrl or call only' },
    ],
    ['too long listening', { listenUrl: LISTEN, maxSeconds: 66 }, { maxSeconds: 'must be 1 to 65 seconds' }],
    [
      'endless listening',
      { listenUrl: LISTEN, maxSeconds: Number.POSITIVE_INFINITY },
      { maxSeconds: 'must be 1 to 65 seconds' },
    ],
    ['a third channel', { audioUrl: AUDIO, channel: 2 }, { channel: 'must be 0 or 1' }],
    ['a channel in words', { audioUrl: AUDIO, channel: '0' }, { channel: 'must be 0 or 1' }],
    ['an endless URL', { audioUrl: `${AUDIO}?${'x'.repeat(2048)}` }, { audioUrl: 'may have 2048 characters at most' }],
    [
      'a NUL in text',
      { audioUrl: AUDIO, consentReference: 'a\u0000b' },
      { consentReference: 'must not hold control characters' },
    ],
    [
      'half a character',
      { audioUrl: AUDIO, consentReference: '\ud800' },
      { consentReference: 'must not hold control characters' },
    ],
  ])('with %s are refused', (_what, fields, issues) => {
    expect(issuesOf(enrollUserBody(LIMITS), { ...base, ...fields })).toEqual(issues);
  });

  it('may be stricter than configured, never laxer', () => {
    const body = (threshold: unknown) =>
      issuesOf(verifyPasswordBody(LIMITS), { userId: USER, listenUrl: LISTEN, threshold });
    const form = (threshold: unknown) => issuesOf(verifyFields(LIMITS), { user_id: USER, threshold });
    for (const good of [0.82, 0.9, 0.9999]) {
      expect(body(good)).toEqual({});
      expect(form(String(good))).toEqual({});
    }
    for (const bad of [0.8199, 0, -1, 1, 2, Number.NaN, Number.POSITIVE_INFINITY, '0.9', null]) {
      expect(Object.keys(body(bad))).toEqual(['threshold']);
    }
    for (const bad of ['0.8199', '1', '-0.9', '0x1', '', ' 0.9', '9e-1', 'NaN', ['0.9', '0.95']]) {
      expect(Object.keys(form(bad))).toEqual(['threshold']);
    }
  });

  it('spell a user in one way', () => {
    expect(userId.parse(USER.toUpperCase())).toBe(USER);
    fc.assert(fc.property(fc.uuid(), (id) => userId.parse(id.toUpperCase()) === id));
    for (const bad of [`{${USER}}`, USER.replaceAll('-', ''), ` ${USER}`, `${USER}\n`, "' or 1=1 --"]) {
      expect(userId.safeParse(bad).success).toBe(false);
    }
  });

  it('take E.164 numbers only', () => {
    fc.assert(fc.property(fc.stringMatching(/^\+[1-9][0-9]{6,14}$/), (number) => phone.safeParse(number).success));
    for (const bad of [
      '14155550123',
      '+04155550123',
      '+1 415 555',
      '+123456',
      `+${'1'.repeat(16)}`,
      '+1415555012a',
      '+14155550123\n',
    ]) {
      expect(phone.safeParse(bad).success).toBe(false);
    }
  });

  it('page through history within bounds', () => {
    expect(historyQuery.parse({})).toEqual({ limit: 50, before: undefined });
    expect(historyQuery.parse({ limit: '200', before: 'abc' })).toEqual({ limit: 200, before: 'abc' });
    for (const limit of ['0', '201', '-1', '1.5', '1e2', '', ['1', '2']]) {
      expect(Object.keys(issuesOf(historyQuery, { limit }))).toEqual(['limit']);
    }
    for (const before of ['', 'a b', 'é', 'x'.repeat(257)]) {
      expect(Object.keys(issuesOf(historyQuery, { before }))).toEqual(['before']);
    }
  });
});
