/**
 * Trial lists: which recording is compared with which, and whether the same person speaks in both. Kaldi's text form, one
 * trial a line: `enroll-id test-id target|nontarget`.
 */

/** A recording as far as trials are concerned. */
export interface TrialSide {
  readonly id: string;
  readonly speaker: string;
  /** One call or sitting; within one, the channel gives the speaker away. */
  readonly session: string;
  readonly corpus: string;
  /** Path of the file where it holds more than this; all that is in it went through one channel. */
  readonly sharedFile?: string | undefined;
}

export interface Trial {
  readonly enrollId: string;
  readonly testId: string;
  readonly target: boolean;
}

/** The pair as a trial list names it. */
export function trialName({ enrollId, testId }: Pick<Trial, 'enrollId' | 'testId'>): string {
  return `${enrollId} ${testId}`;
}

/**
 * Whether two recordings may be compared. Never within one session or one file, where the channel is the same; never across
 * corpora, where bandwidth and room tell the two apart.
 */
export function mayCompare(enroll: TrialSide, test: TrialSide): boolean {
  if (enroll.id === test.id || enroll.corpus !== test.corpus) return false;
  if (enroll.sharedFile !== undefined && enroll.sharedFile === test.sharedFile) return false;
  return enroll.speaker !== test.speaker || enroll.session !== test.session;
}

/** All ordered pairs of recordings that may be compared, corpus by corpus in the order given. */
export function buildTrials(sides: readonly TrialSide[]): Trial[] {
  return [...eachTrial(sides)];
}

/** The same one at a time, for more than a list can hold. */
export function* eachTrial(sides: readonly TrialSide[]): Generator<Trial> {
  const byCorpus = new Map<string, TrialSide[]>();
  const ids = new Set<string>();
  for (const side of sides) {
    if (ids.has(side.id)) throw new RangeError(`two recordings are called ${side.id}`);
    ids.add(side.id);
    const members = byCorpus.get(side.corpus);
    if (members) members.push(side);
    else byCorpus.set(side.corpus, [side]);
  }
  for (const members of byCorpus.values()) {
    for (const enroll of members) {
      for (const test of members) {
        if (!mayCompare(enroll, test)) continue;
        yield { enrollId: enroll.id, testId: test.id, target: enroll.speaker === test.speaker };
      }
    }
  }
}

/** Lines written at a time. */
const CHUNK_LINES = 10_000;

/**
 * One line per trial, each ended by a line feed, in chunks. Throws `RangeError` for an id that the form cannot hold.
 */
export function* formatTrials(trials: Iterable<Trial>): Generator<string> {
  let lines: string[] = [];
  for (const { enrollId, testId, target } of trials) {
    for (const id of [enrollId, testId]) {
      if (!/^\S+$/.test(id)) throw new RangeError(`"${id}" cannot stand in a trial list: it is empty or has spaces`);
    }
    lines.push(`${enrollId} ${testId} ${target ? 'target' : 'nontarget'}\n`);
    if (lines.length < CHUNK_LINES) continue;
    yield lines.join('');
    lines = [];
  }
  if (lines.length > 0) yield lines.join('');
}

export type ParsedTrials =
  | { readonly kind: 'trials'; readonly trials: readonly Trial[] }
  | { readonly kind: 'invalid'; readonly line: number; readonly problem: string };

/** Reads a trial list; empty lines are skipped, and a trial that is there twice is an error: it would count twice. */
export function parseTrials(text: string): ParsedTrials {
  const trials: Trial[] = [];
  const lineOf = new Map<string, number>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const [enrollId, testId, label, ...rest] = line.trim().split(/\s+/);
    if (enrollId === undefined || testId === undefined || label === undefined || rest.length > 0) {
      return {
        kind: 'invalid',
        line: index + 1,
        problem: 'a trial has three words: enroll-id test-id target|nontarget',
      };
    }
    if (label !== 'target' && label !== 'nontarget') {
      return { kind: 'invalid', line: index + 1, problem: `"${label}" is neither target nor nontarget` };
    }
    const pair = trialName({ enrollId, testId });
    const before = lineOf.get(pair);
    if (before !== undefined)
      return { kind: 'invalid', line: index + 1, problem: `"${pair}" is in line ${before}, too` };
    lineOf.set(pair, index + 1);
    trials.push({ enrollId, testId, target: label === 'target' });
  }
  return { kind: 'trials', trials };
}
