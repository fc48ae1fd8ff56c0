/** Every platform that dials us, in every variant known of it: all that was sent is heard, sample by sample. */
import { describe, expect, it } from 'vitest';
import type { Track } from '../../src/audio/pcm-frame.js';
import type { StreamPlatform } from '../../src/domain/calls/calls.js';
import { type StreamPiece, streamPieces } from '../../src/telephony/simulator/stream-audio.js';
import {
  STREAM_VARIANTS,
  type StreamVariant,
  type StreamVariantName,
  streamVariant,
} from '../../src/telephony/simulator/stream-variants.js';
import { referenceAlaw, referenceLinear, referenceMulaw } from '../unit/telephony/streams/g711-reference.js';
import { CALL, dial, serve, TOKEN } from './telephony-streams-harness.js';

/** These never get to be heard; another test has them. */
const REFUSED: readonly StreamVariantName[] = ['no-start', 'no-token'];
/** Pieces that the simulated caller sends before a late start message. */
const BEFORE_START = 3;

function decoded(bytes: Uint8Array, { encoding }: StreamVariant): number[] {
  if (encoding === 'mulaw') return Array.from(bytes, referenceMulaw);
  if (encoding === 'alaw') return Array.from(bytes, referenceAlaw);
  return referenceLinear(bytes, encoding === 'l16');
}

function joined(pieces: readonly StreamPiece[]): Uint8Array {
  return Buffer.concat(pieces.map(({ bytes }) => bytes));
}

/** What must be heard of each track. */
function wanted(platform: StreamPlatform, variant: StreamVariant): Partial<Record<Track, number[]>> {
  const pieces = streamPieces(CALL, platform, variant).slice(variant.start === 'after_audio' ? BEFORE_START : 0);
  if (platform === 'vapi_transcriber') {
    const samples = decoded(joined(pieces), variant);
    return variant.channels === 'mono' ? { mixed: samples } : { caller: samples.filter((_, i) => i % 2 === 0) };
  }
  const of = (track: string) => decoded(joined(pieces.filter((piece) => piece.track === track)), variant);
  return {
    ...(variant.tracks === 'outbound' ? {} : { caller: of('inbound') }),
    ...(variant.tracks === 'inbound' ? {} : { agent: of('outbound') }),
  };
}

/** Causes counted of messages without audio, in the order in which they first come. */
function ignoredBecause(name: StreamVariantName, platform: StreamPlatform): readonly string[] {
  switch (name) {
    case 'dtmf':
      return ['dtmf'];
    case 'marks':
      return ['mark'];
    case 'unknown-events':
      return ['unknown_event'];
    case 'garbage-text':
      // The transcriber's texts may be any JSON, a bare number too.
      return platform === 'vapi_transcriber' ? ['garbage_text', 'unknown_event'] : ['garbage_text'];
    case 'binary-noise':
      return ['unexpected_binary'];
    case 'second-start':
      return ['second_start'];
    default:
      return [];
  }
}

for (const name of Object.keys(STREAM_VARIANTS) as StreamVariantName[]) {
  if (REFUSED.includes(name)) continue;
  const { description, platforms, options } = STREAM_VARIANTS[name];
  describe(`"${name}": ${description}`, () => {
    it.each(platforms)('%s', async (platform) => {
      const variant = streamVariant(platform, options);
      const { url, ear, tokens, outcomes, dropped, ignored, metrics } = await serve();
      const expected = wanted(platform, variant);
      const total = Object.values(expected).reduce((sum, samples) => sum + samples.length, 0);
      if (variant.end === 'stay_open') {
        ear.onEachFrame = () => {
          if (ear.sampleCount === total) tokens.stop.abort();
        };
      }
      const call = dial(url, platform, options);
      const end = await ear.ended;
      const callEnd = await call.ended;

      expect(end).toEqual({
        kind: { stop: 'closed', close: 'closed', abrupt: 'lost', stay_open: 'stopped' }[variant.end],
      });
      expect(callEnd).toEqual({ kind: 'closed', code: variant.end === 'abrupt' ? 1006 : 1000 });
      expect(tokens.arrived).toEqual([{ platform, token: TOKEN }]);
      if (variant.channels === 'dual_mono') {
        // It takes a moment of sound to notice that both channels are the same.
        const { caller = [], mixed = [] } = ear.samples;
        expect([...caller, ...mixed]).toEqual(expected.caller);
        expect(mixed.length).toBeGreaterThan(caller.length);
      } else {
        expect(Object.keys(ear.samples).sort()).toEqual(Object.keys(expected).sort());
        expect(ear.samples).toEqual(expected);
        expect(ear.timesWrong).toBe(0);
      }
      expect([...ear.rates]).toEqual([variant.sampleRateHz]);
      expect(ear.ends).toHaveLength(1);
      expect(ear.afterEnd).toBe(0);
      expect(await outcomes()).toEqual({ admitted: 1 });
      expect(await dropped()).toEqual(variant.start === 'after_audio' ? { audio_before_start: BEFORE_START } : {});
      expect(Object.keys(await ignored())).toEqual(ignoredBecause(name, platform));
      const received = (await metrics.framesReceived.get()).values[0]?.value;
      expect(received).toBe(call.audioSent - (variant.start === 'after_audio' ? BEFORE_START : 0));
      expect(call.received).toBe(0);
    });
  });
}
