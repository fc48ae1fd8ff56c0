/**
 * Upkeep of the embedded database's files. PostgreSQL leaves removed rows in its files until a vacuum, and this one has no
 * autovacuum: without upkeep the files only grow, and an erased person's voiceprint and phone number stay in them, and in
 * the write-ahead log, for good. So
 * - space is made reusable every hour (`vacuum`), and the log is cut;
 * - after an erasure, a replaced voiceprint or a purge of attempts the tables they touch are written anew (`vacuum full`), and
 *   the log files of before are deleted. The audit trail says when; what was done is recorded, so that a process that is
 *   killed in between leaves it to the next one. What calls held is cleared all the time, so their tables are written anew once
 *   a day;
 * - a process that is killed while a table is written anew leaves a copy that belongs to nothing: the next one removes it.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../../observability/logger.js';
import type { EmbeddedDatabase } from './embedded-database.js';
import type { Statement } from './worker-messages.js';

export interface UpkeepOptions {
  readonly databaseDir: string;
  readonly logger: Logger;
  /** How often to look whether something was removed. */
  readonly lookEveryMs?: number;
  readonly vacuumEveryMs?: number;
  /** How often the tables of calls are written anew; first with the first look. */
  readonly forgetCallsEveryMs?: number;
  /** Writing anew is followed by a pause of this many times its duration, however often something is removed. */
  readonly pauseFactor?: number;
  /** Largest table that is written anew while calls are served. */
  readonly maxRewriteBytes?: number;
  /** Told after every look how many tables are still to be written anew. */
  readonly onScrubPending?: (tables: number) => void;
}

const LOOK_EVERY_MS = 60_000;
const VACUUM_EVERY_MS = 3_600_000;
const FORGET_CALLS_EVERY_MS = 86_400_000;
/**
 * About 200,000 attempts, or the samples of 13,000 people, a second or two of work: calls wait meanwhile. What is larger waits
 * until the server stops or starts.
 */
const MAX_REWRITE_BYTES = 64 * 1024 * 1024;
const PAUSE_FACTOR = 20;
const STATEMENT_LIMIT_MS = 60_000;
/** What is added for the size of a table: a twentieth of the speed seen on a busy machine (10 MB a second). */
const LIMIT_MS_PER_BYTE = 1 / 500;
const CLOSE_LIMIT_MS = 10_000;
/** What an erasure removes rows or values from. */
const PERSONAL_TABLES = ['users', 'voiceprints', 'voice_samples', 'auth_attempts', 'call_sessions', 'call_requests'];
const CALL_TABLES = ['call_sessions', 'call_requests'];
const TABLES = [...PERSONAL_TABLES, 'rate_limits', 'audit_events'];

/** A new voiceprint removes nothing; whatever else is audited does. */
const STALE_SQL = `
select t.name as table_name, removal.seq::float8 as audit_seq,
  pg_total_relation_size(('voice_auth.' || t.name)::regclass)::float8 as bytes
from unnest($1::text[]) as t (name)
cross join (
  select coalesce(max(e.seq), 0) as seq from voice_auth.audit_events e where e.action <> 'voiceprint.created') as removal
left join embedded.scrubbed s on s.table_name = t.name
where removal.seq > coalesce(s.audit_seq, 0)`;
const DONE_SQL = `
insert into embedded.scrubbed (table_name, audit_seq) values ($1, $2)
on conflict (table_name) do update set audit_seq = excluded.audit_seq`;
/** Less than any event's number, also where there is none yet. */
const NEVER_SCRUBBED = -1;
/** The oldest attempt that is left, and the one that was when it was noted last; not known = it was never. */
const OLDEST_SQL = `
select (select min(a.created_at)::text from voice_auth.auth_attempts a) as oldest, n.created_at::text as noted,
  n.only_row is not null as known
from (select) as one left join embedded.oldest_attempt n on true`;
const NOTE_OLDEST_SQL = `
insert into embedded.oldest_attempt (created_at) values ($1::timestamptz)
on conflict (only_row) do update set created_at = excluded.created_at`;
const FILES_SQL = `
select d.oid::int8::float8 as folder, pg_relation_filenode(c.oid)::int8::float8 as file from pg_database d, pg_class c
where d.datname = current_database() and pg_relation_filenode(c.oid) is not null`;
/** A relation's file, its further segments, and its maps. */
const RELATION_FILE = /^(\d+)(_fsm|_vm|_init)?(\.\d+)?$/;
const LOG_FILES_SQL = 'select count(*)::int as files from pg_ls_waldir()';

const staleRows = z.array(z.object({ table_name: z.string(), audit_seq: z.number(), bytes: z.number() }));
const oldestRows = z.tuple([
  z.object({ oldest: z.string().nullable(), noted: z.string().nullable(), known: z.boolean() }),
]);
const fileRows = z.array(z.object({ folder: z.number(), file: z.number() })).min(1);
const logRows = z.tuple([z.object({ files: z.number() })]);

export class Upkeep {
  readonly #database: Pick<EmbeddedDatabase, 'transaction' | 'maintain'>;
  readonly #options: UpkeepOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #closed = false;
  #vacuumAt: number;
  #forgetCallsAt = Number.NEGATIVE_INFINITY;
  /** Tables that were said to be too large. */
  readonly #postponed = new Set<string>();

  private constructor(database: Pick<EmbeddedDatabase, 'transaction' | 'maintain'>, options: UpkeepOptions) {
    this.#database = database;
    this.#options = options;
    this.#vacuumAt = performance.now() + this.#vacuumEveryMs;
  }

  /** Does what an earlier process has left to do, however large the tables are, and goes on by itself. Never throws. */
  static async start(
    database: Pick<EmbeddedDatabase, 'transaction' | 'maintain'>,
    options: UpkeepOptions,
  ): Promise<Upkeep> {
    const upkeep = new Upkeep(database, options);
    await upkeep.#attempt(() => upkeep.#removeOrphans());
    await upkeep.#attempt(() => upkeep.#scrub(Number.POSITIVE_INFINITY));
    upkeep.#schedule(upkeep.#lookEveryMs);
    return upkeep;
  }

  /** Removes what is still to be removed, within seconds, and stops. What it does not get to is left to the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      limit = setTimeout(resolve, CLOSE_LIMIT_MS);
    });
    const last = this.#running.then(() => this.#attempt(() => this.#scrub(Number.POSITIVE_INFINITY)));
    await Promise.race([last, late]);
    clearTimeout(limit);
  }

  get #lookEveryMs(): number {
    return this.#options.lookEveryMs ?? LOOK_EVERY_MS;
  }

  get #vacuumEveryMs(): number {
    return this.#options.vacuumEveryMs ?? VACUUM_EVERY_MS;
  }

  get #maxRewriteBytes(): number {
    return this.#options.maxRewriteBytes ?? MAX_REWRITE_BYTES;
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#turn();
    }, delayMs).unref();
  }

  async #turn(): Promise<void> {
    const startedAt = performance.now();
    if (startedAt >= this.#forgetCallsAt) {
      await this.#attempt(() => this.#markStale(CALL_TABLES));
      this.#forgetCallsAt = startedAt + (this.#options.forgetCallsEveryMs ?? FORGET_CALLS_EVERY_MS);
    }
    await this.#attempt(() => this.#scrub(this.#maxRewriteBytes));
    const tookMs = performance.now() - startedAt;
    if (performance.now() >= this.#vacuumAt) {
      await this.#attempt(() => this.#vacuum());
      this.#vacuumAt = performance.now() + this.#vacuumEveryMs;
    }
    this.#schedule(Math.max(this.#lookEveryMs, tookMs * (this.#options.pauseFactor ?? PAUSE_FACTOR)));
  }

  /** Tries; a failure is logged, and the next turn tries again. */
  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const level = this.#closed ? 'debug' : 'warn';
      this.#options.logger[level](
        { err: error, event: 'upkeep' },
        'upkeep of the embedded database failed; tried again later',
      );
    }
  }

  /** Writes the tables anew that something was removed from, up to the given size, and drops the log of before. */
  async #scrub(maxBytes: number): Promise<void> {
    await this.#noteRemovedAttempts();
    const params = [`{${PERSONAL_TABLES.join(',')}}`];
    const stale = staleRows.parse(await this.#database.transaction([{ sql: STALE_SQL, params }]));
    this.#options.onScrubPending?.(stale.length);
    const due = stale.filter(({ bytes }) => bytes <= maxBytes);
    this.#tellPostponed(stale.filter(({ bytes }) => bytes > maxBytes).map(({ table_name }) => table_name));
    if (due.length === 0) return;
    for (const { table_name, bytes } of due) {
      await this.#maintain(`vacuum full voice_auth.${table_name}`, STATEMENT_LIMIT_MS + bytes * LIMIT_MS_PER_BYTE);
    }
    await this.#cutLog();
    await this.#database.transaction(
      due.map(({ table_name, audit_seq }) => ({ sql: DONE_SQL, params: [table_name, audit_seq] })),
    );
    this.#options.onScrubPending?.(stale.length - due.length);
    this.#options.logger.info(
      { event: 'scrubbed', tables: due.map(({ table_name }) => table_name) },
      'what was removed is gone from the database files',
    );
  }

  /**
   * That old attempts were removed is not audited: it shows in the oldest one that is left. What was seen is noted in the
   * database, for the next process. Where it never was, some may have been removed.
   */
  async #noteRemovedAttempts(): Promise<void> {
    const [{ oldest, noted, known }] = oldestRows.parse(await this.#database.transaction([{ sql: OLDEST_SQL }]));
    if (known && oldest === noted) return;
    const note = { sql: NOTE_OLDEST_SQL, params: [oldest] };
    const removed = known ? noted !== null : oldest !== null;
    await this.#database.transaction(removed ? [...staleMarks(['auth_attempts']), note] : [note]);
  }

  async #markStale(tables: readonly string[]): Promise<void> {
    await this.#database.transaction(staleMarks(tables));
  }

  /** Once per table: its size will not change much. */
  #tellPostponed(tables: readonly string[]): void {
    const unsaid = tables.filter((table) => !this.#postponed.has(table));
    if (unsaid.length === 0) return;
    for (const table of unsaid) this.#postponed.add(table);
    this.#options.logger.warn(
      { event: 'scrub_postponed', tables: unsaid },
      'removed data stay in the files of large tables until the server is stopped or started',
    );
  }

  /** Removes files that no table or index is in. Nothing else may use the database meanwhile. */
  async #removeOrphans(): Promise<void> {
    await this.#maintain('checkpoint');
    const rows = fileRows.parse(await this.#database.transaction([{ sql: FILES_SQL }]));
    const known = new Set(rows.map(({ file }) => file));
    const folder = join(this.#options.databaseDir, 'base', String(rows[0]!.folder));
    const orphans = (await readdir(folder)).filter((name) => {
      const number = RELATION_FILE.exec(name)?.[1];
      return number !== undefined && !known.has(Number(number));
    });
    for (const name of orphans) await rm(join(folder, name), { force: true });
    if (orphans.length > 0) {
      this.#options.logger.info({ event: 'orphans_removed', files: orphans.length }, 'files of nothing were removed');
    }
  }

  async #vacuum(): Promise<void> {
    for (const table of TABLES) await this.#maintain(`vacuum voice_auth.${table}`);
    await this.#maintain('checkpoint');
  }

  /**
   * Moves on by as many log files as there are: a checkpoint deletes those before the present one, and files that an
   * earlier version put aside for reuse, with what they hold, are only deleted once they have been the present one.
   */
  async #cutLog(): Promise<void> {
    await this.#maintain('checkpoint');
    const [{ files }] = logRows.parse(await this.#database.transaction([{ sql: LOG_FILES_SQL }]));
    for (let file = 0; file < files; file++) {
      await this.#maintain('select pg_switch_wal()');
      await this.#maintain('checkpoint');
    }
  }

  async #maintain(sql: string, limitMs = STATEMENT_LIMIT_MS): Promise<void> {
    await this.#database.maintain(sql, limitMs);
  }
}

function staleMarks(tables: readonly string[]): readonly Statement[] {
  return tables.map((table) => ({ sql: DONE_SQL, params: [table, NEVER_SCRUBBED] }));
}
