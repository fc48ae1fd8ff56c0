/** A request about a running call as a question. Every request is a question of its own, whatever ids it carries. */
import { randomUUID } from 'node:crypto';
import type { CallPlatform, CallQuestion } from '../../domain/calls/calls.js';
import type { OperationContext } from '../operation.js';
import { CALL_WAIT_SECONDS } from '../schemas/fields.js';

export function callQuestion(
  call: { readonly platform: CallPlatform; readonly id: string },
  maxSeconds: number | undefined,
  { correlationId, signal }: OperationContext,
): CallQuestion {
  return {
    call: { platform: call.platform, callId: call.id, callerNumber: undefined, listenUrl: undefined, correlationId },
    requestId: randomUUID(),
    deadlineMs: (maxSeconds ?? CALL_WAIT_SECONDS) * 1000,
    signal,
  };
}
