/** Creating the embedded database from snapshot and migrations, and bringing an older one up to date. */
import { appendFile, cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type OpenedDatabase, openDatabase } from '../../src/storage/embedded/open-database.js';
import { storageOptions, temporaryFolder } from '../support/embedded-storage.js';

const MIGRATIONS = fileURLToPath(new URL('../../supabase/migrations/', import.meta.url));
const { snapshotFile } = storageOptions();

// Making database files from scratch takes tens of seconds on a busy small machine.
describe('embedded database files', { timeout: 120_000 }, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let databaseDir: string;
  let migrationsDir: string;
  beforeEach(async () => {
    folder = await temporaryFolder();
    databaseDir = join(folder.path, 'database');
    migrationsDir = join(folder.path, 'migrations');
    await cp(MIGRATIONS, migrationsDir, { recursive: true });
  });
  afterEach(() => folder.remove());

  const opened = async <T>(look: (opened: OpenedDatabase) => T | Promise<T>): Promise<T> => {
    const result = await openDatabase({ databaseDir, migrationsDir, snapshotFile });
    try {
      return await look(result);
    } finally {
      await result.database.close();
    }
  };
  const summary = ({ origin, migrationsApplied }: OpenedDatabase) => ({ origin, migrationsApplied });
  const applied = () =>
    opened(async ({ database }) => {
      const { rows } = await database.query('select * from supabase_migrations.schema_migrations order by version');
      return rows;
    });

  it('come from the snapshot, and are left alone by a second start', async () => {
    await mkdir(`${databaseDir}.new`);
    await writeFile(join(`${databaseDir}.new`, 'PG_VERSION'), 'left by a start that was killed');
    expect(await opened(summary)).toEqual({ origin: 'snapshot', migrationsApplied: 0 });
    const before = await applied();
    expect(before).toHaveLength((await readdir(MIGRATIONS)).length);
    expect(await opened(summary)).toEqual({ origin: 'existing', migrationsApplied: 0 });
    expect(await applied()).toEqual(before);
    expect(await readdir(folder.path)).toEqual(['database', 'migrations']);
  });

  it('get new migrations, each whole or not at all', async () => {
    await opened(summary);
    await writeFile(join(migrationsDir, '29990101000000_good.sql'), 'create table public.good (n int);');
    const bad = join(migrationsDir, '29990101000001_bad.sql');
    await writeFile(bad, 'create table public.half (n int); select no_such_column from public.half;');
    await expect(opened(summary)).rejects.toThrow('no_such_column');
    await writeFile(bad, 'create table public.half (n int);');
    expect(await opened(summary)).toEqual({ origin: 'existing', migrationsApplied: 1 });
    expect(await opened(summary)).toEqual({ origin: 'existing', migrationsApplied: 0 });
  });

  it('are refused when an applied migration was edited or is unknown', async () => {
    await opened(summary);
    const files = (await readdir(migrationsDir)).sort();
    const first = join(migrationsDir, files[0] ?? '');
    await appendFile(first, '\n-- harmless, or is it?\n');
    await expect(opened(summary)).rejects.toThrow('was edited after it had been applied');
    await cp(join(MIGRATIONS, files[0] ?? ''), first);
    await rm(join(migrationsDir, files.at(-1) ?? ''));
    await expect(opened(summary)).rejects.toThrow('does not belong to this version');
  });

  it('are made from scratch when the snapshot is of other migrations', async () => {
    await writeFile(join(migrationsDir, '29990101000000_more.sql'), 'create table public.more (n int);');
    const all = (await readdir(migrationsDir)).length;
    expect(await opened(summary)).toEqual({ origin: 'initdb', migrationsApplied: all });
  });

  it('are not made from badly named or missing migrations', async () => {
    await writeFile(join(migrationsDir, '1_short.sql'), 'select 1;');
    await expect(opened(summary)).rejects.toThrow('1_short.sql is not named');
    await rm(migrationsDir, { recursive: true });
    await mkdir(migrationsDir);
    await expect(opened(summary)).rejects.toThrow('migrations folder is empty');
    expect(await readdir(folder.path)).toEqual(['migrations']);
  });
});
