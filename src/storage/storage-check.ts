/**
 * Whether a database is one that this version can serve from: its schema, and the keys its templates are encrypted with. A
 * start is refused where it is not; where the database did not answer at the start, readiness goes on asking until it does.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { StorageConfig } from '../config/config.js';
import { VoiceAuthError } from '../domain/errors.js';
import { DatabaseFailure } from './database-client.js';
import { StorageError } from './storage-error.js';

/** What is asked of the database. */
export interface CheckedDatabase {
  schemaVersion(): Promise<number>;
  missingKeys(): Promise<readonly string[]>;
}

/** The file in the data folder that has the keys where none are configured. */
export const KEY_FILE = 'encryption.keys';

/** What `va_ping` answers once the migrations this version needs have been applied. */
const REQUIRED_SCHEMA_VERSION = 10;

export class StorageCheck {
  readonly #config: StorageConfig;
  #keysFound = false;

  constructor(config: StorageConfig) {
    this.#config = config;
  }

  /**
   * Looks at the schema every time, and at the keys until all were found once. Throws `StorageError` for what the operator
   * must put right, else what the database throws.
   */
  async run(database: CheckedDatabase): Promise<void> {
    try {
      if ((await database.schemaVersion()) < REQUIRED_SCHEMA_VERSION) throw missingMigrations();
      if (this.#keysFound) return;
      requireKeys(await database.missingKeys(), this.#config);
      this.#keysFound = true;
    } catch (error) {
      throw refusalOf(error) ?? error;
    }
  }
}

/** What the operator must put right where the database itself has refused. */
function refusalOf(error: unknown): StorageError | undefined {
  const cause = error instanceof VoiceAuthError ? error.cause : undefined;
  if (!(cause instanceof DatabaseFailure)) return undefined;
  if (cause.status === 404) return missingMigrations(cause);
  if (cause.status !== 401 && cause.status !== 403) return undefined;
  return new StorageError('The Supabase project refuses SUPABASE_SERVICE_ROLE_KEY', { fault: 'key_refused', cause });
}

/** A server without them would start, and then fail for everybody who is enrolled. */
function requireKeys(missing: readonly string[], config: StorageConfig): void {
  if (missing.length === 0) return;
  const fault = 'keys_missing';
  const keys = `${missing.length === 1 ? 'key' : 'keys'} ${missing.join(', ')}`;
  const keyFile = join(config.dataDir, KEY_FILE);
  if (!config.encryptionKeys) {
    throw new StorageError(`Voice templates are encrypted with ${keys}, which ${keyFile} lacks: restore that file`, {
      fault,
    });
  }
  const here = !config.supabase && existsSync(keyFile) ? `; ${keyFile} has what was used without the variable` : '';
  throw new StorageError(
    `Voice templates are encrypted with ${keys}, which EMBEDDING_ENCRYPTION_KEYS lacks: add what was used so far (a new key may stay in front)${here}`,
    { fault },
  );
}

function missingMigrations(cause?: unknown): StorageError {
  return new StorageError(
    'The Supabase project lacks the migrations of this version: apply supabase/migrations, e.g. with ' +
      '`npx supabase link` and `npx supabase db push`',
    { fault: 'migrations_missing', cause },
  );
}
