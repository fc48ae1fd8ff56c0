/** Starts one inference child on a model, which runs its graph once, and ends it: whether the file is what its manifest says. */
import type { EmbedderConfig } from '../config/config.js';
import { InferencePool, type InferencePoolDeps } from './inference-pool.js';
import type { ModelFiles } from './model-package.js';
import { loadRequest } from './open-embedder.js';

export interface TryModelDeps extends InferencePoolDeps {
  readonly speechDetector: EmbedderConfig['speechDetector'];
  /** The compiled child; tests that run TypeScript sources name it. */
  readonly childModule?: URL | undefined;
}

/** Throws `InferenceUnavailable` with the reason when the graph cannot be loaded or gives something else than promised. */
export async function tryModel(
  model: ModelFiles,
  { childModule, speechDetector, ...deps }: TryModelDeps,
): Promise<void> {
  const pool = new InferencePool(
    { children: 1, maxWaiting: 1, queueTimeoutMs: 1000, load: loadRequest(model, speechDetector), childModule },
    deps,
  );
  await pool.start();
  await pool.drain(5000);
}
