/** What is left of removed data in the files of the embedded database, and how far the files grow. */
import { randomUUID } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../src/observability/logger.js';
import { DatabaseClient } from '../../src/storage/database-client.js';
import type { EmbeddedDatabase } from '../../src/storage/embedded/embedded-database.js';
import { Upkeep } from '../../src/storage/embedded/upkeep.js';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import { createPostgrestShim } from '../../src/storage/postgrest-shim.js';
import { SupabaseAuthStore } from '../../src/storage/supabase-auth-store.js';
import { createEncryptionKeyEntry, TemplateCipher } from '../../src/storage/template-cipher.js';
import {
  attemptOf,
  enrollmentOf,
  openTestDatabase,
  storageCheck,
  storageOptions,
  temporaryFolder,
  testEmbedding,
} from '../support/embedded-storage.js';
import { eventually } from '../support/eventually.js';

const PHONE = '+14155559987';
const by = { correlationId: 'erasure-request', actor: 'test-key' };
const logger = createLogger('silent');

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(() => folder.remove());

/** The files that hold any of the byte strings. */
async function filesWith(traces: readonly Buffer[]): Promise<readonly string[]> {
  const entries = await readdir(folder.path, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    // Files come and go while the database is open.
    const content = await readFile(join(entry.parentPath, entry.name)).catch(() => Buffer.alloc(0));
    if (traces.some((trace) => content.includes(trace))) found.push(entry.name);
  }
  return found;
}

/** Raw bytes of everything that the tables hold of the person. Parts of templates: the log holds them in pieces too. */
async function tracesOf(database: EmbeddedDatabase, userId: string): Promise<readonly Buffer[]> {
  const rows = await database.transaction([
    {
      sql: `select encode(template, 'hex') as hex from voice_auth.voiceprints where user_id = $1
            union all select encode(template, 'hex') from voice_auth.voice_samples where user_id = $1`,
      params: [userId],
    },
  ]);
  const templates = rows.map(({ hex }) => Buffer.from(String(hex), 'hex').subarray(40, 72));
  expect(templates.length).toBeGreaterThan(0);
  return templates;
}

describe('embedded database files', { timeout: 120_000 }, () => {
  const databaseDir = () => join(folder.path, 'database');
  const storeOn = (database: EmbeddedDatabase) =>
    new SupabaseAuthStore(
      new DatabaseClient({
        url: 'http://embedded.invalid',
        key: 'embedded',
        timeoutMs: 20_000,
        metrics: storageOptions().metrics,
        fetch: createPostgrestShim(database),
      }),
      new TemplateCipher([createEncryptionKeyEntry()]),
      storageCheck(),
    );

  /** A person with traces in the files, erased by a process that was killed before it could do more. */
  async function eraseAndLeave(): Promise<readonly Buffer[]> {
    const database = await openTestDatabase(databaseDir());
    const store = storeOn(database);
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId, { phone: PHONE }));
    await store.recordAttempt(attemptOf(userId, { callId: `call-${userId}` }));
    const traces = [
      ...(await tracesOf(database, userId)),
      Buffer.from(PHONE),
      Buffer.from(`call-${userId}`),
      Buffer.from(userId.replaceAll('-', ''), 'hex'),
    ];
    await store.eraseUser(userId, by);
    await database.close();
    return traces;
  }

  it('hold nothing of an erased person once storage is closed, and still all of the others', async () => {
    const config = { supabase: undefined, dataDir: folder.path, timeoutMs: 20_000, encryptionKeys: undefined };
    const [erased, kept] = [randomUUID(), randomUUID()];
    let storage: Storage = await openStorage(config, storageOptions());
    await storage.store.saveEnrollment(enrollmentOf(kept));
    await storage.store.saveEnrollment(enrollmentOf(erased, { phone: PHONE }));
    await storage.close();

    const database = await openTestDatabase(databaseDir());
    const traces = [...(await tracesOf(database, erased)), Buffer.from(PHONE)];
    await database.close();
    expect(await filesWith(traces)).not.toEqual([]);

    storage = await openStorage(config, storageOptions());
    expect(await storage.store.eraseUser(erased, by)).toBe(true);
    await storage.close();
    expect(await filesWith(traces)).toEqual([]);

    storage = await openStorage(config, storageOptions());
    expect((await storage.store.findUser(kept))?.samples).toHaveLength(1);
    expect(await storage.store.verifyAuditChain()).toMatchObject({ intact: true });
    await storage.close();
  });

  it('lose an erased person while the database goes on serving, and a replaced voiceprint', async () => {
    const database = await openTestDatabase(databaseDir());
    const upkeep = await Upkeep.start(database, {
      databaseDir: databaseDir(),
      logger,
      lookEveryMs: 20,
      pauseFactor: 0,
    });
    const store = storeOn(database);
    const userId = randomUUID();
    const { version } = await store.saveEnrollment(enrollmentOf(userId, { phone: PHONE }));
    const first = await tracesOf(database, userId);
    await store.saveEnrollment(
      enrollmentOf(userId, { phone: PHONE, expectedVersion: version, centroid: testEmbedding(3) }),
    );
    await eventually(async () => expect(await filesWith(first)).toEqual([]));
    await store.eraseUser(userId, by);
    await eventually(async () => expect(await filesWith([Buffer.from(PHONE)])).toEqual([]));
    await store.ping();
    await upkeep.close();
    await database.close();
  });

  it('lose at the next start what a killed process left, also from tables too large to write anew while serving', async () => {
    const traces = await eraseAndLeave();
    expect(await filesWith(traces)).not.toEqual([]);
    const database = await openTestDatabase(databaseDir());
    const upkeep = await Upkeep.start(database, { databaseDir: databaseDir(), logger, maxRewriteBytes: 0 });
    expect(await filesWith(traces)).toEqual([]);
    await upkeep.close();
    await database.close();
  });

  it('keep what was removed from large tables until the database is closed, which is said once', async () => {
    const database = await openTestDatabase(databaseDir());
    const [statements, lines]: [string[], string[]] = [[], []];
    let looks = 0;
    const watched: Pick<EmbeddedDatabase, 'transaction' | 'maintain'> = {
      transaction: (asked) => {
        if (asked.some(({ sql }) => sql.includes('embedded.scrubbed'))) looks++;
        return database.transaction(asked);
      },
      maintain: (sql, limitMs) => {
        statements.push(sql);
        return database.maintain(sql, limitMs);
      },
    };
    const pending: number[] = [];
    const upkeep = await Upkeep.start(watched, {
      databaseDir: databaseDir(),
      onScrubPending: (tables) => pending.push(tables),
      logger: createLogger('warn', { write: (line) => lines.push(line) }),
      lookEveryMs: 5,
      pauseFactor: 0,
      maxRewriteBytes: 0,
    });
    const store = storeOn(database);
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId, { phone: PHONE }));
    const traces = [...(await tracesOf(database, userId)), Buffer.from(PHONE)];
    await store.eraseUser(userId, by);
    const before = looks;
    await eventually(() => expect(looks).toBeGreaterThan(before + 5));
    const rewritten = () => statements.filter((sql) => sql.startsWith('vacuum full'));
    expect(rewritten()).toEqual([]);
    expect(pending.at(-1)).toBe(6);
    const said = lines.map((line) => JSON.parse(line) as { readonly event: string; readonly tables: string[] });
    expect(said.map(({ event }) => event)).toEqual(said.map(() => 'scrub_postponed'));
    const tables = said.flatMap((line) => line.tables);
    expect(tables.length).toBe(6);
    expect(new Set(tables).size).toBe(6);
    await upkeep.close();
    expect(rewritten()).toHaveLength(6);
    expect(pending.at(-1)).toBe(0);
    expect(await filesWith(traces)).toEqual([]);
    await database.close();
  });

  it('are said to hold removed data for as long as writing a table anew fails', async () => {
    const database = await openTestDatabase(databaseDir());
    let fails = true;
    const failing: Pick<EmbeddedDatabase, 'transaction' | 'maintain'> = {
      transaction: (asked) => database.transaction(asked),
      maintain: (sql, limitMs) =>
        fails && sql.startsWith('vacuum full')
          ? Promise.reject(new Error('no space'))
          : database.maintain(sql, limitMs),
    };
    const pending: number[] = [];
    const upkeep = await Upkeep.start(failing, {
      databaseDir: databaseDir(),
      logger,
      lookEveryMs: 5,
      pauseFactor: 0,
      onScrubPending: (tables) => pending.push(tables),
    });
    const store = storeOn(database);
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    await store.eraseUser(userId, by);
    await eventually(() => expect(pending.slice(-3)).toEqual([6, 6, 6]));
    fails = false;
    await eventually(() => expect(pending.at(-1)).toBe(0));
    await upkeep.close();
    await database.close();
  });

  it('lose what an earlier version has put into log files set aside for reuse', async () => {
    const traces = await eraseAndLeave();
    const earlier = await PGlite.create({ dataDir: databaseDir(), startParams: [...PGlite.defaultStartParams] });
    for (const sql of ['checkpoint', 'select pg_switch_wal()', 'checkpoint']) await earlier.exec(sql);
    await earlier.close();
    const database = await openTestDatabase(databaseDir());
    await (await Upkeep.start(database, { databaseDir: databaseDir(), logger })).close();
    await database.close();
    expect(await filesWith(traces)).toEqual([]);
  });

  it('lose attempts that were removed for their age', async () => {
    const database = await openTestDatabase(databaseDir());
    const upkeep = await Upkeep.start(database, { databaseDir: databaseDir(), logger });
    const store = storeOn(database);
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    await store.recordAttempt(attemptOf(userId, { callId: 'call-of-long-ago' }));
    // Looks once, as it does every minute.
    await upkeep.close();
    expect(await filesWith([Buffer.from('call-of-long-ago')])).not.toEqual([]);
    await store.purge(1);
    await upkeep.close();
    expect(await filesWith([Buffer.from('call-of-long-ago')])).toEqual([]);
    await database.close();
  });

  it('lose at the next start attempts that were removed just before the process was killed', async () => {
    const database = await openTestDatabase(databaseDir());
    const upkeep = await Upkeep.start(database, { databaseDir: databaseDir(), logger });
    const store = storeOn(database);
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    const traces = [Buffer.from('call-of-long-ago')];
    await store.recordAttempt(attemptOf(userId, { callId: 'call-of-long-ago' }));
    // Looks once, as it does every minute, and no more.
    await upkeep.close();
    await store.purge(1);
    await store.recordAttempt(attemptOf(userId, { callId: 'call-of-today' }));
    expect(await filesWith(traces)).not.toEqual([]);
    const next = await Upkeep.start(database, { databaseDir: databaseDir(), logger });
    expect(await filesWith(traces)).toEqual([]);
    // What was done is not done again.
    const statements: string[] = [];
    const watched: Pick<EmbeddedDatabase, 'transaction' | 'maintain'> = {
      transaction: (asked) => database.transaction(asked),
      maintain: (sql, limitMs) => {
        statements.push(sql);
        return database.maintain(sql, limitMs);
      },
    };
    const third = await Upkeep.start(watched, { databaseDir: databaseDir(), logger });
    expect(statements.filter((sql) => sql.startsWith('vacuum full'))).toEqual([]);
    await Promise.all([next.close(), third.close()]);
    await database.close();
  });

  it('lose attempts of before the oldest one was noted', async () => {
    const traces = [Buffer.from('call-of-long-ago')];
    const database = await openTestDatabase(databaseDir());
    const store = storeOn(database);
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    await store.recordAttempt(attemptOf(userId, { callId: 'call-of-long-ago' }));
    await store.purge(1);
    await store.recordAttempt(attemptOf(userId, { callId: 'call-of-today' }));
    expect(await filesWith(traces)).not.toEqual([]);
    await (await Upkeep.start(database, { databaseDir: databaseDir(), logger })).close();
    expect(await filesWith(traces)).toEqual([]);
    await database.close();
  });

  it('lose calls that were forgotten', async () => {
    const database = await openTestDatabase(databaseDir());
    await database.transaction([
      {
        sql: `insert into voice_auth.call_sessions (platform, call_id, state, lease_expires_at, updated_at)
              values ('vapi', 'call-of-the-day-before', 'ended', now(), now() - interval '2 days')`,
      },
      { sql: 'select public.va_purge(clock_timestamp())' },
    ]);
    const upkeep = await Upkeep.start(database, { databaseDir: databaseDir(), logger, lookEveryMs: 5, pauseFactor: 0 });
    await eventually(async () => expect(await filesWith([Buffer.from('call-of-the-day-before')])).toEqual([]));
    await upkeep.close();
    await database.close();
  });

  it('lose the copy of a table that a process was writing when it was killed', async () => {
    await (await openTestDatabase(databaseDir())).close();
    const folders = await readdir(join(databaseDir(), 'base'));
    const sizes = await Promise.all(
      folders.map(async (name) => (await readdir(join(databaseDir(), 'base', name))).length),
    );
    const own = folders[sizes.indexOf(Math.max(...sizes))]!;
    for (const name of ['999999', '999999.1', '999999_fsm']) {
      await writeFile(join(databaseDir(), 'base', own, name), 'a template of somebody');
    }
    const before = (await readdir(join(databaseDir(), 'base', own))).filter((name) => !name.startsWith('999999'));
    const database = await openTestDatabase(databaseDir());
    await (await Upkeep.start(database, { databaseDir: databaseDir(), logger })).close();
    expect(await filesWith([Buffer.from('a template of somebody')])).toEqual([]);
    const store = storeOn(database);
    await store.saveEnrollment(enrollmentOf(randomUUID()));
    expect(await store.verifyAuditChain()).toMatchObject({ intact: true });
    await database.close();
    expect(await readdir(join(databaseDir(), 'base', own))).toEqual(expect.arrayContaining(before));
  });

  it('get space back for what comes next', async () => {
    const database = await openTestDatabase(databaseDir());
    await database.transaction([
      { sql: "insert into voice_auth.rate_limits select 'k' || n, 1, now() from generate_series(1, 500) n" },
      { sql: 'delete from voice_auth.rate_limits' },
    ]);
    const upkeep = await Upkeep.start(database, {
      databaseDir: databaseDir(),
      logger,
      lookEveryMs: 5,
      vacuumEveryMs: 5,
    });
    await eventually(async () => {
      const sql = "select pg_relation_size('voice_auth.rate_limits')::float8 as bytes";
      expect(await database.transaction([{ sql }])).toEqual([{ bytes: 0 }]);
    });
    await upkeep.close();
    await database.close();
  });
});
