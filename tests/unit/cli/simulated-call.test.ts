/** The exit code of a simulated call, for every way in which an answer can be worded. */
import { describe, expect, it } from 'vitest';
import { exitCodeOf } from '../../../src/cli/simulated-call.js';

describe('the exit code', () => {
  it.each([
    [0, 'verified: the voice matches'],
    [0, { decision: 'accept', reason: 'match' }],
    [0, 'enrolled: 5.1 s'],
    [0, { status: 'enrolled', samples: 1 }],
    [0, { state: 'listening', looks: 2 }],
    [2, 'not_verified: the voice does not match'],
    [2, 'locked_out: too many failed attempts'],
    [2, { decision: 'reject', reason: 'locked_out' }],
    [3, 'inconclusive: too little speech'],
    [3, 'unknown_caller: nobody is enrolled'],
    [3, 'consent_required: nothing was enrolled'],
    [3, { status: 'not_enrolled', reason: 'consent_required' }],
    [1, 'error: UserNotFoundError There is no such user'],
    [1, { error: 'Busy', message: 'Too many calls' }],
    [1, ''],
    [1, undefined],
  ])('is %i for %j', (code, answer) => {
    expect(exitCodeOf({ answer })).toBe(code);
  });
});
