import { describe, expect, it } from 'vitest';
import type { StreamPlatform } from '../../../../src/domain/calls/calls.js';
import { streamPieces } from '../../../../src/telephony/simulator/stream-audio.js';
import { streamScript } from '../../../../src/telephony/simulator/stream-script.js';
import {
  STREAM_VARIANTS,
  type StreamVariant,
  streamVariant,
} from '../../../../src/telephony/simulator/stream-variants.js';
import { speechLike } from '../speech-like.js';

const CALL = { caller: speechLike(1, 16_000, 3), agent: speechLike(1.5, 16_000, 8), sampleRateHz: 16_000 };

function script(platform: StreamPlatform, options: Partial<StreamVariant>) {
  return streamScript(CALL, platform, { variant: streamVariant(platform, options), token: 'tok-1' });
}

/** The JSON of the pieces of audio in a script. */
function media(platform: StreamPlatform, options: Partial<StreamVariant>) {
  return script(platform, options)
    .filter(({ isAudio }) => isAudio)
    .map(({ data }) => JSON.parse(String(data)).media as { track: string; chunk: unknown; payload: string });
}

describe('streamPieces', () => {
  it('cuts both tracks to one length, in the order in which they are spoken', () => {
    const pieces = streamPieces(CALL, 'twilio', streamVariant('twilio', { tracks: 'both' }));
    expect(pieces).toHaveLength(150);
    expect(pieces.slice(0, 3).map(({ track, chunk, endMs }) => [track, chunk, endMs])).toEqual([
      ['inbound', 1, 20],
      ['outbound', 1, 20],
      ['inbound', 2, 40],
    ]);
    expect(pieces.every(({ bytes }) => bytes.length === 160)).toBe(true);
  });

  it('cuts in the middle of samples and still sends every byte once', () => {
    const variant = streamVariant('plivo', { oddFrames: true });
    const pieces = streamPieces(CALL, 'plivo', variant);
    const whole = streamPieces(CALL, 'plivo', streamVariant('plivo'));
    expect(pieces.some(({ bytes }) => bytes.length % 2 === 1)).toBe(true);
    expect(Buffer.concat(pieces.map(({ bytes }) => bytes))).toEqual(Buffer.concat(whole.map(({ bytes }) => bytes)));
  });

  it('leaves lost pieces out and goes on counting', () => {
    const pieces = streamPieces(CALL, 'twilio', streamVariant('twilio', { loseEvery: 3 }));
    expect(pieces.slice(0, 4).map(({ chunk }) => chunk)).toEqual([1, 2, 4, 5]);
  });
});

describe('streamScript', () => {
  it('says everything in time, and audio when it has been spoken', () => {
    for (const { platforms, options } of Object.values(STREAM_VARIANTS)) {
      for (const platform of platforms) {
        const times = script(platform, options).map(({ dueMs }) => dueMs);
        expect(times).toEqual([...times].sort((a, b) => a - b));
        expect(times.at(-1)).toBe(1_500);
      }
    }
  });

  it('sends pieces out of order, none further than asked from where it belongs', () => {
    const chunks = media('telnyx', { shuffle: 5 }).map(({ chunk }) => Number(chunk));
    const distances = chunks.map((chunk, at) => Math.abs(chunk - 1 - at));
    expect(Math.max(...distances)).toBe(5);
    expect([...chunks].sort((a, b) => a - b)).toEqual(Array.from({ length: 75 }, (_, i) => i + 1));
  });

  it('writes numbers as asked', () => {
    expect(media('twilio', { numbers: 'strings' })[0]?.chunk).toBe('1');
    expect(media('twilio', { numbers: 'numbers' })[0]?.chunk).toBe(1);
  });

  it('has the token where it belongs, and nowhere else', () => {
    for (const platform of ['twilio', 'telnyx', 'plivo'] as const) {
      const said = (token: StreamVariant['token']) => JSON.stringify(script(platform, { token }));
      expect(said('message')).toContain('tok-1');
      expect(said('path')).not.toContain('tok-1');
      expect(said('none')).not.toContain('tok-1');
    }
  });
});

describe('streamVariant', () => {
  it('accepts every named variant', () => {
    for (const { platforms, options } of Object.values(STREAM_VARIANTS)) {
      for (const platform of platforms) expect(streamVariant(platform, options)).toMatchObject(options);
    }
  });

  it.each([
    { frameMs: 0 },
    { frameMs: Number.NaN },
    { speed: 0 },
    { shuffle: 0.5 },
    { loseEvery: 1 },
    { stallMs: -1 },
    { backlogMs: Number.POSITIVE_INFINITY },
  ])('refuses %j', (options) => {
    expect(() => streamVariant('twilio', options)).toThrow(expect.objectContaining({ code: 'ValidationError' }));
  });

  it('knows that the transcriber sends L16 only', () => {
    expect(() => streamVariant('vapi_transcriber', { encoding: 'mulaw' })).toThrow('l16');
  });
});
