import type { DatabaseFault } from '../domain/ports/health.js';

/**
 * Storage cannot be used as it is configured or found: something the operator has to put right, mostly before a start.
 * Other faults while serving are `VoiceAuthError`s. Messages carry no secrets.
 */
export class StorageError extends Error {
  /** Stable code for readiness, of what may also be found while serving. */
  readonly fault: DatabaseFault | undefined;

  constructor(message: string, options: { readonly fault?: DatabaseFault; readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = 'StorageError';
    this.fault = options.fault;
  }
}
