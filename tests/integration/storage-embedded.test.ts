/** The embedded database: deadlines, the watchdog, the worker's death, closing. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../src/observability/logger.js';
import { EmbeddedDatabase, SqlError } from '../../src/storage/embedded/embedded-database.js';
import { openTestDatabase, temporaryFolder } from '../support/embedded-storage.js';
import { eventually } from '../support/eventually.js';

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
    await eventually(async () => expect(await run('select n from kept')).toEqual([{ n: 1 }]));
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
    await eventually(async () => expect(await run('after')).toEqual([{ sql: 'after' }]));
  });

  it('closes although a call hangs', async () => {
    database = await openScripted(200);
    const hanging = expect(run('hang')).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await database.close();
    await hanging;
  });

  it('closes although it does not open again', async () => {
    database = await openScripted(200);
    await expect(run('die for good')).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await database.close();
    await expect(run('after')).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
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
