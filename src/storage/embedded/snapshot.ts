/**
 * A database with all migrations applied, packed at build time: unpacking it takes a second where initdb in WASM takes
 * many. It holds no data and no secrets. A snapshot that does not fit the present migrations is ignored.
 */
import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { PGlite } from '@electric-sql/pglite';
import { z } from 'zod';
import { applyMigrations, readMigrations, schemaChecksum } from './migrations.js';

/**
 * Start parameters of every database process: 16 MB of shared buffers instead of 128 saves about 100 MB of memory, and
 * used log files are deleted, because a recycled one goes on holding what was written to it.
 */
export const START_PARAMS: readonly string[] = [
  ...PGlite.defaultStartParams,
  '-c',
  'shared_buffers=16MB',
  '-c',
  'wal_recycle=off',
];

const manifestSchema = z.object({ schema: z.string(), sha256: z.string() });

/** Builds a fresh database, applies the migrations and writes it (tar.gz) with its manifest beside it. */
export async function writeSnapshot(snapshotFile: string, migrationsDir: string): Promise<{ readonly bytes: number }> {
  const migrations = await readMigrations(migrationsDir);
  const database = await PGlite.create({ startParams: [...START_PARAMS] });
  try {
    await applyMigrations(database, migrations);
    await database.exec('checkpoint');
    const packed = Buffer.from(await (await database.dumpDataDir('gzip')).arrayBuffer());
    const manifest = {
      schema: schemaChecksum(migrations),
      sha256: createHash('sha256').update(packed).digest('hex'),
    };
    await replaceFile(snapshotFile, packed);
    await replaceFile(manifestFile(snapshotFile), `${JSON.stringify(manifest)}\n`);
    return { bytes: packed.length };
  } finally {
    await database.close();
  }
}

/** The database as a tar archive; undefined when there is none, it is damaged, or it is of other migrations. */
export async function readSnapshot(snapshotFile: string, schema: string): Promise<Uint8Array | undefined> {
  try {
    const manifest = manifestSchema.parse(JSON.parse(await readFile(manifestFile(snapshotFile), 'utf8')));
    if (manifest.schema !== schema) return undefined;
    const packed = await readFile(snapshotFile);
    if (createHash('sha256').update(packed).digest('hex') !== manifest.sha256) return undefined;
    return gunzipSync(packed);
  } catch {
    return undefined;
  }
}

function manifestFile(snapshotFile: string): string {
  return `${snapshotFile}.json`;
}

async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}
