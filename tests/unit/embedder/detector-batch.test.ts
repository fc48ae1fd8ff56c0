import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type DetectorStep,
  DetectPacker,
  runDetectorBatch,
  runSpeechGraphBatch,
  type SpeechGraphRun,
  unpackDetects,
} from '../../../src/embedder/detector-batch.js';

const CONTEXT = 64;
const FRAME = 512;

interface Stream {
  readonly frames: number;
  readonly samples: Float32Array;
  readonly state: Float32Array;
}

/** A request whose every sample and state value says which stream it belongs to, and where in it. */
function stream(id: number, frames: number): Stream {
  return {
    frames,
    samples: Float32Array.from({ length: CONTEXT + frames * FRAME }, (_, i) => id + i / 100_000),
    state: Float32Array.from({ length: 256 }, (_, i) => id * 1000 + i),
  };
}

/**
 * Stands where the network does: a row's probability is the first sample of its frame (the context before it), and its state
 * grows by one per frame in the first layer and by two in the second. Notes how many rows it was called with.
 */
function toyNetwork(): { step: DetectorStep; calls: number[] } {
  const calls: number[] = [];
  const step: DetectorStep = async (rows, frames, states) => {
    calls.push(rows);
    expect(frames).toHaveLength(rows * (CONTEXT + FRAME));
    expect(states).toHaveLength(rows * 256);
    return {
      probabilities: Float32Array.from({ length: rows }, (_, row) => frames[row * (CONTEXT + FRAME)]!),
      states: states.map((value, i) => value + (i < rows * 128 ? 1 : 2)),
    };
  };
  return { step, calls };
}

function expected({ samples, state }: Stream) {
  const frames = (samples.length - CONTEXT) / FRAME;
  return {
    probabilities: Float32Array.from({ length: frames }, (_, frame) => samples[frame * FRAME]!),
    state: state.map((value, i) => value + frames * (i < 128 ? 1 : 2)),
  };
}

async function run(streams: readonly Stream[], step: DetectorStep) {
  const batch = new DetectPacker().pack(streams);
  return unpackDetects(batch.frames, await runDetectorBatch(batch, step));
}

describe('a detector batch', () => {
  it('calls the network once per frame, with the rows that have it', async () => {
    const { step, calls } = toyNetwork();
    const streams = [stream(1, 4), stream(2, 4), stream(3, 2), stream(4, 1)];
    expect(await run(streams, step)).toEqual(streams.map(expected));
    expect(calls).toEqual([4, 3, 2, 2]);
  });

  it('gives every row its own, whatever the numbers of frames', async () => {
    const counts = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(counts, async (frames) => {
        const streams = frames.sort((a, b) => b - a).map((count, id) => stream(id + 1, count));
        expect(await run(streams, toyNetwork().step)).toEqual(streams.map(expected));
      }),
      { numRuns: 50 },
    );
  });

  it('leaves out rows whose samples are not numbers', async () => {
    const { step, calls } = toyNetwork();
    const streams = [1, 2, 3, 4].map((id) => stream(id, 2));
    streams[0]!.samples[5] = Number.NaN;
    streams[2]!.samples[CONTEXT + 2 * FRAME - 1] = Number.POSITIVE_INFINITY;
    expect(await run(streams, step)).toEqual([
      'unusable_input',
      expected(streams[1]!),
      'unusable_input',
      expected(streams[3]!),
    ]);
    expect(calls).toEqual([2, 2]);
  });

  it('never calls the network when no row is usable', async () => {
    const { step, calls } = toyNetwork();
    const broken = stream(1, 3);
    broken.samples.fill(Number.NaN);
    expect(await run([broken], step)).toEqual(['unusable_input']);
    expect(calls).toEqual([]);
  });

  it('fails the row alone whose probability or state is not a number', async () => {
    const { step } = toyNetwork();
    const streams = [stream(1, 3), stream(2, 3), stream(3, 2)];
    const moody: DetectorStep = async (rows, frames, states) => {
      const outputs = await step(rows, frames, states);
      if (rows === 2) outputs.probabilities[0] = Number.NaN;
      if (rows === 3) outputs.states[2 * 128] = Number.NaN;
      return outputs;
    };
    expect(await run(streams, moody)).toEqual(['unusable_output', expected(streams[1]!), 'unusable_output']);
  });

  it('fails as a whole when the network does', async () => {
    const broken: DetectorStep = () => Promise.reject(new Error('out of memory'));
    await expect(run([stream(1, 1), stream(2, 1)], broken)).rejects.toThrow('out of memory');
  });

  it('is packed into the same memory again, of which only the batch shows', async () => {
    const packer = new DetectPacker();
    const [large, small] = [
      [stream(1, 3), stream(2, 2), stream(3, 1)],
      [stream(4, 1), stream(5, 1)],
    ];
    const first = packer.pack(large);
    const { buffer } = first.samples;
    expect(unpackDetects(first.frames, await runDetectorBatch(first, toyNetwork().step))).toEqual(large.map(expected));
    const second = packer.pack(small);
    expect(second.samples.buffer).toBe(buffer);
    expect(second.samples).toHaveLength(2 * (CONTEXT + FRAME));
    expect(unpackDetects(second.frames, await runDetectorBatch(second, toyNetwork().step))).toEqual(
      small.map(expected),
    );
  });

  it('is answered with arrays of their own, which keep no message alive', async () => {
    for (const answer of await run([stream(1, 3), stream(2, 1)], toyNetwork().step)) {
      if (typeof answer === 'string') throw new Error(answer);
      for (const array of [answer.probabilities, answer.state]) expect(array.byteLength).toBe(array.buffer.byteLength);
    }
  });
});

describe('a batch for speech.onnx', () => {
  const [context, frame] = [10_880, 640];
  const request = (id: number, frames: number) => ({
    frames,
    samples: Float32Array.from({ length: context + frames * frame }, (_, i) => id + i / 100_000),
    state: new Float32Array(0),
  });
  /** Stands where the network does: an output every 320 samples while 400 are left, which is its place, counted on from the row's first sample. */
  function graph(): { run: SpeechGraphRun; calls: [number, number][] } {
    const calls: [number, number][] = [];
    const run: SpeechGraphRun = async (rows, waveforms) => {
      const samples = waveforms.length / rows;
      calls.push([rows, samples]);
      const perRow = Math.floor((samples - 400) / 320) + 1;
      return Float32Array.from(
        { length: rows * perRow },
        (_, i) => waveforms[Math.floor(i / perRow) * samples]! + (i % perRow) / 1000,
      );
    };
    return { run, calls };
  }
  async function ask(requests: readonly ReturnType<typeof request>[], run: SpeechGraphRun) {
    const batch = new DetectPacker().pack(requests);
    return unpackDetects(batch.frames, await runSpeechGraphBatch(batch, run));
  }

  it('runs rows of as many frames together, and averages what lies in a frame', async () => {
    const { run, calls } = graph();
    const answers = await ask([request(0, 8), request(0.1, 8), request(0.2, 1)], run);
    expect(calls).toEqual([
      [2, context + 8 * frame],
      [1, context + frame],
    ]);
    for (const [row, answer] of answers.entries()) {
      if (typeof answer === 'string') throw new Error(answer);
      // Frame k begins at 10880 + 640 k; the centres 200 + 320 n in it are those of n = 34 + 2 k and 35 + 2 k, the last of the row only the first.
      const { length } = answer.probabilities;
      const places = Array.from({ length }, (_, k) => (k < length - 1 ? 34.5 + 2 * k : 34 + 2 * k));
      for (const [k, place] of places.entries())
        expect(answer.probabilities[k]).toBeCloseTo(row / 10 + place / 1000, 4);
      expect(answer.state).toHaveLength(0);
    }
  });

  it('faults only the row that is not numbers', async () => {
    const broken = request(0.1, 2);
    broken.samples[5] = Number.NaN;
    const [first, second, third] = await ask([request(0, 2), broken, request(0.2, 2)], graph().run);
    expect(second).toBe('unusable_input');
    expect(first).toMatchObject({ probabilities: expect.any(Float32Array) });
    expect(third).toMatchObject({ probabilities: expect.any(Float32Array) });
  });

  it.each([Number.NaN, 1.5, -0.5])('faults the row whose answer is %s', async (answer) => {
    const run: SpeechGraphRun = async (rows, waveforms) => {
      const outputs = await graph().run(rows, waveforms);
      return outputs.map((value) => (value > 0.2 ? answer : value));
    };
    const [first, second] = await ask([request(0.1, 1), request(0.2, 1)], run);
    expect(first).toMatchObject({ probabilities: expect.any(Float32Array) });
    expect(second).toBe('unusable_output');
  });

  it.each([0, 1, 34, 100])('fails when the network gives %s values for a row', async (length) => {
    await expect(ask([request(0.1, 1)], async () => new Float32Array(length))).rejects.toThrow(
      'no probability every 20 ms',
    );
  });
});
