/** Transactions over the channel: deadlines, abort, the database's own errors, a primary or a worker that is gone. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DatabaseDesk } from '../../../src/cluster/database-desk.js';
import type { WorkerMessage } from '../../../src/cluster/messages.js';
import { type DatabaseAnswer, RemoteDatabase } from '../../../src/cluster/remote-database.js';
import { VoiceAuthError } from '../../../src/domain/errors.js';
import { type DatabaseRows, SqlError } from '../../../src/storage/embedded/embedded-database.js';
import type { Statement } from '../../../src/storage/embedded/worker-messages.js';
import { eventually } from '../../support/eventually.js';

const STATEMENTS: readonly Statement[] = [{ sql: 'select $1', params: ['x', 1, null] }];
const FAILURE = { code: '23505', message: 'duplicate', details: 'Key (n)=(1)', hint: null };

afterEach(() => vi.useRealTimers());

function remote(timeoutMs = 1000) {
  const sent: WorkerMessage[] = [];
  const failures: (() => void)[] = [];
  const database = new RemoteDatabase({
    timeoutMs,
    send: (message, onFailure) => {
      sent.push(message);
      failures.push(onFailure);
    },
  });
  return { database, sent, failures };
}

describe('the database of another process', () => {
  it('asks with the statements, and matches answers in any order', async () => {
    const { database, sent } = remote();
    const [first, second] = [database.transaction(STATEMENTS), database.transaction([{ sql: 'select 2' }])];
    expect(sent).toEqual([
      { kind: 'transaction', id: 1, statements: STATEMENTS },
      { kind: 'transaction', id: 2, statements: [{ sql: 'select 2' }] },
    ]);
    database.receive({ kind: 'rows', id: 2, rows: [{ n: 2 }] });
    database.receive({ kind: 'rows', id: 1, rows: [{ n: 1 }] });
    database.receive({ kind: 'rows', id: 1, rows: [{ n: 'late' }] });
    expect([await first, await second]).toEqual([[{ n: 1 }], [{ n: 2 }]]);
  });

  it('fails like the database fails', async () => {
    const { database } = remote();
    const refused = database.transaction(STATEMENTS);
    const unavailable = database.transaction(STATEMENTS);
    database.receive({ kind: 'refused', id: 1, failure: FAILURE });
    database.receive({ kind: 'unavailable', id: 2, message: 'The database is closed' });
    const failure = await refused.catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SqlError);
    expect(failure).toMatchObject({ failure: FAILURE });
    await expect(unavailable).rejects.toMatchObject({
      code: 'DatabaseUnavailable',
      message: 'The database is closed',
      retryAfterSeconds: 1,
    });
  });

  it('gives up at the deadline and takes the call back', async () => {
    vi.useFakeTimers();
    const { database, sent } = remote(1000);
    const late = expect(database.transaction(STATEMENTS)).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await vi.advanceTimersByTimeAsync(1000);
    await late;
    expect(sent.at(-1)).toEqual({ kind: 'abort', id: 1 });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('gives up when the asker does, and never asks for one who has already', async () => {
    const { database, sent } = remote();
    const abort = new AbortController();
    const pending = database.transaction(STATEMENTS, { signal: abort.signal });
    abort.abort(new Error('asker gone'));
    await expect(pending).rejects.toThrow('asker gone');
    expect(sent.map(({ kind }) => kind)).toEqual(['transaction', 'abort']);
    await expect(database.transaction(STATEMENTS, { signal: abort.signal })).rejects.toThrow('asker gone');
    expect(sent).toHaveLength(2);
  });

  it('lets only so many wait', async () => {
    const { database, sent } = remote();
    const outcomes = Promise.allSettled(Array.from({ length: 2001 }, () => database.transaction(STATEMENTS)));
    database.lose();
    expect((await outcomes).at(-1)).toMatchObject({ reason: { message: 'Too many database calls are waiting' } });
    expect(sent).toHaveLength(2000);
  });

  it('fails what waits, and all that comes, when the primary is gone or cannot be written to', async () => {
    const { database, failures } = remote();
    const unsent = database.transaction(STATEMENTS);
    const waiting = database.transaction(STATEMENTS);
    failures[0]?.();
    await expect(unsent).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    database.lose();
    await expect(waiting).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    await expect(database.transaction(STATEMENTS)).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect(failures).toHaveLength(2);
  });
});

describe('the desk of the primary', () => {
  function desk(run: (signal: AbortSignal | undefined) => Promise<DatabaseRows>) {
    const answers: DatabaseAnswer[] = [];
    const open = new DatabaseDesk({ transaction: (_, options) => run(options?.signal) }, (answer) =>
      answers.push(answer),
    );
    const ask = (id: number) => open.receive({ kind: 'transaction', id, statements: [...STATEMENTS] });
    return { open, answers, ask };
  }

  it.each([
    ['rows', async () => [{ n: 1 }], { kind: 'rows', rows: [{ n: 1 }] }],
    ['a refusal', () => Promise.reject(new SqlError(FAILURE)), { kind: 'refused', failure: FAILURE }],
    [
      'unavailability',
      () => Promise.reject(new VoiceAuthError('DatabaseUnavailable', 'The database is closed')),
      { kind: 'unavailable', message: 'The database is closed' },
    ],
    [
      'a fault',
      () => Promise.reject(new Error('secret')),
      { kind: 'unavailable', message: 'The database call failed' },
    ],
  ])('answers with %s', async (_, run: () => Promise<DatabaseRows>, answer) => {
    const { answers, ask } = desk(run);
    ask(7);
    await eventually(() => expect(answers).toEqual([{ ...answer, id: 7 }]));
  });

  it('takes a call back that was aborted, and all of a worker that is gone', async () => {
    const signals: AbortSignal[] = [];
    const { open, answers, ask } = desk((signal) => {
      if (signal) signals.push(signal);
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    });
    for (const id of [1, 2, 3]) ask(id);
    open.receive({ kind: 'abort', id: 2 });
    open.receive({ kind: 'abort', id: 99 });
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true, false]);
    open.close();
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
    await Promise.resolve();
    expect(answers).toEqual([]);
  });

  it('says so when there is no embedded database', async () => {
    const answers: DatabaseAnswer[] = [];
    new DatabaseDesk(undefined, (answer) => answers.push(answer)).receive({
      kind: 'transaction',
      id: 1,
      statements: [],
    });
    await eventually(() => expect(answers).toMatchObject([{ kind: 'unavailable', id: 1 }]));
  });
});
