/** The service's own way from a recording to an embedding: decoder, gate, speech detector, windows, inference children. */
import { downmix } from '../audio/pcm.js';
import { writeWav } from '../audio/wav.js';
import type { EmbedderConfig, RecordingsConfig } from '../config/config.js';
import { WorkLimit } from '../domain/admission.js';
import { CallerSpeech } from '../domain/caller-speech/caller-speech.js';
import { listenToRecording } from '../domain/caller-speech/listen-to-recording.js';
import { SpeechEmbedding } from '../domain/caller-speech/speech-embedding.js';
import { VoiceAuthError } from '../domain/errors.js';
import type { Calibration } from '../domain/scoring/calibration.js';
import { Cohort } from '../domain/scoring/score-normalisation.js';
import { loadModelFiles, loadModelPackage, type ModelFiles } from '../embedder/model-package.js';
import { startModel } from '../embedder/open-embedder.js';
import { createLogger } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import { WorkerRecordingDecoder } from '../recordings/worker-recording-decoder.js';
import type { Sound } from './degradations.js';

/**
 * Counts up whenever the way from audio to embedding changes (decoder, degradations, gate, detector, windows, pooling), so that
 * nothing made the old way is taken from a cache.
 */
export const PIPELINE_VERSION = 3;

/** The way of a model whose package may be without cohort and calibration yet. */
export interface SpeechPath {
  readonly modelId: string;
  /** Identifies the weights: the manifest's SHA-256 of `model.onnx`. */
  readonly modelSha256: string;
  /** What else of the manifest makes the embedding: front end, tensors and windows, as text. */
  readonly frontEnd: string;
  /** Identifies the speech detector, see `RunningModel`. */
  readonly speechDetectorId: string;
  readonly sampleRateHz: number;
  readonly minWindowMs: number;
  /** Values per embedding. */
  readonly embeddingSize: number;
  /** Decodes a recording, mixed down to mono. */
  decode(bytes: Uint8Array, signal: AbortSignal): Promise<Sound>;
  /** Net speech of a recording (at the model's rate), at most `maxSpeechMs` of it. */
  hear(recording: Uint8Array | Sound, options: HearOptions): Promise<Float32Array>;
  embedding(signal: AbortSignal): (speech: Float32Array) => Promise<Float32Array>;
  close(): Promise<void>;
}

/** The same of a complete package. */
export interface ServicePath extends SpeechPath {
  readonly calibration: Calibration;
  readonly cohort: Cohort;
}

export interface HearOptions {
  readonly maxSpeechMs: number;
  readonly signal: AbortSignal;
}

export interface ServicePathConfig {
  readonly embedder: Pick<EmbedderConfig, 'modelsDir' | 'modelId' | 'speechDetector'>;
  readonly recordings: RecordingsConfig;
  /** Inference children, and recordings in work at once. */
  readonly jobs: number;
  /** Compiled modules for tests that run TypeScript sources. */
  readonly modules?: { readonly inferenceChild: URL; readonly decodeWorker: URL };
}

const CLOSE_TIMEOUT_MS = 5000;

/** Starts the children and the decoder. Throws `ModelPackageError` or `InferenceUnavailable` when they do not start. */
export async function openServicePath(config: ServicePathConfig): Promise<ServicePath> {
  const model = await loadModelPackage(config.embedder.modelsDir, config.embedder.modelId);
  const { calibration } = model;
  const cohort = new Cohort(model.cohort, model.manifest.embeddingSize, { top: calibration.cohortTop });
  return { ...(await startPath(model, config)), calibration, cohort };
}

/** The same for a package that needs no more than its manifest and its networks. Throws like `openServicePath`. */
export async function openSpeechPath(config: ServicePathConfig): Promise<SpeechPath> {
  return startPath(await loadModelFiles(config.embedder.modelsDir, config.embedder.modelId), config);
}

async function startPath(
  files: ModelFiles,
  { embedder: { speechDetector }, recordings: recordingsConfig, jobs, modules }: ServicePathConfig,
): Promise<SpeechPath> {
  const { manifest } = files;
  const model = await startModel(
    files,
    // Nobody waits for an answer here, so nothing is refused.
    { children: jobs, maxWaiting: 10_000, queueTimeoutMs: 3_600_000, speechDetector },
    { metrics: new Metrics(), logger: createLogger('warn'), childModule: modules?.inferenceChild },
  );
  const decoder = new WorkerRecordingDecoder(recordingsConfig, {
    threads: 1,
    maxWaiting: 10_000,
    queueTimeoutMs: 600_000,
    ...(modules ? { workerModule: modules.decodeWorker } : {}),
  });
  const recordings = new WorkLimit({ max: 10_000, what: 'recordings', retryAfterSeconds: 1 });
  const fetcher = { fetch: () => Promise.reject(new VoiceAuthError('InternalError', 'Nothing is fetched here')) };
  return {
    modelId: manifest.id,
    modelSha256: manifest.model.sha256,
    frontEnd: JSON.stringify([manifest.sampleRateHz, manifest.input, manifest.output, manifest.window]),
    speechDetectorId: model.speechDetectorId,
    sampleRateHz: model.detector.sampleRateHz,
    minWindowMs: manifest.window.minMs,
    embeddingSize: manifest.embeddingSize,
    decode: async (bytes, signal) => {
      const { channels, sampleRateHz } = await decoder.decode(bytes, { signal });
      return { samples: downmix(channels), sampleRateHz };
    },
    hear: async (recording, { maxSpeechMs, signal }) => {
      const bytes =
        recording instanceof Uint8Array
          ? recording
          : writeWav(recording.samples, recording.sampleRateHz, { encoding: 'pcm_s16le' });
      const speech = new CallerSpeech({
        detector: model.detector,
        maxSpeechMs,
        inference: { priority: 'upload', signal },
      });
      const source = { kind: 'upload', bytes, channel: undefined } as const;
      await listenToRecording(source, speech, { fetcher, decoder, recordings, signal });
      return speech.samples();
    },
    embedding: (signal) => {
      const windows = new SpeechEmbedding(model.embedder);
      return (speech) => windows.embed(speech, { priority: 'upload', signal });
    },
    close: async () => {
      await Promise.all([model.drain(CLOSE_TIMEOUT_MS), decoder.close()]);
    },
  };
}
