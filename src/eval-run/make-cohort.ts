/**
 * A cohort from labelled speech: each speaker's net speech, through one of the telephone conditions in turn, by the service's
 * own way (decoder, gate, speech detector, windows) to one unit embedding.
 */
import { createHash } from 'node:crypto';
import { type Degradation, type DegradationDeps, degrade } from './degradations.js';
import { EvaluationError } from './eval-error.js';
import { inLanes } from './lanes.js';
import { type Speaker, speakerSound } from './read-speakers.js';
import type { SpeechPath } from './service-path.js';

export interface CohortOptions extends Omit<DegradationDeps, 'seed'> {
  readonly path: Pick<SpeechPath, 'decode' | 'hear' | 'embedding' | 'sampleRateHz' | 'minWindowMs' | 'embeddingSize'>;
  readonly degradations: readonly Degradation[];
  /** Net speech of an embedding, at most. */
  readonly seconds: number;
  readonly jobs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

export interface CohortEmbeddings {
  /** `count` unit embeddings, row after row, in the order of the speakers. */
  readonly rows: Float32Array;
  readonly count: number;
  /** Speakers with less net speech than the model takes. */
  readonly tooShort: number;
}

/** Sound taken per second of net speech wanted: what the speech detector leaves of read speech, with room. */
const SOUND_PER_SPEECH = 2;
/**
 * With fewer the statistics of a normalisation are those of single people: a mean and a deviation of the closest half of nine
 * say more about who they are than about the voice that is judged.
 */
export const MIN_COHORT = 10;

/** Throws `EvaluationError` when fewer than `MIN_COHORT` speakers can be used, `signal.reason` when aborted. */
export async function embedCohort(speakers: readonly Speaker[], options: CohortOptions): Promise<CohortEmbeddings> {
  const { embeddingSize } = options.path;
  const found = await inLanes(speakers, options, (speaker, index, signal) =>
    embedSpeaker(speaker, options.degradations[index % options.degradations.length]!, { ...options, signal }),
  );
  const embeddings = found.filter((embedding) => embedding !== undefined);
  if (embeddings.length < MIN_COHORT) {
    throw new EvaluationError(
      `Only ${embeddings.length} speakers can be used (${found.length - embeddings.length} have too little speech): ` +
        `a cohort needs at least ${MIN_COHORT}, and some hundred are better`,
    );
  }
  const rows = new Float32Array(embeddings.length * embeddingSize);
  for (const [index, embedding] of embeddings.entries()) rows.set(embedding, index * embeddingSize);
  return { rows, count: embeddings.length, tooShort: found.length - embeddings.length };
}

async function embedSpeaker(
  speaker: Speaker,
  degradation: Degradation,
  { path, seconds, signal, codec, noise }: CohortOptions,
): Promise<Float32Array | undefined> {
  const sound = await speakerSound(speaker, {
    decode: (bytes) => path.decode(bytes, signal),
    atMostS: seconds * SOUND_PER_SPEECH,
  });
  if (sound.samples.length === 0) return undefined;
  const seed = createHash('sha256').update(speaker.name).digest().readUInt32LE(0);
  const heard = await path.hear(await degrade(sound, degradation, { codec, noise, seed }), {
    maxSpeechMs: seconds * 1000,
    signal,
  });
  if (heard.length < (path.minWindowMs * path.sampleRateHz) / 1000) return undefined;
  return path.embedding(signal)(heard);
}
