/** Why a model did not come, in words for the person at the terminal. */

export type ModelPullReason =
  | 'unknown_model'
  | 'bad_registry'
  | 'refused_url'
  | 'connection'
  | 'timeout'
  | 'status'
  | 'too_large'
  | 'wrong_size'
  | 'wrong_checksum'
  | 'disk_full'
  | 'not_writable'
  | 'unreadable'
  | 'busy'
  | 'occupied';

export class ModelPullError extends Error {
  constructor(
    readonly reason: ModelPullReason,
    message: string,
    /** Trying again may help: the connection broke, the server is overloaded. */
    readonly transient = false,
  ) {
    super(message);
    this.name = 'ModelPullError';
  }
}

/** A failure of the file system as one of ours; anything else as it is. */
export function diskError(error: unknown, path: string): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new ModelPullError(
        'disk_full',
        `There is no room left for ${path}. What has come is kept: make room and pull again`,
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ModelPullError(
        'not_writable',
        `${path} cannot be written (${code}): set MODELS_DIR to a folder that can`,
      );
    default:
      return error;
  }
}
