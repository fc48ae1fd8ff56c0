/** What the database itself guarantees: who may touch what, the audit trail, templates that are bound to their rows. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fingerprintOf } from '../../src/domain/calls/call-ids.js';
import type { CallAsking } from '../../src/domain/ports/call-store.js';
import { Metrics } from '../../src/observability/metrics.js';
import { DatabaseClient } from '../../src/storage/database-client.js';
import { type EmbeddedDatabase, SqlError } from '../../src/storage/embedded/embedded-database.js';
import { createPostgrestShim } from '../../src/storage/postgrest-shim.js';
import { SupabaseAuthStore } from '../../src/storage/supabase-auth-store.js';
import { SupabaseCallStore } from '../../src/storage/supabase-call-store.js';
import { createEncryptionKeyEntry, TemplateCipher } from '../../src/storage/template-cipher.js';
import {
  acceptOf,
  attemptOf,
  enrollmentOf,
  openTestDatabase,
  rejectOf,
  storageCheck,
  temporaryFolder,
  testEmbedding,
} from '../support/embedded-storage.js';

const API_ROLES = ['anon', 'authenticated'] as const;
const TABLES = [
  'users',
  'voiceprints',
  'voice_samples',
  'auth_attempts',
  'audit_events',
  'rate_limits',
  'call_sessions',
  'call_requests',
];

const YEAR_MS = 365 * 86_400_000;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let database: EmbeddedDatabase;
let client: DatabaseClient;
let store: SupabaseAuthStore;
let calls: SupabaseCallStore;

beforeAll(async () => {
  folder = await temporaryFolder();
  database = await openTestDatabase(join(folder.path, 'database'));
  client = new DatabaseClient({
    url: 'http://embedded.invalid',
    key: 'embedded',
    timeoutMs: 20_000,
    metrics: new Metrics(),
    fetch: createPostgrestShim(database),
  });
  const cipher = new TemplateCipher([createEncryptionKeyEntry()]);
  store = new SupabaseAuthStore(client, cipher, storageCheck());
  calls = new SupabaseCallStore(client, cipher);
});
afterAll(async () => {
  await database.close();
  await folder.remove();
});

const sql = (text: string, params: readonly string[] = []) => database.transaction([{ sql: text, params }]);
const sqlAs = (role: string, text: string) => database.transaction([{ sql: `set local role ${role}` }, { sql: text }]);

/** A question about a call that the asker listens to itself, so that the row holds no arguments. */
const askingOf = (callId: string, userId: string | undefined, phone?: string): CallAsking => ({
  platform: 'vapi',
  callId,
  requestId: 'tool-1',
  kind: phone === undefined ? 'verify' : 'enroll',
  fingerprint: fingerprintOf({ kind: phone === undefined ? 'verify' : 'enroll', userId, phone }),
  args: {
    userId,
    threshold: undefined,
    callerNumber: undefined,
    consentReference: undefined,
    phone,
    actor: undefined,
    correlationId: 'ask-1',
  },
  deadlineMs: 20_000,
  asker: 'this-process',
  mayListen: true,
  leaseMs: 20_000,
});
const refusal = { failure: { code: '42501' } };

describe('access', () => {
  it('has row-level security enabled and forced, without a policy, on every table', async () => {
    const tables = await sql(`select relname, relrowsecurity, relforcerowsecurity from pg_class
      where relnamespace = 'voice_auth'::regnamespace and relkind = 'r' order by relname`);
    expect(tables).toEqual(
      [...TABLES].sort().map((relname) => ({ relname, relrowsecurity: true, relforcerowsecurity: true })),
    );
    expect(await sql('select * from pg_policies')).toEqual([]);
  });

  it.each([...API_ROLES, 'service_role'])('lets %s read and write no table', async (role) => {
    for (const table of TABLES) {
      for (const statement of [
        `select * from voice_auth.${table}`,
        `insert into voice_auth.${table} default values`,
        `delete from voice_auth.${table}`,
        `truncate voice_auth.${table}`,
      ]) {
        await expect(sqlAs(role, statement), statement).rejects.toMatchObject(refusal);
      }
    }
  });

  it.each(API_ROLES)('shows %s no row even with a grant given by mistake', async (role) => {
    await store.saveEnrollment(enrollmentOf(randomUUID()));
    const rows = await database.transaction([
      { sql: `grant usage on schema voice_auth to ${role}` },
      { sql: `grant select on all tables in schema voice_auth to ${role}` },
      { sql: `set local role ${role}` },
      { sql: 'select (select count(*) from voice_auth.users) + (select count(*) from voice_auth.voiceprints) as n' },
    ]);
    expect(rows).toEqual([{ n: 0 }]);
    await sql(`revoke all on all tables in schema voice_auth from ${role}`);
    await sql(`revoke usage on schema voice_auth from ${role}`);
  });

  it('lets service_role alone execute the functions, which run with an empty search path', async () => {
    const functions = await sql(`select p.proname as name, p.prosecdef as definer, p.proconfig as config,
        has_function_privilege('anon', p.oid, 'execute') as anon,
        has_function_privilege('authenticated', p.oid, 'execute') as authenticated,
        has_function_privilege('service_role', p.oid, 'execute') as service
      from pg_proc p where p.pronamespace = 'public'::regnamespace`);
    expect(functions.length).toBeGreaterThanOrEqual(10);
    for (const one of functions) {
      expect(one).toMatchObject({ definer: true, anon: false, authenticated: false, service: true });
      expect(one.config).toContain('search_path=""');
    }
    const inner =
      await sql(`select p.proname from pg_proc p cross join unnest(array['anon', 'authenticated', 'service_role']) r
      where p.pronamespace = 'voice_auth'::regnamespace and has_function_privilege(r, p.oid, 'execute')`);
    expect(inner).toEqual([]);
  });

  it('answers anon with 401 for every function', async () => {
    const shim = createPostgrestShim(database, { role: 'anon' });
    const call = (name: string, args: unknown) =>
      shim(`http://db.invalid/rest/v1/rpc/${name}`, { method: 'POST', body: JSON.stringify(args) });
    const userId = randomUUID();
    for (const [name, args] of [
      ['va_ping', {}],
      ['va_find_user', { p_user_id: userId }],
      ['va_user_status', { p_user_id: userId }],
      ['va_auth_history', { p_user_id: userId, p_limit: 5 }],
      ['va_outdated_voiceprints', { p_model_id: 'm', p_limit: 5 }],
      ['va_erase_user', { p_user_id: userId, p_correlation_id: 'c', p_actor: 'a' }],
      ['va_rate_limit_hit', { p_key: 'k', p_window_ms: 1000 }],
      ['va_purge', { p_attempt_retention_ms: 1 }],
      ['va_forget_old_calls', {}],
      ['va_verify_audit_chain', {}],
      ['va_recorded_voices', { p_model_id: 'test-model', p_limit: 5 }],
      ['va_key_ids', {}],
      ['va_templates_of_other_keys', { p_key_id: 'k', p_limit: 5 }],
      ['va_put_back_templates', { p_user_id: userId, p_key_id: 'k', p_voiceprint: null, p_samples: [] }],
    ] as const) {
      expect((await call(name, args)).status, name).toBe(401);
    }
  });
});

describe('what is stored', () => {
  it('holds no embedding in the clear, and no template that reads in another place', async () => {
    const [one, two] = [randomUUID(), randomUUID()];
    await store.saveEnrollment(enrollmentOf(one, { centroid: testEmbedding(5) }));
    await store.saveEnrollment(enrollmentOf(two, { centroid: testEmbedding(6) }));
    const templateOf = async (userId: string) => {
      const rows = await sql(`select encode(template, 'hex') as hex from voice_auth.voiceprints where user_id = $1`, [
        userId,
      ]);
      return String(rows[0]?.hex);
    };
    const clear = Buffer.from(testEmbedding(5).buffer).toString('hex');
    expect(await templateOf(one)).not.toContain(clear.slice(0, 32));
    await sql(
      `update voice_auth.voiceprints set template = decode($2, 'hex'), version = (
      select version from voice_auth.voiceprints where user_id = $3) where user_id = $1`,
      [one, await templateOf(two), two],
    );
    await expect(store.findUser(one)).rejects.toMatchObject({ code: 'InternalError' });
    expect((await store.findUser(two))?.voiceprint?.centroid).toEqual(testEmbedding(6));
  });

  it('holds no template that reads under another version, but reads a row of before that is put back as a whole', async () => {
    const userId = randomUUID();
    const { version } = await store.saveEnrollment(enrollmentOf(userId, { centroid: testEmbedding(7) }));
    const rowOf = async () =>
      (
        await sql(
          `select encode(template, 'hex') as template, version::text as version
        from voice_auth.voiceprints where user_id = $1`,
          [userId],
        )
      )[0] as { template: string; version: string };
    const before = await rowOf();
    const next = enrollmentOf(userId, { expectedVersion: version, centroid: testEmbedding(8) });
    const { version: present } = await store.saveEnrollment(next);
    const put = (row: { template: string; version: string }) =>
      sql(`update voice_auth.voiceprints set template = decode($2, 'hex'), version = $3::bigint where user_id = $1`, [
        userId,
        row.template,
        row.version,
      ]);
    await put({ ...before, version: String(present) });
    await expect(store.findUser(userId)).rejects.toMatchObject({ code: 'InternalError' });
    // Whoever can write the database can bring an earlier state back.
    await put(before);
    expect((await store.findUser(userId))?.voiceprint).toMatchObject({ version, centroid: testEmbedding(7) });
  });

  it('holds a lock that begins further ahead than it is long for one of a clock that ran ahead', async () => {
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    const rule = { maxFailedAttempts: 1, lockoutMs: 900_000 };
    const { lockedUntil } = await store.recordAttempt(rejectOf(userId, rule));
    const move = (by: string) =>
      sql(
        `update voice_auth.users set locked_at = locked_at + interval '${by}', locked_until = locked_until + interval '${by}'
         where id = $1`,
        [userId],
      );
    // A correction by less than the lock's length opens none.
    await move('10 minutes');
    const held = new Date(lockedUntil!.getTime() + 600_000);
    expect((await store.findUser(userId))?.lockedUntil).toEqual(held);
    expect(await store.recordAttempt(rejectOf(userId, rule))).toMatchObject({
      reason: 'locked_out',
      lockedUntil: held,
    });

    await move('400 days');
    expect((await store.findUser(userId))?.lockedUntil).toBeUndefined();
    expect(await store.userStatus(userId)).toMatchObject({ lockedUntil: undefined, failedAttempts: 0 });
    const next = await store.recordAttempt(rejectOf(userId, { ...rule, maxFailedAttempts: 2 }));
    expect(next).toMatchObject({ reason: 'no_match', failedAttempts: 1, lockedUntil: undefined });
    const locking = await store.recordAttempt(rejectOf(userId, { ...rule, maxFailedAttempts: 2 }));
    expect((await store.findUser(userId))?.lockedUntil).toEqual(locking.lockedUntil);
  });

  it('keeps locks that are not known to have begun, until an operator lifts them', async () => {
    const userId = randomUUID();
    const { version } = await store.saveEnrollment(enrollmentOf(userId));
    // Of a lock that a clock set which ran ahead.
    await sql(`update voice_auth.users set locked_at = '3001-01-01T00:00:00Z' where id = $1`, [userId]);
    await sql(`update voice_auth.users set locked_until = '2999-01-01T00:00:00Z' where id = $1`, [userId]);
    expect((await store.findUser(userId))?.lockedUntil).toEqual(new Date('2999-01-01T00:00:00Z'));
    expect(await store.recordAttempt(acceptOf(userId, version))).toMatchObject({ reason: 'locked_out' });
    await sql('update voice_auth.users set locked_until = null, failed_attempts = 0 where id = $1', [userId]);
    expect(await store.recordAttempt(acceptOf(userId, version))).toMatchObject({ decision: 'accept' });
  });

  it('cannot hold more than five samples, an accept without a match, or an attempt that is half anonymous', async () => {
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    await store.recordAttempt(attemptOf(userId));
    for (const [statement, code] of [
      [`update voice_auth.voice_samples set slot = 6 where user_id = '${userId}'`, '23514'],
      [`update voice_auth.auth_attempts set decision = 'accept' where user_id = '${userId}'`, '23514'],
      [`update voice_auth.auth_attempts set score = 1.01 where user_id = '${userId}'`, '23514'],
      [`update voice_auth.auth_attempts set user_id = null where user_id = '${userId}'`, '23514'],
      [`delete from voice_auth.users where id = '${userId}'`, '23503'],
    ] as const) {
      await expect(sql(statement), statement).rejects.toMatchObject({ failure: { code } });
    }
  });

  it('keeps of an erased person only statistics that lead nowhere', async () => {
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    const attempt = rejectOf(userId, { callId: 'call-to-forget', modelId: `model-${userId.slice(0, 8)}` });
    await store.recordAttempt(attempt);
    const [withdrawn, failed] = [`withdrawn-${userId.slice(0, 8)}`, `failed-${userId.slice(0, 8)}`];
    for (const callId of [withdrawn, failed]) await calls.askCall(askingOf(callId, userId));
    await calls.withdrawQuestion({ platform: 'vapi', callId: withdrawn }, 'tool-1', 'this-process');
    const fault = { kind: 'error', code: 'Busy', message: 'The call moves' } as const;
    await calls.answerCall({ platform: 'vapi', callId: failed }, 'tool-1', fault);
    await store.eraseUser(userId, { correlationId: 'erase-request-1', actor: 'admin-key' });
    const questions = sql('select * from voice_auth.call_requests where call_id in ($1, $2)', [withdrawn, failed]);
    expect(await questions).toEqual([]);
    const left = await sql('select * from voice_auth.auth_attempts where model_id = $1', [attempt.modelId]);
    expect(left).toMatchObject([
      { user_id: null, correlation_id: null, call_id: null, decision: 'reject', reason: 'no_match', score: 0.3 },
    ]);
    expect(left[0]?.id).not.toBe(attempt.attemptId);
    for (const table of TABLES) {
      const rows = JSON.stringify(await sql(`select * from voice_auth.${table}`));
      for (const trace of [userId, attempt.attemptId, attempt.correlationId, 'call-to-forget']) {
        expect(rows, table).not.toContain(trace);
      }
    }
  });

  it('holds no digest of a question that anybody could make from a number', async () => {
    const asking = askingOf('call-with-digest', undefined, '+14155550177');
    await calls.askCall(asking);
    for (const table of TABLES) {
      expect(JSON.stringify(await sql(`select * from voice_auth.${table}`)), table).not.toContain(asking.fingerprint);
    }
    expect(await calls.askCall(asking)).toMatchObject({ owned: true });
    const other = askingOf('call-with-digest', undefined, '+14155550178');
    await expect(calls.askCall(other)).rejects.toMatchObject({ code: 'ValidationError' });
    // A key that has come in front since makes another digest.
    const later = new SupabaseCallStore(client, new TemplateCipher([createEncryptionKeyEntry()]));
    await expect(later.askCall(asking)).rejects.toMatchObject({ code: 'ValidationError' });
  });

  it('holds no address in the rate limits, and few that have expired', async () => {
    for (let host = 1; host <= 40; host++) await store.hit(`ip:203.0.113.${host}`, 1);
    await store.hit('ip:198.51.100.7', 600_000);
    const rows = await sql('select * from voice_auth.rate_limits');
    expect(JSON.stringify(rows)).not.toMatch(/203\.0\.113|198\.51/);
    expect(rows.length).toBeLessThanOrEqual(12);
  });
});

describe('purge', () => {
  it('removes what has had its time and nothing else', async () => {
    const [expired, kept] = [randomUUID(), randomUUID()];
    for (const userId of [expired, kept]) await store.saveEnrollment(enrollmentOf(userId));
    const old = attemptOf(kept);
    await store.recordAttempt(old);
    const recent = attemptOf(kept);
    await store.recordAttempt(recent);
    await sql(`update voice_auth.auth_attempts set created_at = '2020-01-01' where id = $1`, [old.attemptId]);
    await sql('update voice_auth.users set retain_until = clock_timestamp() where id = $1', [expired]);
    const purged = await store.purge(YEAR_MS);
    expect(purged).toMatchObject({ users: 1, attempts: 1, more: false });
    expect(await store.findUser(expired)).toBeUndefined();
    const history = await store.authHistory(kept, { limit: 5, before: undefined });
    expect(history?.attempts.map(({ id }) => id)).toEqual([recent.attemptId]);
  });

  it('counts the age of attempts by the clock of the database', async () => {
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    const recent = attemptOf(userId);
    await store.recordAttempt(recent);
    const ahead = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 2 * YEAR_MS);
    try {
      await store.purge(YEAR_MS);
      await store.purge(undefined);
    } finally {
      ahead.mockRestore();
    }
    const history = await store.authHistory(userId, { limit: 5, before: undefined });
    expect(history?.attempts.map(({ id }) => id)).toEqual([recent.attemptId]);
    await expect(store.purge(0)).rejects.toMatchObject({ code: 'InternalError' });
  });

  it('is also done for servers of the former version, which name a date', async () => {
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    const old = attemptOf(userId);
    await store.recordAttempt(old);
    await sql(`update voice_auth.auth_attempts set created_at = '2020-01-01' where id = $1`, [old.attemptId]);
    const response = await createPostgrestShim(database)('http://db.invalid/rest/v1/rpc/va_purge', {
      method: 'POST',
      body: JSON.stringify({ p_attempts_before: '2020-01-02T00:00:00Z' }),
    });
    expect(await response.json()).toMatchObject({ attempts: 1, more: false });
  });

  it('goes step by step through a backlog, oldest first', async () => {
    const userId = randomUUID();
    await store.saveEnrollment(enrollmentOf(userId));
    await sql(
      `insert into voice_auth.auth_attempts (id, user_id, correlation_id, source, decision, reason, threshold, model_id,
         net_speech_ms, looks, latency_ms, created_at)
       select gen_random_uuid(), $1, 'backlog', 'upload', 'inconclusive', 'deadline', 0.8, 'm', 0, 0, 0,
         timestamptz '2019-01-01' + n * interval '1 second'
       from generate_series(1, 1001) n`,
      [userId],
    );
    await sql(
      `insert into voice_auth.users (id, retain_until) select gen_random_uuid(), now() from generate_series(1, 21)`,
    );
    expect(await store.purge(YEAR_MS)).toMatchObject({ users: 20, attempts: 1000, more: true });
    const left = await sql(`select created_at = timestamptz '2019-01-01 00:16:41' as newest
      from voice_auth.auth_attempts where correlation_id = 'backlog'`);
    expect(left).toEqual([{ newest: true }]);
    expect(await store.purge(YEAR_MS)).toMatchObject({ users: 1, attempts: 1, more: false });
  });

  it.each(['call_sessions', 'rate_limits'])('goes step by step through a backlog of %s too', async (table) => {
    await sql(`delete from voice_auth.${table}`);
    await sql(
      table === 'call_sessions'
        ? `insert into voice_auth.call_sessions (platform, call_id, state, lease_expires_at, updated_at)
           select 'vapi', 'backlog-' || n, 'listening', now(), now() - interval '25 hours' - n * interval '1 second'
           from generate_series(1, 1011) n`
        : `insert into voice_auth.rate_limits (key, hits, resets_at)
           select 'backlog-' || n, 1, now() - interval '1 second' from generate_series(1, 1001) n`,
    );
    const left = async () => (await sql(`select count(*)::int as n from voice_auth.${table}`))[0]?.n;
    expect(await store.purge(YEAR_MS)).toMatchObject({ more: true });
    expect(await left()).toBe(1);
    expect(await store.purge(YEAR_MS)).toMatchObject({ more: false });
    expect(await left()).toBe(0);
  });

  it.each([
    ['purge', () => store.purge(YEAR_MS)],
    ['what is done by the minute', () => store.forgetOldCalls()],
  ])('keeps calls that were heard of within a day, and of their questions what still waits (%s)', async (_, forget) => {
    await sql('delete from voice_auth.call_sessions');
    await sql(`insert into voice_auth.call_sessions (platform, call_id, state, owner, lease_expires_at, updated_at)
      values ('vapi', 'recent', 'listening', 'somebody', now(), now() - interval '23 hours')`);
    await sql(`insert into voice_auth.call_requests (
        platform, call_id, request_id, kind, asker, fingerprint, args, deadline_at)
      select 'vapi', 'recent', request_id, 'verify', 'asker', 'f', '{"callerNumber": "+14155550100"}', deadline_at
      from (values ('over', now() - interval '1 second'), ('waits', now() + interval '1 hour'))
        as q (request_id, deadline_at)`);
    await forget();
    const left = await sql(`select request_id, args is not null as has_args from voice_auth.call_requests
      where call_id = 'recent' order by request_id`);
    expect(left).toEqual([
      { request_id: 'over', has_args: false },
      { request_id: 'waits', has_args: true },
    ]);
  });
});

describe('audit trail', () => {
  const events = () =>
    sql('select seq::int, action, subject, request_ref, actor from voice_auth.audit_events order by seq');
  /** What verification says after edits by somebody who can switch the triggers off; all of it is rolled back again. */
  const verdictAfter = async (...edits: readonly string[]): Promise<unknown> => {
    const failure = await database
      .transaction([
        { sql: 'set local session_replication_role = replica' },
        ...edits.map((edit) => ({ sql: edit })),
        { sql: `do $$ begin raise exception '%', public.va_verify_audit_chain(); end $$` },
      ])
      .catch((error: unknown) => error);
    return JSON.parse(failure instanceof SqlError ? failure.failure.message : 'null');
  };

  it('links the events of a person without naming them', async () => {
    const userId = randomUUID();
    const first = enrollmentOf(userId);
    const { version } = await store.saveEnrollment(first);
    await store.saveEnrollment(enrollmentOf(userId, { expectedVersion: version }));
    await store.eraseUser(userId, { correlationId: 'erase-request-2', actor: 'admin-key' });
    const own = (await events()).slice(-3);
    expect(own).toMatchObject([
      { action: 'voiceprint.created', actor: 'test-key' },
      { action: 'voiceprint.updated', actor: 'test-key' },
      { action: 'user.erased', actor: 'admin-key', request_ref: 'erase-request-2' },
    ]);
    expect(new Set(own.map(({ subject }) => subject)).size).toBe(1);
    expect(JSON.stringify(own)).not.toContain(userId);
    expect(JSON.stringify(own)).not.toContain(first.correlationId);
  });

  it('says when a voiceprint of one model gave way to that of another, and at whose word', async () => {
    const userId = randomUUID();
    const first = enrollmentOf(userId);
    const { version } = await store.saveEnrollment(first);
    const changes = { expectedVersion: version, modelId: 'newer', replacesModelId: first.modelId };
    await store.saveEnrollment(enrollmentOf(userId, { ...changes, consentReference: 'form 12', actor: 'admin-key' }));
    const [last] = await sql('select action, actor, detail from voice_auth.audit_events order by seq desc limit 1');
    expect(last).toMatchObject({
      action: 'voiceprint.replaced',
      actor: 'admin-key',
      detail: { model_id: 'newer', replaced_model_id: first.modelId, samples: 1, consent: true },
    });
  });

  it('cannot be changed or shortened', async () => {
    for (const statement of [
      `update voice_auth.audit_events set actor = 'somebody else'`,
      'delete from voice_auth.audit_events',
      'truncate voice_auth.audit_events',
    ]) {
      await expect(sql(statement), statement).rejects.toMatchObject({ failure: { code: 'VA006' } });
    }
  });

  it('shows where it was changed behind its triggers', async () => {
    const count = (await events()).length;
    expect(count).toBeGreaterThan(4);
    expect(await store.verifyAuditChain()).toMatchObject({ intact: true, events: count });
    for (const column of ['actor', 'action', 'subject', 'request_ref']) {
      const changed = await verdictAfter(`update voice_auth.audit_events set ${column} = 'x.y' where seq = 3`);
      expect(changed, column).toMatchObject({ ok: false, broken_at: 3 });
    }
    const edits = [
      [`update voice_auth.audit_events set at = at + interval '1 microsecond' where seq = 2`, 2],
      [`update voice_auth.audit_events set detail = detail || '{"n": 1}' where seq = 2`, 2],
      ['delete from voice_auth.audit_events where seq = 3', 3],
      ['delete from voice_auth.audit_events where seq = 1', 1],
      ['update voice_auth.audit_events set seq = 1000000 where seq = 2', 2],
    ] as const;
    for (const [edit, brokenAt] of edits) {
      expect(await verdictAfter(edit), edit).toMatchObject({ ok: false, broken_at: brokenAt });
    }
    expect(await store.verifyAuditChain()).toMatchObject({ intact: true, events: count });
  });

  it('also notices an event whose own hash was recomputed', async () => {
    const forged = await verdictAfter(
      `update voice_auth.audit_events set actor = 'forged' where seq = 2`,
      'update voice_auth.audit_events e set hash = voice_auth.audit_hash(e) where seq = 2',
    );
    expect(forged).toMatchObject({ ok: false, broken_at: 3 });
  });
});
