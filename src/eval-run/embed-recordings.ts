/** Embeds the recordings of an evaluation under its conditions, as much as the cache does not hold already. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Degradation, type DegradationDeps, degrade, isDrawn, type Sound } from './degradations.js';
import { type EmbeddedRecording, type EmbeddedSegment, EmbeddingCache } from './embedding-cache.js';
import { EvaluationError, faultOfRecording } from './eval-error.js';
import { inLanes } from './lanes.js';
import type { Recording } from './read-corpus.js';
import { cutSegment, type Segment, segmentName } from './segments.js';
import { PIPELINE_VERSION, type SpeechPath } from './service-path.js';
import { cutStretches } from './stretches.js';

/** One recording under one condition, and what of it is to be embedded. */
export interface EmbeddingJob {
  readonly recording: Recording;
  readonly degradation: Degradation;
  readonly segments: readonly Segment[];
}

export interface EmbedOptions extends Omit<DegradationDeps, 'seed'> {
  readonly path: SpeechPath;
  /** Undefined = nothing is kept. */
  readonly cache: EmbeddingCache | undefined;
  readonly jobs: number;
  readonly maxSpeechMs: number;
  /** Identifies the noise in cache keys; undefined without noise. */
  readonly noiseHash: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

/** The results in the order of the jobs. Throws `signal.reason` when aborted; what was done until then is in the cache. */
export async function embedRecordings(
  jobs: readonly EmbeddingJob[],
  options: EmbedOptions,
): Promise<readonly EmbeddedRecording[]> {
  return inLanes(jobs, options, (job, _, signal) => embedOne(job, { ...options, signal }));
}

async function embedOne(job: EmbeddingJob, options: EmbedOptions): Promise<EmbeddedRecording> {
  const { recording, degradation, segments } = job;
  const { path, cache, signal, maxSpeechMs } = options;
  const bytes = await readFile(recording.path).catch(() => {
    throw new EvaluationError(`${recording.path} cannot be read`);
  });
  const key = EmbeddingCache.key([
    bytes,
    JSON.stringify(recording.stretches ?? null),
    JSON.stringify(degradation.steps),
    degradation.steps.some(({ kind }) => kind === 'noise') ? (options.noiseHash ?? '') : '',
    path.modelSha256,
    path.frontEnd,
    path.speechDetectorId,
    `${path.modelId} pipeline ${PIPELINE_VERSION} max ${maxSpeechMs}`,
    // What is drawn by the name of the recording is another for the same bytes under another name.
    ...(isDrawn(degradation) ? [String(seedOf(recording))] : []),
  ]);
  const cached = await cache?.read(key);
  const missing = segments.filter((segment) => !cached?.segments.has(segmentName(segment)));
  if (cached && (missing.length === 0 || cached.netSpeechMs < path.minWindowMs)) return cached;

  const speech = await hear(bytes, job, options).catch((error: unknown) => {
    // Of a thousand files, which one? And never taken for one with too little speech.
    throw signal.aborted ? signal.reason : faultOfRecording(recording.path, error);
  });
  const perMs = path.sampleRateHz / 1000;
  const found = new Map<string, EmbeddedSegment>(cached?.segments);
  if (speech.length >= path.minWindowMs * perMs) {
    // Windows that several segments share, counted from the start of the speech, are embedded once.
    const fromStart = path.embedding(signal);
    for (const segment of missing) {
      const samples = cutSegment(speech, segment, path.sampleRateHz);
      if (samples.length < path.minWindowMs * perMs) continue;
      const embed = segment.kind === 'last' ? path.embedding(signal) : fromStart;
      const embedding = await embed(samples);
      found.set(segmentName(segment), { netSpeechMs: samples.length / perMs, embedding });
    }
  }
  const result = { netSpeechMs: speech.length / perMs, segments: found };
  await cache?.write(key, result);
  return result;
}

async function hear(bytes: Uint8Array, job: EmbeddingJob, options: EmbedOptions): Promise<Float32Array> {
  const sound = await soundOf(bytes, job, options);
  // Stretches behind the end of their file: nothing in them is a fact about the data.
  if (!(sound instanceof Uint8Array) && sound.samples.length === 0) return new Float32Array(0);
  return options.path.hear(sound, { maxSpeechMs: options.maxSpeechMs, signal: options.signal });
}

/** The file as it is, or the stretches and the condition asked for. */
async function soundOf(bytes: Uint8Array, job: EmbeddingJob, options: EmbedOptions): Promise<Uint8Array | Sound> {
  const { recording, degradation } = job;
  if (recording.stretches === undefined && degradation.steps.length === 0) return bytes;
  const decoded = await options.path.decode(bytes, options.signal);
  const sound = recording.stretches ? cutStretches(decoded, recording.stretches) : decoded;
  return degrade(sound, degradation, { codec: options.codec, noise: options.noise, seed: seedOf(recording) });
}

function seedOf({ id }: Recording): number {
  return createHash('sha256').update(id).digest().readUInt32LE(0);
}
