/**
 * Reads JSON bodies: small, uncompressed UTF-8 only. Read here rather than by a parser that inflates, guesses character
 * sets, or waits for the end of an endless body before it answers.
 */
import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import { VoiceAuthError, validationError } from '../../domain/errors.js';
import { announcedBytes, mediaTypeOf } from './body-headers.js';

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
    const bytes = await readBytes(req, MAX_JSON_BYTES);
    try {
      req.body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch {
      // The parser's own message quotes the body.
      throw validationError([{ path: '', message: 'the body is not valid JSON' }]);
    }
    next();
  };
}

async function readBytes(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = () => new VoiceAuthError('PayloadTooLarge', `The body may have ${maxBytes} bytes at most`);
  if (announcedBytes(req) > maxBytes) throw tooLarge();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let total = 0;
    const settle = (act: () => void) => {
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      act();
    };
    const onData = (chunk: Buffer) => {
      total += chunk.length;
      if (total > maxBytes) settle(() => reject(tooLarge()));
      else chunks.push(chunk);
    };
    const onEnd = () => settle(() => resolve(Buffer.concat(chunks, total)));
    const onClose = () => settle(() => reject(validationError([{ path: '', message: 'the body ended too early' }])));
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}
