/**
 * How large a cohort has to be, and how many of its closest speakers should judge: error rates and costs on telephone calls
 * for several of each, side by side, with those of the bare cosine.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Cohort } from '../domain/scoring/score-normalisation.js';
import type { BootstrapOptions } from '../evaluation/bootstrap.js';
import { measure } from '../evaluation/measure.js';
import type { ReportedEstimate } from '../evaluation/results.js';
import { crossValidate, reported } from './cross-validate.js';
import { EvaluationError } from './eval-error.js';
import { ENROLLED, type HeardCall, trialsOf, voicesOfCalls } from './hear-calls.js';
import { type ScoredTrials, scoreTrials, splitPeople } from './score-trials.js';
import type { Segment } from './segments.js';

export interface CohortFigures {
  /** Speakers in the cohort and how many of the closest judge; undefined = the bare cosine. */
  readonly cohort: { readonly size: number; readonly top: number } | undefined;
  /** In the order of `PROBES`. */
  readonly probes: readonly {
    readonly equalErrorRate: ReportedEstimate;
    /**
     * Normalised cost when 1 in 20 attempts is by the owner, of decisions by a calibration that was fitted on other people
     * (by a fixed threshold, for the bare cosine); null with too few people.
     */
    readonly actDcf: number | null;
  }[];
}

export interface CohortChoices {
  readonly sizes: readonly number[];
  readonly tops: readonly number[];
  readonly bootstrap: BootstrapOptions;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

/** The tested side of the trials: 5 s, as a quick answer has, and all of a call (at most 30 s). */
export const PROBES: readonly Segment[] = [{ kind: 'first', seconds: 5 }, { kind: 'all' }];

/** Ways to cut the people into halves for what is fitted on one and applied to the other. */
const CUTS = 10;
/** The prior of an owner at which costs are compared. */
const PRIOR = 0.05;
/** Places of the systems in what `crossValidate` answers. */
const COSINE = 0;
const CALIBRATED = 2;

/**
 * `rows`: `count` unit embeddings in random order, of which a cohort of n takes the first n. Throws `EvaluationError` when the
 * calls make no target or no nontarget trials. The whole cohort is always among what is compared, sizes beyond it never.
 */
export async function chooseCohort(
  calls: readonly HeardCall[],
  cohort: { readonly rows: Float32Array; readonly count: number },
  choices: CohortChoices,
): Promise<readonly CohortFigures[]> {
  const dimensions = cohort.rows.length / cohort.count;
  const trials = trialsOf(calls);
  for (const wanted of [true, false]) {
    if (trials.some(({ target }) => target === wanted)) continue;
    throw new EvaluationError(
      `The calls to choose on make no ${wanted ? 'target' : 'nontarget'} trials: they must be of several people with several calls each`,
    );
  }
  const sizes = new Set([...choices.sizes.filter((size) => size <= cohort.count), cohort.count]);
  // More than there are cannot judge: all of them do.
  const pairs = [...sizes].flatMap((size) =>
    [...new Set(choices.tops.map((top) => Math.min(top, size)))].map((top) => ({ size, top })),
  );
  const found: CohortFigures[] = [];
  for (const [index, pair] of pairs.entries()) {
    // Each takes a second or so: Ctrl-C must be heard.
    await nextTurn();
    choices.signal.throwIfAborted();
    const normaliser = new Cohort(cohort.rows.subarray(0, pair.size * dimensions), dimensions, { top: pair.top });
    const enrolled = voicesOfCalls(calls, ENROLLED, normaliser);
    const scored = PROBES.map((probe) => scoreTrials(trials, enrolled, voicesOfCalls(calls, probe, normaliser)));
    const figures = async (system: 'cosine' | 'as-norm') => {
      const probes: CohortFigures['probes'][number][] = [];
      for (const of of scored) probes.push(await figuresOf(of, system, { calls, choices }));
      return probes;
    };
    if (index === 0) found.push({ cohort: undefined, probes: await figures('cosine') });
    found.push({ cohort: pair, probes: await figures('as-norm') });
    choices.onProgress(index + 1, pairs.length);
  }
  return found;
}

async function figuresOf(
  scored: ScoredTrials,
  system: 'cosine' | 'as-norm',
  { calls, choices }: { readonly calls: readonly HeardCall[]; readonly choices: CohortChoices },
): Promise<CohortFigures['probes'][number]> {
  const { bootstrap, signal } = choices;
  const scores = system === 'cosine' ? scored.cosines : scored.normScores;
  const { eer } = measure({ ...scored, scores }, { areLlrs: false, bootstrap });
  const cuts = Array.from({ length: CUTS }, (_, index) => splitPeople(calls, bootstrap.seed + index));
  // Only the value is shown: intervals of costs would take most of the time.
  const validation = await crossValidate([{ name: system, trials: scored }], cuts, {
    bootstrap: { ...bootstrap, resamples: 2 },
    signal,
  });
  const costs = validation?.decisions.find(({ pTarget }) => pTarget === PRIOR)?.systems;
  const cost = costs?.[system === 'cosine' ? COSINE : CALIBRATED]?.actDcf.value;
  return { equalErrorRate: reported(eer!), actDcf: cost ?? null };
}
