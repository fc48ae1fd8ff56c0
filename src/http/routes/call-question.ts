/** A request about a running call as a question: asked again with the same correlation id, it gets the same answer. */
import type { CallPlatform, CallQuestion } from '../../domain/calls/calls.js';
import type { OperationContext } from '../operation.js';
import { CALL_WAIT_SECONDS } from '../schemas/fields.js';

export function callQuestion(
  call: { readonly platform: CallPlatform; readonly id: string },
  maxSeconds: number | undefined,
  { correlationId, signal }: OperationContext,
): CallQuestion & { readonly call: { readonly callerNumber: undefined } } {
  return {
    call: { platform: call.platform, callId: call.id, callerNumber: undefined, listenUrl: undefined, correlationId },
    requestId: correlationId,
    deadlineMs: (maxSeconds ?? CALL_WAIT_SECONDS) * 1000,
    signal,
  };
}
