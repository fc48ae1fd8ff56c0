/** What the service knows about the request it is serving, typed, instead of loose properties on `req` and `res`. */
import type { IncomingMessage } from 'node:http';
import type { ErrorCode } from '../domain/errors.js';
import type { EventStream } from './event-stream.js';

export interface RequestState {
  readonly correlationId: string;
  /** The platform's id of the call, when the request named one. */
  readonly callId: string | undefined;
  /** Aborted when the client has gone away before it was answered. */
  readonly signal: AbortSignal;
  /** Operation name, or `unknown` while (or because) no route has matched. */
  operation: string;
  /** Only the body can show who sends it: it comes from a stranger until then. */
  unproven: boolean;
  /** Id of the API key; undefined on public operations. */
  actor: string | undefined;
  /** Whether the key may do everything. */
  isAdmin: boolean;
  /** Whom the request claims to be about, once validated; for the limit per user. */
  claimedUserId: string | undefined;
  /** Parsed and validated input of the operation. */
  input: unknown;
  /** Bytes of the uploaded file or the raw body, until the request has been answered: so long they count as held. */
  upload: Uint8Array | undefined;
  /** Set when the client asked for progress events. */
  eventStream: EventStream | undefined;
  /** Stable code of the error that was answered. */
  errorCode: ErrorCode | undefined;
}

const states = new WeakMap<IncomingMessage, RequestState>();

/** Attaches a fresh state to `req`. */
export function openRequestState(
  req: IncomingMessage,
  fixed: Pick<RequestState, 'correlationId' | 'callId' | 'signal'>,
): RequestState {
  const state: RequestState = {
    ...fixed,
    operation: 'unknown',
    unproven: false,
    actor: undefined,
    isAdmin: false,
    claimedUserId: undefined,
    input: undefined,
    upload: undefined,
    eventStream: undefined,
    errorCode: undefined,
  };
  states.set(req, state);
  return state;
}

/** The state of `req`. Throws when the correlation middleware has not run: that would be a fault in the app's wiring. */
export function stateOf(req: IncomingMessage): RequestState {
  const state = states.get(req);
  if (!state) throw new Error('request state is missing');
  return state;
}
