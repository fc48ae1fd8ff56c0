/** Puts the room together: a verified model package, the inference children, and the domain's two ports over them. */
import type { EmbedderConfig } from '../config/config.js';
import type { ComponentHealth } from '../domain/ports/health.js';
import type { SpeakerEmbedder, SpeechDetector } from '../domain/ports/speaker-model.js';
import { InferencePool, type InferencePoolDeps } from './inference-pool.js';
import type { LoadRequest } from './inference-protocol.js';
import { fbankOptions, type ModelManifest } from './manifest.js';
import { loadModelPackage, type ModelPackage } from './model-package.js';
import { PoolSpeakerEmbedder } from './pool-speaker-embedder.js';
import { SileroSpeechDetector, sileroModelPath } from './silero-speech-detector.js';

export interface OpenEmbedderDeps extends InferencePoolDeps {
  /** The compiled child; tests that run TypeScript sources name it. */
  readonly childModule?: URL | undefined;
}

/** A model in its children. */
export interface RunningModel {
  readonly embedder: SpeakerEmbedder;
  readonly detector: SpeechDetector;
  /** The components `model` and `inference`. */
  health(): readonly ComponentHealth[];
  /** Lets running inferences finish, at most `timeoutMs`, and ends the children. */
  drain(timeoutMs: number): Promise<void>;
}

export interface OpenEmbedder extends RunningModel {
  readonly package: ModelPackage;
}

/**
 * Verifies the configured model package and starts the children. Throws `ModelPackageError` when the package is missing or
 * not what its manifest says, `InferenceUnavailable` when the children do not start.
 */
export async function openEmbedder(config: EmbedderConfig, deps: OpenEmbedderDeps): Promise<OpenEmbedder> {
  const modelPackage = await loadModelPackage(config.modelsDir, config.modelId);
  return { package: modelPackage, ...(await startModel(modelPackage, config, deps)) };
}

/**
 * Starts the children on a verified model, whose package may be without cohort and calibration yet. Throws
 * `InferenceUnavailable` when they do not start.
 */
export async function startModel(
  model: Pick<ModelPackage, 'manifest' | 'modelPath'>,
  config: Pick<EmbedderConfig, 'children' | 'maxWaiting' | 'queueTimeoutMs'>,
  deps: OpenEmbedderDeps,
): Promise<RunningModel> {
  const { manifest } = model;
  const pool = new InferencePool(
    {
      children: config.children,
      maxWaiting: config.maxWaiting,
      queueTimeoutMs: config.queueTimeoutMs,
      load: loadRequest(model),
      childModule: deps.childModule,
    },
    deps,
  );
  await pool.start();
  return {
    embedder: new PoolSpeakerEmbedder(manifest, pool),
    detector: new SileroSpeechDetector(pool),
    health: () => components(manifest, pool),
    drain: (timeoutMs) => pool.drain(timeoutMs),
  };
}

/** What a child has to load for this package, the speech detector included. */
export function loadRequest({ manifest, modelPath }: Pick<ModelPackage, 'manifest' | 'modelPath'>): LoadRequest {
  return {
    kind: 'load',
    speaker: {
      path: modelPath,
      inputTensor: manifest.input.tensor,
      outputTensor: manifest.output.tensor,
      embeddingSize: manifest.embeddingSize,
      unitLength: manifest.output.unitLength,
      sampleRateHz: manifest.sampleRateHz,
      fbank: fbankOptions(manifest.input),
      warmUpSamples: Math.round((manifest.window.preferredMs * manifest.sampleRateHz) / 1000),
    },
    detector: { path: sileroModelPath() },
  };
}

function components(manifest: ModelManifest, pool: InferencePool): readonly ComponentHealth[] {
  const { ok, children, ready, waiting, running } = pool.health();
  return [
    { name: 'model', ok: true, detail: { id: manifest.id, embeddingSize: manifest.embeddingSize } },
    { name: 'inference', ok, detail: { children, ready, waiting, running } },
  ];
}
