/**
 * Speech detection for many calls at once, as live calls ask for it: 8 frames at a time, one request in flight, at
 * moments of their own. Shows what sharing runs saves, and what holding requests back for a moment costs and saves.
 */
import type { InferencePoolOptions } from '../src/embedder/inference-pool.js';
import { PoolSpeechDetector } from '../src/embedder/pool-speech-detector.js';
import {
  detectorLayout,
  flatOut,
  histogramTotal,
  live,
  maxChildren,
  median,
  round,
  sound,
  startUsage,
  withPool,
} from './inference-pool-bench.js';

const FRAMES = 8;
const PERIOD_MS = (1000 * FRAMES * detectorLayout.frameSamples) / detectorLayout.sampleRateHz;
const WARM_UP_MS = 600;
const MEASURE_MS = 3000;
const CALLS = [50, 150, 300];
/** Spreads the calls evenly over the period, in no order. */
const GOLDEN_RATIO = 0.618_033_988_75;

type Options = Pick<InferencePoolOptions, 'maxBatch' | 'gatherMs'>;
type Row = Record<string, number>;

export async function detectManyCalls(): Promise<void> {
  const paced: Record<string, Row> = {};
  for (const calls of CALLS) {
    const variants: readonly [string, Options][] = [
      ['alone', { maxBatch: 1, gatherMs: 0 }],
      ...[0, 5, 10, 20].map((gatherMs): [string, Options] => [`gather ${gatherMs} ms`, { gatherMs }]),
    ];
    for (const [name, options] of variants) paced[`${calls} calls, ${name}`] = await measure(calls, options, pace);
  }
  console.log(`\n${maxChildren} children, ${FRAMES} frames per call every ${PERIOD_MS} ms`);
  console.table(paced);

  const flat: Record<string, Row> = {};
  for (const maxBatch of [1, 8, 16, 32, 64]) {
    flat[`at most ${maxBatch} per run`] = await measure(CALLS.at(-1)!, { maxBatch }, async (calls, request) => {
      await flatOut(calls, MEASURE_MS, request);
      return [];
    });
  }
  console.log(`\n${maxChildren} children, ${CALLS.at(-1)} calls flat out, ${FRAMES} frames per request`);
  console.table(flat);
}

/** Makes requests for a while; answers with how long each took, or nothing. */
type Pattern = (calls: number, request: (call: number) => Promise<unknown>) => Promise<readonly number[]>;

async function measure(calls: number, options: Options, pattern: Pattern): Promise<Row> {
  let row: Row = {};
  await withPool(maxChildren, options, async (bench) => {
    const detector = new PoolSpeechDetector(bench.pool, detectorLayout);
    const streams = Array.from({ length: calls }, () => detector.createStream());
    const samples = sound(FRAMES * detector.frameSamples);
    await flatOut(calls, WARM_UP_MS, (call) => streams[call]!.detect(samples, live));
    bench.metrics.inferenceBatch.reset();
    const usage = startUsage(bench);
    const tookMs = [...(await pattern(calls, (call) => streams[call]!.detect(samples, live)))].sort((a, b) => a - b);
    const { elapsedMs, childCpuMs, parentCpuMs, lagP99Ms } = usage();
    const requests = await histogramTotal(bench.metrics.inferenceBatch, '_sum');
    const perSecond = (requests * 1000) / elapsedMs;
    row = {
      'requests/s': Math.round(perSecond),
      'per run': round(requests / (await histogramTotal(bench.metrics.inferenceBatch, '_count')), 1),
      'child cpu ms per request': round(childCpuMs / requests, 3),
      'server cpu ms per request': round(parentCpuMs / requests, 3),
      'cores in all': round((childCpuMs + parentCpuMs) / elapsedMs),
      'loop lag p99 ms': round(lagP99Ms, 1),
    };
    if (tookMs.length === 0) return;
    row['p50 ms'] = round(median(tookMs), 1);
    row['p99 ms'] = round(tookMs[Math.floor(tookMs.length * 0.99)]!, 1);
  });
  return row;
}

/** In real time. A call whose request is still out lets a period go by. */
async function pace(calls: number, request: (call: number) => Promise<unknown>): Promise<readonly number[]> {
  const tookMs: number[] = [];
  const startMs = performance.now();
  const dueMs = Array.from({ length: calls }, (_, call) => startMs + ((call * GOLDEN_RATIO) % 1) * PERIOD_MS);
  const out = new Map<number, Promise<void>>();
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const nowMs = performance.now();
      if (nowMs > startMs + MEASURE_MS) {
        clearInterval(timer);
        resolve();
        return;
      }
      for (const [call, due] of dueMs.entries()) {
        if (due > nowMs) continue;
        dueMs[call] = due + PERIOD_MS;
        if (out.has(call)) continue;
        const answer = request(call).then(() => {
          tookMs.push(performance.now() - due);
          out.delete(call);
        });
        out.set(call, answer);
      }
    }, 1);
  });
  await Promise.all(out.values());
  return tookMs;
}
