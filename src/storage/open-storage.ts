/**
 * Opens the storage that the configuration asks for: a Supabase project, or the embedded database in the data folder,
 * owned by this process or by another. All are used through the same client and the same database functions.
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
import { Upkeep } from './embedded/upkeep.js';
import { createPostgrestShim, type TransactionRunner } from './postgrest-shim.js';
import { KEY_FILE, StorageCheck } from './storage-check.js';
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

/** The embedded database and the folder it is in: one process has them. */
export interface EmbeddedOwner {
  readonly database: TransactionRunner;
  readonly cipher: TemplateCipher;
  /** Lets running calls finish, closes the database and gives the data folder back. */
  close(): Promise<void>;
}

export interface OpenEmbeddedOptions {
  readonly logger: Logger;
  /** Compiled `embedded/database-worker.js`, when not beside this module. */
  readonly workerModule?: URL;
  readonly snapshotFile?: string;
  readonly migrationsDir?: string;
  /** Told how many tables still hold in their files what was removed from them. */
  readonly onScrubPending?: (tables: number) => void;
}

export interface OpenStorageOptions extends OpenEmbeddedOptions {
  readonly metrics: Pick<Metrics, 'databaseSeconds' | 'databaseErrors' | 'scrubPending'>;
  /** The embedded database of another process, which has the data folder; undefined = open it here. */
  readonly database?: TransactionRunner | undefined;
}

const DATABASE_FOLDER = 'database';
/** Never dialled: the shim answers before any network. */
const EMBEDDED_URL = 'http://embedded.invalid';

/**
 * Opens storage. Throws `StorageError`, `DataFolderError` or `DirectoryLockError` for what the operator must put right,
 * `DatabaseUnavailable` when the embedded database does not open. A Supabase project that cannot be reached at the moment
 * is no reason not to start: readiness reports it, and repeats the check with every `ping` until it was passed.
 */
export function openStorage(config: StorageConfig, options: OpenStorageOptions): Promise<Storage> {
  if (config.supabase) return openSupabase(config, config.supabase, options);
  return options.database ? joinEmbedded(config, options.database, options) : openEmbedded(config, options);
}

/**
 * Takes the data folder and opens the embedded database in it, key file included. Throws like `openStorage`.
 */
export async function openEmbeddedOwner(config: StorageConfig, options: OpenEmbeddedOptions): Promise<EmbeddedOwner> {
  await prepareDataFolder(config.dataDir);
  const lock = await lockDirectory(config.dataDir);
  try {
    const cipher = await cipherOf(config);
    const { logger, workerModule, snapshotFile, migrationsDir, onScrubPending } = options;
    const database = await EmbeddedDatabase.open({
      databaseDir: databaseDirOf(config),
      callTimeoutMs: config.timeoutMs,
      logger,
      ...(workerModule ? { workerModule } : {}),
      ...(snapshotFile ? { snapshotFile } : {}),
      ...(migrationsDir ? { migrationsDir } : {}),
    });
    const upkeep = await Upkeep.start(database, {
      databaseDir: databaseDirOf(config),
      logger,
      ...(onScrubPending ? { onScrubPending } : {}),
    });
    const close = async () => {
      try {
        await upkeep.close();
        await database.close();
      } finally {
        await lock.release();
      }
    };
    return { database, cipher, close };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function openSupabase(
  config: StorageConfig,
  access: { readonly url: string; readonly key: string },
  options: OpenStorageOptions,
): Promise<Storage> {
  if (!config.encryptionKeys) throw new StorageError('A Supabase project needs EMBEDDING_ENCRYPTION_KEYS');
  const cipher = new TemplateCipher(config.encryptionKeys);
  const client = new DatabaseClient({ ...access, timeoutMs: config.timeoutMs, metrics: options.metrics });
  const store = new SupabaseAuthStore(client, cipher, new StorageCheck(config));
  try {
    await store.ping();
  } catch (error) {
    if (!(error instanceof VoiceAuthError && error.cause instanceof DatabaseFailure)) throw error;
    options.logger.warn({ err: error }, 'the Supabase project does not answer yet');
  }
  return { store, calls: new SupabaseCallStore(client, cipher), backend: 'supabase', close: () => Promise.resolve() };
}

async function openEmbedded(config: StorageConfig, options: OpenStorageOptions): Promise<Storage> {
  const onScrubPending = (tables: number) => options.metrics.scrubPending.set(tables);
  const owner = await openEmbeddedOwner(config, { ...options, onScrubPending });
  try {
    return { ...(await embeddedStores(config, { ...options, ...owner })), backend: 'embedded', close: owner.close };
  } catch (error) {
    await owner.close();
    throw error;
  }
}

async function joinEmbedded(
  config: StorageConfig,
  database: TransactionRunner,
  options: OpenStorageOptions,
): Promise<Storage> {
  const stores = await embeddedStores(config, { ...options, database, cipher: await cipherOf(config) });
  return { ...stores, backend: 'embedded', close: () => Promise.resolve() };
}

async function embeddedStores(
  config: StorageConfig,
  parts: Pick<EmbeddedOwner, 'database' | 'cipher'> & Pick<OpenStorageOptions, 'metrics' | 'logger'>,
): Promise<Pick<Storage, 'store' | 'calls'>> {
  const client = new DatabaseClient({
    url: EMBEDDED_URL,
    key: 'embedded',
    timeoutMs: config.timeoutMs,
    metrics: parts.metrics,
    fetch: createPostgrestShim(parts.database),
  });
  const store = new SupabaseAuthStore(client, parts.cipher, new StorageCheck(config));
  // The first call compiles and plans more than any later one: better now than during somebody's request. Whether the
  // database answers in time is for readiness to say.
  try {
    await store.ping();
  } catch (error) {
    if (error instanceof StorageError) throw error;
    parts.logger.warn({ err: error }, 'the embedded database is slow');
  }
  return { store, calls: new SupabaseCallStore(client, parts.cipher) };
}

/** Over the configured key ring, else the one in the data folder. */
async function cipherOf(config: StorageConfig): Promise<TemplateCipher> {
  return new TemplateCipher(config.encryptionKeys ?? (await keysFromFolder(config)));
}

/** The key ring in the data folder; a new one is only made for a new database, because it could not read an old one's. */
async function keysFromFolder(config: StorageConfig): Promise<readonly string[]> {
  const path = join(config.dataDir, KEY_FILE);
  if (existsSync(databaseDirOf(config)) && (await readSecret(path)) === undefined) {
    throw new StorageError(
      `The database in ${config.dataDir} has no key file: restore ${path}, or set EMBEDDING_ENCRYPTION_KEYS to the keys it was used with`,
    );
  }
  return (await readOrCreateSecret(path, createEncryptionKeyEntry)).split(/[\s,]+/);
}

function databaseDirOf(config: StorageConfig): string {
  return join(config.dataDir, DATABASE_FOLDER);
}
