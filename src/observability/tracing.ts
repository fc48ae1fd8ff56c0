/**
 * Spans by hand: `http <operation>` -> `verification` / `enrollment` -> `listen.connect`, `window.embed`, `attempt.record`.
 * Auto-instrumentation is not used: it would put URLs of callers on spans. Without a started SDK all of this is a no-op.
 */
import { type Attributes, context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { asVoiceAuthError } from '../domain/errors.js';

export { SpanKind };

const tracer = trace.getTracer('voice-auth');

/** Runs `work` in a child span; a thrown error marks the span with its stable code (never its text). */
export async function withSpan<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
  options: { readonly kind?: SpanKind } = {},
): Promise<T> {
  return tracer.startActiveSpan(name, { attributes, kind: options.kind ?? SpanKind.INTERNAL }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      const code = asVoiceAuthError(error).code;
      span.setAttribute('error.type', code);
      span.setStatus({ code: SpanStatusCode.ERROR, message: code });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Starts a server span that continues the trace of incoming headers (W3C `traceparent`), and runs `work` inside it. */
export function withServerSpan(
  name: string,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  work: (span: Span) => void,
): void {
  const parent = propagation.extract(context.active(), headers);
  const span = tracer.startSpan(name, { kind: SpanKind.SERVER }, parent);
  context.with(trace.setSpan(parent, span), () => work(span));
}

/** Marks a span of a request that failed on our side. */
export function markFailed(span: Span): void {
  span.setStatus({ code: SpanStatusCode.ERROR });
}
