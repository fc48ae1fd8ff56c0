/** The PostgREST shim over the embedded database: arguments, roles, errors and status codes as PostgREST has them. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbeddedDatabase } from '../../src/storage/embedded/embedded-database.js';
import { createPostgrestShim } from '../../src/storage/postgrest-shim.js';
import { openTestDatabase, temporaryFolder } from '../support/embedded-storage.js';

describe('PostgREST shim', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let database: EmbeddedDatabase;
  afterAll(async () => {
    await database.close();
    await folder.remove();
  });
  const run = async (sql: string) => database.transaction([{ sql }]);
  const rpc = async (name: string, args: unknown, role?: 'anon') => {
    const shim = createPostgrestShim(database, role ? { role } : {});
    const body = typeof args === 'string' ? args : JSON.stringify(args);
    const response = await shim(`http://db.invalid/rest/v1/rpc/${name}`, { method: 'POST', body });
    return { status: response.status, body: (await response.json()) as unknown };
  };

  beforeAll(async () => {
    folder = await temporaryFolder();
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
