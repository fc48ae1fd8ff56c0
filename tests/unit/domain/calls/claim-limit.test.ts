import { describe, expect, it } from 'vitest';
import { ClaimLimit } from '../../../../src/domain/calls/claim-limit.js';

describe('the people claimed on a call', () => {
  it('are four at most; one who is erased makes room for another', () => {
    const limit = new ClaimLimit();
    for (const userId of ['a', 'b', 'c', 'd']) limit.count(userId, 0.82);
    expect(() => limit.count('e', 0.82)).toThrow(expect.objectContaining({ code: 'CallConflict' }));
    limit.forget('b');
    limit.count('e', 0.82);
    expect(() => limit.count('f', 0.82)).toThrow(expect.objectContaining({ code: 'CallConflict' }));
  });
});
