/** Whether the database can be used: asked by itself, told once per change, and never asked twice at a time. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DatabaseWatch } from '../../src/database-watch.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { createHealthReporter } from '../../src/health.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { StorageError } from '../../src/storage/storage-error.js';

const AWAY = new VoiceAuthError('DatabaseUnavailable', 'The database cannot be reached');
const OLD = new StorageError('Apply the migrations', { fault: 'migrations_missing' });

describe('the watch over the database', () => {
  const lines: Record<string, unknown>[] = [];
  const log = new PassThrough();
  log.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split('\n')) lines.push(JSON.parse(line));
  });
  const ping = vi.fn(async () => undefined as undefined);
  let metrics: Metrics;
  let watch: DatabaseWatch;
  beforeEach(() => {
    vi.useFakeTimers();
    lines.length = 0;
    ping.mockReset().mockResolvedValue(undefined);
    metrics = new Metrics();
    watch = new DatabaseWatch({ store: { ping }, metrics, logger: createLogger('info', log) });
  });
  afterEach(() => {
    watch.close();
    vi.useRealTimers();
  });

  it('asks at once and every few seconds, and stops when closed', async () => {
    expect(ping).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ping).toHaveBeenCalledTimes(5);
    watch.close();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ping).toHaveBeenCalledTimes(5);
    expect(lines).toEqual([]);
  });

  it('tells every change once, and what the operator must put right as an error', async () => {
    ping.mockRejectedValue(AWAY);
    await vi.advanceTimersByTimeAsync(60_000);
    ping.mockRejectedValue(OLD);
    await vi.advanceTimersByTimeAsync(60_000);
    ping.mockResolvedValue(undefined);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lines.map(({ level, reason, problem }) => [level, reason, problem])).toEqual([
      [40, 'no_answer', undefined],
      [50, 'migrations_missing', 'Apply the migrations'],
      [30, undefined, undefined],
    ]);
  });

  it('shows in the metrics without being asked', async () => {
    const ready = async () => (await metrics.ready.get()).values.map(({ labels, value }) => [labels.component, value]);
    await vi.advanceTimersByTimeAsync(0);
    expect(await ready()).toEqual([['database', 1]]);
    ping.mockRejectedValue(AWAY);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await ready()).toEqual([['database', 0]]);
    ping.mockResolvedValue(undefined);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await ready()).toEqual([['database', 1]]);
  });

  it('does not wait for an answer longer than a second, nor ask again before it has come', async () => {
    await vi.advanceTimersByTimeAsync(0);
    let answer = (): void => undefined;
    ping.mockImplementation(() => new Promise((resolve) => (answer = () => resolve(undefined))));
    const first = watch.look();
    await vi.advanceTimersByTimeAsync(1000);
    expect(await first).toBe('no_answer');
    const second = watch.look();
    expect(ping).toHaveBeenCalledTimes(2);
    answer();
    expect(await second).toBeUndefined();
  });

  it('says in the health why the database cannot be used', async () => {
    const health = createHealthReporter({
      database: watch,
      backend: 'supabase',
      embedder: () => [],
      activeWork: () => 0,
      workers: undefined,
      isDraining: () => false,
    });
    const database = async () => (await health.components())[0];
    expect(await database()).toEqual({ name: 'database', ok: true, detail: { backend: 'supabase' } });
    ping.mockRejectedValue(OLD);
    expect(await database()).toEqual({
      name: 'database',
      ok: false,
      reason: 'migrations_missing',
      detail: { backend: 'supabase' },
    });
  });
});
