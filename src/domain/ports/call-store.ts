/**
 * What all processes know about running calls: who listens to which (a lease), how far it has come, what was asked and
 * answered. Every method is one database transaction and throws `DatabaseUnavailable` like those of `AuthStore`.
 */
import type { CallEnrollmentAnswer, CallPlatform, CallStatus, CallVerificationAnswer } from '../calls/calls.js';
import type { ErrorCode } from '../errors.js';

export interface CallKey {
  readonly platform: CallPlatform;
  readonly callId: string;
}

/** How a call stands for the process that asks. */
export interface CallHold {
  readonly state: 'waiting' | 'connecting' | 'listening' | 'ended';
  /** It is this process that listens, or has to. */
  readonly owned: boolean;
  /** It was taken over just now, from a process that is gone. */
  readonly tookOver: boolean;
  /** Whom the call was said to be of, when its stream was announced. */
  readonly userId: string | undefined;
}

/** What another process has to know to answer a question. */
export interface CallQuestionArgs {
  readonly userId: string | undefined;
  readonly threshold: number | undefined;
  readonly callerNumber: string | undefined;
  readonly consentReference: string | undefined;
  readonly identityProven?: boolean | undefined;
  /** To register with the person. */
  readonly phone: string | undefined;
  readonly replaceModel?: boolean | undefined;
  readonly actor: string | undefined;
  readonly correlationId: string;
}

/** An answer as it is stored; an error is told to whoever waits, and forgotten when the question is asked again. */
export type StoredAnswer =
  | { readonly kind: 'verify'; readonly answer: CallVerificationAnswer }
  | { readonly kind: 'enroll'; readonly answer: CallEnrollmentAnswer }
  | {
      readonly kind: 'error';
      readonly code: ErrorCode;
      readonly message: string;
      readonly details?: unknown;
      readonly retryAfterSeconds?: number | undefined;
    };

export interface CallAsking extends CallKey {
  readonly requestId: string;
  readonly kind: 'verify' | 'enroll';
  /** Digest of what is asked: the same request id with anything else is refused. Kept under a key. */
  readonly fingerprint: string;
  readonly args: CallQuestionArgs;
  readonly deadlineMs: number;
  readonly asker: string;
  /** The asker could listen to this call itself: an unknown or abandoned call becomes its own. */
  readonly mayListen: boolean;
  readonly leaseMs: number;
}

export interface CallAsked extends CallHold {
  /** The process that listens has renewed its lease in time. */
  readonly alive: boolean;
  /** Of the attempt or voice sample that answers this question, however often it is asked. */
  readonly attemptId: string;
  readonly answer: StoredAnswer | undefined;
}

export interface PendingQuestion extends CallKey {
  readonly requestId: string;
  readonly kind: 'verify' | 'enroll';
  readonly args: CallQuestionArgs;
  readonly attemptId: string;
  readonly remainingMs: number;
}

export interface CallProgress extends CallKey {
  readonly state: 'connecting' | 'listening' | 'ended';
  readonly netSpeechMs: number;
  readonly looks: number;
  readonly claimed: boolean;
}

export interface CallStore {
  /** Holds the call for `owner`, unless another process does or the call has ended. */
  beginCall(call: CallKey, hold: { readonly owner: string; readonly leaseMs: number }): Promise<CallHold>;
  /**
   * Notes a question, or returns the answer it has already; a named user becomes whom the call is taken to be of. Undefined =
   * nobody knows the call. Throws `ValidationError` when the request id was used for another question.
   */
  askCall(asking: CallAsking): Promise<CallAsked | undefined>;
  /** How a question stands that another process has to answer; not alive either once that would be `asker` itself. */
  callRequest(
    call: CallKey,
    requestId: string,
    asker: string,
  ): Promise<{ readonly answer: StoredAnswer | undefined; readonly alive: boolean }>;
  /** The first answer stays; an error may be followed by an answer. */
  answerCall(call: CallKey, requestId: string, answer: StoredAnswer): Promise<void>;
  /**
   * `asker` waits for the answer no more, or there is none: asked again, it is a new attempt. Others who have asked the same
   * since still wait.
   */
  withdrawQuestion(call: CallKey, requestId: string, asker: string): Promise<void>;
  /** Questions that others wait for `owner` to answer, and its calls that were ended elsewhere. */
  pollCalls(
    owner: string,
  ): Promise<{ readonly questions: readonly PendingQuestion[]; readonly ended: readonly CallKey[] }>;
  /** Renews the leases of these calls and tells how far they are; returns those that are held no more. */
  renewCalls(owner: string, leaseMs: number, calls: readonly CallProgress[]): Promise<readonly CallKey[]>;
  endCall(call: CallKey): Promise<void>;
  /** Lets go of one call, or of all calls of `owner`. */
  releaseCalls(owner: string, call?: CallKey): Promise<void>;
  callStatus(call: CallKey): Promise<Omit<CallStatus, 'platform' | 'callId'> | undefined>;
  /** Throws `CallConflict` when the call id is in use, `UserNotFoundError` for an unknown user. */
  expectStream(
    stream: CallKey & { readonly token: string; readonly ttlMs: number; readonly userId: string | undefined },
  ): Promise<{ readonly expiresAt: Date }>;
  /** Undefined when the token is unknown, used, expired or of another platform. */
  redeemStream(
    stream: { readonly platform: CallPlatform; readonly token: string },
    hold: { readonly owner: string; readonly leaseMs: number },
  ): Promise<{ readonly callId: string; readonly userId: string | undefined } | undefined>;
  /** Enrolled users with this number; two at most. */
  usersByPhone(phone: string): Promise<readonly string[]>;
}
