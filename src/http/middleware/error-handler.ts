/** The only place that answers errors. */
import type { ErrorRequestHandler, Request, RequestHandler } from 'express';
import { VoiceAuthError } from '../../domain/errors.js';
import type { Logger } from '../../observability/logger.js';
import { errorBody, STATUS_BY_CODE, toVoiceAuthError } from '../error-table.js';
import { stateOf } from '../request-state.js';

/** Long enough for what is on the wire already; an endless body is answered after it. */
const LINGER_MS = 500;

/** Answers whatever no route has taken. */
export function notFound(): RequestHandler {
  return () => {
    throw new VoiceAuthError('NotFound', 'There is nothing at this path');
  };
}

/** Answers `MethodNotAllowed` with the methods that are; `OPTIONS` just gets the list. */
export function methodNotAllowed(allowed: readonly string[]): RequestHandler {
  return (req, res) => {
    res.setHeader('Allow', allowed.join(', '));
    if (req.method === 'OPTIONS') {
      res.status(204).end();
      return;
    }
    throw new VoiceAuthError('MethodNotAllowed', `Allowed here: ${allowed.join(', ')}`);
  };
}

/** Turns errors into JSON answers (or the last event of a stream) and logs the unexpected ones. */
export function errorHandler(logger: Logger): ErrorRequestHandler {
  // Express knows an error handler by its four parameters.
  return (thrown: unknown, req, res, _next) => {
    const state = stateOf(req);
    const error = toVoiceAuthError(thrown);
    const status = STATUS_BY_CODE[error.code];
    state.errorCode = error.code;
    // Work that was cut short because its client left fails in all kinds of ways; that is no news.
    if (status >= 500 && !state.signal.aborted) {
      const fields = { err: error, operation: state.operation };
      if (error.code === 'InternalError') logger.error(fields, 'request failed unexpectedly');
      else logger.warn(fields, 'request failed');
    }
    if (res.destroyed) return;
    const body = errorBody(error, state.correlationId);
    if (state.eventStream?.started) {
      state.eventStream.finish('error', body);
      return;
    }
    if (res.headersSent) {
      res.destroy();
      return;
    }
    if (error.code === 'Unauthorized') res.setHeader('WWW-Authenticate', 'Bearer');
    if (error.retryAfterSeconds !== undefined) {
      res.setHeader('Retry-After', String(Math.max(1, Math.ceil(error.retryAfterSeconds))));
    }
    onceBodyIsIn(req, () => {
      if (!res.destroyed) res.status(status).json(body);
    });
  };
}

/**
 * Runs `answer` when the rest of the request has been read (and thrown away), or after a moment. A connection that is
 * closed with unread bytes is reset, and the client may lose the answer that was on its way.
 */
function onceBodyIsIn(req: Request, answer: () => void): void {
  if (req.complete || req.destroyed) {
    answer();
    return;
  }
  const settle = () => {
    clearTimeout(moment);
    req.off('end', settle).off('close', settle);
    answer();
  };
  const moment = setTimeout(settle, LINGER_MS);
  req.once('end', settle).once('close', settle);
  req.resume();
}
