import { EventEmitter } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { createLogger } from '../../../src/observability/logger.js';
import { Metrics } from '../../../src/observability/metrics.js';
import { ListenDecoder } from '../../../src/telephony/vapi/listen-decoder.js';
import { ListenSession } from '../../../src/telephony/vapi/listen-session.js';

/** As much of a socket as a session uses. */
class QuietSocket extends EventEmitter {
  pauses = 0;
  pause(): void {
    this.pauses += 1;
  }
  resume(): void {}
  close(): void {}
  terminate(): void {}
}

function listen() {
  const socket = new QuietSocket();
  const stop = new AbortController();
  const logger = createLogger('silent');
  new ListenSession(socket as unknown as WebSocket, {
    sink: { onFrame: () => undefined, onEnd: () => undefined },
    signal: stop.signal,
    logger,
    decoder: (onFrame) =>
      new ListenDecoder({
        config: { sampleRateHz: 16_000, channels: 1, callerChannel: 0, monoIsCaller: true, bearerToken: undefined },
        metrics: new Metrics(),
        logger,
        onFrame,
      }),
  });
  return { socket, stop };
}

describe('a peer that sends faster than any call', () => {
  afterEach(() => vi.restoreAllMocks());

  it.each([
    ['audio', Buffer.alloc(64_000), true, 10],
    ['tiny messages of audio', Buffer.from([7]), true, 5_000],
    ['empty messages', Buffer.alloc(0), true, 5_000],
    ['tiny texts', Buffer.from('x'), false, 5_000],
  ])('is not read on from for a while: %s', (_what, message, isBinary, count) => {
    // All at one moment, however long this machine takes to send them.
    vi.spyOn(performance, 'now').mockReturnValue(1_000_000);
    const { socket, stop } = listen();
    for (let i = 0; i < count; i++) socket.emit('message', message, isBinary);
    expect(socket.pauses).toBeGreaterThan(0);
    stop.abort();
  });

  it('is not mistaken for one that sends 10 ms frames at ten times real time', () => {
    const { socket, stop } = listen();
    for (let i = 0; i < 100; i++) socket.emit('message', Buffer.alloc(320), true);
    expect(socket.pauses).toBe(0);
    stop.abort();
  });
});
