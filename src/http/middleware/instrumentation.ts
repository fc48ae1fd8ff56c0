/**
 * One server span, one count, one duration and one log line per request, all by operation name: URLs, addresses and bodies
 * never get this far.
 */
import { AsyncResource } from 'node:async_hooks';
import type { RequestHandler } from 'express';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { markFailed, withServerSpan } from '../../observability/tracing.js';
import { stateOf } from '../request-state.js';

/** Recorded when the client closed the connection before the answer was sent. */
const CLIENT_GONE = 499;

/** Probes come every few seconds, webhooks with every word of a call: unless refused, their lines are for debugging. */
const QUIET_OPERATIONS = new Set(['service.live', 'service.ready', 'service.metrics', 'webhook.vapi']);

/** Observes each request until its response has been sent or its connection lost. */
export function instrumentation(logger: Logger, metrics: Metrics): RequestHandler {
  return (req, res, next) => {
    const state = stateOf(req);
    const startedAt = performance.now();
    withServerSpan('http', req.headers, (span) => {
      const observe = () => {
        const { operation, actor, errorCode } = state;
        const status = res.writableFinished ? res.statusCode : CLIENT_GONE;
        const seconds = (performance.now() - startedAt) / 1000;
        metrics.httpRequests.inc({ operation, status: String(status) });
        metrics.httpSeconds.observe({ operation }, seconds);
        span.updateName(`http ${operation}`);
        span.setAttributes({ operation, 'http.response.status_code': status, correlation_id: state.correlationId });
        if (errorCode) span.setAttribute('error.type', errorCode);
        if (status >= 500) markFailed(span);
        span.end();
        const line = {
          operation,
          status,
          duration_ms: Math.round(seconds * 1000),
          ...(actor ? { actor } : {}),
          ...(errorCode ? { error: errorCode } : {}),
        };
        if (status >= 500) logger.warn(line, 'request');
        else if (QUIET_OPERATIONS.has(operation) && status < 400) logger.debug(line, 'request');
        else logger.info(line, 'request');
      };
      // A connection that breaks off ends the response outside of the request's context, which names it in the log.
      res.once('close', AsyncResource.bind(observe));
      next();
    });
  };
}
