/**
 * Reads bodies that are handed over as they are. Some come from strangers, since a signature can only be checked when the body
 * is there, so what all of them together may hold is bounded.
 */
import type { RequestHandler } from 'express';
import { VoiceAuthError } from '../../domain/errors.js';
import { stateOf } from '../request-state.js';
import { readBody } from './read-body.js';

/** Of bodies being received or worked on. */
const MEMORY_BYTES = 64 * 1024 * 1024;

/** Makes, for each limit, the middleware that sets the request's upload to the body. They share their memory. */
export function rawBody(options: { readonly memoryBytes?: number } = {}): (maxBytes: number) => RequestHandler {
  const memoryBytes = options.memoryBytes ?? MEMORY_BYTES;
  let held = 0;
  return (maxBytes) => async (req, res, next) => {
    let own = 0;
    let closed = false;
    res.once('close', () => {
      closed = true;
      held -= own;
    });
    stateOf(req).upload = await readBody(req, maxBytes, (length) => {
      if (closed) return;
      if (held + length > memoryBytes) {
        throw new VoiceAuthError('Busy', 'Too much is being received at once; try again', { retryAfterSeconds: 1 });
      }
      held += length;
      own += length;
    });
    next();
  };
}
