import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  correlationIdFrom,
  currentCorrelation,
  isWellFormedId,
  withCorrelation,
} from '../../../src/observability/correlation.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe('isWellFormedId', () => {
  it.each([
    'abcdefgh',
    'call_fzEw-0001',
    'CA0123456789abcdef0123456789abcdef',
    'a.b:c_d-e',
    'a1234567',
    '6b38a5c0-1111-4222-8333-012345678901',
    `a${'0'.repeat(5)}${'b'.repeat(122)}`,
  ])('takes %s', (id) => {
    expect(isWellFormedId(id)).toBe(true);
  });

  it.each([
    ['empty', ''],
    ['short', 'abcdefg'],
    ['long', 'a'.repeat(129)],
    ['a line break', 'abcdefgh\nabc'],
    ['a final line break', 'abcdefgh\n'],
    ['a carriage return', 'abcdefgh\rSet-Cookie: x'],
    ['a space', 'abcd efgh'],
    ['quotes', 'abcd"efgh'],
    ['a slash', 'abcd/efgh'],
    ['a percent sign', 'abcd%0aefgh'],
    ['a letter of another script', 'abcdefghé'],
    ['a null byte', 'abcdefgh\0'],
    ['punctuation first', '-abcdefgh'],
    ['a URL', 'wss://calls.example/listen'],
  ])('refuses %s', (_, id) => {
    expect(isWellFormedId(id)).toBe(false);
  });

  it.each([
    '14155550100',
    '4155550100',
    '123456789012345',
    '1-415-555-0100',
    '1.415.555.0100',
    '415_555_0100',
    '12345678',
    'tel:14155550100',
    'call-14155550100',
    'sip:14155550100:5060',
    '14155550100-leg',
    'user.4155550100.call',
    '2026-11-21',
  ])('refuses what looks like a phone number: %s', (id) => {
    expect(isWellFormedId(id)).toBe(false);
    expect(correlationIdFrom(id)).toMatch(UUID);
  });

  it('takes every UUID, also one whose last group is digits only', () => {
    fc.assert(fc.property(fc.uuid(), (id) => isWellFormedId(id)));
    expect(isWellFormedId('00000000-0000-4000-8000-123456789012')).toBe(true);
  });

  it('lets nothing through that could forge a header or a log line, nor a number that stands alone', () => {
    const pieces = fc.array(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 4 }),
        fc.constantFrom('call', 'tel:', '+1', '-', '.', '\n'),
        fc.stringMatching(/^\d{3,15}$/),
      ),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const id = parts.join('');
        if (!isWellFormedId(id)) return;
        expect(id).toMatch(/^[\w.:-]{8,128}$/);
        for (const [group] of id.matchAll(/[A-Za-z0-9]+/g)) expect(group).not.toMatch(/^\d{10,15}$/);
        expect(id).toMatch(/[A-Za-z]/);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('correlationIdFrom', () => {
  it('keeps a good id and replaces any other by a fresh one', () => {
    const good = randomUUID();
    expect(correlationIdFrom(good)).toBe(good);
    const replaced = [
      correlationIdFrom(undefined),
      correlationIdFrom(''),
      correlationIdFrom('no good'),
      correlationIdFrom('x'),
    ];
    for (const id of replaced) expect(id).toMatch(UUID);
    expect(new Set(replaced).size).toBe(4);
  });
});

describe('withCorrelation', () => {
  it('is seen by everything it starts, and by nothing else', async () => {
    expect(currentCorrelation()).toBeUndefined();
    const seen = await Promise.all(
      ['first', 'second'].map((correlationId) =>
        withCorrelation({ correlationId }, async () => {
          await new Promise((resolve) => setImmediate(resolve));
          return currentCorrelation()?.correlationId;
        }),
      ),
    );
    expect(seen).toEqual(['first', 'second']);
    expect(currentCorrelation()).toBeUndefined();
  });

  it('is over when the work throws', () => {
    expect(() =>
      withCorrelation({ correlationId: 'first' }, () => {
        throw new Error('x');
      }),
    ).toThrow('x');
    expect(currentCorrelation()).toBeUndefined();
  });
});
