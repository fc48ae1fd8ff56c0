/** The embedded database: deadlines, the watchdog, the worker's death, closing, and what the shim makes of it. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLogger } from '../../src/observability/logger.js';
import { EmbeddedDatabase, SqlError } from '../../src/storage/embedded/embedded-database.js';
import { createPostgrestShim } from '../../src/storage/postgrest-shim.js';
import { openTestDatabase, temporaryFolder } from '../support/embedded-storage.js';

const ENDLESS = 'select count(*) from generate_series(1, 1000000000) a, generate_series(1, 1000000000) b';
const SCRIPTED_WORKER = new URL('../support/scripted-database-worker.mjs', import.meta.url);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let database: EmbeddedDatabase;
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(async () => {
  await database.close();
  await folder.remove();
});

const run = async (sql: string, params: readonly (string | number)[] = []) => database.transaction([{ sql, params }]);

describe('embedded database', () => {
  it('ends an endless call, keeps what was committed, and goes on', async () => {
    database = await openTestDatabase(join(folder.path, 'database'), 3000);
    await run('create table kept (n int)');
    await run('insert into kept values ($1)', [1]);
    const endless = database.transaction([{ sql: 'insert into kept values (2)' }, { sql: ENDLESS }]);
    await expect(endless).rejects.toMatchObject({ code: 'DatabaseUnavailable', retryAfterSeconds: 1 });
    await vi.waitFor(async () => expect(await run('select n from kept')).toEqual([{ n: 1 }]), { timeout: 20_000 });
  });

  it('rolls a refused transaction back as a whole', async () => {
    database = await openTestDatabase(join(folder.path, 'database'));
    await run('create table kept (n int primary key)');
    const failing = database.transaction([
      { sql: 'insert into kept values (1)' },
      { sql: 'insert into kept values ($1)', params: [1] },
    ]);
    const failure = await failing.catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SqlError);
    expect(failure).toMatchObject({ failure: { code: '23505' } });
    expect(String(failure)).not.toContain('kept');
    expect(await run('select n from kept')).toEqual([]);
  });

  it('never runs a waiting call that was aborted', async () => {
    database = await openTestDatabase(join(folder.path, 'database'));
    await run('create table kept (n int)');
    const abort = new AbortController();
    const running = run('insert into kept select 1 from pg_sleep(0.05)');
    const waiting = database.transaction([{ sql: 'insert into kept values (2)' }], { signal: abort.signal });
    abort.abort(new Error('asker gone'));
    await expect(waiting).rejects.toThrow('asker gone');
    await expect(database.transaction([], { signal: abort.signal })).rejects.toThrow('asker gone');
    await running;
    expect(await run('select n from kept')).toEqual([{ n: 1 }]);
  });

  it('finishes accepted calls when closing, and refuses later ones', async () => {
    database = await openTestDatabase(join(folder.path, 'database'));
    await run('create table kept (n int)');
    const accepted = Array.from({ length: 20 }, (_, n) => run('insert into kept values ($1)', [n]));
    const closed = database.close();
    await expect(run('select 1')).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await Promise.all(accepted);
    await closed;
    database = await openTestDatabase(join(folder.path, 'database'));
    expect(await run('select count(*)::int as n from kept')).toEqual([{ n: 20 }]);
  });
});

describe('embedded database whose worker misbehaves', () => {
  const openScripted = (callTimeoutMs: number) =>
    EmbeddedDatabase.open({
      databaseDir: folder.path,
      callTimeoutMs,
      logger: createLogger('silent'),
      workerModule: SCRIPTED_WORKER,
    });

  it('fails only the call that killed it, and serves the rest with a new one', async () => {
    database = await openScripted(10_000);
    const outcomes = await Promise.allSettled([run('before'), run('die'), run('after')]);
    expect(outcomes).toMatchObject([
      { status: 'fulfilled', value: [{ sql: 'before' }] },
      { status: 'rejected', reason: { code: 'DatabaseUnavailable' } },
      { status: 'fulfilled', value: [{ sql: 'after' }] },
    ]);
  });

  it('fails the hanging call and those whose own deadline passes behind it', async () => {
    database = await openScripted(200);
    const outcomes = await Promise.allSettled([run('hang'), run('behind')]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'DatabaseUnavailable' } });
    }
    await vi.waitFor(async () => expect(await run('after')).toEqual([{ sql: 'after' }]), { timeout: 10_000 });
  });

  it('closes although a call hangs', async () => {
    database = await openScripted(200);
    const hanging = expect(run('hang')).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await database.close();
    await hanging;
  });

  it('says why it cannot be opened', async () => {
    database = await openScripted(1000);
    const missing = EmbeddedDatabase.open({
      databaseDir: join(folder.path, 'database'),
      callTimeoutMs: 1000,
      logger: createLogger('silent'),
      workerModule: new URL('../support/no-such-worker.mjs', import.meta.url),
    });
    await expect(missing).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
  });
});

describe('PostgREST shim', () => {
  const rpc = async (name: string, args: unknown, role?: 'anon') => {
    const shim = createPostgrestShim(database, role ? { role } : {});
    const body = typeof args === 'string' ? args : JSON.stringify(args);
    const response = await shim(`http://db.invalid/rest/v1/rpc/${name}`, { method: 'POST', body });
    return { status: response.status, body: (await response.json()) as unknown };
  };

  beforeEach(async () => {
    database = await openTestDatabase(join(folder.path, 'database'));
    await run(`create function public.echo(flag boolean, ids uuid[], at timestamptz, raw bytea default '\\x00', "Odd ""name" int default 5)
      returns jsonb language sql as $$ select jsonb_build_object('flag', flag, 'ids', ids, 'at', at, 'raw', encode(raw, 'hex'), 'odd', "Odd ""name") $$`);
    await run(`create function public.caller() returns text language sql as
      $$ select current_user || ' ' || (current_setting('request.jwt.claims')::json->>'role') $$`);
    await run(
      `create function public.numbers(upto int) returns setof int language sql as $$ select generate_series(1, upto) $$`,
    );
    await run(`create function public.fail_with(code text) returns int language plpgsql as
      $$ begin raise exception 'told to' using errcode = code, detail = 'the detail', hint = 'the hint'; end $$`);
  });

  it('has PostgreSQL cast the arguments', async () => {
    const id = '0b0e7a54-4d5c-4c1e-9d57-1f0a9a1b2c3d';
    const given = { flag: true, ids: [id], at: '2026-01-02T03:04:05.678901Z', 'Odd "name': 7 };
    expect(await rpc('echo', given)).toEqual({
      status: 200,
      body: { flag: true, ids: [id], at: '2026-01-02T03:04:05.678901+00:00', raw: '00', odd: 7 },
    });
    expect(await rpc('echo', { flag: null, ids: [], at: null, raw: '\\xdeadbeef' })).toMatchObject({
      body: { flag: null, ids: [], raw: 'deadbeef', odd: 5 },
    });
    expect(await rpc('numbers', { upto: 3 })).toEqual({ status: 200, body: [1, 2, 3] });
    expect(await rpc('numbers', { upto: 0 })).toEqual({ status: 200, body: [] });
  });

  it('runs as the role it stands for, and no longer than the call', async () => {
    expect(await rpc('caller', {})).toEqual({ status: 200, body: 'service_role service_role' });
    expect(await rpc('caller', '', 'anon')).toEqual({ status: 200, body: 'anon anon' });
    expect(await run('select current_user as name')).toEqual([{ name: 'postgres' }]);
  });

  it.each([
    ['VA001', 400],
    ['23505', 409],
    ['42501', 403],
    ['40001', 500],
    ['53300', 503],
    ['XX001', 500],
  ])('answers SQLSTATE %s with status %i and PostgREST-like fields', async (code, status) => {
    expect(await rpc('fail_with', { code })).toEqual({
      status,
      body: { code, message: 'told to', details: 'the detail', hint: 'the hint' },
    });
  });

  it.each([
    ['echo', { flag: 'perhaps', ids: [], at: null }, 400, '22P02'],
    ['no_such_function', {}, 404, 'PGRST202'],
    ['numbers', {}, 404, 'PGRST202'],
    ['numbers', { upto: 1, more: 2 }, 404, 'PGRST202'],
    ['numbers', '{"upto":', 400, 'PGRST102'],
    ['numbers', '[1]', 400, 'PGRST102'],
    ['numbers;drop', {}, 404, 'PGRST125'],
  ])('refuses %s %j', async (name, args, status, code) => {
    expect(await rpc(name, args)).toMatchObject({ status, body: { code } });
  });

  it('answers nothing but function calls', async () => {
    const shim = createPostgrestShim(database);
    for (const [method, path] of [
      ['GET', 'rpc/caller'],
      ['GET', 'users'],
      ['POST', 'users'],
    ]) {
      const response = await shim(`http://db.invalid/rest/v1/${path}`, { method: method ?? 'GET' });
      expect(response.status).toBe(404);
    }
  });

  it('answers 503 when the database is closed', async () => {
    await database.close();
    expect(await rpc('caller', {})).toMatchObject({ status: 503 });
  });
});
