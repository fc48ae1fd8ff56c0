/** How work on a recording ends when the request it was for has ended. */
import { VoiceAuthError } from '../domain/errors.js';

/** The abort reason when it is a `VoiceAuthError`, else `Timeout`. */
export function cancelled(signal: AbortSignal): VoiceAuthError {
  if (signal.reason instanceof VoiceAuthError) return signal.reason;
  return new VoiceAuthError('Timeout', 'The request ended before the recording was ready.');
}
