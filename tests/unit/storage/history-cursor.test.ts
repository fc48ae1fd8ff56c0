import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeCursor, encodeCursor } from '../../../src/storage/history-cursor.js';

const place = { createdAt: '2026-11-21T03:12:16.478123+00:00', id: '0b0e7a54-4d5c-4c1e-9d57-1f0a9a1b2c3d' };

it('keeps the microseconds of the database', () => {
  expect(decodeCursor(encodeCursor(place))).toEqual(place);
});

it('answers anything else with a validation error', () => {
  const asCursor = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const malformed = [
    asCursor([place.createdAt]),
    asCursor([place.id, place.createdAt]),
    asCursor(['infinity', place.id]),
    asCursor({ ...place }),
    `${encodeCursor(place)}=`,
  ];
  for (const cursor of malformed) expect(() => decodeCursor(cursor)).toThrow('before:');
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String(), fc.json().map(asCursor)), (cursor) => {
      expect(() => decodeCursor(cursor)).toThrow('before:');
    }),
  );
});
