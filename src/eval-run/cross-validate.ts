/**
 * What decisions cost when nothing was fitted on the people they are about: one threshold for all conditions, or one map from
 * AS-norm to log-likelihood ratios, fitted on one half of the people and applied to the other, both ways. Where the cut goes
 * matters much with few people, so it is drawn many times: a trial counts as often as both its people are of one half, which
 * nearly every trial is at some time, and its decisions are averaged.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BootstrapOptions } from '../evaluation/bootstrap.js';
import { bayesThreshold, bestThreshold } from '../evaluation/dcf.js';
import { compareDecisions } from '../evaluation/decisions.js';
import { detCurve } from '../evaluation/det.js';
import { applyLlr, fitLlr } from '../evaluation/fit-llr.js';
import { type Estimate, numberSpeakers, type SpeakerTrials, TARGET_PRIORS } from '../evaluation/measure.js';
import type { CorpusResults, ReportedEstimate } from '../evaluation/results.js';
import { sortScores } from '../evaluation/scores.js';
import { type HalfOf, type ScoredTrials, trialsOfHalf } from './score-trials.js';

/** Prior at which calibration is best: the higher of the two at which costs are given. */
const CALIBRATION_PRIOR = 0.05;
const DECIDING_SYSTEMS = ['cosine', 'as-norm', 'calibrated'] as const;

export interface NamedTrials {
  readonly name: string;
  readonly trials: ScoredTrials;
}

/** Sums over the cuts in which both people of a trial were of one half. */
interface Judged {
  readonly cuts: Uint32Array;
  readonly llrs: Float64Array;
  /** By prior, then by system: how often it accepted. */
  readonly accepted: readonly (readonly Float64Array[])[];
}

/** Trials with averaged outcomes, those left out that no cut had in one half. */
interface Validated extends SpeakerTrials {
  readonly isTarget: readonly number[];
  readonly scores: readonly number[];
  readonly accepted: readonly (readonly (readonly number[])[])[];
}

export interface CrossValidation {
  /** Log-likelihood ratios per condition, in the order given, averaged over the fits that knew neither of a trial's people. */
  readonly llrs: readonly SpeakerTrials[];
  readonly decisions: CorpusResults['decisions'];
}

/** Undefined when a half has no targets or no nontargets. Throws `signal.reason` when aborted. */
export async function crossValidate(
  conditions: readonly NamedTrials[],
  cuts: readonly HalfOf[],
  { bootstrap, signal }: { readonly bootstrap: BootstrapOptions; readonly signal: AbortSignal },
): Promise<CrossValidation | undefined> {
  const judged = conditions.map(({ trials }) => nothingJudged(trials.cosines.length));
  for (const halfOf of cuts) {
    // Each cut takes a second or so: Ctrl-C must be heard.
    await nextTurn();
    signal.throwIfAborted();
    for (const half of [0, 1] as const) {
      const fitted = fitOn(conditions, halfOf, half === 0 ? 1 : 0);
      if (!fitted) return undefined;
      for (const [index, { trials }] of conditions.entries()) {
        for (const trial of trialsOfHalf(trials, halfOf, half)) judge(judged[index]!, trials, trial, fitted);
      }
    }
  }
  const validated = conditions.map(({ trials }, index) => average(trials, judged[index]!));
  if (validated.some(({ isTarget }) => !isTarget.includes(1) || !isTarget.includes(0))) return undefined;
  const pooled = validated.length > 1 ? [{ name: 'all conditions', trials: pool(validated) }] : [];
  const named = [...validated.map((trials, index) => ({ name: conditions[index]!.name, trials })), ...pooled];
  const decisions: CorpusResults['decisions'] = [];
  for (const { name, trials } of named) {
    await nextTurn();
    signal.throwIfAborted();
    decisions.push(...compare(name, trials, bootstrap));
  }
  return { llrs: validated, decisions };
}

function fitOn(conditions: readonly NamedTrials[], halfOf: HalfOf, half: 0 | 1) {
  const [cosines, normScores, isTarget]: [number[], number[], number[]] = [[], [], []];
  for (const { trials } of conditions) {
    for (const index of trialsOfHalf(trials, halfOf, half)) {
      cosines.push(trials.cosines[index]!);
      normScores.push(trials.normScores[index]!);
      isTarget.push(trials.isTarget[index]!);
    }
  }
  if (!isTarget.includes(1) || !isTarget.includes(0)) return undefined;
  const thresholds = (scores: readonly number[]) => {
    const curve = detCurve(sortScores(scores, isTarget));
    return TARGET_PRIORS.map((pTarget) => bestThreshold(curve, { pTarget }));
  };
  return {
    cosine: thresholds(cosines),
    asNorm: thresholds(normScores),
    llr: fitLlr(normScores, isTarget, { pTarget: CALIBRATION_PRIOR }),
  };
}

function judge(
  judged: Judged,
  trials: ScoredTrials,
  index: number,
  fitted: NonNullable<ReturnType<typeof fitOn>>,
): void {
  const llr = applyLlr(fitted.llr, trials.normScores[index]!);
  judged.cuts[index]!++;
  judged.llrs[index]! += llr;
  TARGET_PRIORS.forEach((pTarget, prior) => {
    const accepts = [
      trials.cosines[index]! >= fitted.cosine[prior]!,
      trials.normScores[index]! >= fitted.asNorm[prior]!,
      llr >= bayesThreshold({ pTarget }),
    ];
    accepts.forEach((yes, system) => {
      if (yes) judged.accepted[prior]![system]![index]!++;
    });
  });
}

function average(trials: ScoredTrials, { cuts, llrs, accepted }: Judged): Validated {
  const seen = [...cuts.keys()].filter((index) => cuts[index]! > 0);
  return {
    isTarget: seen.map((index) => trials.isTarget[index]!),
    enrollSpeakers: seen.map((index) => trials.enrollSpeakers[index]!),
    testSpeakers: seen.map((index) => trials.testSpeakers[index]!),
    scores: seen.map((index) => llrs[index]! / cuts[index]!),
    accepted: accepted.map((systems) => systems.map((times) => seen.map((index) => times[index]! / cuts[index]!))),
  };
}

function compare(condition: string, trials: Validated, bootstrap: BootstrapOptions): CorpusResults['decisions'] {
  const isTarget = Uint8Array.from(trials.isTarget);
  const order = Uint32Array.from(isTarget, (_, index) => index);
  const targets = isTarget.reduce((sum, label) => sum + label, 0);
  return TARGET_PRIORS.map((pTarget, prior) => {
    const costs = compareDecisions(
      { speakers: numberSpeakers(trials, order), isTarget },
      trials.accepted[prior]!.map((shares) => Float64Array.from(shares)),
      { pTarget, bootstrap },
    );
    const systems = costs.map(({ pMiss, pFa, dcf, saved }, index) => ({
      system: DECIDING_SYSTEMS[index]!,
      pMiss: reported(pMiss),
      pFa: reported(pFa),
      actDcf: reported(dcf),
      saved: reported(saved),
    }));
    return { condition, pTarget, targets, nontargets: isTarget.length - targets, systems };
  });
}

function nothingJudged(trials: number): Judged {
  return {
    cuts: new Uint32Array(trials),
    llrs: new Float64Array(trials),
    accepted: TARGET_PRIORS.map(() => DECIDING_SYSTEMS.map(() => new Float64Array(trials))),
  };
}

function pool(parts: readonly Validated[]): Validated {
  return {
    isTarget: parts.flatMap(({ isTarget }) => isTarget),
    enrollSpeakers: parts.flatMap(({ enrollSpeakers }) => enrollSpeakers),
    testSpeakers: parts.flatMap(({ testSpeakers }) => testSpeakers),
    scores: parts.flatMap(({ scores }) => scores),
    accepted: TARGET_PRIORS.map((_, prior) =>
      DECIDING_SYSTEMS.map((_system, system) => parts.flatMap(({ accepted }) => accepted[prior]![system]!)),
    ),
  };
}

/** An estimate in the form of the results file. */
export function reported({ value, interval }: Estimate): ReportedEstimate {
  return { value, low: interval?.low ?? null, high: interval?.high ?? null };
}
