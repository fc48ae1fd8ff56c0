/**
 * Fits a calibration on labelled telephone calls and measures what it claims. Reference: the first 15 s of net speech of a
 * call; probes: the first 2, 3, 4, ... s of another call, as the looks at a live call see them. Nontarget pairs give the tail,
 * and the budget that each look may spend so that the whole procedure keeps its claim; target pairs are only counted.
 */
import type { Calibration } from '../domain/scoring/calibration.js';
import { Cohort } from '../domain/scoring/score-normalisation.js';
import { BUDGET_THRESHOLDS, type ProcedureRates, procedureRates } from '../evaluation/call-procedure.js';
import { detCurve } from '../evaluation/det.js';
import { eer } from '../evaluation/eer.js';
import { type FitOptions, fitCalibration, LOOKS_S, MIN_SPEECH_MS } from '../evaluation/fit-calibration.js';
import { numberSpeakers } from '../evaluation/measure.js';
import { sortScores } from '../evaluation/scores.js';
import { countPairs, MIN_PEOPLE, supportedFmr } from '../evaluation/supported-rates.js';
import { EvaluationError } from './eval-error.js';
import { ENROLLED, type HeardCall, hearCalls, peopleOf, trialsOf, voicesOfCalls } from './hear-calls.js';
import type { LaneOptions } from './lanes.js';
import { callOf, type LiveTrial, liveTrials } from './live-looks.js';
import type { Corpus } from './read-corpus.js';
import type { Segment } from './segments.js';
import type { SpeechPath } from './service-path.js';

export interface CalibrateOptions extends LaneOptions {
  readonly path: SpeechPath;
  readonly cohort: { readonly rows: Float32Array; readonly sha256: string };
  readonly cohortTop: number;
  /** Whether halves of the people are also judged by what was fitted on the others. */
  readonly check: boolean;
}

/** What a calibration does to calls. */
export interface CalibrationCheck {
  readonly fittedOn: 'all' | 'even half' | 'odd half';
  readonly measuredOn: 'all' | 'even half' | 'odd half';
  readonly targets: number;
  readonly nontargets: number;
  readonly sequential: Calibration['sequential'];
  readonly rates: readonly ProcedureRates[];
}

/** What an impostor tail rests on. */
export interface TailSupport {
  readonly netSpeechMs: number;
  /** Pairs of strangers who were compared at this amount of speech. */
  readonly pairs: number;
  /** The smallest rate that so many pairs can tell anything about (rule of 30). A look has to get below its share of the budget, so a threshold rests on smaller ones. */
  readonly smallestFmr: number;
}

export interface CallCalibration {
  readonly calibration: Calibration;
  /** Of every tail of the calibration. */
  readonly amounts: readonly TailSupport[];
  readonly calls: number;
  readonly people: number;
  /** After so many seconds of net speech (null = all, at most 30 s); empty when nobody has two calls. */
  readonly equalErrorRates: readonly { readonly seconds: number | null; readonly rate: number }[];
  /** With halves asked for, those of `MIN_PEOPLE` people or more. */
  readonly checks: readonly CalibrationCheck[];
}

/** Amounts of speech at which equal error rates are given, in seconds. */
const EER_SECONDS = [3, 5, 10] as const;
const LOOKS: readonly Segment[] = LOOKS_S.map((seconds) => ({ kind: 'first', seconds }));

/** Throws `EvaluationError` when there are calls of fewer than `MIN_PEOPLE` people, `signal.reason` when aborted. */
export async function calibrateOnCalls(corpus: Corpus, options: CalibrateOptions): Promise<CallCalibration> {
  const { path, cohort, cohortTop } = options;
  const normaliser = new Cohort(cohort.rows, path.embeddingSize, { top: cohortTop });
  const fit: FitOptions = {
    modelId: path.modelId,
    cohortTop,
    cohortSha256: cohort.sha256,
    speechDetector: path.speechDetectorId,
  };
  // Before anything that takes long, and again when it is known who speaks long enough.
  requireEnoughPeople(corpus.name, corpus.recordings);
  const calls = await hearCalls(corpus, LOOKS, options);
  requireEnoughPeople(corpus.name, calls, ' with enough speech');
  const trials = scoreCalls(calls, normaliser);
  const calibration = fitCalibration(trials.map(callOf), fit);
  if (!calibration) {
    throw new EvaluationError(`${corpus.name}: strangers score too much alike to fit a tail. Nothing was changed.`);
  }
  const checks = [check('all', 'all', calibration, trials)];
  if (options.check) checks.push(...checkHalves(calls, trials, fit));
  return {
    calibration,
    amounts: calibration.tails.map(({ netSpeechMs }) => supportOf(trials, netSpeechMs)),
    calls: calls.length,
    people: peopleOf(calls).length,
    equalErrorRates: equalErrorRates(trials),
    checks,
  };
}

/** What a handful of people say about strangers in general is wrong by an order of magnitude, and looks like any other calibration. */
function requireEnoughPeople(name: string, calls: readonly { readonly speaker: string }[], which = ''): void {
  const people = peopleOf(calls).length;
  if (people >= MIN_PEOPLE) return;
  throw new EvaluationError(
    `${name}: ${calls.length} calls of ${people} people${which}; a calibration needs ${MIN_PEOPLE} (docs/models.md says ` +
      'why). Nothing was changed.',
  );
}

function supportOf(trials: readonly LiveTrial[], netSpeechMs: number): TailSupport {
  const look = LOOKS_S.indexOf(netSpeechMs / 1000);
  const strangers = trials.filter(({ target, normScores }) => !target && normScores.length > look);
  const sides = {
    enrollSpeakers: strangers.map(({ enrollSpeaker }) => enrollSpeaker),
    testSpeakers: strangers.map(({ testSpeaker }) => testSpeaker),
  };
  const all = Uint32Array.from(strangers.keys());
  const pairs = countPairs(numberSpeakers(sides, all), all);
  return { netSpeechMs, pairs, smallestFmr: supportedFmr(pairs) };
}

function scoreCalls(calls: readonly HeardCall[], cohort: Cohort): readonly LiveTrial[] {
  const looks = LOOKS.map((segment) => voicesOfCalls(calls, segment, cohort));
  return liveTrials(trialsOf(calls), voicesOfCalls(calls, ENROLLED, cohort), looks);
}

function checkHalves(
  calls: readonly HeardCall[],
  trials: readonly LiveTrial[],
  fit: FitOptions,
): readonly CalibrationCheck[] {
  const people = peopleOf(calls);
  if (people.length < 2 * MIN_PEOPLE) return [];
  const side = new Map(people.map((person, index) => [person, index % 2]));
  const half = (wanted: number) =>
    trials.filter((trial) => side.get(trial.enrollSpeaker) === wanted && side.get(trial.testSpeaker) === wanted);
  const [even, odd] = [half(0), half(1)];
  const [ofEven, ofOdd] = [fitCalibration(even.map(callOf), fit), fitCalibration(odd.map(callOf), fit)];
  if (!ofEven || !ofOdd) throw new EvaluationError('--check: half of these people are too few to fit a calibration on');
  return [check('even half', 'odd half', ofEven, odd), check('odd half', 'even half', ofOdd, even)];
}

function check(
  fittedOn: CalibrationCheck['fittedOn'],
  measuredOn: CalibrationCheck['measuredOn'],
  calibration: Calibration,
  trials: readonly LiveTrial[],
): CalibrationCheck {
  const targets = trials.filter(({ target }) => target).length;
  const calls = trials.map(callOf);
  return {
    fittedOn,
    measuredOn,
    targets,
    nontargets: trials.length - targets,
    sequential: calibration.sequential,
    rates: BUDGET_THRESHOLDS.map((threshold) =>
      procedureRates(calls, calibration, { threshold, minSpeechMs: MIN_SPEECH_MS }),
    ),
  };
}

function equalErrorRates(trials: readonly LiveTrial[]): CallCalibration['equalErrorRates'] {
  return [...EER_SECONDS, null].flatMap((seconds) => {
    const look = seconds === null ? -1 : LOOKS_S.indexOf(seconds);
    const scored = trials.filter(({ normScores }) => normScores.length > look);
    const isTarget = scored.map(({ target }) => target);
    if (!isTarget.includes(true) || !isTarget.includes(false)) return [];
    const curve = detCurve(
      sortScores(
        scored.map(({ normScores }) => normScores.at(look)!),
        isTarget,
      ),
    );
    return [{ seconds, rate: eer(curve) }];
  });
}
