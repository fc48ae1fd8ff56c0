import { describe, expect, it } from 'vitest';
import { accountLocked, asVoiceAuthError, VoiceAuthError, validationError } from '../../../src/domain/errors.js';

describe('VoiceAuthError', () => {
  it('is an error with a stable code, a safe message and extras', () => {
    const cause = new Error('inner');
    const error = new VoiceAuthError('Busy', 'Too many', { details: { waiting: 3 }, retryAfterSeconds: 2, cause });
    expect(error).toBeInstanceOf(Error);
    expect([error.name, error.code, error.message, error.cause]).toEqual(['Busy', 'Busy', 'Too many', cause]);
    expect([error.details, error.retryAfterSeconds]).toEqual([{ waiting: 3 }, 2]);
    expect('cause' in new VoiceAuthError('Busy', 'Too many')).toBe(false);
  });
});

describe('validationError', () => {
  it('names every field', () => {
    const issues = [
      { path: 'audioUrl', message: 'must be https' },
      { path: '', message: 'unknown field' },
    ];
    const error = validationError(issues);
    expect(error.message).toBe('audioUrl: must be https; unknown field');
    expect([error.code, error.details]).toEqual(['ValidationError', issues]);
  });
});

describe('accountLocked', () => {
  it('says until when and how long, rounded up, and never less than a second', () => {
    const until = new Date(Date.now() + 4100);
    expect(accountLocked(until)).toMatchObject({
      code: 'AccountLockedError',
      message: `Too many failed attempts: the user is locked until ${until.toISOString()}`,
      retryAfterSeconds: 5,
      details: { locked_until: until.toISOString() },
    });
    expect(accountLocked(new Date(Date.now() - 60_000)).retryAfterSeconds).toBe(1);
  });
});

describe('asVoiceAuthError', () => {
  it('keeps ours, and says nothing of what nobody expected', () => {
    const ours = new VoiceAuthError('Busy', 'later');
    expect(asVoiceAuthError(ours)).toBe(ours);
    const unexpected = new TypeError('secret is undefined');
    const error = asVoiceAuthError(unexpected);
    expect([error.code, error.message, error.cause]).toEqual([
      'InternalError',
      'Something went wrong on our side',
      unexpected,
    ]);
  });
});
