/**
 * Brings the embedded database to the schema of `supabase/migrations`: the same files that an operator applies to a
 * Supabase project. What has been applied is recorded with its checksum, so a file that was edited afterwards, or a
 * database that is newer than this program, is noticed instead of half-working.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { VoiceAuthError } from '../../domain/errors.js';

export interface Migration {
  /** The 14 digits the file name starts with; the order of application. */
  readonly version: string;
  readonly name: string;
  readonly sql: string;
  /** sha256 of the text with LF line ends, hex. */
  readonly checksum: string;
}

const FILE_NAME = /^(\d{14})_([a-z0-9_]+)\.sql$/;

/**
 * What a Supabase project brings along: the API roles, and default privileges that hand them every new object in
 * `public`, so that a migration that forgets to revoke fails here as it would there. And what only the embedded database
 * needs: up to which audit event nothing removed is left in a table's files, and the oldest attempt that was seen last
 * (`upkeep.ts`).
 */
const BOOTSTRAP = `
do $$
begin
  if not exists (select from pg_roles where rolname = 'anon') then
    create role anon nologin noinherit;
    create role authenticated nologin noinherit;
    create role service_role nologin noinherit bypassrls;
    grant usage on schema public to anon, authenticated, service_role;
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
  end if;
end
$$;
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default clock_timestamp()
);
create schema if not exists embedded;
create table if not exists embedded.scrubbed (
  table_name text primary key,
  audit_seq bigint not null
);
create table if not exists embedded.oldest_attempt (
  only_row boolean primary key default true check (only_row),
  created_at timestamptz
);
`;

/** Reads all migrations of a folder in order. Throws when there are none, or two of the same version. */
export async function readMigrations(folder: string): Promise<readonly Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const migrations: Migration[] = [];
  for (const file of files) {
    const match = FILE_NAME.exec(file);
    if (!match) throw new VoiceAuthError('InternalError', `Migration ${file} is not named <14 digits>_<name>.sql`);
    const sql = (await readFile(join(folder, file), 'utf8')).replaceAll('\r\n', '\n');
    const version = match[1] ?? '';
    if (migrations.at(-1)?.version === version) {
      throw new VoiceAuthError('InternalError', `Two migrations have the version ${version}`);
    }
    migrations.push({ version, name: match[2] ?? '', sql, checksum: createHash('sha256').update(sql).digest('hex') });
  }
  if (migrations.length === 0) throw new VoiceAuthError('InternalError', 'The migrations folder is empty');
  return migrations;
}

/** One checksum over all migrations and what they are applied on: tells whether a snapshot still fits. */
export function schemaChecksum(migrations: readonly Migration[]): string {
  const hash = createHash('sha256').update(BOOTSTRAP);
  for (const { version, checksum } of migrations) hash.update(`${version}:${checksum}\n`);
  return hash.digest('hex');
}

/**
 * Applies what is pending, each migration in its own transaction with its record; returns how many were applied. Throws
 * when an applied migration was edited or removed, or comes after a pending one.
 */
export async function applyMigrations(database: PGlite, migrations: readonly Migration[]): Promise<number> {
  await database.exec(BOOTSTRAP);
  const { rows } = await database.query<{ version: string; checksum: string }>(
    'select version, checksum from supabase_migrations.schema_migrations order by version',
  );
  checkApplied(rows, migrations);
  const pending = migrations.slice(rows.length);
  for (const migration of pending) {
    await database.transaction(async (transaction) => {
      await transaction.exec(migration.sql);
      await transaction.query(
        'insert into supabase_migrations.schema_migrations (version, name, checksum) values ($1, $2, $3)',
        [migration.version, migration.name, migration.checksum],
      );
    });
  }
  return pending.length;
}

function checkApplied(
  applied: readonly { readonly version: string; readonly checksum: string }[],
  migrations: readonly Migration[],
): void {
  for (const [index, { version, checksum }] of applied.entries()) {
    const migration = migrations[index];
    if (!migration || migration.version !== version) {
      throw new VoiceAuthError(
        'InternalError',
        `The database has migration ${version}, which does not belong to this version of the program`,
      );
    }
    if (migration.checksum !== checksum) {
      throw new VoiceAuthError(
        'InternalError',
        `Migration ${version}_${migration.name} was edited after it had been applied; restore it and add a new one`,
      );
    }
  }
}
