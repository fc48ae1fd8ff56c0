/** What the server does by the hour: when, and until nothing is left. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type HousekeepingParts, startHousekeeping } from '../../src/housekeeping.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';

const HOUR_MS = 3_600_000;
const NOTHING = { users: 0, attempts: 0, rateLimits: 0, more: false };

describe('housekeeping', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: new Date('2026-01-31T00:00:00Z') });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const start = (
    purge: (attemptRetentionMs: number | undefined) => Promise<typeof NOTHING>,
    changes: Partial<HousekeepingParts> = {},
  ) =>
    startHousekeeping({
      store: { purge, forgetOldCalls: async () => undefined },
      users: { outdated: async () => ({ users: [], total: 3, next: undefined, modelId: 'm' }) },
      people: { forgetTheErased: async () => undefined },
      metrics: new Metrics(),
      logger: createLogger('silent'),
      attemptRetentionMs: 30 * 24 * HOUR_MS,
      ...changes,
    });

  it('purges soon after the start, step by step until nothing is left, and again every hour', async () => {
    let backlog = 3;
    const purge = vi.fn(async (_: number | undefined) => ({ ...NOTHING, attempts: 1000, more: backlog-- > 1 }));
    const housekeeping = start(purge);
    expect(purge).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(purge).toHaveBeenCalledTimes(3);
    expect(purge.mock.calls[0]?.[0]).toBe(30 * 24 * HOUR_MS);
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(purge).toHaveBeenCalledTimes(4);
    await housekeeping.close();
  });

  it('tries again a minute after a failure, and says when it last succeeded', async () => {
    const away = new Error('the database is away');
    const purge = vi
      .fn(async () => NOTHING)
      .mockRejectedValueOnce(away)
      .mockRejectedValueOnce(away);
    const metrics = new Metrics();
    const lastSuccess = async () => (await metrics.housekeepingLastSuccess.get()).values.map(({ value }) => value);
    const housekeeping = start(purge, { metrics });
    await vi.advanceTimersByTimeAsync(30_000 + 60_000);
    expect(purge).toHaveBeenCalledTimes(2);
    expect(await lastSuccess()).toEqual([]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(purge).toHaveBeenCalledTimes(3);
    const succeededAt = Date.parse('2026-01-31T00:02:30Z') / 1000;
    expect(await lastSuccess()).toEqual([succeededAt]);
    await vi.advanceTimersByTimeAsync(HOUR_MS - 1);
    expect(purge).toHaveBeenCalledTimes(3);
    purge.mockRejectedValueOnce(away);
    await vi.advanceTimersByTimeAsync(1);
    expect(purge).toHaveBeenCalledTimes(4);
    expect(await lastSuccess()).toEqual([succeededAt]);
    await housekeeping.close();
  });

  it('counts who is enrolled with another model every hour, a minute after a failure, and has no number before', async () => {
    const metrics = new Metrics();
    const found = { users: [], total: 3, next: undefined, modelId: 'm' };
    const outdated = vi.fn(async () => found).mockRejectedValueOnce(new Error('the database is away'));
    const shown = async () => (await metrics.outdatedVoiceprints.get()).values.map(({ value }) => value);
    const housekeeping = start(async () => NOTHING, { users: { outdated }, metrics });
    await vi.advanceTimersByTimeAsync(59_999);
    expect([outdated.mock.calls.length, await shown()]).toEqual([1, []]);
    await vi.advanceTimersByTimeAsync(1);
    expect([outdated.mock.calls.length, await shown()]).toEqual([2, [3]]);
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(outdated).toHaveBeenCalledTimes(3);
    await housekeeping.close();
  });

  it('stops between two steps', async () => {
    const purge = vi.fn(async () => ({ ...NOTHING, more: true }));
    const housekeeping = start(purge);
    await vi.advanceTimersByTimeAsync(30_000);
    const steps = purge.mock.calls.length;
    await housekeeping.close();
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(purge).toHaveBeenCalledTimes(steps);
  });

  it('leaves calls a moment between two steps, and makes no further step when it is closed in it', async () => {
    const purge = vi.fn(async () => NOTHING);
    for (let step = 0; step < 2; step++) purge.mockResolvedValueOnce({ ...NOTHING, more: true });
    const housekeeping = start(purge);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(purge).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(249);
    expect(purge).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(purge).toHaveBeenCalledTimes(2);
    await housekeeping.close();
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(purge).toHaveBeenCalledTimes(2);
  });

  it('looks every minute for people who were erased elsewhere, also after a failure', async () => {
    const forgetTheErased = vi.fn(async () => undefined).mockRejectedValueOnce(new Error('the database is away'));
    const housekeeping = start(async () => NOTHING, { people: { forgetTheErased } });
    await vi.advanceTimersByTimeAsync(120_000);
    expect(forgetTheErased).toHaveBeenCalledTimes(2);
    await housekeeping.close();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(forgetTheErased).toHaveBeenCalledTimes(2);
  });

  it('clears every minute what old questions held, also after failures', async () => {
    const forgetOldCalls = vi.fn(async () => undefined).mockRejectedValueOnce(new Error('the database is away'));
    const forgetTheErased = vi.fn(async () => undefined).mockRejectedValueOnce(new Error('the database is away'));
    const housekeeping = start(async () => NOTHING, {
      store: { purge: async () => NOTHING, forgetOldCalls },
      people: { forgetTheErased },
    });
    await vi.advanceTimersByTimeAsync(120_000);
    expect(forgetOldCalls).toHaveBeenCalledTimes(2);
    await housekeeping.close();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(forgetOldCalls).toHaveBeenCalledTimes(2);
  });

  it('keeps every attempt when no retention is set', async () => {
    const purge = vi.fn(async (_: number | undefined) => NOTHING);
    const housekeeping = start(purge, { attemptRetentionMs: undefined });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(purge.mock.calls).toEqual([[undefined]]);
    await housekeeping.close();
  });
});
