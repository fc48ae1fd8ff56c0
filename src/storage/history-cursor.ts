/** The opaque cursor of a listing, newest first: the place of the last row of a page, in the database's own precision. */
import { z } from 'zod';
import { validationError } from '../domain/errors.js';

export interface ListingPlace {
  /** ISO 8601 with the microseconds that a `Date` would lose. */
  readonly createdAt: string;
  readonly id: string;
}

const place = z.tuple([z.iso.datetime({ offset: true }), z.uuid()]);
const MAX_CURSOR_CHARACTERS = 200;

export function encodeCursor({ createdAt, id }: ListingPlace): string {
  return Buffer.from(JSON.stringify([createdAt, id]), 'utf8').toString('base64url');
}

/** Throws `ValidationError` for anything that `encodeCursor` has not made. */
export function decodeCursor(cursor: string): ListingPlace {
  if (cursor.length <= MAX_CURSOR_CHARACTERS && /^[A-Za-z0-9_-]+$/.test(cursor)) {
    try {
      const [createdAt, id] = place.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
      return { createdAt, id };
    } catch {
      // Falls through to the one answer for every kind of malformed cursor.
    }
  }
  throw validationError([{ path: 'before', message: 'is not a cursor returned by this endpoint' }]);
}
