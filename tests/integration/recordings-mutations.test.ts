/** Whatever is done to a recording: the decoder answers, with samples or with one of its two errors, and goes on working. */
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { writeWav } from '../../src/audio/wav.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { WorkerRecordingDecoder } from '../../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../support/built.js';
import { codecFixture, tone } from '../support/recordings.js';

const MAX_SECONDS = 10;
const never = new AbortController().signal;
const decoder = new WorkerRecordingDecoder(
  { maxDurationMs: MAX_SECONDS * 1000, programSearchPath: '' },
  { workerModule: builtModule('recordings/decode-worker.js') },
);

afterAll(() => decoder.close());

const wav = writeWav([tone(440, 8000), tone(1000, 8000)], 8000, { encoding: 'pcm_s16le' });
const recordings: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ['WAV', wav],
  ...[
    'mono.mp3',
    'stereo.mp3',
    'mono.flac',
    'mono.oga',
    'mono-vorbis.ogg',
    'stereo-vorbis.ogg',
    'stereo-opus.ogg',
    'long-packets-opus.ogg',
    'mono.webm',
  ].map((name) => [name, codecFixture(name)] as const),
];

/** Bytes changed (often near the beginning, where the headers are), a stretch cut out, noise put in, the end cut off. */
function mutationOf(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const anywhere = fc.nat(bytes.length - 1);
  const position = fc.oneof(anywhere, fc.nat(Math.min(300, bytes.length - 1)));
  const value = fc.oneof(fc.nat(255), fc.constantFrom(0, 127, 128, 255));
  return fc
    .record({
      changes: fc.array(fc.tuple(position, value), { maxLength: 40 }),
      cutOut: fc.option(fc.tuple(anywhere, fc.nat(2000))),
      putIn: fc.option(fc.tuple(anywhere, fc.uint8Array({ maxLength: 500 }))),
      keep: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
    })
    .map(({ changes, cutOut, putIn, keep }) => {
      let mutated = Buffer.from(bytes);
      for (const [at, byte] of changes) mutated[at] = byte;
      if (cutOut) mutated = Buffer.concat([mutated.subarray(0, cutOut[0]), mutated.subarray(cutOut[0] + cutOut[1])]);
      if (putIn) mutated = Buffer.concat([mutated.subarray(0, putIn[0]), putIn[1], mutated.subarray(putIn[0])]);
      return mutated.subarray(0, Math.ceil(mutated.length * keep));
    });
}

it.each(recordings)('mutated %s', async (_, bytes) => {
  await fc.assert(
    fc.asyncProperty(mutationOf(bytes), async (mutated) => {
      const outcome = await decoder.decode(mutated, { signal: never }).catch((error: unknown) => error);
      if (outcome instanceof Error) {
        expect(outcome).toBeInstanceOf(VoiceAuthError);
        expect((outcome as VoiceAuthError).code).toMatch(/^(AudioProcessingError|UnsupportedAudioError)$/);
        return;
      }
      const { channels, sampleRateHz } = outcome as Awaited<ReturnType<typeof decoder.decode>>;
      expect([1, 2]).toContain(channels.length);
      expect(sampleRateHz).toBeGreaterThanOrEqual(8000);
      for (const samples of channels) {
        expect(samples).toHaveLength(channels[0]!.length);
        expect(samples.length).toBeLessThanOrEqual(MAX_SECONDS * sampleRateHz);
        expect(samples.every((sample) => sample >= -1 && sample <= 1)).toBe(true);
      }
    }),
    { numRuns: 40 },
  );
  expect((await decoder.decode(wav, { signal: never })).channels[0]).toHaveLength(12_000);
});
