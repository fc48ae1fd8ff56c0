import { VoiceAuthError } from '../domain/errors.js';

/** What is wrong with the data or the wishes of an evaluation, in words for the person who started it. */
export class EvaluationError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'EvaluationError';
  }
}

/** What a recording's error becomes: an `EvaluationError` that names the file where the audio is at fault; others stay as they are. */
export function faultOfRecording(path: string, error: unknown): unknown {
  const audio = ['AudioProcessingError', 'UnsupportedAudioError'];
  return error instanceof VoiceAuthError && audio.includes(error.code)
    ? new EvaluationError(`${path}: ${error.message}`)
    : error;
}
