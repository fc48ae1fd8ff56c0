/** From what the use cases answer or throw to the outcome of a tool call. */
import type { CallEnrollmentAnswer, CallVerificationAnswer } from '../../../domain/calls/calls.js';
import { asVoiceAuthError } from '../../../domain/errors.js';
import type { ToolOutcome } from './tool-results.js';

/** `follows`: a late verdict has been promised. */
export function outcomeOfVerification(answer: CallVerificationAnswer, follows: boolean): ToolOutcome {
  if (answer.kind !== 'decided') return answer;
  return { kind: 'verification', userId: answer.userId, result: answer.result, follows };
}

export function outcomeOfEnrollment(answer: CallEnrollmentAnswer): ToolOutcome {
  if (answer.kind !== 'enrolled') return answer;
  return { kind: 'enrollment', userId: answer.userId, result: answer.result };
}

/** A lock is an answer; everything else thrown is a fault, and what nobody expected says nothing. */
export function outcomeOfError(thrown: unknown): ToolOutcome {
  const error = asVoiceAuthError(thrown);
  if (error.code === 'AccountLockedError') {
    return { kind: 'locked_out', retryAfterSeconds: error.retryAfterSeconds };
  }
  return { kind: 'fault', error };
}
