/**
 * JSON logs. Every line carries the correlation id and, while tracing runs, the trace id. Redaction by path is the second
 * line of defence: the first is never to hand secrets, phone numbers, audio or URLs of callers to the logger at all.
 */
import { isSpanContextValid, trace } from '@opentelemetry/api';
import pino, { type DestinationStream, type Logger as PinoLogger } from 'pino';
import { VoiceAuthError } from '../domain/errors.js';
import { currentCorrelation } from './correlation.js';

export type Logger = Pick<PinoLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'level'> & {
  child(bindings: Record<string, unknown>): Logger;
};

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const SECRET_KEYS = [
  'authorization',
  'cookie',
  'phone',
  'number',
  'listenUrl',
  'controlUrl',
  'audioUrl',
  'url',
  'secret',
  'token',
  'apiKey',
  'key',
  'embedding',
  'centroid',
  'samples',
  'audio',
  'body',
];

const REDACT_PATHS = SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]);

/** A logger for one process. `destination` is for tests; the default is standard output. */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { service: 'voice-auth' },
    redact: { paths: REDACT_PATHS, censor: '[redacted]' },
    serializers: { err: describeError },
    timestamp: pino.stdTimeFunctions.isoTime,
    mixin: contextFields,
  };
  return destination ? pino(options, destination) : pino(options);
}

/**
 * An error as it may be logged. Our own errors have safe messages. Others may quote what they choked on (a URL, a
 * number), so only their name, code and stack frames are kept.
 */
export function describeError(error: unknown): Record<string, unknown> {
  if (error instanceof VoiceAuthError) {
    const cause = error.cause === undefined ? undefined : describeError(error.cause);
    return { type: error.code, message: error.message, ...(cause ? { cause } : {}) };
  }
  if (!(error instanceof Error)) return { type: typeof error };
  const code = (error as { code?: unknown }).code;
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return {
    type: error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    stack: frames.slice(0, 8).map((line) => line.trim()),
  };
}

function contextFields(): Record<string, string> {
  const context = currentCorrelation();
  const span = trace.getActiveSpan()?.spanContext();
  return {
    ...(context ? { correlation_id: context.correlationId } : {}),
    ...(context?.callId ? { call_id: context.callId } : {}),
    ...(span && isSpanContextValid(span) ? { trace_id: span.traceId, span_id: span.spanId } : {}),
  };
}
