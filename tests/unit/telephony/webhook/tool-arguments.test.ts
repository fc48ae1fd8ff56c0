import { describe, expect, it } from 'vitest';
import {
  consentReferenceIn,
  hasConsent,
  thresholdIn,
  userIdIn,
} from '../../../../src/telephony/vapi/webhook/tool-arguments.js';

const USER = '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90';
const args = (fields: object) => new Map<string, unknown>(Object.entries(fields));
const refusal = (work: () => unknown) => {
  try {
    return { value: work() };
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('the person', () => {
  it('is one UUID under either name, in lower case', () => {
    expect(userIdIn(args({ userId: USER.toUpperCase() }))).toBe(USER);
    expect(userIdIn(args({ user_id: ` ${USER} ` }))).toBe(USER);
    expect(userIdIn(args({ userId: USER, user_id: USER.toUpperCase() }))).toBe(USER);
    expect(userIdIn(args({ userId: '', user_id: USER }))).toBe(USER);
  });

  it('may be left out, but not be something else', () => {
    for (const none of [{}, { userId: '' }, { userId: ' ' }, { userId: null }])
      expect(userIdIn(args(none))).toBeUndefined();
    const other = '00000000-0000-4000-8000-000000000002';
    const wrong = [
      { userId: 'unknown' },
      { userId: 5 },
      { userId: [USER] },
      { userId: `${USER}x` },
      { userId: USER, user_id: other },
    ];
    for (const fields of wrong) expect(refusal(() => userIdIn(args(fields)))).toBe('ValidationError');
  });
});

describe('the threshold', () => {
  it('is a number between 0 and 1, also as text', () => {
    expect([0.9, '0.95', ' .9 ', '', null, undefined].map((threshold) => thresholdIn(args({ threshold })))).toEqual([
      0.9,
      0.95,
      0.9,
      undefined,
      undefined,
      undefined,
    ]);
    for (const threshold of [0, 1, -0.5, 90, '90%', 'high', '1e-3', true, {}, Number.NaN]) {
      expect(refusal(() => thresholdIn(args({ threshold })))).toBe('ValidationError');
    }
  });
});

describe('consent', () => {
  it('is given in so many words or not at all', () => {
    for (const consent of [true, 'true', 'yes', 'YES', ' True ']) expect(hasConsent(args({ consent }))).toBe(true);
    for (const consent of [
      undefined,
      null,
      false,
      'false',
      'no',
      '',
      1,
      '1',
      'y',
      'yes please',
      ['yes'],
      { yes: true },
    ]) {
      expect(hasConsent(args({ consent }))).toBe(false);
    }
  });

  it('has a reference of one line', () => {
    expect(consentReferenceIn(args({ consentReference: ' contract 7 ' }))).toBe('contract 7');
    expect(consentReferenceIn(args({ consent_reference: 'c' }))).toBe('c');
    expect(consentReferenceIn(args({ consentReference: '  ' }))).toBeUndefined();
    for (const consentReference of ['a\nb', 'x'.repeat(201), '\ud800', 5, {}]) {
      expect(refusal(() => consentReferenceIn(args({ consentReference })))).toBe('ValidationError');
    }
  });
});
