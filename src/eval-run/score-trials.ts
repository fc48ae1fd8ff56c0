/** Scores trials with what was embedded: raw cosine and AS-norm, side by side. */
import { cosine } from '../domain/scoring/embedding.js';
import { type Cohort, type CohortStatistics, normaliseScore } from '../domain/scoring/score-normalisation.js';
import { randomGenerator } from '../evaluation/random.js';
import type { Trial } from '../evaluation/trials.js';
import type { EmbeddedRecording } from './embedding-cache.js';

/** One side of trials: an embedding with its standing in the cohort. */
export interface Voice {
  readonly speaker: string;
  readonly netSpeechMs: number;
  readonly embedding: Float32Array;
  readonly statistics: CohortStatistics;
}

/** Voices of one segment under one condition, by id of the recording; without those that have too little speech. */
export type Voices = ReadonlyMap<string, Voice>;

export interface ScoredTrials {
  readonly cosines: Float64Array;
  readonly normScores: Float64Array;
  readonly isTarget: Uint8Array;
  readonly enrollSpeakers: readonly string[];
  readonly testSpeakers: readonly string[];
  /** Net speech of the test side. */
  readonly netSpeechMs: Float64Array;
}

export function voicesOf(
  recordings: readonly { readonly id: string; readonly speaker: string; readonly embedded: EmbeddedRecording }[],
  segment: string,
  cohort: Cohort,
): Voices {
  const voices = new Map<string, Voice>();
  for (const { id, speaker, embedded } of recordings) {
    const found = embedded.segments.get(segment);
    if (!found) continue;
    voices.set(id, { speaker, ...found, statistics: cohort.statistics(found.embedding) });
  }
  return voices;
}

/** Scores the trials of which both sides have a voice, in their order. */
export function scoreTrials(trials: readonly Trial[], enroll: Voices, test: Voices): ScoredTrials {
  const usable = trials.filter(({ enrollId, testId }) => enroll.has(enrollId) && test.has(testId));
  const pairs = usable.map(({ enrollId, testId }) => [enroll.get(enrollId)!, test.get(testId)!] as const);
  const cosines = Float64Array.from(pairs, ([a, b]) => cosine(a.embedding, b.embedding));
  return {
    cosines,
    normScores: cosines.map((raw, index) =>
      normaliseScore(raw, pairs[index]![0].statistics, pairs[index]![1].statistics),
    ),
    isTarget: Uint8Array.from(usable, ({ target }) => (target ? 1 : 0)),
    enrollSpeakers: pairs.map(([voice]) => voice.speaker),
    testSpeakers: pairs.map(([, voice]) => voice.speaker),
    netSpeechMs: Float64Array.from(pairs, ([, voice]) => voice.netSpeechMs),
  };
}

/** Half of the people (0 or 1) to which both speakers of a trial belong, or undefined when they are of different halves. */
export type HalfOf = (enrollSpeaker: string, testSpeaker: string) => 0 | 1 | undefined;

/**
 * Half of the people, drawn anew for every seed. Those with several calls, who make the target trials, and those with one are
 * divided separately, so that neither half is without the ones or the others.
 */
export function splitPeople(
  sides: readonly { readonly speaker: string; readonly session: string }[],
  seed: number,
): HalfOf {
  const sessions = new Map<string, Set<string>>();
  for (const { speaker, session } of sides) sessions.set(speaker, (sessions.get(speaker) ?? new Set()).add(session));
  const random = randomGenerator(seed);
  const names = [...sessions.keys()].sort().map((name) => ({ name, key: random() }));
  names.sort((a, b) => a.key - b.key);
  const several = names.filter(({ name }) => sessions.get(name)!.size > 1);
  const single = names.filter(({ name }) => sessions.get(name)!.size === 1);
  const halves = new Map([...several, ...single].map(({ name }, index) => [name, (index % 2) as 0 | 1]));
  return (enrollSpeaker, testSpeaker) => {
    const half = halves.get(enrollSpeaker);
    return half === halves.get(testSpeaker) ? half : undefined;
  };
}

/** Indices of the trials inside one half. */
export function trialsOfHalf(trials: ScoredTrials, halfOf: HalfOf, half: 0 | 1): readonly number[] {
  return [...trials.enrollSpeakers.keys()].filter(
    (index) => halfOf(trials.enrollSpeakers[index]!, trials.testSpeakers[index]!) === half,
  );
}
