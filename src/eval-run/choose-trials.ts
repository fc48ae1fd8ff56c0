/** The trials of an evaluation: all that the data allow, or those of a list, and the recordings that are in them. */
import { buildTrials, mayCompare, type Trial, trialName } from '../evaluation/trials.js';
import { EvaluationError } from './eval-error.js';
import type { Corpus, Recording } from './read-corpus.js';

export interface ChosenTrials {
  /** With the recordings that the trials name. */
  readonly corpus: Corpus;
  readonly trials: readonly Trial[];
}

/** All pairs of 2,000 recordings: more take more memory than a process has, and hours. */
const MAX_PAIRS = 4_000_000;

/**
 * The trials of every corpus. Throws `EvaluationError` for a list that does not fit the data, for a corpus without targets or
 * nontargets, and for so many recordings that all their pairs are too many.
 */
export function chooseTrials(corpora: readonly Corpus[], list: readonly Trial[] | undefined): readonly ChosenTrials[] {
  if (!list) requireFewPairs(corpora);
  const chosen = list
    ? chooseListed(corpora, list)
    : corpora.map((corpus) => ({ corpus, trials: buildTrials(corpus.recordings) }));
  for (const { corpus, trials } of chosen) requireBothLabels(corpus.name, trials, list !== undefined);
  return chosen;
}

function requireFewPairs(corpora: readonly Corpus[]): void {
  const pairs = corpora.reduce((sum, { recordings: { length } }) => sum + length * (length - 1), 0);
  if (pairs <= MAX_PAIRS) return;
  const recordings = corpora.reduce((sum, { recordings: { length } }) => sum + length, 0);
  throw new EvaluationError(
    `${recordings} recordings make ${pairs.toLocaleString('en')} pairs, more than the ${MAX_PAIRS.toLocaleString('en')} that can be ` +
      'compared at once: choose trials with --trials <file>',
  );
}

/** Never looks at pairs that are not listed: benchmarks have some ten thousand trials of some thousand recordings. */
function chooseListed(corpora: readonly Corpus[], list: readonly Trial[]): readonly ChosenTrials[] {
  const recordings = new Map(
    corpora.flatMap((corpus) => corpus.recordings.map((recording) => [recording.id, recording])),
  );
  const trials = new Map(corpora.map(({ name }): [string, Trial[]] => [name, []]));
  const used = new Set<string>();
  for (const trial of list) {
    const [enroll, test] = [trial.enrollId, trial.testId].map((id) => knownRecording(recordings, id)) as [
      Recording,
      Recording,
    ];
    requireComparable(trial, enroll, test);
    trials.get(enroll.corpus)!.push(trial);
    used.add(enroll.id).add(test.id);
  }
  return corpora.map((corpus) => ({
    corpus: { ...corpus, recordings: corpus.recordings.filter(({ id }) => used.has(id)) },
    trials: trials.get(corpus.name)!,
  }));
}

function knownRecording(recordings: ReadonlyMap<string, Recording>, id: string): Recording {
  const found = recordings.get(id);
  if (!found) throw new EvaluationError(`The trial list names ${id}, which the data do not have`);
  return found;
}

/** A list of which a part is left out without a word would be an evaluation of something else. */
function requireComparable(trial: Trial, enroll: Recording, test: Recording): void {
  if (!mayCompare(enroll, test)) {
    throw new EvaluationError(
      `The trial list compares "${trialName(trial)}": recordings of one call, of one file or of two data folders make no trial`,
    );
  }
  if (trial.target !== (enroll.speaker === test.speaker)) {
    throw new EvaluationError(`The trial list calls "${trialName(trial)}" what the speakers' names contradict`);
  }
}

function requireBothLabels(name: string, trials: readonly Trial[], listed: boolean): void {
  for (const label of ['target', 'nontarget'] as const) {
    if (trials.some(({ target }) => target === (label === 'target'))) continue;
    const why = label === 'target' ? 'nobody has two recordings of different calls' : 'there is only one speaker';
    throw new EvaluationError(`${name} makes no ${label} trials: ${listed ? 'the list has none of them' : why}`);
  }
}
