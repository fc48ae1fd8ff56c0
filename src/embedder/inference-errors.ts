/** Why an inference did not come about, in words that are safe to show. */
import { VoiceAuthError } from '../domain/errors.js';
import type { InferenceFault } from './inference-protocol.js';

/** The model cannot be used. */
export function unavailable(message: string): VoiceAuthError {
  return new VoiceAuthError('InferenceUnavailable', message);
}

export function notRunning(): VoiceAuthError {
  return unavailable('The speaker model is not running.');
}

export function shuttingDown(): VoiceAuthError {
  return unavailable('The service is shutting down.');
}

/** What a child's fault means to whoever asked. */
export function faultError(fault: InferenceFault): VoiceAuthError {
  switch (fault) {
    case 'unusable_input':
      return new VoiceAuthError('AudioProcessingError', 'The audio has samples that are not numbers.');
    case 'unusable_output':
      return new VoiceAuthError('AudioProcessingError', 'The speaker model can make nothing of this audio.');
    case 'runtime':
      return unavailable('The speaker model failed on this request.');
  }
}
