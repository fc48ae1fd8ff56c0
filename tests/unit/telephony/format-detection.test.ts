import { describe, expect, it } from 'vitest';
import { encodeS16le } from '../../../src/audio/pcm.js';
import type { WireFormat } from '../../../src/telephony/pcm-deframer.js';
import { type Detection, FormatDetector, type FormatHints } from '../../../src/telephony/vapi/format-detection.js';
import { noise, randomNumbers, speechLike } from './speech-like.js';

const UNKNOWN: FormatHints = { sampleRateHz: undefined, channels: undefined };
const RATES = [8_000, 16_000, 24_000, 32_000] as const;
const SECONDS = 6;

interface Arrival {
  readonly frameMs?: number;
  readonly backlogMs?: number;
  readonly jitterMs?: number;
  readonly stall?: { readonly atMs: number; readonly ms: number };
  readonly speed?: number;
}

interface Outcome {
  readonly detection: Detection;
  /** When it was settled, ms after the first arrival; undefined when only the end of the stream settled it. */
  readonly atMs: number | undefined;
}

function detect(bytes: Uint8Array, bytesPerSecond: number, arrival: Arrival = {}, hints = UNKNOWN): Outcome {
  const { frameMs = 20, backlogMs = 0, jitterMs = 0, stall, speed = 1 } = arrival;
  const detector = new FormatDetector(hints);
  const random = randomNumbers(7);
  const step = (bytesPerSecond * frameMs) / 1_000;
  let lastMs = 0;
  for (let at = 0; at < bytes.length; at += step) {
    const sentMs = Math.max(0, ((at + step) * 1_000) / bytesPerSecond - backlogMs) / speed;
    const heldMs = stall && sentMs > stall.atMs && sentMs < stall.atMs + stall.ms ? stall.atMs + stall.ms : sentMs;
    // TCP keeps the order, so jitter delays all that follows.
    lastMs = Math.max(lastMs, heldMs + jitterMs * random());
    const detection = detector.add(bytes.subarray(at, at + step), 1_000_000 + lastMs);
    if (detection.kind !== 'measuring') return { detection, atMs: lastMs };
  }
  return { detection: detector.conclude(), atMs: undefined };
}

function conversation(sampleRateHz: number, channels: 1 | 2, seconds = SECONDS): Uint8Array {
  const caller = speechLike(seconds, sampleRateHz, 3);
  const agent = speechLike(seconds, sampleRateHz, 8);
  if (channels === 2) return encodeS16le([caller, agent]);
  return encodeS16le([caller.map((sample, i) => sample + agent[i]!)]);
}

function detected(format: WireFormat, identical = false): Detection {
  return { kind: 'detected', format, identical };
}

const ARRIVALS: Record<string, Arrival> = {
  'steady 20 ms frames': {},
  'steady 100 ms frames': { frameMs: 100 },
  '10 ms frames with 60 ms of jitter': { frameMs: 10, jitterMs: 60 },
  'a backlog of 2 s on connecting': { backlogMs: 2_000 },
  'a stall of 700 ms, then a burst': { stall: { atMs: 600, ms: 700 } },
  'a sender that is 5 % slow': { speed: 0.95 },
  'a sender that is 5 % fast': { speed: 1.05 },
};

describe('FormatDetector', () => {
  for (const [name, arrival] of Object.entries(ARRIVALS)) {
    for (const sampleRateHz of RATES) {
      for (const channels of [1, 2] as const) {
        it(`finds ${sampleRateHz} Hz with ${channels} channel(s) in ${name}`, () => {
          const bytes = conversation(sampleRateHz, channels);
          const { detection, atMs } = detect(bytes, sampleRateHz * channels * 2, arrival);
          expect(detection).toEqual(detected({ sampleRateHz, channels }));
          expect(atMs).toBeLessThan(3_000);
        });
      }
    }
  }

  it.each([8_000, 16_000])('knows %i Hz stereo by a silent channel, whichever it is', (sampleRateHz) => {
    const voice = speechLike(SECONDS, sampleRateHz);
    const silence = new Float32Array(voice.length);
    for (const channels of [
      [silence, voice],
      [voice, silence],
    ]) {
      expect(detect(encodeS16le(channels), sampleRateHz * 4).detection).toEqual(
        detected({ sampleRateHz, channels: 2 }),
      );
    }
  });

  it.each([8_000, 16_000])('knows %i Hz stereo with line noise on the silent channel', (sampleRateHz) => {
    const voice = speechLike(SECONDS, sampleRateHz);
    const bytes = encodeS16le([noise(voice.length, 0.003), voice]);
    expect(detect(bytes, sampleRateHz * 4).detection).toEqual(detected({ sampleRateHz, channels: 2 }));
  });

  it.each([8_000, 16_000])('sees that both channels of %i Hz carry the same', (sampleRateHz) => {
    const voice = speechLike(SECONDS, sampleRateHz);
    const bytes = encodeS16le([voice, voice]);
    expect(detect(bytes, sampleRateHz * 4).detection).toEqual(detected({ sampleRateHz, channels: 2 }, true));
  });

  it('waits through silence for sound that tells 16 kHz stereo from 32 kHz mono', () => {
    const silence = new Float32Array(16_000 * 9);
    const voice = speechLike(3, 16_000);
    const caller = Float32Array.from([...silence, ...voice]);
    const { detection, atMs } = detect(encodeS16le([caller, new Float32Array(caller.length)]), 64_000);
    expect(detection).toEqual(detected({ sampleRateHz: 16_000, channels: 2 }));
    expect(atMs).toBeGreaterThan(9_000);
  });

  it('needs no sound where the byte rate can only be one channel', () => {
    expect(detect(new Uint8Array(16_000 * 3), 16_000).detection).toEqual(
      detected({ sampleRateHz: 8_000, channels: 1 }),
    );
  });

  it('does not take silence for two channels, whatever its byte rate', () => {
    expect(detect(new Uint8Array(128_000 * 3), 128_000).detection.kind).toBe('undecidable');
  });

  it.each(RATES)('never takes one mixed channel of %i Hz for two, however it is paced', (sampleRateHz) => {
    for (const speed of [0.5, 0.75, 4 / 3, 1.5, 2, 3, 4, 8]) {
      const { detection } = detect(conversation(sampleRateHz, 1, 8), sampleRateHz * 2, { speed });
      expect(detection).not.toMatchObject({ kind: 'detected', format: { channels: 2 } });
    }
  });

  it('gives up on loud noise that could be either, as one channel', () => {
    const { detection, atMs } = detect(encodeS16le([noise(32_000 * 8, 0.3)]), 64_000);
    expect(detection).toEqual({
      kind: 'undecidable',
      format: { sampleRateHz: 32_000, channels: 1 },
      cause: 'layout',
      silent: false,
    });
    expect(atMs).toBeLessThan(5_000);
  });

  it('gives up on silence that ends before anybody spoke', () => {
    const { detection, atMs } = detect(new Uint8Array(64_000 * 5), 64_000);
    expect(detection).toEqual({
      kind: 'undecidable',
      format: { sampleRateHz: 32_000, channels: 1 },
      cause: 'layout',
      silent: true,
    });
    expect(atMs).toBeUndefined();
  });

  it('gives up on a byte rate that no format has', () => {
    const { detection, atMs } = detect(conversation(16_000, 1, 9), 32_000, { speed: 1.22 });
    expect(detection).toMatchObject({ kind: 'undecidable', cause: 'rate' });
    expect(atMs).toBeLessThan(4_200);
  });

  it('gives up when the sound contradicts the byte rate', () => {
    // 12 kHz stereo has the byte rate of 24 kHz mono, but two voices.
    const bytes = encodeS16le([speechLike(9, 12_000, 3), speechLike(9, 12_000, 8)]);
    expect(detect(bytes, 48_000).detection).toMatchObject({ kind: 'undecidable', cause: 'layout' });
  });

  it('gives up on a stream too short to measure', () => {
    expect(detect(conversation(16_000, 2, 0.5), 64_000).detection.kind).toBe('undecidable');
    expect(new FormatDetector(UNKNOWN).conclude().kind).toBe('undecidable');
  });

  it('uses what is pinned', () => {
    const pinnedRate = { sampleRateHz: 12_000, channels: undefined };
    const stereo = encodeS16le([speechLike(4, 12_000, 3), speechLike(4, 12_000, 8)]);
    expect(detect(stereo, 48_000, {}, pinnedRate).detection).toEqual(detected({ sampleRateHz: 12_000, channels: 2 }));
    const pinnedChannels = { sampleRateHz: undefined, channels: 2 } as const;
    // Silence is enough: only one stereo format has this byte rate.
    expect(detect(new Uint8Array(64_000 * 3), 64_000, {}, pinnedChannels).detection).toEqual(
      detected({ sampleRateHz: 16_000, channels: 2 }),
    );
  });

  it('does not depend on where samples are split', () => {
    const bytes = conversation(16_000, 2);
    expect(detect(bytes, 64_000, { frameMs: 20.453125 }).detection).toEqual(
      detected({ sampleRateHz: 16_000, channels: 2 }),
    );
  });
});
