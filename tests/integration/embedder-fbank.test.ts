/** Models whose graph starts at features, or wants a channel axis, in real inference children. */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { type OpenEmbedder, openEmbedder } from '../../src/embedder/open-embedder.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { CHILD_MODULE, tone } from '../support/inference.js';
import { type ModelFolder, TOY_NETWORK_ID, toyNetworkFolder, WESPEAKER_INPUT } from '../support/model-folder.js';

const live = { priority: 'live' } as const;
const folders: ModelFolder[] = [];
const opened: OpenEmbedder[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((open) => open.drain(5000)));
  for (const folder of folders.splice(0)) folder.remove();
});

async function open(name: 'features' | 'waveform', changes: Record<string, unknown> = {}): Promise<OpenEmbedder> {
  const folder = toyNetworkFolder(name, { changes });
  folders.push(folder);
  const embedder = await openEmbedder(
    {
      modelsDir: folder.modelsDir,
      modelId: TOY_NETWORK_ID,
      children: 1,
      maxWaiting: 8,
      queueTimeoutMs: 20_000,
      speechDetector: 'auto',
    },
    { metrics: new Metrics(), logger: createLogger('silent'), childModule: CHILD_MODULE },
  );
  opened.push(embedder);
  return embedder;
}

interface GoldenCase {
  readonly name: string;
  readonly samples: string;
  readonly features: string;
  readonly columns: number;
}

/** Samples, and their features as the reference computes them. */
function golden(name: string) {
  const url = new URL('../fixtures/fbank/golden.json', import.meta.url);
  const { cases } = JSON.parse(readFileSync(url, 'utf8')) as { readonly cases: readonly GoldenCase[] };
  const found = cases.find((one) => one.name === name)!;
  const samples = Buffer.from(found.samples, 'base64');
  const features = Buffer.from(found.features, 'base64');
  return {
    samples: Float32Array.from({ length: samples.length / 2 }, (_, i) => samples.readInt16LE(2 * i) / 32_768),
    frames: Array.from({ length: features.length / 4 / found.columns }, (_, frame) =>
      Array.from({ length: found.columns }, (_, column) => features.readFloatLE(4 * (frame * found.columns + column))),
    ),
  };
}

/** What tests/fixtures/fbank/make-networks.py says that features.onnx computes, scaled to unit length. */
function toyEmbedding(frames: readonly (readonly number[])[]): number[] {
  const hidden = frames.map((frame) =>
    Array.from({ length: 8 }, (_, j) =>
      Math.tanh(0.1 * frame.reduce((sum, value, i) => sum + value * Math.sin(1 + 8 * i + j), 0)),
    ),
  );
  const mean = (of: (row: readonly number[]) => number) =>
    hidden.reduce((sum, row) => sum + of(row), 0) / hidden.length;
  const values = Array.from({ length: 16 }, (_, k) => mean((row) => (k < 8 ? row[k]! : row[k - 8]! ** 2)));
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}

describe('a model that takes features', () => {
  it('gives the embedding of the reference features, scaled to unit length', async () => {
    const { embedder } = await open('features');
    const { samples, frames } = golden('WeSpeaker');
    const embedding = await embedder.embed(samples, live);
    expect(Math.hypot(...embedding)).toBeCloseTo(1, 6);
    for (const [index, value] of toyEmbedding(frames).entries()) expect(embedding[index]).toBeCloseTo(value, 5);
  });

  it('heeds the front end of its manifest', async () => {
    const input = { ...WESPEAKER_INPUT, window: 'povey', htkCompat: false, inputScale: 'unit' };
    const { embedder } = await open('features', { input });
    const { samples, frames } = golden('3D-Speaker');
    const embedding = await embedder.embed(samples, live);
    for (const [index, value] of toyEmbedding(frames).entries()) expect(embedding[index]).toBeCloseTo(value, 5);
  });

  it('takes windows of any length and refuses what is not numbers', async () => {
    const { embedder } = await open('features');
    for (const seconds of [0.1, 1.2345, 10]) expect(await embedder.embed(tone(seconds), live)).toHaveLength(16);
    const broken = embedder.embed(tone(1).fill(Number.NaN, 5, 6), live);
    await expect(broken).rejects.toMatchObject({ code: 'AudioProcessingError' });
    // Silence has features of nothing but zeros, and the toy network makes nothing of them.
    const silence = embedder.embed(new Float32Array(16_000), live);
    await expect(silence).rejects.toMatchObject({ code: 'AudioProcessingError' });
    expect(await embedder.embed(tone(1), live)).toHaveLength(16);
  });

  it.each([
    ['another number of mel bins', { input: { ...WESPEAKER_INPUT, numMelBins: 64 } }],
    ['another embedding size', { embeddingSize: 15 }],
    ['a tensor that is not there', { input: { ...WESPEAKER_INPUT, tensor: 'x' } }],
    ['unit length that it does not have', { output: { tensor: 'embs' } }],
  ])('is not started with %s in its manifest', async (_, changes) => {
    await expect(open('features', changes)).rejects.toMatchObject({ code: 'InferenceUnavailable' });
  });
});

describe('a model that takes a waveform with a channel axis', () => {
  it('is given one, and its only tensors need no names', async () => {
    const { embedder } = await open('waveform');
    const samples = Float32Array.from({ length: 4000 }, (_, i) => [0.1, -0.2, 0.2, -0.4][i % 4]!);
    const embedding = await embedder.embed(samples, live);
    for (const [index, value] of embedding.entries()) {
      expect(value).toBeCloseTo([0.2, 0.4, 0.4, 0.8][index % 4]! / Math.sqrt(48), 6);
    }
  });
});
