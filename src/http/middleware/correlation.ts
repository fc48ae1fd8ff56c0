/** Gives every request its correlation id, its place in asynchronous context, and a signal that it is no longer wanted. */
import type { RequestHandler } from 'express';
import { correlationIdFrom, isWellFormedId, withCorrelation } from '../../observability/correlation.js';
import { openRequestState, stateOf } from '../request-state.js';

/** Honours `X-Correlation-ID`, then `X-Call-ID`, when well-formed; answers with `X-Correlation-ID`. */
export function correlation(): RequestHandler {
  return (req, res, next) => {
    const callId = wellFormed(req.get('x-call-id'));
    const correlationId = correlationIdFrom(wellFormed(req.get('x-correlation-id')) ?? callId);
    const gone = new AbortController();
    res.once('close', () => {
      if (!res.writableFinished) gone.abort();
    });
    openRequestState(req, { correlationId, callId, signal: gone.signal });
    res.setHeader('X-Correlation-ID', correlationId);
    withCorrelation({ correlationId, callId }, next);
  };
}

/**
 * Ends the way of a request whose client has left; goes behind whatever waits for the database. Nothing is to be begun for
 * it: the response has closed already, so what is taken back when it does would be kept for ever.
 */
export function stopWhenGone(): RequestHandler {
  return (req, _res, next) => {
    if (!stateOf(req).signal.aborted) next();
  };
}

function wellFormed(value: string | undefined): string | undefined {
  return value !== undefined && isWellFormedId(value) ? value : undefined;
}
