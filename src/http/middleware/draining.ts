/** While the server shuts down, running work may end but nothing new begins, and clients are told to let go. */
import type { RequestHandler } from 'express';
import { VoiceAuthError } from '../../domain/errors.js';

/** Asks clients to close their connections after this answer. */
export function closeWhileDraining(isDraining: () => boolean): RequestHandler {
  return (_req, res, next) => {
    if (isDraining()) res.setHeader('Connection', 'close');
    next();
  };
}

/** Refuses new work with `Busy`. */
export function refuseWhileDraining(isDraining: () => boolean): RequestHandler {
  return (_req, _res, next) => {
    if (isDraining()) {
      throw new VoiceAuthError('Busy', 'The service is shutting down; try again', { retryAfterSeconds: 1 });
    }
    next();
  };
}
