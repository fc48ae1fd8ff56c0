/**
 * Every fault that leaves the service has one of these stable codes. Doors (HTTP, CLI) map a code to a status; rooms
 * only say what happened. Messages are safe to show: they never carry audio, embeddings, phone numbers, secrets or
 * listen URLs.
 */

export const ERROR_CODES = [
  'ValidationError',
  'AudioDownloadError',
  'Unauthorized',
  'Forbidden',
  'NotFound',
  'UserNotFoundError',
  'CallNotFoundError',
  'MethodNotAllowed',
  'VoiceprintModelMismatch',
  'EnrollmentConflict',
  'CallConflict',
  'PayloadTooLarge',
  'UnsupportedAudioError',
  'UnsupportedMediaType',
  'AudioProcessingError',
  'AccountLockedError',
  'RateLimited',
  'ListenConnectionError',
  'Busy',
  'InferenceUnavailable',
  'DatabaseUnavailable',
  'Timeout',
  'InternalError',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface ErrorExtras {
  /** Machine-readable facts for the caller (numbers found and needed, field paths). Safe to show. */
  readonly details?: unknown;
  /** Seconds after which the same request may work. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** A fault with a stable code and a message that is safe to show. */
export class VoiceAuthError extends Error {
  readonly code: ErrorCode;
  readonly details: unknown;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.name = code;
    this.code = code;
    this.details = extras.details;
    this.retryAfterSeconds = extras.retryAfterSeconds;
  }
}

/** Any thrown thing as one of our errors: what nobody expected is an `InternalError` that says nothing, with the thing as its cause. */
export function asVoiceAuthError(error: unknown): VoiceAuthError {
  if (error instanceof VoiceAuthError) return error;
  return new VoiceAuthError('InternalError', 'Something went wrong on our side', { cause: error });
}

/** Whether something was only refused because too much else is going on: the same may work a moment later. */
export function isBusy(error: unknown): boolean {
  return error instanceof VoiceAuthError && error.code === 'Busy';
}

/** One offending field of a request, as `ValidationError` reports it. `path` is dotted, e.g. `audioUrl`. */
export interface FieldIssue {
  readonly path: string;
  readonly message: string;
}

/** A `ValidationError` about one or more fields. */
export function validationError(issues: readonly FieldIssue[]): VoiceAuthError {
  const summary = issues.map((issue) => (issue.path ? `${issue.path}: ${issue.message}` : issue.message)).join('; ');
  return new VoiceAuthError('ValidationError', summary, { details: issues });
}

/** `AccountLockedError` with the time that is left. */
export function accountLocked(until: Date): VoiceAuthError {
  const retryAfterSeconds = Math.max(1, Math.ceil((until.getTime() - Date.now()) / 1000));
  const lockedUntil = until.toISOString();
  return new VoiceAuthError('AccountLockedError', `Too many failed attempts: the user is locked until ${lockedUntil}`, {
    retryAfterSeconds,
    details: { locked_until: lockedUntil },
  });
}
