/**
 * Speech detection of many streams in one run, with real children. Requests made before the pool starts wait, and go
 * together to the first child that is ready; one that is stopped then (SIGSTOP) has the batch and does not answer it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { InferencePoolOptions } from '../../src/embedder/inference-pool.js';
import { SILERO_LAYOUT } from '../../src/embedder/inference-protocol.js';
import { PoolSpeechDetector } from '../../src/embedder/pool-speech-detector.js';
import type { Priority } from '../../src/embedder/waiting-line.js';
import { eventually, isRunning, PoolUnderTest, tone } from '../support/inference.js';

const FRAME = 512;
const live = { priority: 'live' } as const;
const open: PoolUnderTest[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ pool }) => pool.drain(0)));
});
let reference: ReturnType<typeof create>;
beforeAll(async () => {
  reference = create({ maxBatch: 1 });
  open.pop();
  await reference.test.pool.start();
});
afterAll(() => reference?.test.pool.drain(0));

/** A pool that is not started. Nothing is held back, unless a test wants it. */
function create(options: Partial<InferencePoolOptions> = {}) {
  const test = new PoolUnderTest({ maxWaiting: 64, gatherMs: 0, ...options });
  open.push(test);
  return { test, detector: new PoolSpeechDetector(test.pool, SILERO_LAYOUT) };
}

/** Makes requests, then starts the pool with a child that is stopped before it gets them. */
async function withBatchInStoppedChild<T>(options: Partial<InferencePoolOptions>, request: RequestMaker<T>) {
  const { test, detector } = create(options);
  const requests = request(detector, test);
  stopNext(test);
  await test.pool.start();
  expect(test.pool.health()).toMatchObject({ running: 1, waiting: 0 });
  return { test, detector, requests };
}
type RequestMaker<T> = (detector: PoolSpeechDetector, test: PoolUnderTest) => T;

function stopNext(test: PoolUnderTest): void {
  test.onReady = (pid) => {
    process.kill(pid, 'SIGSTOP');
    test.onReady = undefined;
  };
}

const lastPid = (test: PoolUnderTest) => test.readyPids.at(-1)!;
const resume = (test: PoolUnderTest) => process.kill(lastPid(test), 'SIGCONT');
const kill = (test: PoolUnderTest) => process.kill(lastPid(test), 'SIGKILL');
const voice = (number: number, frames = 24) => tone(2, number).slice(0, frames * FRAME);
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'answered',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );

/** Sizes of all batches of speech detection so far: how many runs, and how many requests in them. */
async function batches(test: PoolUnderTest) {
  const { values } = await test.metrics.inferenceBatch.get();
  const of = (suffix: string) =>
    values.find(({ metricName, labels }) => metricName?.endsWith(suffix) && labels.model === 'vad')?.value ?? 0;
  return { runs: of('_count'), requests: of('_sum') };
}

/** What a stream gives that shares no run with another. */
async function alone(pieces: readonly Float32Array[]): Promise<Float32Array[]> {
  const stream = reference.detector.createStream();
  const all: Float32Array[] = [];
  for (const piece of pieces) all.push(await stream.detect(piece, live));
  return all;
}

function expectSame(actual: Float32Array, expected: Float32Array, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (const [i, value] of actual.entries()) {
    expect(Math.abs(value - expected[i]!), `${what}, frame ${i}`).toBeLessThanOrEqual(1e-6);
  }
}

describe('a batch', () => {
  it('gives every stream what it would get alone, request after request', async () => {
    const { test, detector } = create();
    const streams = [1, 2, 3, 4, 5, 6, 7].map((number) => ({ number, stream: detector.createStream() }));
    const piece = (number: number, part: number) => voice(number).slice(part * 8 * FRAME, (part + 1) * 8 * FRAME);
    const heard: Float32Array[][] = [];
    for (let part = 0; part < 3; part++) {
      const requests = streams.map(({ number, stream }) => stream.detect(piece(number, part), live));
      if (part === 0) await test.pool.start();
      heard.push(await Promise.all(requests));
    }
    // The first seven waited together; later, the first of a round finds the child idle and goes ahead.
    expect(await batches(test)).toEqual({ runs: 5, requests: 21 });
    for (const [index, { number }] of streams.entries()) {
      const expected = await alone([0, 1, 2].map((part) => piece(number, part)));
      expected.forEach((probabilities, part) => {
        expectSame(heard[part]![index]!, probabilities, `stream ${number}, part ${part}`);
      });
    }
  });

  it('may have any number of frames in each row, in any order', async () => {
    const { test, detector } = create();
    const lengths = [3, 8, 1, 8, 2, 32, 5, 1];
    const streams = lengths.map(() => detector.createStream());
    const first = streams.map((stream, i) => stream.detect(voice(i, lengths[i]!), live));
    await test.pool.start();
    const heard = await Promise.all(first);
    expect(await batches(test)).toEqual({ runs: 1, requests: 8 });
    const next = await Promise.all(streams.map((stream, i) => stream.detect(voice(i, 4), live)));
    for (const [i, length] of lengths.entries()) {
      const expected = await alone([voice(i, length), voice(i, 4)]);
      expectSame(heard[i]!, expected[0]!, `row of ${length}`);
      expectSame(next[i]!, expected[1]!, `after a row of ${length}`);
    }
  });

  it('holds no more than it may, nor a long request, nor an embedding', async () => {
    const { test, detector } = create({ maxBatch: 3 });
    const detect = (frames: number) => detector.createStream().detect(voice(1, frames), live);
    const requests = [
      test.pool.run<'embed'>({ kind: 'embed', waveform: tone(1.5) }, live),
      ...[8, 33, 8, 8, 8, 8].map(detect),
    ];
    await test.pool.start();
    await Promise.all(requests);
    // Three, the long one, and two.
    expect(await batches(test)).toEqual({ runs: 3, requests: 6 });
  });

  it('fails only the row whose samples are not numbers', async () => {
    const { test, detector } = create();
    const streams = [1, 2, 3].map(() => detector.createStream());
    const broken = voice(2, 8).fill(Number.NaN, 700, 701);
    const requests = streams.map((stream, i) => stream.detect(i === 1 ? broken : voice(i, 8), live));
    const failed = expect(requests[1]).rejects.toMatchObject({
      code: 'AudioProcessingError',
      message: 'The audio has samples that are not numbers.',
    });
    await test.pool.start();
    await failed;
    expectSame((await requests[0])!, (await alone([voice(0, 8)]))[0]!, 'first');
    expectSame((await requests[2])!, (await alone([voice(2, 8)]))[0]!, 'third');
    // The stream goes on from where it was.
    expectSame(await streams[1]!.detect(voice(5, 8), live), (await alone([voice(5, 8)]))[0]!, 'afterwards');
    expect(await batches(test)).toEqual({ runs: 2, requests: 4 });
  });
});

describe('a lost batch', () => {
  const five = (detector: PoolSpeechDetector) =>
    [1, 2, 3, 4, 5].map((number) => detector.createStream().detect(voice(number, 8), live));

  it('is tried again, each request alone', async () => {
    const { test, requests } = await withBatchInStoppedChild({}, five);
    kill(test);
    const heard = await Promise.all(requests);
    expect(await batches(test)).toEqual({ runs: 5, requests: 5 });
    for (const [i, probabilities] of heard.entries()) {
      expectSame(probabilities, (await alone([voice(i + 1, 8)]))[0]!, `stream ${i + 1}`);
    }
  });

  it('fails the one that costs a second child, and not its neighbours', async () => {
    const { test, requests } = await withBatchInStoppedChild({}, (detector) => five(detector).map(outcome));
    stopNext(test);
    kill(test);
    await eventually(() => test.readyPids.length === 2 && test.pool.health().running === 1);
    expect(test.pool.health().waiting).toBe(4);
    kill(test);
    expect(await Promise.all(requests)).toEqual([
      'InferenceUnavailable',
      'answered',
      'answered',
      'answered',
      'answered',
    ]);
    expect(await test.count('inference_child_restarts_total')).toBe(2);
  });

  it('is not tried again for those who have cancelled', async () => {
    const cancel = new AbortController();
    const { test, requests } = await withBatchInStoppedChild({}, (detector) => [
      ...five(detector).map(outcome),
      outcome(detector.createStream().detect(voice(6, 8), { priority: 'live', signal: cancel.signal })),
    ]);
    cancel.abort(new Error('hung up'));
    kill(test);
    expect(await Promise.all(requests)).toEqual([...new Array(5).fill('answered'), 'hung up']);
    expect(await batches(test)).toEqual({ runs: 5, requests: 5 });
  });
});

describe('a batch that the runtime fails on', () => {
  it('is tried again, each request alone, and only the one at fault fails', async () => {
    const childModule = new URL('../support/moody-inference-child.mjs', import.meta.url);
    const { test, detector } = create({ childModule });
    const requests = [0.1, 0.5, 0.2].map((value) =>
      outcome(detector.createStream().detect(new Float32Array(8 * FRAME).fill(value), live)),
    );
    await test.pool.start();
    expect(await Promise.all(requests)).toEqual(['answered', 'InferenceUnavailable', 'answered']);
    expect(await batches(test)).toEqual({ runs: 2, requests: 2 });
    expect(test.readyPids).toHaveLength(1);
  });
});

describe('cancellation', () => {
  it('of one of a batch leaves the answers of the others', async () => {
    const cancel = new AbortController();
    const { test, requests } = await withBatchInStoppedChild({}, (detector) => [
      detector.createStream().detect(voice(1, 8), live),
      detector.createStream().detect(voice(2, 8), { priority: 'live', signal: cancel.signal }),
      detector.createStream().detect(voice(3, 4), live),
    ]);
    cancel.abort(new Error('hung up'));
    await expect(requests[1]).rejects.toThrow('hung up');
    resume(test);
    expectSame((await requests[0])!, (await alone([voice(1, 8)]))[0]!, 'first');
    expectSame((await requests[2])!, (await alone([voice(3, 4)]))[0]!, 'third');
  });

  it('of one that waits takes it out of the batch to come', async () => {
    const { test, detector } = create();
    const cancel = new AbortController();
    const options = { priority: 'live', signal: cancel.signal } as const;
    const requests = [
      outcome(detector.createStream().detect(voice(1, 8), live)),
      outcome(detector.createStream().detect(voice(2, 8), options)),
      outcome(detector.createStream().detect(voice(3, 8), live)),
    ];
    cancel.abort(new Error('hung up'));
    await test.pool.start();
    expect(await Promise.all(requests)).toEqual(['answered', 'hung up', 'answered']);
    expect(await batches(test)).toEqual({ runs: 1, requests: 2 });
  });
});

describe('admission', () => {
  it('counts every request of a batch to come', async () => {
    const { test, detector } = create({ maxWaiting: 3 });
    const request = (priority: Priority) => outcome(detector.createStream().detect(voice(1, 8), { priority }));
    const requests = [request('live'), request('live'), request('upload'), request('upload'), request('live')];
    const refused = request('live');
    await test.pool.start();
    expect(await Promise.all(requests)).toEqual(['answered', 'answered', 'Busy', 'Busy', 'answered']);
    expect(await refused).toBe('Busy');
    expect(await batches(test)).toEqual({ runs: 1, requests: 3 });
  });

  it('refuses each request that has waited too long', async () => {
    const { test, detector } = create({ queueTimeoutMs: 60 });
    await test.pool.start();
    process.kill(lastPid(test), 'SIGSTOP');
    const [running, ...waiting] = [1, 2, 3].map((number) =>
      outcome(detector.createStream().detect(voice(number, 8), live)),
    );
    expect(await Promise.all(waiting)).toEqual(['Busy', 'Busy']);
    resume(test);
    expect(await running).toBe('answered');
    expect(await test.count('inference_rejected_total', { cause: 'deadline' })).toBe(2);
  });

  it('lets uploads ride together, but not with live calls', async () => {
    const { test, detector } = create();
    const priorities = ['upload', 'live', 'upload', 'live', 'upload'] as const;
    const requests = priorities.map((priority) => detector.createStream().detect(voice(1, 8), { priority }));
    await test.pool.start();
    await Promise.all(requests);
    expect(await batches(test)).toEqual({ runs: 2, requests: 5 });
  });
});

describe('gathering', () => {
  it('holds live requests back for a while after a run, and nothing else', async () => {
    const { test, detector } = create({ gatherMs: 600_000, maxBatch: 3 });
    await test.pool.start();
    const detect = (priority: Priority) => detector.createStream().detect(voice(1, 8), { priority });
    // After a quiet time nothing is held back.
    await detect('live');
    const held = [detect('live'), detect('live')];
    await test.pool.run<'embed'>({ kind: 'embed', waveform: tone(1.5) }, live);
    expect(test.pool.health()).toMatchObject({ waiting: 2, running: 0 });
    // A full batch has nothing to wait for.
    await Promise.all([...held, detect('live')]);
    expect(await batches(test)).toEqual({ runs: 2, requests: 4 });
    // An upload does not wait, and takes along who does.
    await Promise.all([detect('live'), detect('upload')]);
    expect(await batches(test)).toEqual({ runs: 3, requests: 6 });
  });

  it('ends by itself', async () => {
    const { test, detector } = create({ gatherMs: 5 });
    await test.pool.start();
    for (let i = 0; i < 5; i++) await detector.createStream().detect(voice(1, 8), live);
    expect(await batches(test)).toEqual({ runs: 5, requests: 5 });
  });
});

describe('drain', () => {
  const three = (detector: PoolSpeechDetector) =>
    [1, 2, 3].map((number) => outcome(detector.createStream().detect(voice(number, 8), live)));

  it('finishes batches, held-back requests too', async () => {
    const { test, detector } = create({ gatherMs: 600_000 });
    await test.pool.start();
    const requests = [...three(detector), ...three(detector)];
    await test.pool.drain(20_000);
    expect(await Promise.all(requests)).toEqual(new Array(6).fill('answered'));
  });

  it('rejects every request of a batch that does not finish in time', async () => {
    const { test, requests } = await withBatchInStoppedChild({}, three);
    await test.pool.drain(30);
    expect(await Promise.all(requests)).toEqual(new Array(3).fill('InferenceUnavailable'));
    expect(isRunning(lastPid(test))).toBe(false);
    expect(await test.count('inference_rejected_total', { cause: 'draining' })).toBe(3);
  });

  it('does not count those who have cancelled as rejected', async () => {
    const cancel = new AbortController();
    const { test, requests } = await withBatchInStoppedChild({}, (detector) => [
      outcome(detector.createStream().detect(voice(1, 8), { priority: 'live', signal: cancel.signal })),
    ]);
    cancel.abort(new Error('hung up'));
    await test.pool.drain(30);
    expect(await Promise.all(requests)).toEqual(['hung up']);
    expect(await test.count('inference_rejected_total')).toBe(0);
  });
});
