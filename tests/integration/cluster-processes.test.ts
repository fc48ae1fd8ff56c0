/** Primary and workers as real processes, with toys in the place of servers: the port, the doorbell, the database, the ends. */
import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { openTestDatabase, temporaryFolder } from '../support/embedded-storage.js';
import { eventually } from '../support/eventually.js';
import { LineProcess } from '../support/line-process.js';
import { metricSum } from '../support/local-service.js';

interface Reply {
  readonly id: number;
  readonly value: unknown;
}

let toys: LineProcess;
afterEach(() => toys.kill());

async function start(mode: 'plain' | 'broken' | 'stuck', ...rest: string[]): Promise<string> {
  toys = new LineProcess('./toy-cluster.mjs', [mode, ...rest]);
  return (await toys.firstLines(1))[0] ?? '';
}

/** A new connection each time: the next worker's turn. */
async function ask(url: string, action: string, q = ''): Promise<Reply> {
  return (await (await fetch(`${url}/${action}?q=${encodeURIComponent(q)}`)).json()) as Reply;
}

/** The answers of three workers, by worker. */
async function askAll(url: string, action: string): Promise<Map<number, unknown>> {
  const answers = new Map<number, unknown>();
  while (answers.size < 3) {
    const { id, value } = await ask(url, action);
    answers.set(id, value);
  }
  return answers;
}

describe('server processes', () => {
  it('share one port, and ring at all others but not at themselves', async () => {
    const url = await start('plain');
    const { id: ringer } = await ask(url, 'ring', 'hello');
    await eventually(async () => {
      const heard = await askAll(url, 'heard');
      expect([...heard].filter(([, payloads]) => String(payloads) === 'hello')).toHaveLength(2);
      expect(heard.get(ringer)).toEqual([]);
    });
    const { id: second } = await ask(url, 'ring', 'x'.repeat(5000));
    expect(second).toBeGreaterThan(0);
    await ask(url, 'ring', 'still there');
    await eventually(async () => expect(JSON.stringify([...(await askAll(url, 'heard'))])).toContain('still there'));
    expect(JSON.stringify([...(await askAll(url, 'heard'))])).not.toContain('xxx');
  });

  it('replace one that dies, on the same port, and forget none of what it had counted', async () => {
    const url = await start('plain');
    const before = [...(await askAll(url, 'count')).keys()];
    const lockouts = async () => metricSum(String((await ask(url, 'metrics')).value), 'voice_auth_lockouts_total');
    const counted = await lockouts();
    expect(counted).toBeGreaterThanOrEqual(3);
    await expect(ask(url, 'die')).rejects.toThrow();
    await eventually(async () => expect((await ask(url, 'workers')).value).toEqual({ configured: 3, ready: 3 }));
    const after = [...(await askAll(url, 'id')).keys()];
    expect(after.filter((id) => before.includes(id))).toHaveLength(2);
    expect(await lockouts()).toBe(counted);
    await ask(url, 'count');
    expect(await lockouts()).toBe(counted + 1);
    expect(metricSum(String((await ask(url, 'metrics')).value), 'voice_auth_worker_restarts_total')).toBe(1);
  });

  it('leave no caller waiting whose connection was on its way to one that dies', async () => {
    const url = await start('plain');
    const pids = await askAll(url, 'pid');
    const { id: blocked } = await ask(url, 'block');
    const replies: Reply[] = [];
    // Each worker gets its turn; the blocked one does not take the connection that is sent to it, and gets no other.
    const asks = Array.from({ length: 6 }, async () => replies.push(await ask(url, 'id')));
    const outcomes = Promise.allSettled(asks);
    await eventually(() => expect(replies).toHaveLength(5));
    process.kill(Number(pids.get(blocked)), 'SIGKILL');
    expect((await outcomes).filter(({ status }) => status === 'rejected')).toHaveLength(1);
    await askAll(url, 'id');
  });

  it('use the database of the primary as if it were their own', { timeout: 60_000 }, async () => {
    const folder = await temporaryFolder();
    const sql = `select now()::date as day, '\\x0102'::bytea as bytes, 9007199254740993::int8 as big, null as nothing,
      array['a', 'b'] as list, '{"a": [1]}'::jsonb as json, 'NaN'::float8 as nan, true as yes, 'ü €' as text`;
    const url = await start('plain', folder.path);
    const [there, refused] = [await ask(url, 'sql', sql), await ask(url, 'sql', 'select 1 / 0')];
    await toys.finish();
    expect(toys.lines.at(-1)).toBe('closed');
    const database = await openTestDatabase(`${folder.path}/database`);
    expect(there.value).toBe(inspect(await database.transaction([{ sql }])));
    const failure = await database.transaction([{ sql: 'select 1 / 0' }]).catch((error: unknown) => error);
    expect(refused.value).toBe(inspect(['SqlError', (failure as { readonly failure: unknown }).failure]));
    await database.close();
    await folder.remove();
  });

  it('end the start when one of them cannot start, and say why', async () => {
    expect(await start('broken')).toBe('WorkerStartError: the toy is broken');
    await toys.finish();
    expect(toys.lines).toHaveLength(1);
  });

  it('are ended by force when they take too long to end', async () => {
    await start('stuck');
    await toys.finish();
    expect(toys.lines.at(-1)).toBe('closed');
  });
});
