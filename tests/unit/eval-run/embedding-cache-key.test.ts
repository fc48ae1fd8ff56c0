/** What makes an evaluation embed a recording anew: everything that another embedding may come of. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseDegradation } from '../../../src/eval-run/degradations.js';
import { type EmbeddingJob, type EmbedOptions, embedRecordings } from '../../../src/eval-run/embed-recordings.js';
import { EmbeddingCache } from '../../../src/eval-run/embedding-cache.js';
import type { Recording } from '../../../src/eval-run/read-corpus.js';
import type { SpeechPath } from '../../../src/eval-run/service-path.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'embedding-cache-key-'));
  await writeFile(join(folder, 'ann.wav'), 'as many bytes as it needs');
});
afterEach(() => rm(folder, { recursive: true }));

interface Change {
  readonly path?: Partial<SpeechPath>;
  readonly options?: Partial<EmbedOptions>;
  readonly stretches?: Recording['stretches'];
  readonly condition?: string;
}

/** Embeds one recording with noise in it, in a way that differs from the plain one by `change`; how often the model was asked. */
async function timesEmbedded({ path, options, stretches, condition = 'noise-10db' }: Change): Promise<number> {
  let times = 0;
  const job: EmbeddingJob = {
    recording: {
      id: 'c/ann',
      speaker: 'c/ann',
      session: 'c/ann/1',
      corpus: 'c',
      path: join(folder, 'ann.wav'),
      stretches: stretches ?? [{ fromS: 0, toS: 1 }],
    },
    degradation: parseDegradation(condition),
    segments: [{ kind: 'all' }],
  };
  await embedRecordings([job], {
    path: {
      modelId: 'toy',
      modelSha256: '0'.repeat(64),
      frontEnd: '{"kind":"waveform"}',
      speechDetectorId: 'toy',
      sampleRateHz: 16_000,
      minWindowMs: 500,
      embeddingSize: 2,
      decode: () => Promise.resolve({ samples: new Float32Array(32_000).fill(0.1), sampleRateHz: 16_000 }),
      hear: () => Promise.resolve(new Float32Array(16_000)),
      embedding: () => () => {
        times++;
        return Promise.resolve(Float32Array.of(1, 0));
      },
      close: () => Promise.resolve(),
      ...path,
    },
    cache: new EmbeddingCache(join(folder, 'cache')),
    jobs: 1,
    maxSpeechMs: 30_000,
    codec: undefined,
    noise: { samples: new Float32Array(16_000).fill(0.1), sampleRateHz: 16_000 },
    noiseHash: 'office',
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...options,
  });
  return times;
}

const CHANGES: readonly (readonly [string, Change])[] = [
  ['model id', { path: { modelId: 'other' } }],
  ['network', { path: { modelSha256: '1'.repeat(64) } }],
  ['front end', { path: { frontEnd: '{"kind":"fbank"}' } }],
  ['speech detector', { path: { speechDetectorId: 'other' } }],
  ['longest speech', { options: { maxSpeechMs: 10_000 } }],
  ['noise', { options: { noiseHash: 'street' } }],
  ['condition', { condition: 'noise-5db' }],
  ['stretch of the recording', { stretches: [{ fromS: 1, toS: 2 }] }],
];

it.each(CHANGES)('embeds anew with another %s, once', async (_what, change) => {
  expect(await timesEmbedded({})).toBe(1);
  expect(await timesEmbedded({})).toBe(0);
  expect(await timesEmbedded(change)).toBe(1);
  expect(await timesEmbedded(change)).toBe(0);
  expect(await timesEmbedded({})).toBe(0);
});

it('does not ask which noise there is where none is added', async () => {
  expect(await timesEmbedded({ condition: 'mulaw' })).toBe(1);
  expect(await timesEmbedded({ condition: 'mulaw', options: { noiseHash: 'street' } })).toBe(0);
});
