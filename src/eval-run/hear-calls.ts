/** The calls of labelled telephone speech as the service hears them: an enrollment of each, and probes. Nothing is kept on disk. */

import type { Cohort } from '../domain/scoring/score-normalisation.js';
import { ENROLL_S, MIN_SPEECH_MS } from '../evaluation/fit-calibration.js';
import { buildTrials } from '../evaluation/trials.js';
import { embedRecordings } from './embed-recordings.js';
import type { EmbeddedRecording } from './embedding-cache.js';
import { EvaluationError } from './eval-error.js';
import type { LaneOptions } from './lanes.js';
import type { Corpus, Recording } from './read-corpus.js';
import { type Voices, voicesOf } from './score-trials.js';
import { type Segment, segmentName } from './segments.js';
import type { SpeechPath } from './service-path.js';

export interface HeardCall extends Recording {
  readonly embedded: EmbeddedRecording;
}

/** The enrolled side of every trial: the first 15 s of net speech of a call. */
export const ENROLLED: Segment = { kind: 'first', seconds: ENROLL_S };
/** `MAX_AUDIO_DURATION` as it comes: the service hears no more of a call. */
const MAX_SPEECH_MS = 30_000;

/**
 * Embeds the enrollment and the probes of every call that has enough speech to be decided on. Throws `EvaluationError` when
 * two people are not left, `options.signal.reason` when aborted.
 */
export async function hearCalls(
  corpus: Corpus,
  probes: readonly Segment[],
  options: LaneOptions & { readonly path: SpeechPath },
): Promise<readonly HeardCall[]> {
  const segments = [ENROLLED, ...probes];
  const jobs = corpus.recordings.map((recording) => ({
    recording,
    degradation: { name: 'as-is', steps: [] },
    segments,
  }));
  const embedded = await embedRecordings(jobs, {
    ...options,
    cache: undefined,
    maxSpeechMs: MAX_SPEECH_MS,
    codec: undefined,
    noise: undefined,
    noiseHash: undefined,
  });
  const calls = corpus.recordings
    .map((recording, index) => ({ ...recording, embedded: embedded[index]! }))
    .filter((call) => call.embedded.netSpeechMs >= MIN_SPEECH_MS);
  if (peopleOf(calls).length < 2) {
    throw new EvaluationError(
      `${corpus.name}: fewer than two people have ${MIN_SPEECH_MS / 1000} s of speech, so there are no strangers to compare`,
    );
  }
  return calls;
}

/** Every ordered pair of calls that may be compared. */
export function trialsOf(calls: readonly HeardCall[]) {
  return buildTrials(calls);
}

/** The voices of one stretch of all calls, with their standing in a cohort. */
export function voicesOfCalls(calls: readonly HeardCall[], segment: Segment, cohort: Cohort): Voices {
  return voicesOf(calls, segmentName(segment), cohort);
}

/** Names, sorted. */
export function peopleOf(calls: readonly { readonly speaker: string }[]): readonly string[] {
  return [...new Set(calls.map(({ speaker }) => speaker))].sort();
}
