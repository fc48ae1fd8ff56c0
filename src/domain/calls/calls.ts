/**
 * What may be asked about a running call: the shapes shared by the use case and the doors (VAPI webhook, media streams,
 * HTTP). A call session listens from the start of a call, so that most questions are answered from what was heard already.
 */
import type { EnrollmentResult } from '../enrollment/enrollment.js';
import type { CallSource } from '../ports/call-source.js';
import type { VerificationResult } from '../verification/verification.js';

/** Platforms that dial us and are let in by a one-time token. */
export const STREAM_PLATFORMS = ['twilio', 'telnyx', 'plivo', 'vapi_transcriber'] as const;
export type StreamPlatform = (typeof STREAM_PLATFORMS)[number];

/** Where a call's audio comes from. */
export const CALL_PLATFORMS = ['vapi', ...STREAM_PLATFORMS] as const;
export type CallPlatform = (typeof CALL_PLATFORMS)[number];

/** What an event of a call says about it. */
export interface CallFacts {
  readonly platform: CallPlatform;
  /** The platform's id of the call; at most 128 characters. */
  readonly callId: string;
  /** E.164. A claim of the network, not proof; undefined when withheld or no number (SIP). */
  readonly callerNumber: string | undefined;
  /** Where the call can be listened to; a secret. Undefined when the event does not say, or the platform dials us. */
  readonly listenUrl: string | undefined;
  readonly correlationId: string;
}

export interface CallQuestion {
  readonly call: CallFacts;
  /** Idempotency key within the call, e.g. the tool-call id: the same question again gets the same answer. */
  readonly requestId: string;
  /** From now: the answer is there by then, with what is known. */
  readonly deadlineMs: number;
  /** Aborted when the asker has gone away: nothing is accepted, and the latest look is judged as the last. */
  readonly signal: AbortSignal;
}

export interface CallVerificationQuestion extends CallQuestion {
  /** The person claimed; undefined = the enrolled user of the caller's number. */
  readonly userId: string | undefined;
  /** Stricter than configured; undefined = as configured. */
  readonly threshold: number | undefined;
}

export interface CallEnrollmentQuestion extends CallQuestion {
  /** Undefined = the user of the caller's number, or a new one. */
  readonly userId: string | undefined;
  /** Where the person's consent is on file, if it is named. The asker has made sure that there is one. */
  readonly consentReference: string | undefined;
  /**
   * The asker answers for who the caller is. Otherwise a sample for somebody who is enrolled is only taken after the caller
   * was verified as them.
   */
  readonly identityProven: boolean;
  /** E.164, to register with the person: said by somebody who may say so, unlike the number in the call's facts. */
  readonly phone: string | undefined;
  /** See `EnrollmentRequest`. */
  readonly replaceModel?: boolean | undefined;
  /** Who asks, for the audit trail. */
  readonly actor: string;
}

/** Who is meant cannot be told: nobody, or several people, are enrolled with the caller's number. */
export interface UnclearCaller {
  readonly kind: 'unknown_caller' | 'ambiguous_caller';
}

export type CallVerificationAnswer =
  | { readonly kind: 'decided'; readonly userId: string; readonly result: VerificationResult }
  | UnclearCaller;

export type CallEnrollmentAnswer =
  | { readonly kind: 'enrolled'; readonly userId: string; readonly result: EnrollmentResult }
  | UnclearCaller;

export interface CallStatus {
  readonly platform: CallPlatform;
  readonly callId: string;
  /** `lost`: the process that listened is gone, or its audio ended long ago; the next event of the call takes it over. */
  readonly state: 'connecting' | 'listening' | 'ended' | 'lost';
  readonly netSpeechMs: number;
  /** Looks taken for the claimed user. */
  readonly looks: number;
  /** Whether looks are taken for somebody: the user of the number, or who was asked about. */
  readonly claimed: boolean;
  readonly startedAt: Date;
}

export interface CallsUseCase {
  /**
   * The call is under way: listens from now on, if not already, and if the facts say where. Never throws for what the
   * call's audio does later. Throws `Busy` (too many calls), `ValidationError` (listen URL) or `DatabaseUnavailable`.
   */
  begin(call: CallFacts): Promise<void>;
  /**
   * Is the caller the person claimed? Answered at once when the session knows, else as soon as it does, at the latest at
   * the deadline with what is known (`inconclusive`). The attempt is recorded; the result is what was recorded. Throws
   * what `VerificationUseCase.verify` throws, `CallNotFoundError` when nobody knows where to listen, and `CallConflict` when
   * the call was asked about too many people, or one of them with too many thresholds.
   */
  verify(question: CallVerificationQuestion): Promise<CallVerificationAnswer>;
  /** Enrolls the caller from the call. Throws what `EnrollmentUseCase.enroll` throws, `CallNotFoundError` and `CallConflict`. */
  enroll(question: CallEnrollmentQuestion): Promise<CallEnrollmentAnswer>;
  /** Undefined when there is no such call. */
  status(platform: CallPlatform, callId: string): Promise<CallStatus | undefined>;
  /** The call is over: stops listening, wherever it is listened to. Throws `DatabaseUnavailable`; unknown calls are ignored. */
  end(platform: CallPlatform, callId: string): Promise<void>;
}

export interface StreamRequest {
  readonly platform: StreamPlatform;
  /** How the call is to be named in later questions; undefined = a new id. */
  readonly callId: string | undefined;
  readonly userId: string | undefined;
  readonly callerNumber: string | undefined;
}

export interface StreamTicket {
  readonly callId: string;
  /** Lets one stream in, once. A secret. */
  readonly token: string;
  readonly expiresAt: Date;
}

/** A stream that has dialled us and shown a token. */
export interface ArrivingStream {
  readonly platform: StreamPlatform;
  readonly token: string;
  /** Its audio; opened once when the stream is admitted. */
  readonly source: CallSource;
}

export interface StreamsUseCase {
  /** Expects a stream. Throws `DatabaseUnavailable`, or `CallConflict` when the call id is in use. */
  expect(request: StreamRequest): Promise<StreamTicket>;
  /**
   * Redeems the token and starts the call session that listens to the source. False when the token is unknown, used,
   * expired or of another platform. Throws `Busy` or `DatabaseUnavailable`.
   */
  admit(stream: ArrivingStream): Promise<boolean>;
}
