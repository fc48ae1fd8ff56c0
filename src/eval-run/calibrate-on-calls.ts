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
import { MIN_IMPOSTOR_SCORES } from '../evaluation/impostor-tail.js';
import { sortScores } from '../evaluation/scores.js';
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

export interface CallCalibration {
  readonly calibration: Calibration;
  readonly calls: number;
  readonly people: number;
  /** After so many seconds of net speech (null = all, at most 30 s); empty when nobody has two calls. */
  readonly equalErrorRates: readonly { readonly seconds: number | null; readonly rate: number }[];
  readonly checks: readonly CalibrationCheck[];
}

/** Amounts of speech at which equal error rates are given, in seconds. */
const EER_SECONDS = [3, 5, 10] as const;
const LOOKS: readonly Segment[] = LOOKS_S.map((seconds) => ({ kind: 'first', seconds }));

/** Throws `EvaluationError` when there are too few calls of different people, `signal.reason` when aborted. */
export async function calibrateOnCalls(corpus: Corpus, options: CalibrateOptions): Promise<CallCalibration> {
  const { path, cohort, cohortTop } = options;
  const normaliser = new Cohort(cohort.rows, path.embeddingSize, { top: cohortTop });
  const fit: FitOptions = {
    modelId: path.modelId,
    cohortTop,
    cohortSha256: cohort.sha256,
    speechDetector: path.speechDetectorId,
  };
  const calls = await hearCalls(corpus, LOOKS, options);
  const trials = scoreCalls(calls, normaliser);
  const calibration = fitCalibration(trials.map(callOf), fit);
  if (!calibration) {
    throw new EvaluationError(
      `${corpus.name}: ${calls.length} calls of ${peopleOf(calls).length} people make too few pairs of strangers ` +
        `(${MIN_IMPOSTOR_SCORES} are needed) to tell how high strangers score`,
    );
  }
  const checks = [check('all', 'all', calibration, trials)];
  if (options.check) checks.push(...checkHalves(calls, trials, fit));
  return {
    calibration,
    calls: calls.length,
    people: peopleOf(calls).length,
    equalErrorRates: equalErrorRates(trials),
    checks,
  };
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
  const side = new Map(peopleOf(calls).map((person, index) => [person, index % 2]));
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
