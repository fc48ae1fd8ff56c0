/** What must hold for any bytes, any JSON, any cutting and any order of arrival. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PcmFrame } from '../../../../src/audio/pcm-frame.js';
import type { StreamPlatform } from '../../../../src/domain/calls/calls.js';
import { Metrics } from '../../../../src/observability/metrics.js';
import { WINDOW } from '../../../../src/telephony/streams/chunk-order.js';
import { STREAM_ENDPOINTS } from '../../../../src/telephony/streams/platforms.js';
import { StreamDecoder } from '../../../../src/telephony/streams/stream-decoder.js';
import { speechLike } from '../speech-like.js';
import { referenceAlaw, referenceLinear, referenceMulaw } from './g711-reference.js';

const PLATFORMS = Object.keys(STREAM_ENDPOINTS) as StreamPlatform[];
const metrics = new Metrics();

const STARTS: Readonly<Record<StreamPlatform, unknown>> = {
  twilio: { event: 'start', start: { tracks: ['inbound'] } },
  telnyx: { event: 'start', start: { media_format: { encoding: 'L16', sample_rate: 16000, channels: 1 } } },
  plivo: { event: 'start', start: { mediaFormat: { encoding: 'audio/x-l16', sampleRate: 16000 } } },
  vapi_transcriber: { type: 'start', sampleRate: 16000, channels: 2 },
};

/** A connection from its first message to its decoded samples. */
class Wire {
  readonly samples: number[] = [];
  readonly frames: Omit<PcmFrame, 'samples'>[] = [];
  readonly #adapter;
  readonly #decoder = new StreamDecoder({
    metrics,
    onFrame: ({ samples, ...rest }) => {
      this.samples.push(...samples);
      this.frames.push(rest);
    },
  });

  constructor(platform: StreamPlatform) {
    this.#adapter = STREAM_ENDPOINTS[platform].adapter();
  }

  send(message: string | Uint8Array): void {
    const isBinary = typeof message !== 'string';
    const event = this.#adapter.translate(isBinary ? message : Buffer.from(message), isBinary);
    if (event.kind === 'audio') this.#decoder.audio(event);
  }

  end(): this {
    this.#decoder.end();
    return this;
  }
}

function media(bytes: Uint8Array, chunk: number): string {
  return JSON.stringify({
    event: 'media',
    media: { track: 'inbound', chunk: String(chunk), payload: Buffer.from(bytes).toString('base64') },
  });
}

/** `bytes` cut at the given places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces = [0, ...ends].map((start, i) => bytes.subarray(start, ends[i] ?? bytes.length));
  return pieces.filter((piece) => piece.length > 0);
}

const jsonWithPlausibleKeys = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom('start', 'media', 'stop', 'inbound', '8000', 'PCMU', 'no+J', '__proto__', '{token: x}'),
    fc.jsonValue(),
    fc.dictionary(
      fc.constantFrom(
        'event',
        'type',
        'start',
        'media',
        'stop',
        'payload',
        'track',
        'tracks',
        'chunk',
        'mediaFormat',
        'media_format',
        'encoding',
        'sampleRate',
        'sample_rate',
        'channels',
        'customParameters',
        'custom_parameters',
        'extra_headers',
        'token',
        'contentType',
        '__proto__',
      ),
      tie('value'),
    ),
    fc.array(tie('value'), { maxLength: 3 }),
  ),
})).value;

describe.each(PLATFORMS)('any messages to %s', (platform) => {
  it('never throw and never give anything but finite samples', () => {
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.string(),
      jsonWithPlausibleKeys.map((value) => JSON.stringify(value)),
      fc
        .record({
          event: fc.constantFrom('start', 'media', 'stop', 'connected'),
          start: jsonWithPlausibleKeys,
          media: jsonWithPlausibleKeys,
          extra_headers: jsonWithPlausibleKeys,
        })
        .map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.array(message, { maxLength: 8 }), (started, messages) => {
        const wire = new Wire(platform);
        if (started) wire.send(JSON.stringify(STARTS[platform]));
        for (const each of messages) wire.send(each);
        expect(wire.end().samples.every((sample) => sample >= -1 && sample < 1)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe('samples do not depend on', () => {
  const places = fc.array(fc.nat(), { maxLength: 12 });

  it('where mu-law is cut, and are those of the Recommendation', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 20_000 }), places, (bytes, where) => {
        const wire = new Wire('twilio');
        wire.send(JSON.stringify(STARTS.twilio));
        for (const [i, piece] of cut(bytes, where).entries()) wire.send(media(piece, i + 1));
        expect(wire.end().samples).toEqual(Array.from(bytes, referenceMulaw));
      }),
      { numRuns: 100 },
    );
  });

  it('where A-law is cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 1_000 }), places, (bytes, where) => {
        const wire = new Wire('telnyx');
        wire.send('{"event":"start","start":{"media_format":{"encoding":"PCMA","sample_rate":8000,"channels":1}}}');
        for (const [i, piece] of cut(bytes, where).entries()) wire.send(media(piece, i + 1));
        expect(wire.end().samples).toEqual(Array.from(bytes, referenceAlaw));
      }),
      { numRuns: 100 },
    );
  });

  it('where L16 is cut, in the middle of samples too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 40_000 }), places, (bytes, where) => {
        const wire = new Wire('plivo');
        wire.send(JSON.stringify(STARTS.plivo));
        for (const [i, piece] of cut(bytes, where).entries()) wire.send(media(piece, i + 1));
        expect(wire.end().samples).toEqual(referenceLinear(bytes, true));
      }),
      { numRuns: 100 },
    );
  });

  it('where the transcriber cuts sample pairs', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 40_000 }), places, (bytes, where) => {
        const wire = new Wire('vapi_transcriber');
        wire.send(JSON.stringify(STARTS.vapi_transcriber));
        for (const piece of cut(bytes, where)) wire.send(piece);
        const channel0 = referenceLinear(bytes.subarray(0, bytes.length & ~3), true).filter((_, i) => i % 2 === 0);
        expect(wire.end().samples).toEqual(channel0);
      }),
      { numRuns: 100 },
    );
  });

  it('the order in which Telnyx sends, as long as no piece is too late', () => {
    const pieces = Array.from({ length: 60 }, (_, i) => Uint8Array.from({ length: 40 }, (_x, j) => (i * 40 + j) & 255));
    const inOrder = pieces.flatMap((piece) => Array.from(piece, referenceMulaw));
    const first = fc.constantFrom(0, 1, 2, 17, 1_000_000);
    const delays = fc.array(fc.nat({ max: WINDOW }), { minLength: pieces.length, maxLength: pieces.length });
    fc.assert(
      fc.property(first, delays, (offset, late) => {
        const wire = new Wire('telnyx');
        wire.send('{"event":"start","start":{}}');
        const order = pieces.map((_, i) => i).sort((a, b) => a + late[a]! - (b + late[b]!) || a - b);
        for (const i of order) wire.send(media(pieces[i]!, i + offset));
        expect(wire.end().samples).toEqual(inOrder);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['little', true],
    ['big', false],
  ])('the byte order of L16 from Telnyx: %s-endian', (_name, littleEndian) => {
    fc.assert(
      fc.property(fc.nat({ max: 50 }), fc.constantFrom(0.02, 0.3, 1), (seed, gain) => {
        const voice = speechLike(0.5, 16_000, 1 + (seed % 5)).subarray(seed * 100);
        const bytes = new Uint8Array(2 * voice.length);
        const view = new DataView(bytes.buffer);
        voice.forEach((sample, i) => {
          view.setInt16(2 * i, Math.round(sample * gain * 32_767), littleEndian);
        });
        const wire = new Wire('telnyx');
        wire.send(JSON.stringify(STARTS.telnyx));
        for (let at = 0, chunk = 1; at < bytes.length; at += 640, chunk++) {
          wire.send(media(bytes.subarray(at, at + 640), chunk));
        }
        expect(wire.end().samples).toEqual(referenceLinear(bytes, littleEndian));
      }),
      { numRuns: 40 },
    );
  });
});

describe('time', () => {
  it('goes on by the samples of each track, whatever was lost', () => {
    const wire = new Wire('twilio');
    wire.send('{"event":"start","start":{}}');
    const piece = (track: string, chunk: number, timestamp: number, length: number) =>
      JSON.stringify({
        event: 'media',
        media: { track, chunk, timestamp, payload: Buffer.alloc(length, 0xff).toString('base64') },
      });
    wire.send(piece('inbound', 1, 0, 160));
    wire.send(piece('outbound', 1, 0, 80));
    wire.send(piece('inbound', 9, 7_000, 80));
    wire.send(piece('outbound', 2, 20, 160));
    wire.send(piece('inbound', 10, 10, 160));
    expect(wire.frames.map(({ track, startMs }) => [track, startMs])).toEqual([
      ['caller', 0],
      ['agent', 0],
      ['caller', 20],
      ['agent', 10],
      ['caller', 30],
    ]);
  });

  it('goes on when the format changes', () => {
    const wire = new Wire('plivo');
    wire.send(JSON.stringify(STARTS.plivo));
    wire.send(media(new Uint8Array(640), 1));
    const changed = {
      payload: Buffer.alloc(80, 0xff).toString('base64'),
      contentType: 'audio/x-mulaw;rate=8000',
      sampleRate: 8000,
    };
    wire.send(JSON.stringify({ event: 'media', media: { track: 'inbound', ...changed } }));
    wire.send(JSON.stringify({ event: 'media', media: { track: 'inbound', ...changed } }));
    expect(wire.frames.map(({ startMs, sampleRateHz }) => [startMs, sampleRateHz])).toEqual([
      [0, 16_000],
      [20, 8_000],
      [30, 8_000],
    ]);
  });
});
