/**
 * Reads JSON bodies: small, uncompressed UTF-8 only. Read here rather than by a parser that inflates, guesses character
 * sets, or waits for the end of an endless body before it answers.
 */
import type { RequestHandler } from 'express';
import { VoiceAuthError, validationError } from '../../domain/errors.js';
import { mediaTypeOf } from './body-headers.js';
import { readBody } from './read-body.js';

const MAX_JSON_BYTES = 100 * 1024;

/** Sets `req.body` to the parsed JSON. Throws `UnsupportedMediaType`, `PayloadTooLarge` or `ValidationError`. */
export function jsonBody(): RequestHandler {
  return async (req, _res, next) => {
    const { type, parameters } = mediaTypeOf(req);
    const charset = parameters.get('charset')?.toLowerCase() ?? 'utf-8';
    const encoding = req.get('content-encoding') ?? 'identity';
    if (type !== 'application/json' || charset !== 'utf-8' || encoding !== 'identity') {
      throw new VoiceAuthError('UnsupportedMediaType', 'Send the body as uncompressed application/json in UTF-8');
    }
    const bytes = await readBody(req, MAX_JSON_BYTES);
    try {
      req.body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch {
      // The parser's own message quotes the body.
      throw validationError([{ path: '', message: 'the body is not valid JSON' }]);
    }
    next();
  };
}
