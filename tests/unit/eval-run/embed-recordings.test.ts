import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../src/domain/errors.js';
import { parseDegradation } from '../../../src/eval-run/degradations.js';
import { embedRecordings } from '../../../src/eval-run/embed-recordings.js';
import { EmbeddingCache } from '../../../src/eval-run/embedding-cache.js';
import { EvaluationError } from '../../../src/eval-run/eval-error.js';
import type { Recording } from '../../../src/eval-run/read-corpus.js';
import type { SpeechPath } from '../../../src/eval-run/service-path.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'embed-recordings-'));
  await writeFile(join(folder, 'ann.wav'), 'as many bytes as it needs');
});
afterEach(() => rm(folder, { recursive: true }));

/** A way to embeddings that hears a second of speech in everything; `value` is what the model makes of it. */
function speechPath(value: number, overrides: Partial<SpeechPath> = {}): SpeechPath {
  return {
    modelId: 'toy',
    modelSha256: '0'.repeat(64),
    frontEnd: '{"kind":"waveform"}',
    speechDetectorId: 'toy',
    sampleRateHz: 16_000,
    minWindowMs: 500,
    embeddingSize: 2,
    decode: () => Promise.resolve({ samples: new Float32Array(16_000), sampleRateHz: 16_000 }),
    hear: () => Promise.resolve(new Float32Array(16_000)),
    embedding: () => () => Promise.resolve(Float32Array.of(value, 0)),
    close: () => Promise.resolve(),
    ...overrides,
  };
}

async function embed(path: SpeechPath, condition = 'as-is', changes: Partial<Recording> = {}) {
  const recording = {
    id: 'c/ann',
    speaker: 'c/ann',
    session: 'c/ann/1',
    corpus: 'c',
    path: join(folder, 'ann.wav'),
    stretches: undefined,
    ...changes,
  };
  const [embedded] = await embedRecordings(
    [{ recording, degradation: parseDegradation(condition), segments: [{ kind: 'all' }] }],
    {
      path,
      cache: new EmbeddingCache(join(folder, 'cache')),
      jobs: 1,
      maxSpeechMs: 30_000,
      codec: undefined,
      noise: { samples: Float32Array.of(0.1, -0.1), sampleRateHz: 16_000 },
      noiseHash: 'the same noise',
      signal: new AbortController().signal,
      onProgress: () => undefined,
    },
  );
  return embedded!.segments.get('all')?.embedding[0];
}

describe('embedRecordings', () => {
  it('takes from the cache what was made the same way, and nothing of another front end', async () => {
    expect(await embed(speechPath(1))).toBe(1);
    expect(await embed(speechPath(0.5))).toBe(1);
    expect(await embed(speechPath(0.5, { frontEnd: '{"kind":"fbank"}' }))).toBe(0.5);
  });

  it.each([
    ['as-is', 1],
    ['mulaw+band-8k', 1],
    ['room', 0.5],
    ['handset+mulaw', 0.5],
    ['mulaw+white-20db', 0.5],
    ['noise-20db', 0.5],
  ])(
    'takes from the cache what was made under another name only where nothing is drawn by it: %s',
    async (condition, value) => {
      expect(await embed(speechPath(1), condition)).toBe(1);
      expect(await embed(speechPath(0.5), condition, { id: 'renamed/ann' })).toBe(value);
      expect(await embed(speechPath(0.25), condition)).toBe(1);
    },
  );

  it.each(['as-is', 'mulaw'])(
    'names a recording that cannot be decoded, and remembers nothing of it: %s',
    async (condition) => {
      const damaged = () =>
        Promise.reject(new VoiceAuthError('AudioProcessingError', 'The recording (wav) is damaged'));
      const failed = embed(speechPath(1, { decode: damaged, hear: damaged }), condition);
      await expect(failed).rejects.toThrow(EvaluationError);
      await expect(failed).rejects.toThrow(`${join(folder, 'ann.wav')}: The recording (wav) is damaged`);
      expect(await embed(speechPath(1), condition)).toBe(1);
    },
  );

  it('does not blame a recording for a fault of the service', async () => {
    const hear = () => Promise.reject(new VoiceAuthError('InferenceUnavailable', 'No inference'));
    await expect(embed(speechPath(1, { hear }))).rejects.toMatchObject({ code: 'InferenceUnavailable' });
  });

  it('hears the stretches that are meant and nothing between them', async () => {
    const heard: number[][] = [];
    const ramp = { samples: Float32Array.from({ length: 60 }, (_, second) => second), sampleRateHz: 1 };
    const path = speechPath(1, {
      decode: () => Promise.resolve(ramp),
      hear: (sound) => {
        heard.push('samples' in sound ? [...sound.samples] : []);
        return Promise.resolve(new Float32Array(16_000));
      },
    });
    const stretches = [
      { fromS: 2, toS: 4 },
      { fromS: 57, toS: 99 },
    ];
    expect(await embed(path, 'as-is', { stretches })).toBe(1);
    expect(heard).toEqual([[2, 3, 57, 58, 59]]);
  });

  it('hears nothing in a stretch behind the end of the file', async () => {
    expect(await embed(speechPath(1), 'as-is', { stretches: [{ fromS: 5, toS: 6 }] })).toBeUndefined();
  });
});
