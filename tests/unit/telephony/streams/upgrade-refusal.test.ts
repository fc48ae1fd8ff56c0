import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { refuseUpgrade } from '../../../../src/telephony/streams/upgrade-refusal.js';

function connection() {
  let written = '';
  const duplex = new Duplex({
    read: () => undefined,
    write: (chunk, _encoding, done) => {
      written += String(chunk);
      done();
    },
  });
  return { duplex, written: () => written };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('refusing an upgrade', () => {
  it('reads on until the peer leaves, so that the answer is not lost with what it still sends', async () => {
    const { duplex, written } = connection();
    refuseUpgrade(duplex, 503);
    duplex.push('what the peer sent without waiting for an answer');
    duplex.push(null);
    await once(duplex, 'close');
    expect(written()).toBe(
      'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    );
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not wait for ever', async () => {
    const { duplex, written } = connection();
    const closed = once(duplex, 'close');
    refuseUpgrade(duplex, 404);
    await once(duplex, 'finish');
    expect(duplex.destroyed).toBe(false);
    vi.runAllTimers();
    await closed;
    expect(written()).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
  });

  it('survives a peer that is gone', async () => {
    const { duplex } = connection();
    refuseUpgrade(duplex, 401);
    duplex.destroy(new Error('reset by peer'));
    await new Promise((resolve) => duplex.on('close', resolve));
    expect(vi.getTimerCount()).toBe(0);
  });
});
