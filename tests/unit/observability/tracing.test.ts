import { context, propagation, SpanStatusCode, trace } from '@opentelemetry/api';
import { core, node, tracing } from '@opentelemetry/sdk-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../src/domain/errors.js';
import { createLogger } from '../../../src/observability/logger.js';
import { markFailed, SpanKind, withServerSpan, withSpan } from '../../../src/observability/tracing.js';

const SECRET = 'wss://calls.example/7f3a/listen';
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const PARENT_ID = 'b7ad6b7169203331';

it('runs the work as if there were no tracing while none is started', async () => {
  expect(await withSpan('verification', {}, async (span) => span.isRecording())).toBe(false);
  await expect(withSpan('verification', {}, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
  let seen = false;
  withServerSpan('http verify', { traceparent: 'nonsense' }, (span) => {
    seen = true;
    markFailed(span);
    span.end();
  });
  expect(seen).toBe(true);
});

describe('with a tracer', () => {
  const exporter = new tracing.InMemorySpanExporter();
  const provider = new node.NodeTracerProvider({ spanProcessors: [new tracing.SimpleSpanProcessor(exporter)] });

  beforeAll(() => provider.register({ propagator: new core.W3CTraceContextPropagator() }));
  beforeEach(() => exporter.reset());
  afterAll(async () => {
    await provider.shutdown();
    trace.disable();
    context.disable();
    propagation.disable();
  });
  const spans = () => exporter.getFinishedSpans();
  const span = (name: string) => spans().find((entry) => entry.name === name)!;

  it('nests spans, across asynchronous work', async () => {
    const answer = await withSpan('verification', { 'voice_auth.source': 'upload' }, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([
        withSpan('window.embed', {}, async () => undefined),
        withSpan('listen.connect', {}, async () => undefined, { kind: SpanKind.CLIENT }),
      ]);
      return 'decided';
    });
    expect(answer).toBe('decided');
    const verification = span('verification');
    for (const name of ['window.embed', 'listen.connect']) {
      expect(span(name).parentSpanContext?.spanId).toBe(verification.spanContext().spanId);
    }
    expect(span('listen.connect').kind).toBe(SpanKind.CLIENT);
    expect(verification).toMatchObject({ kind: SpanKind.INTERNAL, attributes: { 'voice_auth.source': 'upload' } });
    expect(verification.status.code).toBe(SpanStatusCode.UNSET);
  });

  it.each([
    ['ours', new VoiceAuthError('Busy', 'Too many', { cause: new Error(SECRET) }), 'Busy'],
    ['a stranger', new Error(`getaddrinfo ENOTFOUND ${SECRET}`), 'InternalError'],
    ['no error at all', SECRET, 'InternalError'],
  ])('marks failed work with a code and nothing else: %s', async (_, thrown, code) => {
    await expect(withSpan('verification', {}, () => Promise.reject(thrown))).rejects.toBe(thrown);
    expect(span('verification')).toMatchObject({
      status: { code: SpanStatusCode.ERROR, message: code },
      attributes: { 'error.type': code },
      events: [],
      ended: true,
    });
    expect(JSON.stringify([span('verification').attributes, span('verification').status])).not.toContain('calls');
  });

  it('ends the span also when the work throws before it has begun', async () => {
    const work = () => {
      throw new Error('at once');
    };
    await expect(withSpan('verification', {}, work)).rejects.toThrow('at once');
    expect(spans()).toHaveLength(1);
  });

  it('continues the trace of a request', async () => {
    let ended: Promise<void> | undefined;
    withServerSpan('http verify', { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` }, (server) => {
      ended = withSpan('verification', {}, async () => undefined).finally(() => server.end());
    });
    await ended;
    const server = span('http verify');
    expect(server.spanContext().traceId).toBe(TRACE_ID);
    expect([server.parentSpanContext?.spanId, server.kind]).toEqual([PARENT_ID, SpanKind.SERVER]);
    expect(span('verification').parentSpanContext?.spanId).toBe(server.spanContext().spanId);
  });

  it.each([
    ['none', {}],
    ['nonsense', { traceparent: 'nonsense' }],
    ['an invalid id', { traceparent: `00-${'0'.repeat(32)}-${PARENT_ID}-01` }],
  ])('begins its own trace with a header that is %s', (_, headers) => {
    withServerSpan('http verify', headers, (server) => server.end());
    expect(span('http verify').parentSpanContext).toBeUndefined();
    expect(span('http verify').spanContext().traceId).not.toBe(TRACE_ID);
  });

  it('puts the trace into the log lines of the work', async () => {
    let line: Record<string, unknown> = {};
    const logger = createLogger('info', {
      write: (text) => {
        line = JSON.parse(text) as Record<string, unknown>;
      },
    });
    await withSpan('verification', {}, async () => logger.info('recorded'));
    const { traceId, spanId } = span('verification').spanContext();
    expect(line).toMatchObject({ trace_id: traceId, span_id: spanId });
  });
});
