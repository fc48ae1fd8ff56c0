/**
 * Storage cannot be used as it is configured or found on disk: something the operator has to put right before a start.
 * Faults while serving are `VoiceAuthError`s instead. Messages carry no secrets.
 */
export class StorageError extends Error {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = 'StorageError';
  }
}
