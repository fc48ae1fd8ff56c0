/** The shipped speaker model and Silero's speech detector in real inference children. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resample } from '../../src/audio/resampler.js';
import { readWav } from '../../src/audio/wav.js';
import { ModelPackageError } from '../../src/embedder/model-package.js';
import { type OpenEmbedder, openEmbedder } from '../../src/embedder/open-embedder.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { CHILD_MODULE, tone } from '../support/inference.js';
import { type ModelFolder, modelFolder, SHIPPED_MODEL_ID } from '../support/model-folder.js';

const live = { priority: 'live' } as const;
const VOICES = fileURLToPath(new URL('../fixtures/voices/', import.meta.url));
const voices = existsSync(VOICES) ? readdirSync(VOICES).filter((name) => name.endsWith('.wav')) : [];

const deps = () => ({ metrics: new Metrics(), logger: createLogger('silent'), childModule: CHILD_MODULE });
const config = (folder: ModelFolder) => ({
  modelsDir: folder.modelsDir,
  modelId: SHIPPED_MODEL_ID,
  children: 2,
  maxWaiting: 32,
  queueTimeoutMs: 20_000,
  speechDetector: 'silero' as const,
});

let folder: ModelFolder;
let open: OpenEmbedder;
beforeAll(async () => {
  folder = modelFolder();
  open = await openEmbedder(config(folder), deps());
});
afterAll(async () => {
  await open?.drain(5000);
  folder?.remove();
});

const cosine = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

/** A fixture at the models' rate. */
function voice(name: string): Float32Array {
  const wav = readWav(readFileSync(VOICES + name));
  return resample(wav.channels[0] ?? new Float32Array(0), wav.sampleRateHz, 16_000);
}

/** White noise at about -40 dB of full scale, the same on every run. */
function noise(samples: number): Float32Array {
  let seed = 12_345;
  return Float32Array.from({ length: samples }, () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return (seed / 2 ** 30 - 1) * 0.017;
  });
}

describe('the speaker model', () => {
  it('gives a unit vector of the promised size, the same from every child', async () => {
    const { embedder } = open;
    const { embeddingSize } = open.package.manifest;
    // Eight at once: with two children, both have to take part.
    const embeddings = await Promise.all(Array.from({ length: 8 }, () => embedder.embed(tone(2), live)));
    for (const embedding of embeddings) {
      expect(embedding).toHaveLength(embeddingSize);
      expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);
      expect(embedding).toEqual(embeddings[0]);
      // Not a view of the channel's buffer, which it would keep alive.
      expect(embedding.buffer.byteLength).toBe(embeddingSize * 4);
    }
  });

  it('tells different sounds apart', async () => {
    const [first, again, other] = await Promise.all(
      [tone(3, 1), tone(4, 1), tone(3, 5)].map((samples) => open.embedder.embed(samples, live)),
    );
    expect(cosine(first!, again!)).toBeGreaterThan(cosine(first!, other!) + 0.2);
  });

  it('embeds what a view shows, not the buffer behind it, and copies it at once', async () => {
    const whole = tone(6);
    const expected = await open.embedder.embed(whole.slice(16_000, 64_000), live);
    const view = whole.subarray(16_000, 64_000);
    const promise = open.embedder.embed(view, live);
    view.fill(0);
    expect(await promise).toEqual(expected);
  });

  it('keeps windows of any length apart, though they take turns in the same memory', async () => {
    const lengths = [3, 12, 1.5, 10, 2, 5];
    const embed = (seconds: number) => open.embedder.embed(tone(seconds, seconds), live);
    const expected: Float32Array[] = [];
    for (const seconds of lengths) expected.push(await embed(seconds));
    const cancel = new AbortController();
    const cancelled = open.embedder.embed(tone(4, 9), { priority: 'live', signal: cancel.signal });
    cancel.abort(new Error('hung up'));
    await expect(cancelled).rejects.toThrow('hung up');
    expect(await Promise.all(lengths.map(embed))).toEqual(expected);
  });

  it.each([1.4, 61])('refuses a window of %s s and says what it takes', async (seconds) => {
    await expect(open.embedder.embed(tone(seconds), live)).rejects.toMatchObject({
      code: 'AudioProcessingError',
      details: { windowMs: seconds * 1000, minWindowMs: 1500, maxWindowMs: 60_000 },
    });
  });

  it('refuses audio that is not numbers, and goes on working', async () => {
    await expect(open.embedder.embed(tone(2).fill(Number.NaN, 100, 200), live)).rejects.toMatchObject({
      code: 'AudioProcessingError',
      message: 'The audio has samples that are not numbers.',
    });
    expect(await open.embedder.embed(tone(2), live)).toHaveLength(192);
    expect(open.health()).toMatchObject([
      { name: 'model', ok: true, detail: { id: SHIPPED_MODEL_ID, speechDetector: 'silero' } },
      { name: 'inference', ok: true, detail: { children: 2, ready: 2 } },
    ]);
  });

  it.skipIf(voices.length === 0)(
    'finds a voice more like itself than like another (skips without voice fixtures)',
    async () => {
      const embed = (name: string) => open.embedder.embed(voice(name).slice(0, 5 * 16_000), live);
      const [alice, aliceAgain, bob] = await Promise.all(
        ['alice-enroll.wav', 'alice-call-1.wav', 'bob-enroll.wav'].map(embed),
      );
      expect(cosine(alice!, aliceAgain!)).toBeGreaterThan(cosine(alice!, bob!));
    },
  );
});

describe("Silero's speech detector", () => {
  const frames = (samples: Float32Array) => samples.slice(0, samples.length - (samples.length % 512));

  it('hears no speech in silence and in steady noise', async () => {
    for (const samples of [new Float32Array(16_384), noise(64 * 512)]) {
      const probabilities = await open.detector.createStream().detect(samples, live);
      expect(probabilities).toHaveLength(samples.length / 512);
      expect(Math.max(...probabilities)).toBeLessThan(0.3);
    }
  });

  it.skipIf(voices.length === 0)('hears speech in every voice (skips without voice fixtures)', async () => {
    for (const name of voices) {
      const probabilities = await open.detector.createStream().detect(frames(voice(name)), live);
      const speech = probabilities.filter((probability) => probability > 0.5).length / probabilities.length;
      expect(speech, name).toBeGreaterThan(0.4);
    }
  });

  it('gives the same for a stream in pieces, on any child, as for the whole', async () => {
    const samples = frames(tone(3));
    const whole = await open.detector.createStream().detect(samples, live);
    const stream = open.detector.createStream();
    const pieces: number[] = [];
    for (let from = 0; from < samples.length; from += 7 * 512) {
      // A request for the other child alongside, so that the stream moves between the two.
      const [piece] = await Promise.all([
        stream.detect(samples.subarray(from, from + 7 * 512), live),
        open.embedder.embed(tone(1.5), live),
      ]);
      pieces.push(...piece);
    }
    expect(Float32Array.from(pieces)).toEqual(whole);
  });

  it('depends on the past of its own stream only', async () => {
    const samples = frames(tone(1));
    const stream = open.detector.createStream();
    const fresh = await stream.detect(samples, live);
    expect(await stream.detect(samples, live)).not.toEqual(fresh);
    expect(await open.detector.createStream().detect(samples, live)).toEqual(fresh);
  });

  it('is not poisoned by audio that is not numbers', async () => {
    const samples = frames(tone(1));
    const stream = open.detector.createStream();
    const expected = await open.detector.createStream().detect(samples, live);
    const broken = stream.detect(new Float32Array(512).fill(Number.NaN), live);
    await expect(broken).rejects.toMatchObject({ code: 'AudioProcessingError' });
    expect(await stream.detect(samples, live)).toEqual(expected);
  });
});

describe('openEmbedder', () => {
  it('starts nothing for a model package that is not what its manifest says', async () => {
    const other = modelFolder();
    try {
      const opening = openEmbedder({ ...config(other), modelId: 'another' }, deps());
      await expect(opening).rejects.toBeInstanceOf(ModelPackageError);
    } finally {
      other.remove();
    }
  });

  it('runs the shipped package as it is', async () => {
    const modelsDir = fileURLToPath(new URL('../../models/', import.meta.url));
    const shipped = await openEmbedder({ ...config(folder), modelsDir, children: 1 }, deps());
    await shipped.drain(5000);
    expect(shipped.package.calibration).toBeTypeOf('object');
  });
});
