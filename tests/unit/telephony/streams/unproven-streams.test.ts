import { describe, expect, it } from 'vitest';
import { UnprovenStreams } from '../../../../src/telephony/streams/unproven-streams.js';

const limits = { maxAwaiting: 16, maxFailuresPerMinute: 0 };
const plivo = { platform: 'plivo', badToken: undefined } as const;

describe('UnprovenStreams', () => {
  it('forgets an address with the last connection that waits, however that ends', () => {
    const streams = new UnprovenStreams(limits);
    for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.2']) streams.enter(address);
    expect(streams.addresses).toBe(2);
    streams.leave('192.0.2.1', 'admitted', plivo);
    expect(streams.addresses).toBe(2);
    streams.leave('192.0.2.1', 'no_start', plivo);
    expect(streams.addresses).toBe(1);
    streams.leave('192.0.2.2', 'abandoned', plivo);
    expect(streams.addresses).toBe(0);
  });
});
