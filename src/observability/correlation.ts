/** Correlation ids: one per request or call, in the response header, every log line, every attempt and every trace. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';

/** Letters, digits, `.`, `_`, `:` and `-`, 8 to 128 of them: nothing that could forge a log line or a header. */
const WELL_FORMED = /^[A-Za-z0-9][A-Za-z0-9._:-]{7,127}$/;

export interface CorrelationContext {
  readonly correlationId: string;
  /** The platform's id of the call, when the request named one. */
  readonly callId?: string | undefined;
}

const storage = new AsyncLocalStorage<CorrelationContext>();

/** Ten to fifteen digits on their own look like a phone number; the last group of a UUID may, too, and is none. */
const PHONE_LIKE = /(?<![A-Za-z0-9])\d{10,15}(?![A-Za-z0-9])/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether a caller-supplied id may be used as it is. Ids that hold something like a phone number are refused: they are logged. */
export function isWellFormedId(value: string): boolean {
  if (UUID.test(value)) return true;
  return WELL_FORMED.test(value) && !PHONE_LIKE.test(value) && !/^[\d.:_-]+$/.test(value);
}

/** The given id when well-formed, else a fresh UUID. */
export function correlationIdFrom(candidate: string | undefined): string {
  return candidate !== undefined && isWellFormedId(candidate) ? candidate : randomUUID();
}

/** Runs `work` with `context` visible to everything it starts. */
export function withCorrelation<T>(context: CorrelationContext, work: () => T): T {
  return storage.run(context, work);
}

/** The context of the request or call being served, if any. */
export function currentCorrelation(): CorrelationContext | undefined {
  return storage.getStore();
}
