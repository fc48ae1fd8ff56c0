/**
 * JSON logs. Every line carries the correlation id and, while tracing runs, the trace id. Redaction by path is the second
 * line of defence: the first is never to hand secrets, phone numbers, audio or URLs of callers to the logger at all.
 */
import { isSpanContextValid, trace } from '@opentelemetry/api';
import pino, { type DestinationStream, type LogFn, type Logger as PinoLogger } from 'pino';
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
  'listen_url',
  'controlUrl',
  'control_url',
  'audioUrl',
  'audio_url',
  'url',
  'secret',
  'token',
  'apiKey',
  'api_key',
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
    hooks: {
      logMethod(this: PinoLogger, args: Parameters<LogFn>, method: LogFn) {
        method.apply(this, withOwnMessage(args));
      },
    },
  };
  return destination ? pino(options, destination) : pino(options);
}

/** What names and codes of errors look like. Longer digits than a SQLSTATE has could be a phone number. */
const ERROR_NAME = /^[A-Za-z][A-Za-z0-9_]{0,59}$/;
const ERROR_CODE = /^(?!\d{6})[A-Za-z0-9_]{1,60}$/;
/** `at function (place:line:column)`: places are files, and functions have no URL for a name. */
const STACK_FRAME = /^\s+at (?:[\w$.<>[\] ]+ \()?(?:async )?(?:node:|file:\/\/\/|\/|[A-Za-z]:\\)[^()]*:\d+:\d+\)?$/;
const MAX_FRAMES = 8;
/** Errors that cause one another in a circle would never end. */
const MAX_CAUSES = 5;

/**
 * An error as it may be logged. Our own errors have safe messages. Others may quote what they choked on (a URL, a
 * number), so only their name, code and stack frames are kept.
 */
export function describeError(error: unknown): Record<string, unknown> {
  return describeChain(error, MAX_CAUSES);
}

function describeChain(error: unknown, causesLeft: number): Record<string, unknown> {
  if (error instanceof VoiceAuthError) {
    const told = error.cause !== undefined && causesLeft > 0;
    const cause = told ? { cause: describeChain(error.cause, causesLeft - 1) } : {};
    return { type: error.code, message: error.message, ...cause };
  }
  if (!(error instanceof Error)) return { type: typeof error };
  const { code } = error as { code?: unknown };
  const codeIsSafe = typeof code === 'number' || (typeof code === 'string' && ERROR_CODE.test(code));
  return {
    type: ERROR_NAME.test(error.name) ? error.name : 'Error',
    ...(codeIsSafe ? { code } : {}),
    stack: stackFrames(error),
  };
}

/** The stack begins with the message, which may have any number of lines and look like anything. */
function stackFrames(error: Error): string[] {
  const stack: unknown = error.stack;
  if (typeof stack !== 'string') return [];
  const message = stack.indexOf(error.message);
  const lines = (message < 0 ? stack : stack.slice(message + error.message.length)).split('\n');
  const frames = lines.filter((line) => STACK_FRAME.test(line));
  return frames.slice(0, MAX_FRAMES).map((line) => line.trim());
}

/** Without a message of ours pino would take the error's own. */
function withOwnMessage(args: Parameters<LogFn>): Parameters<LogFn> {
  const [first, ...others]: readonly unknown[] = args;
  const fields: unknown = first instanceof Error ? { err: first } : first;
  if (typeof fields !== 'object' || fields === null || !('err' in fields)) return args;
  const described = describeError(fields.err);
  const message = others.length > 0 ? others : [String(described.message ?? described.type)];
  return [fields, ...message] as Parameters<LogFn>;
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
