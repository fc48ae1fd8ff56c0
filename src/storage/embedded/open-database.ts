/**
 * Opens the database files of a data folder, creating them on first use. They are made under another name and renamed
 * when complete: a start that was killed half-way leaves nothing that looks like a database.
 */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { PGlite } from '@electric-sql/pglite';
import { applyMigrations, readMigrations, schemaChecksum } from './migrations.js';
import { readSnapshot, START_PARAMS } from './snapshot.js';
import { unpackTar } from './unpack-tar.js';
import type { DatabaseOrigin, DatabaseWorkerData } from './worker-messages.js';

export interface OpenedDatabase {
  readonly database: PGlite;
  readonly origin: DatabaseOrigin;
  readonly migrationsApplied: number;
}

/** Opens or creates the database and applies pending migrations. The caller holds the folder's lock. */
export async function openDatabase(options: DatabaseWorkerData): Promise<OpenedDatabase> {
  const migrations = await readMigrations(options.migrationsDir);
  const origin = existsSync(options.databaseDir)
    ? 'existing'
    : await createDatabase(options, schemaChecksum(migrations));
  const database = await PGlite.create({ dataDir: options.databaseDir, startParams: [...START_PARAMS] });
  try {
    return { database, origin, migrationsApplied: await applyMigrations(database, migrations) };
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function createDatabase(options: DatabaseWorkerData, schema: string): Promise<DatabaseOrigin> {
  const unfinished = `${options.databaseDir}.new`;
  await rm(unfinished, { recursive: true, force: true });
  const snapshot = options.snapshotFile ? await readSnapshot(options.snapshotFile, schema) : undefined;
  if (snapshot) {
    unpackTar(snapshot, unfinished);
  } else {
    await mkdir(unfinished, { recursive: true, mode: 0o700 });
    await (await PGlite.create({ dataDir: unfinished, startParams: [...START_PARAMS] })).close();
  }
  await rename(unfinished, options.databaseDir);
  return snapshot ? 'snapshot' : 'initdb';
}
