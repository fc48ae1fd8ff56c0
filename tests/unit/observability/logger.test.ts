import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../src/domain/errors.js';
import { withCorrelation } from '../../../src/observability/correlation.js';
import { createLogger, describeError, type Logger } from '../../../src/observability/logger.js';

const SECRET = 'wss://calls.example/7f3a/listen';

/** A logger and everything it has written. */
function watched(level: 'trace' | 'warn' = 'trace'): { logger: Logger; text: () => string; last: () => unknown } {
  const lines: string[] = [];
  const logger = createLogger(level, { write: (line) => lines.push(line) });
  return { logger, text: () => lines.join(''), last: () => JSON.parse(lines.at(-1) ?? '{}') as unknown };
}

/** Errors of other people's making, each with the secret somewhere in it. */
const foreignErrors: readonly (readonly [string, unknown])[] = [
  ['a message', new Error(`connect ECONNREFUSED ${SECRET}`)],
  ['a cause', new TypeError('fetch failed', { cause: new Error(`getaddrinfo ENOTFOUND ${SECRET}`) })],
  ['system error fields', Object.assign(new Error('boom'), { code: 'ENOTFOUND', hostname: SECRET, address: SECRET })],
  ['a group of errors', new AggregateError([new Error(SECRET)], `all attempts failed: ${SECRET}`)],
  ['a message that looks like a stack', new Error(`bad body:\n    at ${SECRET}\n    at Object.parse (${SECRET}:1:1)`)],
  ['a message changed after the fact', Object.assign(new Error(`x\n    at ${SECRET}`), { message: 'harmless' })],
  ['a message added to the stack', Object.assign(new Error('y'), { stack: `Error: y\n    at ${SECRET}\n    at z` })],
  ['no stack', Object.assign(new Error(SECRET), { stack: undefined })],
  ['a stack that is no text', Object.assign(new Error(SECRET), { stack: { toString: () => SECRET } })],
  ['a name', Object.assign(new Error('z'), { name: `Error for ${SECRET}` })],
  ['a code', Object.assign(new Error('z'), { code: SECRET })],
  ['a thrown text', SECRET],
  ['a thrown object', { message: SECRET, url: SECRET }],
  ['an error of another realm', { name: 'Error', message: SECRET, stack: `Error: ${SECRET}` }],
];

describe('describeError', () => {
  it.each(foreignErrors)('tells nothing of what a foreign error says: %s', (_, error) => {
    expect(JSON.stringify(describeError(error))).not.toContain('calls.example');
    const ours = new VoiceAuthError('ListenConnectionError', 'The call could not be listened to', { cause: error });
    const described = describeError(ours);
    expect(JSON.stringify(described)).not.toContain('calls.example');
    expect(described).toMatchObject({ type: 'ListenConnectionError', message: 'The call could not be listened to' });
  });

  it('keeps what helps: name, code and where it happened', () => {
    const error = Object.assign(new TypeError(`Invalid URL ${SECRET}`), { code: 'ERR_INVALID_URL' });
    const described = describeError(error) as { type: string; code: string; stack: string[] };
    expect([described.type, described.code]).toEqual(['TypeError', 'ERR_INVALID_URL']);
    expect(described.stack[0]).toMatch(/^at .*logger\.test\.ts:\d+:\d+\)?$/);
    expect(described.stack.length).toBeLessThanOrEqual(8);
  });

  it('describes a chain of our own errors to its end', () => {
    const root = new Error('inner');
    const middle = new VoiceAuthError('DatabaseUnavailable', 'The database does not answer', { cause: root });
    const outer = new VoiceAuthError('InternalError', 'Recording failed', { cause: middle });
    expect(describeError(outer)).toMatchObject({
      type: 'InternalError',
      cause: { type: 'DatabaseUnavailable', message: 'The database does not answer', cause: { type: 'Error' } },
    });
  });

  it('comes to an end with errors that cause one another', () => {
    const error = new VoiceAuthError('InternalError', 'round and round');
    Object.assign(error, { cause: error });
    expect(describeError(error)).toMatchObject({ type: 'InternalError' });
  });

  it.each([[undefined], [null], [17], ['text'], [Symbol('x')]])('has something to say of %s', (thrown) => {
    expect(describeError(thrown)).toEqual({ type: typeof thrown });
  });
});

describe('createLogger', () => {
  it.each(foreignErrors)('tells nothing of what a foreign error says, however it is logged: %s', (_, error) => {
    const { logger, text } = watched();
    logger.error({ err: error, event: 'failed' }, 'it failed');
    logger.error({ err: error });
    logger.child({ part: 'x' }).warn({ err: error });
    if (error instanceof Error) {
      // Not in the types of our loggers, but libraries and haste do it.
      logger.error(error as unknown as object);
      logger.error(error as unknown as object, 'it failed');
    }
    expect(text()).not.toContain('calls.example');
    expect(text().split('\n').length).toBeGreaterThan(3);
  });

  it('shows our own message when only the error is given', () => {
    const { logger, last } = watched();
    logger.error({ err: new VoiceAuthError('Busy', 'Too many requests wait') });
    expect(last()).toMatchObject({ err: { type: 'Busy', message: 'Too many requests wait' } });
  });

  it.each([
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
    'listen_url',
    'audio_url',
    'api_key',
  ])('redacts %s, at the top and below', (key) => {
    const { logger, text, last } = watched();
    logger.info({ [key]: SECRET, request: { [key]: SECRET, inner: { [key]: [SECRET] } } }, 'seen');
    expect(text()).not.toContain('calls.example');
    expect(last()).toMatchObject({ [key]: '[redacted]', request: { [key]: '[redacted]' }, msg: 'seen' });
  });

  it('does not redact what it is for', () => {
    const { logger, last } = watched();
    logger.info({ event: 'verification', decision: 'accept', looks: 3 }, 'recorded');
    expect(last()).toMatchObject({
      event: 'verification',
      decision: 'accept',
      looks: 3,
      level: 30,
      service: 'voice-auth',
    });
  });

  it('adds the ids of what is being served, and only there', async () => {
    const { logger, last } = watched();
    const other = new AsyncLocalStorage<number>();
    await withCorrelation({ correlationId: 'correlation-1', callId: 'call-1' }, async () => {
      await other.run(1, () => Promise.resolve());
      logger.info('inside');
    });
    expect(last()).toMatchObject({ correlation_id: 'correlation-1', call_id: 'call-1', msg: 'inside' });
    withCorrelation({ correlationId: 'correlation-2', callId: undefined }, () => logger.info('without call'));
    expect(last()).not.toHaveProperty('call_id');
    logger.info('outside');
    expect(last()).not.toHaveProperty('correlation_id');
    expect(last()).not.toHaveProperty('trace_id');
  });

  it('keeps the level', () => {
    const { logger, text } = watched('warn');
    logger.info('too much');
    expect(text()).toBe('');
    logger.warn('heard');
    expect(text()).toContain('heard');
  });

  it('writes one line whatever the text', () => {
    const { logger, text } = watched();
    logger.info({ reason: 'a\n{"level":60,"msg":"forged"}' }, 'b\r\nc');
    expect(text().trimEnd().split('\n')).toHaveLength(1);
  });
});
