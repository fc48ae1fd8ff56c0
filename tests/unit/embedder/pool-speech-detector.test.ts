import { describe, expect, it } from 'vitest';
import type { InferencePool } from '../../../src/embedder/inference-pool.js';
import { SILERO_LAYOUT } from '../../../src/embedder/inference-protocol.js';
import { PoolSpeechDetector } from '../../../src/embedder/pool-speech-detector.js';

interface Request {
  readonly frames: number;
  readonly samples: Float32Array;
  readonly state: Float32Array;
  answer(stateValue: number): void;
  fail(): void;
}

/** Stands where the pool does and lets the test see and answer each request: the stream's own bookkeeping is under test. */
function recordingPool({ contextSamples, frameSamples } = SILERO_LAYOUT): { pool: InferencePool; requests: Request[] } {
  const requests: Request[] = [];
  const run = (input: { frames: number; samples: Float32Array; state: Float32Array }) =>
    new Promise((resolve, reject) => {
      requests.push({
        ...input,
        answer: (value) =>
          resolve({
            probabilities: new Float32Array((input.samples.length - contextSamples) / frameSamples),
            state: new Float32Array(256).fill(value),
          }),
        fail: () => reject(new Error('lost')),
      });
    });
  return { pool: { run } as unknown as InferencePool, requests };
}

const frames = (count: number, value: number) => new Float32Array(512 * count).fill(value);
const live = { priority: 'live' } as const;

describe('a speech detector stream', () => {
  it('sends the last 64 samples and the state of the past along', async () => {
    const { pool, requests } = recordingPool();
    const stream = new PoolSpeechDetector(pool, SILERO_LAYOUT).createStream();
    const first = stream.detect(frames(2, 0.1), live);
    expect(requests[0]?.samples.subarray(0, 65)).toEqual(Float32Array.of(...new Array(64).fill(0), 0.1));
    expect(requests[0]?.state).toEqual(new Float32Array(256));
    requests[0]?.answer(7);
    expect(await first).toHaveLength(2);
    void stream.detect(frames(1, 0.2), live);
    expect(requests[1]?.samples).toHaveLength(64 + 512);
    expect(requests[1]?.samples.subarray(0, 64)).toEqual(new Float32Array(64).fill(0.1));
    expect(requests[1]?.state).toEqual(new Float32Array(256).fill(7));
  });

  it('takes the past along into requests of any length', async () => {
    const { pool, requests } = recordingPool();
    const stream = new PoolSpeechDetector(pool, SILERO_LAYOUT).createStream();
    for (const [index, count] of [1, 5, 2, 9].entries()) {
      const answer = stream.detect(frames(count, index + 1), live);
      expect(requests[index]?.samples).toEqual(
        Float32Array.of(...new Array(64).fill(index), ...new Array(count * 512).fill(index + 1)),
      );
      requests[index]?.answer(index);
      expect(await answer).toHaveLength(count);
    }
  });

  it('shifts a past that is longer than what comes', async () => {
    const layout = { sampleRateHz: 16_000, frameSamples: 2, contextSamples: 5, stateValues: 0 };
    const { pool, requests } = recordingPool(layout);
    const stream = new PoolSpeechDetector(pool, layout).createStream();
    const heard = [0, 0, 0, 0, 0];
    for (const [index, count] of [1, 2, 1, 4].entries()) {
      const samples = Array.from({ length: 2 * count }, (_, i) => 10 * (index + 1) + i);
      const answer = stream.detect(Float32Array.from(samples), live);
      expect(requests[index]).toMatchObject({ frames: count });
      expect([...requests[index]!.samples]).toEqual([...heard.slice(-5), ...samples]);
      requests[index]?.answer(0);
      expect(await answer).toHaveLength(count);
      heard.push(...samples);
    }
  });

  it('copies the samples, so that the caller may reuse its buffer', async () => {
    const { pool, requests } = recordingPool();
    const samples = frames(1, 0.1);
    void new PoolSpeechDetector(pool, SILERO_LAYOUT).createStream().detect(samples, live);
    samples.fill(9);
    expect(requests[0]?.samples[64]).toBe(Math.fround(0.1));
  });

  it('refuses a second request while one is on its way, and partial frames', async () => {
    const { pool, requests } = recordingPool();
    const stream = new PoolSpeechDetector(pool, SILERO_LAYOUT).createStream();
    const first = stream.detect(frames(1, 0), live);
    await expect(stream.detect(frames(1, 0), live)).rejects.toMatchObject({ code: 'InternalError' });
    requests[0]?.answer(1);
    await first;
    await expect(stream.detect(new Float32Array(500), live)).rejects.toMatchObject({ code: 'InternalError' });
    expect(await stream.detect(new Float32Array(0), live)).toHaveLength(0);
  });

  it('keeps its past after a failed request, and takes the next one', async () => {
    const { pool, requests } = recordingPool();
    const stream = new PoolSpeechDetector(pool, SILERO_LAYOUT).createStream();
    const lost = stream.detect(frames(1, 0.5), live);
    requests[0]?.fail();
    await expect(lost).rejects.toThrow('lost');
    void stream.detect(frames(1, 0.5), live);
    expect(requests[1]?.samples[0]).toBe(0);
    expect(requests[1]?.state[0]).toBe(0);
  });
});
