/** The speech detector that comes with the shipped model, in a real inference child, on sounds of calls that are and are not speech. */
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OpenEmbedder, openEmbedder } from '../../src/embedder/open-embedder.js';
import { randomGenerator } from '../../src/evaluation/random.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { CHILD_MODULE } from '../support/inference.js';
import { SHIPPED_MODEL_ID, SHIPPED_PACKAGE } from '../support/model-folder.js';
import { VOICE_RATE_HZ, type VoiceFile, voiceSamples } from '../support/voices.js';

const live = { priority: 'live' } as const;
const SECONDS = 6;

let open: OpenEmbedder;
beforeAll(async () => {
  open = await openEmbedder(
    {
      modelsDir: dirname(SHIPPED_PACKAGE),
      modelId: SHIPPED_MODEL_ID,
      children: 1,
      maxWaiting: 32,
      queueTimeoutMs: 20_000,
      speechDetector: 'auto',
    },
    { metrics: new Metrics(), logger: createLogger('silent'), childModule: CHILD_MODULE },
  );
});
afterAll(() => open?.drain(5000));

/** In requests of eight frames, as the service makes them. */
async function probabilities(samples: Float32Array): Promise<number[]> {
  const stream = open.detector.createStream();
  const request = 8 * open.detector.frameSamples;
  const found: number[] = [];
  for (let at = 0; at + request <= samples.length; at += request) {
    found.push(...(await stream.detect(samples.subarray(at, at + request), live)));
  }
  return found;
}

const sound = (value: (seconds: number) => number) =>
  Float32Array.from({ length: SECONDS * VOICE_RATE_HZ }, (_, i) => value(i / VOICE_RATE_HZ));
const tones = (seconds: number, ...hertz: number[]) =>
  hertz.reduce((sum, frequency) => sum + Math.sin(2 * Math.PI * frequency * seconds), 0) * 0.1;

function noise(seed: number, smoothing: number): Float32Array {
  const random = randomGenerator(seed);
  let value = 0;
  return sound(() => {
    value = smoothing * value + (random() * 2 - 1) * 0.1;
    return value;
  });
}

/** Notes of a plucked string over a bass, one every 0.3 s. */
function music(): Float32Array {
  const melody = [262, 330, 392, 523, 392, 330, 294, 349, 440, 587];
  return sound((seconds) => {
    const note = Math.floor(seconds / 0.3);
    const since = seconds - note * 0.3;
    const pitch = melody[note % melody.length]!;
    let value = 0.5 * Math.sin(2 * Math.PI * (pitch / 2) * seconds);
    for (let harmonic = 1; harmonic <= 6; harmonic++) {
      value += (Math.sin(2 * Math.PI * pitch * harmonic * since) / harmonic) * Math.exp(-since * 6);
    }
    return value * 0.1;
  });
}

const NO_SPEECH: Record<string, () => Float32Array> = {
  'digital silence': () => sound(() => 0),
  'white noise': () => noise(1, 0),
  'low-pitched noise': () => noise(2, 0.9),
  'a North American ring-back tone': () => sound((seconds) => (seconds % 3 < 2 ? tones(seconds, 440, 480) : 0)),
  'a European ring-back tone': () => sound((seconds) => (seconds % 5 < 1 ? tones(seconds, 425) : 0)),
  'a busy tone': () => sound((seconds) => (seconds % 1 < 0.5 ? tones(seconds, 480, 620) : 0)),
  'keys pressed': () => sound((seconds) => (seconds % 0.4 < 0.15 ? tones(seconds, 770, 1336) : 0)),
  music,
};

describe('the speech detector of the shipped model', () => {
  it('is the one in use', () => {
    expect(open.health()).toMatchObject([{ name: 'model', detail: { speechDetector: 'speech_graph' } }, {}]);
    expect(open.detector).toMatchObject({ sampleRateHz: VOICE_RATE_HZ, frameSamples: 640 });
  });

  it.each(Object.keys(NO_SPEECH))('finds no speech in %s', async (name) => {
    const found = await probabilities(NO_SPEECH[name]!());
    expect(found).toHaveLength(Math.floor((SECONDS * VOICE_RATE_HZ) / 5120) * 8);
    expect(found.filter((probability) => probability >= 0.5).length / found.length).toBeLessThan(0.05);
  });

  it.each<VoiceFile>(['alice-enroll', 'bob-enroll', 'carol-enroll', 'dave-enroll', 'agent'])(
    'finds the speech of %s, also in noise at 10 dB',
    async (name) => {
      const clean = voiceSamples(name).subarray(0, 10 * VOICE_RATE_HZ);
      const { frameSamples } = open.detector;
      const levels = Array.from({ length: Math.floor(clean.length / frameSamples) }, (_, frame) =>
        power(clean.subarray(frame * frameSamples, (frame + 1) * frameSamples)),
      );
      const loudest = Math.max(...levels);
      // Within 20 dB of the loudest frame: vowels and what is around them.
      const speaks = levels.map((level) => level > loudest / 100);
      const random = randomGenerator(7);
      const level = Math.sqrt((power(clean) / 10) * 3);
      const noisy = clean.map((sample) => sample + (random() * 2 - 1) * level);
      for (const [samples, least] of [
        [clean, 0.8],
        [noisy, 0.7],
      ] as const) {
        const found = await probabilities(samples);
        const judged = found.filter((_, frame) => speaks[frame]);
        expect(judged.filter((probability) => probability >= 0.5).length / judged.length).toBeGreaterThan(least);
      }
    },
  );

  it('gives streams that are judged together what each gets alone', async () => {
    const names = ['alice-enroll', 'bob-enroll', 'carol-enroll'] as const;
    const samples = names.map((name) => voiceSamples(name).subarray(0, 5 * VOICE_RATE_HZ));
    const alone: number[][] = [];
    for (const one of samples) alone.push(await probabilities(one));
    const broken = open.detector.createStream().detect(new Float32Array(5120).fill(Number.NaN), live);
    const [together, failed] = await Promise.all([
      Promise.all(samples.map(probabilities)),
      broken.then(
        () => undefined,
        (error: unknown) => error,
      ),
    ]);
    expect(failed).toMatchObject({ code: 'AudioProcessingError' });
    for (const [stream, found] of together.entries()) {
      const differences = found.map((probability, frame) => Math.abs(probability - alone[stream]![frame]!));
      expect(Math.max(...differences)).toBeLessThan(1e-4);
    }
  });

  it('is not poisoned by audio that is not numbers', async () => {
    const samples = voiceSamples('agent').subarray(0, 5120);
    const stream = open.detector.createStream();
    const broken = stream.detect(new Float32Array(640).fill(Number.NaN), live);
    await expect(broken).rejects.toMatchObject({ code: 'AudioProcessingError' });
    expect(await stream.detect(samples, live)).toEqual(await open.detector.createStream().detect(samples, live));
  });
});

function power(samples: Float32Array): number {
  return samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
}
