/**
 * How much the inference pool does on this machine: `npm run bench:embed -- [--children N] [--model <id>] [--detector auto|silero]
 * [--part <name>]`, parts as named in `PARTS`. Numbers of a busy machine mean little by themselves: compare within one run.
 */
import { PoolSpeakerEmbedder } from '../src/embedder/pool-speaker-embedder.js';
import { PoolSpeechDetector } from '../src/embedder/pool-speech-detector.js';
import { detectManyCalls } from './embed-calls.js';
import { measureFbank } from './embed-fbank.js';
import { compareWithSherpa } from './embed-sherpa.js';
import { measureWindowBatches } from './embed-window-batches.js';
import {
  detectorLayout,
  flatOut,
  histogramTotal,
  live,
  manifest,
  maxChildren,
  type PoolBench,
  round,
  sound,
  startUsage,
  wantedParts,
  withPool,
} from './inference-pool-bench.js';

const MEASURE_MS = 2000;

/** One row: as many requests as `lanes` loops make in a while. */
async function measure(
  bench: PoolBench,
  children: number,
  request: (lane: number) => Promise<unknown>,
): Promise<{ perSecond: number; columns: Record<string, number> }> {
  const lanes = children * 2;
  await Promise.all(Array.from({ length: lanes }, (_, lane) => request(lane)));
  bench.metrics.inferenceSeconds.reset();
  const usage = startUsage(bench);
  const count = await flatOut(lanes, MEASURE_MS, request);
  const { elapsedMs, parentCpuMs, lagP99Ms } = usage();
  const computedMs = (await histogramTotal(bench.metrics.inferenceSeconds, '_sum')) * 1000;
  return {
    perSecond: (count * 1000) / elapsedMs,
    columns: {
      'compute ms': round(computedMs / count),
      // What the children do not compute: waiting for the next request, the channel and both ends of it.
      'child idle or in channel %': round(100 * (1 - computedMs / elapsedMs / children)),
      'server cpu ms per request': round(parentCpuMs / count),
      'loop lag p99 ms': round(lagP99Ms),
    },
  };
}

/** Windows and detector requests of several lengths, each request a run of its own. */
async function printTables(): Promise<void> {
  for (let children = 1; children <= maxChildren; children++) {
    console.log(`\n${children} children`);
    await withPool(children, { gatherMs: 0, maxBatch: 1 }, async (bench) => {
      const embedder = new PoolSpeakerEmbedder(manifest, bench.pool);
      const detector = new PoolSpeechDetector(bench.pool, detectorLayout);
      const windows: Record<string, Record<string, number>> = {};
      for (const seconds of [1.5, 3, 5, 10]) {
        const window = sound(seconds * manifest.sampleRateHz);
        const { perSecond, columns } = await measure(bench, children, () => embedder.embed(window, live));
        windows[`window of ${seconds} s`] = { 'windows/s': round(perSecond), ...columns };
      }
      console.table(windows);
      const requests: Record<string, Record<string, number>> = {};
      for (const frames of [1, 4, 16, 32]) {
        const samples = sound(frames * detector.frameSamples);
        const streams = Array.from({ length: children * 2 }, () => detector.createStream());
        const { perSecond, columns } = await measure(bench, children, (lane) => streams[lane]!.detect(samples, live));
        const framesPerSecond = perSecond * frames;
        requests[`${frames} frames per request`] = {
          'frames/s': Math.round(framesPerSecond),
          'calls in real time': Math.floor((framesPerSecond * detector.frameSamples) / detector.sampleRateHz),
          ...columns,
        };
      }
      console.table(requests);
    });
  }
}

const parts: Record<string, () => Promise<void>> = {
  tables: printTables,
  calls: detectManyCalls,
  batches: measureWindowBatches,
  fbank: measureFbank,
  sherpa: compareWithSherpa,
};
for (const name of wantedParts) {
  const part = parts[name];
  if (!part) throw new Error(`no part "${name}"; there are ${Object.keys(parts).join(', ')}`);
  await part();
}
