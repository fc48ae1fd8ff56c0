/** Gives every request its correlation id, its place in asynchronous context, and a signal that it is no longer wanted. */
import type { RequestHandler } from 'express';
import { correlationIdFrom, isWellFormedId, withCorrelation } from '../../observability/correlation.js';
import { openRequestState } from '../request-state.js';

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

function wellFormed(value: string | undefined): string | undefined {
  return value !== undefined && isWellFormedId(value) ? value : undefined;
}
