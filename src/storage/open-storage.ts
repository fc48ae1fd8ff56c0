/**
 * Opens the storage that the configuration asks for: a Supabase project, or the embedded database in the data folder.
 * Both are used through the same client and the same database functions.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { StorageConfig } from '../config/config.js';
import { VoiceAuthError } from '../domain/errors.js';
import type { AuthStore, RateLimitStore } from '../domain/ports/auth-store.js';
import type { CallStore } from '../domain/ports/call-store.js';
import type { Logger } from '../observability/logger.js';
import type { Metrics } from '../observability/metrics.js';
import { prepareDataFolder, readOrCreateSecret, readSecret } from './data-folder.js';
import { DatabaseClient, DatabaseFailure } from './database-client.js';
import { lockDirectory } from './directory-lock.js';
import { EmbeddedDatabase } from './embedded/embedded-database.js';
import { createPostgrestShim } from './postgrest-shim.js';
import { StorageError } from './storage-error.js';
import { type StoreMaintenance, SupabaseAuthStore } from './supabase-auth-store.js';
import { SupabaseCallStore } from './supabase-call-store.js';
import { createEncryptionKeyEntry, TemplateCipher } from './template-cipher.js';

export interface Storage {
  readonly store: AuthStore & RateLimitStore & StoreMaintenance;
  readonly calls: CallStore;
  readonly backend: 'embedded' | 'supabase';
  /** Lets running calls finish, closes the database and gives the data folder back. */
  close(): Promise<void>;
}

export interface OpenStorageOptions {
  readonly metrics: Pick<Metrics, 'databaseSeconds'>;
  readonly logger: Logger;
  /** Compiled `embedded/database-worker.js`, when not beside this module. */
  readonly workerModule?: URL;
  readonly snapshotFile?: string;
  readonly migrationsDir?: string;
}

/** What `va_ping` answers once the migrations this version needs have been applied. */
const REQUIRED_SCHEMA_VERSION = 2;
const KEY_FILE = 'encryption.keys';
const DATABASE_FOLDER = 'database';
/** Never dialled: the shim answers before any network. */
const EMBEDDED_URL = 'http://embedded.invalid';

/**
 * Opens storage. Throws `StorageError`, `DataFolderError` or `DirectoryLockError` for what the operator must put right,
 * `DatabaseUnavailable` when the embedded database does not open. A Supabase project that cannot be reached at the moment
 * is no reason not to start: readiness reports it.
 */
export function openStorage(config: StorageConfig, options: OpenStorageOptions): Promise<Storage> {
  return config.supabase ? openSupabase(config, config.supabase, options) : openEmbedded(config, options);
}

async function openSupabase(
  config: StorageConfig,
  access: { readonly url: string; readonly key: string },
  options: OpenStorageOptions,
): Promise<Storage> {
  if (!config.encryptionKeys) throw new StorageError('A Supabase project needs EMBEDDING_ENCRYPTION_KEYS');
  const cipher = new TemplateCipher(config.encryptionKeys);
  const client = new DatabaseClient({ ...access, timeoutMs: config.timeoutMs, metrics: options.metrics });
  const store = new SupabaseAuthStore(client, cipher);
  try {
    checkSchema(await store.schemaVersion());
  } catch (error) {
    const cause = error instanceof VoiceAuthError ? error.cause : undefined;
    if (!(cause instanceof DatabaseFailure)) throw error;
    if (cause.status === 404) throw missingMigrations(cause);
    if (cause.status === 401 || cause.status === 403) {
      throw new StorageError('The Supabase project refuses SUPABASE_SERVICE_ROLE_KEY', { cause });
    }
    options.logger.warn({ err: error }, 'the Supabase project does not answer yet');
  }
  return { store, calls: new SupabaseCallStore(client), backend: 'supabase', close: () => Promise.resolve() };
}

async function openEmbedded(config: StorageConfig, options: OpenStorageOptions): Promise<Storage> {
  await prepareDataFolder(config.dataDir);
  const lock = await lockDirectory(config.dataDir);
  try {
    const databaseDir = join(config.dataDir, DATABASE_FOLDER);
    const cipher = new TemplateCipher(config.encryptionKeys ?? (await keysFromFolder(config.dataDir, databaseDir)));
    const { workerModule, snapshotFile, migrationsDir } = options;
    const database = await EmbeddedDatabase.open({
      databaseDir,
      callTimeoutMs: config.timeoutMs,
      logger: options.logger,
      ...(workerModule ? { workerModule } : {}),
      ...(snapshotFile ? { snapshotFile } : {}),
      ...(migrationsDir ? { migrationsDir } : {}),
    });
    const client = new DatabaseClient({
      url: EMBEDDED_URL,
      key: 'embedded',
      timeoutMs: config.timeoutMs,
      metrics: options.metrics,
      fetch: createPostgrestShim(database),
    });
    const store = new SupabaseAuthStore(client, cipher);
    const close = async () => {
      try {
        await database.close();
      } finally {
        await lock.release();
      }
    };
    // The first call compiles and plans more than any later one: better now than during somebody's request. Whether the
    // database answers in time is for readiness to say.
    await store.ping().catch((error: unknown) => options.logger.warn({ err: error }, 'the embedded database is slow'));
    return { store, calls: new SupabaseCallStore(client), backend: 'embedded', close };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** The key ring in the data folder; a new one is only made for a new database, because it could not read an old one's. */
async function keysFromFolder(dataDir: string, databaseDir: string): Promise<readonly string[]> {
  const path = join(dataDir, KEY_FILE);
  if (existsSync(databaseDir) && (await readSecret(path)) === undefined) {
    throw new StorageError(
      `The database in ${dataDir} has no key file: restore ${path}, or set EMBEDDING_ENCRYPTION_KEYS to the keys it was used with`,
    );
  }
  return (await readOrCreateSecret(path, createEncryptionKeyEntry)).split(/[\s,]+/);
}

function checkSchema(version: number): void {
  if (version < REQUIRED_SCHEMA_VERSION) throw missingMigrations();
}

function missingMigrations(cause?: unknown): StorageError {
  return new StorageError(
    'The Supabase project lacks the migrations of this version: apply supabase/migrations, e.g. with ' +
      '`npx supabase link` and `npx supabase db push`',
    { cause },
  );
}
