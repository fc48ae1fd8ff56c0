import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FloodThrottle } from '../../../src/telephony/flood-throttle.js';

/** More at one moment than any call sends. */
const FLOOD_BYTES = 500_000;

describe('a peer that floods', () => {
  const peer = { pause: vi.fn(), resume: vi.fn() };
  beforeEach(() => {
    vi.useFakeTimers();
    vi.clearAllMocks();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is read on from when its time has passed', () => {
    const throttle = new FloodThrottle(peer);
    throttle.handled(FLOOD_BYTES, 1_000);
    vi.advanceTimersByTime(99);
    expect([peer.pause, peer.resume].map(({ mock }) => mock.calls.length)).toEqual([1, 0]);
    vi.advanceTimersByTime(1);
    expect(peer.resume).toHaveBeenCalledOnce();
  });

  it('is read on from at once when the stream has ended', () => {
    const throttle = new FloodThrottle(peer);
    throttle.handled(FLOOD_BYTES, 1_000);
    throttle.release();
    throttle.release();
    expect([peer.resume.mock.calls.length, vi.getTimerCount()]).toEqual([1, 0]);
  });

  it('is not paused any more once the stream has ended, or its close frame would not be seen', () => {
    const throttle = new FloodThrottle(peer);
    throttle.release();
    throttle.handled(FLOOD_BYTES, 1_000);
    expect([peer.pause.mock.calls.length, vi.getTimerCount()]).toEqual([0, 0]);
  });
});
