import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FailureCounts } from '../../../src/domain/failure-counts.js';

describe('FailureCounts', () => {
  let nowMs: number;
  beforeEach(() => {
    nowMs = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('counts per address and minute, from its first failure on', () => {
    const counts = new FailureCounts();
    expect(counts.of('a')).toBe(0);
    expect(counts.add('a')).toEqual({ count: 1, resetInMs: 60_000 });
    nowMs += 59_999;
    expect(counts.add('a')).toEqual({ count: 2, resetInMs: 1 });
    expect([counts.of('a'), counts.of('b')]).toEqual([2, 0]);
    nowMs += 1;
    expect(counts.of('a')).toBe(0);
    expect(counts.add('a')).toEqual({ count: 1, resetInMs: 60_000 });
  });

  it('counts for 10,000 addresses: one more takes the place of the oldest', () => {
    const counts = new FailureCounts();
    for (let address = 0; address <= 10_000; address++) counts.add(`${address}`);
    expect(['0', '1', '10000'].map((address) => counts.of(address))).toEqual([0, 1, 1]);
  });
});
