/**
 * How much the inference pool does on this machine. `npx tsx bench/embed.ts [--children N]` after a build; prints tables
 * for embedding windows and for speech detection, with the delay of this process's event loop while the pool is flat out.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InferencePool } from '../src/embedder/inference-pool.js';
import { parseManifest } from '../src/embedder/manifest.js';
import { loadRequest } from '../src/embedder/open-embedder.js';
import { PoolSpeakerEmbedder } from '../src/embedder/pool-speaker-embedder.js';
import { SileroSpeechDetector } from '../src/embedder/silero-speech-detector.js';
import { createLogger } from '../src/observability/logger.js';
import { Metrics } from '../src/observability/metrics.js';

const { values } = parseArgs({ options: { children: { type: 'string' }, model: { type: 'string' } } });
const maxChildren = Number(values.children ?? availableParallelism());
const modelId = values.model ?? 'phone-ecapa-192-v0';
const MEASURE_MS = 2000;
const live = { priority: 'live' } as const;

const packageDir = new URL(`../models/${modelId}/`, import.meta.url);
const parsed = parseManifest(readFileSync(new URL('manifest.json', packageDir), 'utf8'));
if (parsed.kind !== 'manifest') throw new Error(parsed.problem);
const { manifest } = parsed;

interface Measurement {
  readonly perSecond: number;
  /** Mean time in the child. */
  readonly computeMs: number;
  /** Processor time of this process per request: serialization, the channel, the queue. */
  readonly parentMs: number;
  readonly lagP99Ms: number;
}

async function withPool(
  children: number,
  work: (pool: InferencePool, metrics: Metrics) => Promise<void>,
): Promise<void> {
  const metrics = new Metrics();
  const pool = new InferencePool(
    {
      children,
      maxWaiting: 1000,
      queueTimeoutMs: 60_000,
      load: loadRequest({ manifest, modelPath: fileURLToPath(new URL('model.onnx', packageDir)) }),
      childModule: new URL('../dist/embedder/inference-child.js', import.meta.url),
    },
    { metrics, logger: createLogger('warn') },
  );
  const startedMs = performance.now();
  await pool.start();
  console.log(`\n${children} children, ready after ${Math.round(performance.now() - startedMs)} ms`);
  await work(pool, metrics);
  await pool.drain(5000);
}

/** Runs `request` in `lanes` loops at once for a while. */
async function measure(
  metrics: Metrics,
  lanes: number,
  request: (lane: number) => Promise<unknown>,
): Promise<Measurement> {
  await Promise.all(Array.from({ length: lanes }, (_, lane) => request(lane)));
  metrics.inferenceSeconds.reset();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  let count = 0;
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      while (performance.now() - startedMs < MEASURE_MS) {
        await request(lane);
        count++;
      }
    }),
  );
  const elapsedMs = performance.now() - startedMs;
  const used = process.cpuUsage(cpu);
  delay.disable();
  const computed = (await metrics.inferenceSeconds.get()).values;
  const total = (suffix: string) =>
    computed.filter((value) => value.metricName?.endsWith(suffix)).reduce((sum, value) => sum + value.value, 0);
  return {
    perSecond: (count * 1000) / elapsedMs,
    computeMs: (total('_sum') * 1000) / total('_count'),
    parentMs: (used.user + used.system) / 1000 / count,
    lagP99Ms: delay.percentile(99) / 1e6 - 1,
  };
}

function row(measurement: Measurement, children: number): Record<string, number> {
  const { perSecond, computeMs, parentMs, lagP99Ms } = measurement;
  return {
    'compute ms': round(computeMs),
    // What the children do not compute: waiting for the next request, the channel and both ends of it.
    'child idle or in channel %': round(100 * (1 - (perSecond * computeMs) / 1000 / children)),
    'server cpu ms per request': round(parentMs),
    'loop lag p99 ms': round(lagP99Ms),
  };
}

const round = (value: number) => Math.round(value * 100) / 100;

function samples(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => 0.1 * Math.sin(i * 0.05) * Math.sin(i * 0.0009));
}

for (let children = 1; children <= maxChildren; children++) {
  await withPool(children, async (pool, metrics) => {
    const embedder = new PoolSpeakerEmbedder(manifest, pool);
    const detector = new SileroSpeechDetector(pool);
    const windows: Record<string, Record<string, number>> = {};
    for (const seconds of [1.5, 3, 5, 10]) {
      const window = samples(seconds * manifest.sampleRateHz);
      const measurement = await measure(metrics, children * 2, () => embedder.embed(window, live));
      windows[`window of ${seconds} s`] = { 'windows/s': round(measurement.perSecond), ...row(measurement, children) };
    }
    console.table(windows);
    const batches: Record<string, Record<string, number>> = {};
    for (const frames of [1, 4, 16, 32]) {
      const batch = samples(frames * detector.frameSamples);
      const streams = Array.from({ length: children * 2 }, () => detector.createStream());
      const measurement = await measure(metrics, streams.length, (lane) => streams[lane]!.detect(batch, live));
      const framesPerSecond = measurement.perSecond * frames;
      batches[`${frames} frames per request`] = {
        'frames/s': Math.round(framesPerSecond),
        'calls in real time': Math.floor((framesPerSecond * detector.frameSamples) / detector.sampleRateHz),
        ...row(measurement, children),
      };
    }
    console.table(batches);
  });
}
