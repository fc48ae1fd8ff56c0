/**
 * What decisions cost when nothing was fitted on the people they are about: one threshold for all conditions, or one map from
 * AS-norm to log-likelihood ratios, fitted on one half of the people and applied to the other, both ways. Trials between
 * the halves are left out, because each of their people was seen by one of the fits.
 */
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

/** Trials inside the halves, with what each system, fitted on the other half, says about them. */
interface Validated {
  readonly isTarget: number[];
  readonly enrollSpeakers: string[];
  readonly testSpeakers: string[];
  readonly llrs: number[];
  /** By prior, then by system: 1 where it accepts. */
  readonly accepted: number[][][];
}

export interface CrossValidation {
  /** Log-likelihood ratios per condition, in the order given. */
  readonly llrs: readonly SpeakerTrials[];
  readonly decisions: CorpusResults['decisions'];
}

/** Undefined when a half has no targets or no nontargets. */
export function crossValidate(
  conditions: readonly NamedTrials[],
  halfOf: HalfOf,
  bootstrap: BootstrapOptions,
): CrossValidation | undefined {
  const validated = conditions.map(() => emptyValidated());
  for (const half of [0, 1] as const) {
    const fitted = fitOn(conditions, halfOf, half === 0 ? 1 : 0);
    if (!fitted) return undefined;
    for (const [index, { trials }] of conditions.entries()) {
      for (const trial of trialsOfHalf(trials, halfOf, half)) addTrial(validated[index]!, trials, trial, fitted);
    }
  }
  if (validated.some(({ isTarget }) => !isTarget.includes(1) || !isTarget.includes(0))) return undefined;
  const pooled = validated.length > 1 ? [{ name: 'all conditions', trials: pool(validated) }] : [];
  const named = [...validated.map((trials, index) => ({ name: conditions[index]!.name, trials })), ...pooled];
  return {
    llrs: validated.map(({ llrs, ...rest }) => ({ ...rest, scores: llrs })),
    decisions: named.flatMap(({ name, trials }) => compare(name, trials, bootstrap)),
  };
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

function addTrial(
  to: Validated,
  trials: ScoredTrials,
  index: number,
  fitted: NonNullable<ReturnType<typeof fitOn>>,
): void {
  const llr = applyLlr(fitted.llr, trials.normScores[index]!);
  to.isTarget.push(trials.isTarget[index]!);
  to.enrollSpeakers.push(trials.enrollSpeakers[index]!);
  to.testSpeakers.push(trials.testSpeakers[index]!);
  to.llrs.push(llr);
  TARGET_PRIORS.forEach((pTarget, prior) => {
    const accepts = [
      trials.cosines[index]! >= fitted.cosine[prior]!,
      trials.normScores[index]! >= fitted.asNorm[prior]!,
      llr >= bayesThreshold({ pTarget }),
    ];
    accepts.forEach((yes, system) => {
      to.accepted[prior]![system]!.push(yes ? 1 : 0);
    });
  });
}

function compare(condition: string, trials: Validated, bootstrap: BootstrapOptions): CorpusResults['decisions'] {
  const isTarget = Uint8Array.from(trials.isTarget);
  const order = Uint32Array.from(isTarget, (_, index) => index);
  const targets = isTarget.reduce((sum, label) => sum + label, 0);
  return TARGET_PRIORS.map((pTarget, prior) => {
    const costs = compareDecisions(
      { speakers: numberSpeakers(trials, order), isTarget },
      trials.accepted[prior]!.map((decisions) => Uint8Array.from(decisions)),
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

function emptyValidated(): Validated {
  const accepted = TARGET_PRIORS.map(() => DECIDING_SYSTEMS.map((): number[] => []));
  return { isTarget: [], enrollSpeakers: [], testSpeakers: [], llrs: [], accepted };
}

function pool(parts: readonly Validated[]): Validated {
  return {
    isTarget: parts.flatMap(({ isTarget }) => isTarget),
    enrollSpeakers: parts.flatMap(({ enrollSpeakers }) => enrollSpeakers),
    testSpeakers: parts.flatMap(({ testSpeakers }) => testSpeakers),
    llrs: parts.flatMap(({ llrs }) => llrs),
    accepted: TARGET_PRIORS.map((_, prior) =>
      DECIDING_SYSTEMS.map((_system, system) => parts.flatMap(({ accepted }) => accepted[prior]![system]!)),
    ),
  };
}

/** An estimate in the form of the results file. */
export function reported({ value, interval }: Estimate): ReportedEstimate {
  return { value, low: interval?.low ?? null, high: interval?.high ?? null };
}
