import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { CallPlayback } from '../../../src/telephony/simulator/call-playback.js';
import { type WireVariant, wireVariant } from '../../../src/telephony/simulator/variants.js';
import { wireAudio } from '../../../src/telephony/simulator/wire-audio.js';
import { speechLike } from './speech-like.js';

/** As much of a socket as the playback uses; it takes everything, until `bufferedAmount` says otherwise. */
class Listener extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  sent = 0;
  closes: number[] = [];

  send(data: Uint8Array | string): void {
    this.sent++;
    this.bufferedAmount += data.length;
  }

  close(code: number): void {
    this.closes.push(code);
  }
}

function playAsFastAsRead(options: Partial<WireVariant>) {
  const socket = new Listener();
  const variant = wireVariant({ speed: Number.POSITIVE_INFINITY, startFrame: 'none', ...options });
  const playback = new CallPlayback({
    socket: socket as unknown as WebSocket,
    connection: new PassThrough(),
    audio: wireAudio({ caller: speechLike(1, 16_000, 3), sampleRateHz: 16_000 }, variant),
    variant,
    counters: { framesSent: 0, audioBytesSent: 0, textFramesSent: 0 },
    startedMs: 0,
  });
  return { socket, playback };
}

describe('CallPlayback as fast as the listener reads', () => {
  it('closes after the audio only where the variant says so', () => {
    const closing = playAsFastAsRead({ afterEnd: 'close' });
    expect(closing.playback.serve(1)).toBe(false);
    expect(closing.socket.closes).toEqual([1000]);
    const staying = playAsFastAsRead({ afterEnd: 'stay_open' });
    expect(staying.playback.serve(1)).toBe(false);
    expect(staying.socket).toMatchObject({ closes: [], sent: 50 });
  });

  it('sends silence without an end, as much as is read', () => {
    const { socket, playback } = playAsFastAsRead({ afterEnd: 'silence' });
    for (let round = 1; round <= 3; round++) {
      expect(playback.serve(round)).toBe(true);
      expect(socket.bufferedAmount).toBeGreaterThan(256 * 1024);
      socket.bufferedAmount = 0;
    }
    expect(socket.closes).toEqual([]);
  });

  it('is cut off where the variant says so', () => {
    const { socket, playback } = playAsFastAsRead({ closeAtMs: 500, afterEnd: 'silence' });
    playback.serve(1);
    socket.bufferedAmount = 0;
    expect(playback.serve(2)).toBe(false);
    expect(socket).toMatchObject({ closes: [1000], sent: 25 });
  });
});
