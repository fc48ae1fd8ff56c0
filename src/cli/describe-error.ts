/** Errors in words, for people at a terminal. */
import { ConfigurationError } from '../config/environment.js';
import { VoiceAuthError } from '../domain/errors.js';
import { CommandError } from './command-error.js';

const EXPECTED = [
  'ModelPackageError',
  'ModelPullError',
  'DataFolderError',
  'DirectoryLockError',
  'StorageError',
  'WorkerStartError',
  'EvaluationError',
];

/** Known failures in one line; anything else with its stack, for a bug report. */
export function describeError(error: unknown): string {
  if (error instanceof CommandError || error instanceof ConfigurationError) return error.message;
  if (!(error instanceof Error)) return String(error);
  // Before the codes: that a server would answer 503 says nothing to whoever has named a model.
  if (EXPECTED.includes(error.name)) return error.message;
  if (error instanceof VoiceAuthError) return `${error.code}: ${error.message}`;
  if ('code' in error && error.code === 'EADDRINUSE') {
    const which = 'port' in error && typeof error.port === 'number' ? `Port ${error.port}` : 'The port';
    return `${which} is in use: set PORT to another one (0 = any free port)`;
  }
  return error.stack ?? error.message;
}
