/** The one table from stable error codes to HTTP statuses, and the one shape of an error answer. */
import { asVoiceAuthError, type ErrorCode, VoiceAuthError } from '../domain/errors.js';

export const STATUS_BY_CODE: Readonly<Record<ErrorCode, number>> = {
  ValidationError: 400,
  AudioDownloadError: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  UserNotFoundError: 404,
  CallNotFoundError: 404,
  MethodNotAllowed: 405,
  VoiceprintModelMismatch: 409,
  EnrollmentConflict: 409,
  CallConflict: 409,
  PayloadTooLarge: 413,
  UnsupportedAudioError: 415,
  UnsupportedMediaType: 415,
  AudioProcessingError: 422,
  AccountLockedError: 423,
  RateLimited: 429,
  InternalError: 500,
  ListenConnectionError: 502,
  Busy: 503,
  InferenceUnavailable: 503,
  DatabaseUnavailable: 503,
  Timeout: 504,
};

export interface ErrorBody {
  readonly error: ErrorCode;
  readonly message: string;
  readonly correlation_id: string;
  readonly timestamp: string;
  readonly details?: unknown;
}

/**
 * Any thrown thing as one of our errors. Faults of the framework in reading a request (a path that does not decode) are
 * the client's; everything else unknown is an `InternalError` that says nothing.
 */
export function toVoiceAuthError(error: unknown): VoiceAuthError {
  if (error instanceof URIError) {
    return new VoiceAuthError('ValidationError', 'The path is not valid', { cause: error });
  }
  return asVoiceAuthError(error);
}

/** The JSON answer for an error. */
export function errorBody(error: VoiceAuthError, correlationId: string): ErrorBody {
  return {
    error: error.code,
    message: error.message,
    correlation_id: correlationId,
    timestamp: new Date().toISOString(),
    ...(error.details === undefined ? {} : { details: error.details }),
  };
}
