import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeS16le } from '../../../src/audio/pcm.js';
import type { Track } from '../../../src/audio/pcm-frame.js';
import type { VapiListenConfig } from '../../../src/config/config.js';
import { createLogger } from '../../../src/observability/logger.js';
import { Metrics } from '../../../src/observability/metrics.js';
import { ListenDecoder } from '../../../src/telephony/vapi/listen-decoder.js';
import { MAX_WAITING_BYTES } from '../../../src/telephony/vapi/measurement-buffer.js';
import { speechLike } from './speech-like.js';

const AUTO: VapiListenConfig = {
  sampleRateHz: undefined,
  channels: undefined,
  callerChannel: 0,
  monoIsCaller: false,
  bearerToken: undefined,
};
const START_16K_STEREO = '{"type":"start","encoding":"linear16","container":"raw","sampleRate":16000,"channels":2}';

interface Heard {
  readonly track: Track;
  readonly sampleRateHz: number;
  readonly startMs: number;
  readonly samples: number[];
}

function decoderWith(config: Partial<VapiListenConfig>) {
  const heard: Heard[] = [];
  const metrics = new Metrics();
  const decoder = new ListenDecoder({
    config: { ...AUTO, ...config },
    metrics,
    logger: createLogger('silent'),
    onFrame: (frame) => heard.push({ ...frame, samples: [...frame.samples] }),
  });
  return {
    decoder,
    heard,
    text: (text: string | Uint8Array) => decoder.text(Buffer.from(text)),
    samples: () => heard.flatMap((frame) => frame.samples),
    tracks: () => [...new Set(heard.map((frame) => frame.track))],
    dropped: async () => {
      const counted = (await metrics.framesDropped.get()).values.filter(({ value }) => value > 0);
      return Object.fromEntries(counted.map(({ labels, value }) => [labels.cause, value]));
    },
    /** Plays bytes in 20 ms frames at `bytesPerSecond`, beginning at `fromMs`. */
    play: (bytes: Uint8Array, bytesPerSecond: number, fromMs = 0) => {
      const step = bytesPerSecond / 50;
      for (let at = 0; at < bytes.length; at += step) {
        decoder.audio(bytes.subarray(at, at + step), fromMs + (at * 1_000) / bytesPerSecond);
      }
    },
  };
}

/** What the wire can carry of these samples. */
function quantised(samples: Float32Array): number[] {
  return Array.from(samples, (sample) => Math.round(sample * 32_768) / 32_768);
}

/** Compares long sample lists without printing them. */
function same(actual: readonly number[], expected: readonly number[]): boolean {
  return actual.length === expected.length && actual.every((sample, i) => sample === expected[i]);
}

describe('ListenDecoder', () => {
  it.each([0, 1] as const)('gives the samples of caller channel %i, however the bytes are split', (callerChannel) => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -32_768, max: 32_767 }), { maxLength: 300 }),
        fc.constantFrom(1, 2),
        fc.array(fc.integer({ min: 0, max: 37 }), { minLength: 1, maxLength: 40 }),
        (values, channels, cuts) => {
          const pairs = Int16Array.from(values);
          const bytes = new Uint8Array(pairs.buffer);
          const { decoder, text, heard, samples } = decoderWith({ callerChannel });
          text(JSON.stringify({ type: 'start', encoding: 'linear16', sampleRate: 8000, channels }));
          for (let at = 0, cut = 0; at < bytes.length; cut++) {
            const next = at + (cut < cuts.length ? cuts[cut]! : 512);
            decoder.audio(bytes.subarray(at, next), cut);
            at = next;
          }
          decoder.end();
          const frames = Math.floor(values.length / channels);
          const channel = channels === 2 ? callerChannel : 0;
          expect(samples()).toEqual(Array.from({ length: frames }, (_, i) => values[i * channels + channel]! / 32_768));
          let position = 0;
          for (const frame of heard) {
            expect(frame.startMs).toBeCloseTo((position * 1_000) / 8_000, 6);
            position += frame.samples.length;
          }
        },
      ),
    );
  });

  it('loses nothing of what came before the format was measured', () => {
    const caller = speechLike(3, 16_000, 3);
    const { play, samples, tracks, heard } = decoderWith({});
    play(encodeS16le([caller, speechLike(3, 16_000, 8)]), 64_000);
    expect(tracks()).toEqual(['caller']);
    expect(heard[0]).toMatchObject({ startMs: 0, sampleRateHz: 16_000 });
    expect(same(samples(), quantised(caller))).toBe(true);
  });

  it('delivers what waits when the stream ends before the format was measured, as mixed', () => {
    const bytes = encodeS16le([speechLike(0.5, 16_000)]);
    const { decoder, play, tracks, samples } = decoderWith({ monoIsCaller: true });
    play(bytes, 32_000);
    expect(samples()).toHaveLength(0);
    decoder.end();
    expect(tracks()).toEqual(['mixed']);
    expect(samples()).toHaveLength(bytes.length / 2);
  });

  it('delivers digital silence of unknown format as a silent caller', () => {
    const { decoder, play, tracks } = decoderWith({});
    play(new Uint8Array(64_000 * 2), 64_000);
    decoder.end();
    expect(tracks()).toEqual(['caller']);
  });

  it('keeps time and alignment when silence outlasts the buffer', async () => {
    const silence = new Float32Array(16_000 * 20);
    const voice = speechLike(3, 16_000, 3);
    const caller = Float32Array.from([...silence, ...voice]);
    const { play, heard, dropped } = decoderWith({});
    play(encodeS16le([caller, new Float32Array(caller.length)]), 64_000);
    const lostBytes = heard[0]!.startMs * 64;
    expect(lostBytes).toBeGreaterThan(20 * 64_000 - MAX_WAITING_BYTES);
    expect(lostBytes % 4).toBe(0);
    const all = heard.flatMap((frame) => frame.samples);
    expect(same(all.slice(-voice.length), quantised(voice))).toBe(true);
    expect(heard[0]!.startMs + all.length / 16).toBeCloseTo(23_000, 6);
    expect((await dropped()).unmeasured).toBeGreaterThan(0);
  });

  it('reads what waits by a start frame that comes late', () => {
    const caller = speechLike(1, 16_000, 3);
    const bytes = encodeS16le([caller, speechLike(1, 16_000, 8)]);
    const { decoder, text, samples, tracks } = decoderWith({});
    decoder.audio(bytes.subarray(0, 30_001), 0);
    text(START_16K_STEREO);
    decoder.audio(bytes.subarray(30_001), 400);
    expect(tracks()).toEqual(['caller']);
    expect(same(samples(), quantised(caller))).toBe(true);
  });

  it('corrects the format by a start frame, pairs aligned to the start of the stream', () => {
    const caller = Float32Array.from({ length: 400 }, (_, i) => i / 1_000);
    const agent = caller.map((sample) => -sample);
    const bytes = encodeS16le([caller, agent]);
    const { decoder, text, heard } = decoderWith({});
    text('{"type":"start","sampleRate":16000,"channels":1}');
    decoder.audio(bytes.subarray(0, 403), 0);
    text(START_16K_STEREO);
    decoder.audio(bytes.subarray(403), 10);
    const [before, ...after] = heard;
    expect(before).toMatchObject({ track: 'mixed', startMs: 0 });
    expect(before!.samples).toHaveLength(201);
    expect(after[0]!.startMs).toBeCloseTo(201 / 16, 6);
    // 201 mono samples end in the middle of pair 100, whose rest is left out.
    expect(after.flatMap((frame) => frame.samples)).toEqual(quantised(caller).slice(101));
  });

  it('prefers the configuration to a start frame, field by field', () => {
    const { decoder, text, heard } = decoderWith({ sampleRateHz: 8_000, monoIsCaller: true });
    text('{"type":"start","sampleRate":16000,"channels":1}');
    decoder.audio(new Uint8Array(32), 0);
    expect(heard).toMatchObject([{ sampleRateHz: 8_000, track: 'caller' }]);
    const pinned = decoderWith({ sampleRateHz: 8_000, channels: 2 });
    pinned.text('{"type":"start","sampleRate":16000,"channels":1}');
    pinned.decoder.audio(new Uint8Array(32), 0);
    expect(pinned.heard).toMatchObject([{ sampleRateHz: 8_000, track: 'caller' }]);
    expect(pinned.samples()).toHaveLength(8);
  });

  it.each([
    ['mixed', false],
    ['caller', true],
  ] as const)('calls a single channel %s when monoIsCaller is %s', (track, monoIsCaller) => {
    const { decoder, text, tracks } = decoderWith({ monoIsCaller });
    text('{"type":"start","sampleRate":16000,"channels":1}');
    decoder.audio(encodeS16le([speechLike(1, 16_000)]), 0);
    expect(tracks()).toEqual([track]);
  });

  it('passes a silent caller channel through as silence of the caller', () => {
    const agent = speechLike(2, 16_000);
    const { play, samples, tracks } = decoderWith({});
    play(encodeS16le([new Float32Array(agent.length), agent]), 64_000);
    expect(tracks()).toEqual(['caller']);
    expect(samples()).toHaveLength(agent.length);
    expect(samples().every((sample) => sample === 0)).toBe(true);
  });

  it('stops calling it the caller when both channels carry the same, announced or not', () => {
    const voice = speechLike(4, 16_000);
    const announced = decoderWith({});
    announced.text(START_16K_STEREO);
    announced.play(encodeS16le([voice, voice]), 64_000);
    const callerMs = announced.heard.filter((frame) => frame.track === 'caller').length * 20;
    // Well below what any decision needs.
    expect(callerMs).toBeLessThan(1_000);
    expect(announced.heard.at(-1)!.track).toBe('mixed');
    const measured = decoderWith({ monoIsCaller: true });
    measured.play(encodeS16le([voice, voice]), 64_000);
    expect(measured.tracks()).toEqual(['mixed']);
  });

  it('notices one mixed channel that is announced as two', () => {
    const caller = speechLike(4, 32_000, 3);
    const agent = speechLike(4, 32_000, 8);
    const { text, play, heard } = decoderWith({});
    text(START_16K_STEREO);
    play(encodeS16le([caller.map((sample, i) => sample + agent[i]!)]), 64_000);
    expect(heard.filter((frame) => frame.track === 'caller').length * 20).toBeLessThan(1_000);
    expect(heard.at(-1)!.track).toBe('mixed');
  });

  it('calls it the caller again when the channels part', () => {
    const tone = speechLike(2, 16_000, 5);
    const caller = Float32Array.from([...tone, ...speechLike(4, 16_000, 3)]);
    const agent = Float32Array.from([...tone, ...speechLike(4, 16_000, 8)]);
    const { text, play, heard } = decoderWith({});
    text(START_16K_STEREO);
    play(encodeS16le([caller, agent]), 64_000);
    expect(heard[95]!.track).toBe('mixed');
    expect(heard.at(-1)!.track).toBe('caller');
  });

  it.each(['not json', '{"type":"start"', new Uint8Array([0xff, 0xfe, 0x00]), new Uint8Array(70_000).fill(0x20)])(
    'survives and counts text that is no JSON',
    async (garbage) => {
      const { decoder, text, samples, dropped } = decoderWith({ sampleRateHz: 8_000, channels: 2 });
      text(garbage);
      decoder.audio(new Uint8Array(16), 0);
      expect(samples()).toHaveLength(4);
      expect(await dropped()).toEqual({ garbage_text: 1 });
    },
  );

  it.each([
    '{"type":"start","encoding":"mulaw","sampleRate":8000,"channels":1}',
    '{"type":"start","encoding":"linear16","container":"wav","sampleRate":8000,"channels":1}',
    '{"type":"start","encoding":"linear16","sampleRate":7999,"channels":1}',
    '{"type":"start","encoding":"linear16","sampleRate":48001,"channels":1}',
    '{"type":"start","encoding":"linear16","sampleRate":"fast","channels":1}',
    '{"type":"start","encoding":"linear16","sampleRate":16000,"channels":3}',
    '{"type":"start","encoding":"linear16","sampleRate":16000}',
    '{"type":"start","sampleRate":null,"channels":null}',
  ])('falls back to measurement after the start frame %s', async (start) => {
    const caller = speechLike(3, 16_000, 3);
    const { text, play, heard, dropped } = decoderWith({});
    text(start);
    play(encodeS16le([caller, speechLike(3, 16_000, 8)]), 64_000);
    expect(heard[0]).toMatchObject({ sampleRateHz: 16_000, track: 'caller' });
    expect(await dropped()).toEqual({ unusable_start: 1 });
  });

  it('ignores any other JSON, whatever it is', async () => {
    const { decoder, text, samples, dropped } = decoderWith({ sampleRateHz: 8_000, channels: 2 });
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        text(JSON.stringify(json));
      }),
    );
    decoder.audio(new Uint8Array(16), 0);
    expect(samples()).toHaveLength(4);
    expect(await dropped()).toEqual({});
  });

  it('keeps memory bounded while a flood cannot be measured', async () => {
    const { decoder, heard, dropped } = decoderWith({});
    const piece = encodeS16le([speechLike(1, 16_000)]);
    for (let i = 0; i < 200; i++) decoder.audio(piece, i / 10);
    decoder.end();
    expect(heard.reduce((sum, frame) => sum + frame.samples.length * 2, 0)).toBeLessThanOrEqual(MAX_WAITING_BYTES);
    expect(heard.every((frame) => frame.track === 'mixed')).toBe(true);
    expect((await dropped()).unmeasured).toBeGreaterThan(100);
  });
});
