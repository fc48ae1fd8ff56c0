/** What the tests of the inference children share: signals that are not silence, a pool on the shipped model, and sabotage. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { InferencePool, type InferencePoolOptions } from '../../src/embedder/inference-pool.js';
import type { LoadRequest } from '../../src/embedder/inference-protocol.js';
import { parseManifest } from '../../src/embedder/manifest.js';
import { loadRequest } from '../../src/embedder/open-embedder.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { builtModule } from './built.js';
import { SHIPPED_PACKAGE } from './model-folder.js';

export const CHILD_MODULE = builtModule('embedder/inference-child.js');

/** Harmonics of a gliding pitch under a syllable-like envelope: deterministic, and different for every `voice`. */
export function tone(seconds: number, voice = 1): Float32Array {
  const samples = new Float32Array(Math.round(seconds * 16_000));
  for (let i = 0; i < samples.length; i++) {
    const t = i / 16_000;
    const phase = 2 * Math.PI * ((90 + 40 * voice) * t + 6 * Math.sin(2.3 * t + voice));
    let value = 0;
    for (let harmonic = 1; harmonic <= 12; harmonic++) {
      value += Math.sin(harmonic * phase) / (1 + Math.abs(harmonic - 2 - voice));
    }
    samples[i] = 0.1 * value * (0.55 + 0.45 * Math.sin(2 * Math.PI * 4 * t));
  }
  return samples;
}

/** What a child is told to load: the shipped model, or another file in its place, and Silero's detector. */
export function shippedLoad(modelPath = join(SHIPPED_PACKAGE, 'model.onnx')): LoadRequest {
  const parsed = parseManifest(readFileSync(join(SHIPPED_PACKAGE, 'manifest.json'), 'utf8'));
  if (parsed.kind !== 'manifest') throw new Error(parsed.problem);
  return loadRequest({ manifest: parsed.manifest, modelPath, speechDetectorPath: undefined }, 'silero');
}

/** A pool on the shipped model (not started yet), with its children's process ids as they get ready. */
export class PoolUnderTest {
  readonly metrics = new Metrics();
  /** Process ids of all children that got ready, oldest first. */
  readonly readyPids: number[] = [];
  /** Called with the process id as soon as a child is ready, before it gets any work. */
  onReady: ((pid: number) => void) | undefined;
  readonly pool: InferencePool;

  constructor(options: Partial<InferencePoolOptions> = {}) {
    this.pool = new InferencePool(
      {
        children: 1,
        maxWaiting: 8,
        queueTimeoutMs: 20_000,
        childModule: CHILD_MODULE,
        load: shippedLoad(),
        ...options,
      },
      { metrics: this.metrics, logger: createLogger('info', { write: (line) => this.note(line) }) },
    );
  }

  /** The sum of a counter over all label values that match. */
  async count(name: string, labels: Record<string, string> = {}): Promise<number> {
    const metric = await this.metrics.registry.getSingleMetric(`voice_auth_${name}`)?.get();
    const values = metric?.values ?? [];
    return values
      .filter((value) => Object.entries(labels).every(([label, wanted]) => value.labels[label] === wanted))
      .reduce((sum, value) => sum + value.value, 0);
  }

  private note(line: string): void {
    const entry = JSON.parse(line) as { msg: string; pid?: number };
    if (entry.msg !== 'inference child ready' || entry.pid === undefined) return;
    this.readyPids.push(entry.pid);
    this.onReady?.(entry.pid);
  }
}

/** Resolves when `condition` holds; fails after `limitMs`, which only a broken program reaches. */
export async function eventually(condition: () => boolean, limitMs = 20_000): Promise<void> {
  const until = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > until) throw new Error('the expected state was never reached');
    await delay(5);
  }
}

/** Whether a process runs. A zombie does not: it only waits to be noticed by its parent. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    // No /proc on this system, or gone just now.
    return !existsSync(`/proc`) || existsSync(`/proc/${pid}`);
  }
}
