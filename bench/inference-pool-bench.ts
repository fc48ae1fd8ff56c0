/** What the parts of bench/embed share: a pool on a model package, processor times, and small arithmetic. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InferencePool, type InferencePoolOptions } from '../src/embedder/inference-pool.js';
import { DETECTOR_LAYOUTS } from '../src/embedder/inference-protocol.js';
import { parseManifest } from '../src/embedder/manifest.js';
import { loadRequest } from '../src/embedder/open-embedder.js';
import { createLogger } from '../src/observability/logger.js';
import { Metrics } from '../src/observability/metrics.js';
import { builtModule } from '../tests/support/built.js';

/** The parts of bench/embed, in the order in which they run. */
export const PARTS = ['tables', 'calls', 'batches', 'fbank', 'sherpa'] as const;

const { values } = parseArgs({
  options: {
    children: { type: 'string', default: String(availableParallelism()) },
    model: { type: 'string', default: 'phone-resnet-192-v4' },
    detector: { type: 'string', default: 'auto' },
    part: { type: 'string', multiple: true },
  },
});
export const maxChildren = Number(values.children);
export const wantedParts = values.part ?? PARTS;

const packageDir = new URL(`../models/${values.model}/`, import.meta.url);
const parsed = parseManifest(readFileSync(new URL('manifest.json', packageDir), 'utf8'));
if (parsed.kind !== 'manifest') throw new Error(parsed.problem);
export const { manifest } = parsed;
export const modelPath = fileURLToPath(new URL('model.onnx', packageDir));
const speechDetectorPath = manifest.speechDetector && fileURLToPath(new URL('speech.onnx', packageDir));
export const load = loadRequest({ manifest, modelPath, speechDetectorPath }, detectorChoice(values.detector));
export const detectorLayout = DETECTOR_LAYOUTS[load.detector.kind];
export const live = { priority: 'live' } as const;

function detectorChoice(name: string): 'auto' | 'silero' {
  if (name === 'auto' || name === 'silero') return name;
  throw new Error(`--detector: auto or silero, not ${name}`);
}

export interface PoolBench {
  readonly pool: InferencePool;
  readonly metrics: Metrics;
  /** Processor time of all children so far. */
  childCpuMs(): number;
}

/** Runs `work` with a started pool, and drains it. */
export async function withPool(
  children: number,
  options: Partial<InferencePoolOptions>,
  work: (bench: PoolBench) => Promise<void>,
): Promise<void> {
  const metrics = new Metrics();
  const pids: number[] = [];
  const logger = createLogger('info', {
    write: (line) => {
      const { msg, pid } = JSON.parse(line) as { msg: string; pid: number };
      if (msg === 'inference child ready') pids.push(pid);
      else console.log(line);
    },
  });
  const pool = new InferencePool(
    {
      children,
      maxWaiting: 2000,
      queueTimeoutMs: 60_000,
      load,
      childModule: builtModule('embedder/inference-child.js'),
      ...options,
    },
    { metrics, logger },
  );
  await pool.start();
  await work({ pool, metrics, childCpuMs: () => pids.reduce((sum, pid) => sum + processCpuMs(pid), 0) });
  await pool.drain(5000);
}

/** From /proc, in steps of 10 ms; NaN on systems without it. */
function processCpuMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return Number.NaN;
  }
}

export interface Usage {
  readonly elapsedMs: number;
  readonly childCpuMs: number;
  /** Of this process: serialization, the channel, the queue, and what the bench itself does. */
  readonly parentCpuMs: number;
  readonly lagP99Ms: number;
}

/** Starts measuring; the answer ends it. */
export function startUsage(bench: PoolBench): () => Usage {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const childMs = bench.childCpuMs();
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  return () => {
    const elapsedMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(cpu);
    delay.disable();
    return {
      elapsedMs,
      childCpuMs: bench.childCpuMs() - childMs,
      parentCpuMs: (user + system) / 1000,
      // The monitor counts its own interval.
      lagP99Ms: Math.max(0, delay.percentile(99) / 1e6 - 1),
    };
  };
}

/** Runs `request` in `lanes` loops at once for a while. */
export async function flatOut(
  lanes: number,
  durationMs: number,
  request: (lane: number) => Promise<unknown>,
): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  const loop = async (lane: number) => {
    while (performance.now() - startedMs < durationMs) {
      await request(lane);
      count++;
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, lane) => loop(lane)));
  return count;
}

export function sound(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => 0.1 * Math.sin(i * 0.05) * Math.sin(i * 0.0009));
}

export const round = (value: number, digits = 2) => Math.round(value * 10 ** digits) / 10 ** digits;

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Sum of a histogram's values whose names end like this, over all labels. */
export async function histogramTotal(histogram: Metrics['inferenceSeconds'], suffix: '_sum' | '_count') {
  const { values: all } = await histogram.get();
  return all.filter(({ metricName }) => metricName?.endsWith(suffix)).reduce((sum, { value }) => sum + value, 0);
}
