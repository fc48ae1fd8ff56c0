/**
 * Whole calls against the decision rule: every look that a live call would have had, in order, until it is decided. What a
 * threshold claims it claims for this, not for one comparison, so this is what claims are measured on and budgets set by.
 */
import { type Calibration, fmrFromScore, impostorFmr } from '../domain/scoring/calibration.js';
import { decideLook, type LookRule } from '../domain/verification/decide.js';

/** One enrolled person against one call: what each look scored. */
export interface CallScores {
  readonly target: boolean;
  /** In order of speech; the last one is the end of the call's speech. */
  readonly looks: readonly { readonly netSpeechMs: number; readonly normScore: number }[];
}

export interface CallOutcome {
  readonly accepted: boolean;
  /** Net speech at the decision; of the whole call when there was none. */
  readonly netSpeechMs: number;
  readonly looks: number;
}

export interface ProcedureRates {
  readonly threshold: number;
  readonly claimedFmr: number;
  readonly observedFmr: number;
  /** Share of owners accepted: 1 - FNMR; undefined without target calls. */
  readonly ownersAccepted: number | undefined;
  /** Median net speech of the accepted owners, in milliseconds; undefined when none was. */
  readonly medianNetSpeechMs: number | undefined;
}

export type SequentialShares = Calibration['sequential'];
type ProcedureCalibration = Pick<Calibration, 'tails' | 'sequential' | 'futility'>;

/** Plays one call. `minSpeechMs` and `threshold` as the service is configured. */
export function playCall(
  call: CallScores,
  calibration: ProcedureCalibration,
  { threshold, minSpeechMs }: Pick<LookRule, 'threshold' | 'minSpeechMs'>,
): CallOutcome {
  const rule: LookRule = { threshold, minSpeechMs, ...calibration.sequential, futility: calibration.futility };
  for (const [index, { netSpeechMs, normScore }] of call.looks.entries()) {
    const verdict = decideLook(
      {
        netSpeechMs,
        fmr: impostorFmr(calibration, normScore, netSpeechMs),
        sampleCosine: -1,
        replayCosine: 1,
        lowQuality: false,
        final: index === call.looks.length - 1,
        looks: index + 1,
      },
      rule,
    );
    if (verdict.kind === 'decided') {
      return { accepted: verdict.decision === 'accept', netSpeechMs, looks: index + 1 };
    }
  }
  return { accepted: false, netSpeechMs: call.looks.at(-1)?.netSpeechMs ?? 0, looks: call.looks.length };
}

/** What the procedure does to strangers and owners at one threshold. Throws `RangeError` without nontarget calls. */
export function procedureRates(
  calls: readonly CallScores[],
  calibration: ProcedureCalibration,
  rule: Pick<LookRule, 'threshold' | 'minSpeechMs'>,
): ProcedureRates {
  const played = (target: boolean) =>
    calls.filter((call) => call.target === target).map((call) => playCall(call, calibration, rule));
  const owners = played(true);
  const accepted = owners.filter((outcome) => outcome.accepted).map(({ netSpeechMs }) => netSpeechMs);
  const strangers = played(false);
  if (strangers.length === 0) throw new RangeError('there is no nontarget call');
  return {
    threshold: rule.threshold,
    claimedFmr: fmrFromScore(rule.threshold),
    observedFmr: strangers.filter((outcome) => outcome.accepted).length / strangers.length,
    ownersAccepted: owners.length > 0 ? accepted.length / owners.length : undefined,
    medianNetSpeechMs: accepted.sort((a, b) => a - b)[accepted.length >> 1],
  };
}

/** Thresholds at which a budget is tried: claims of one in ten down to one in a thousand. */
export const BUDGET_THRESHOLDS = [0.536, 0.7, 0.785, 0.82, 0.9] as const;
/** From quick to careful: shares of every early look and of the last one. */
const SHARES: readonly (readonly [number, number])[] = [
  0.5, 0.45, 0.4, 0.35, 0.333, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05,
].flatMap((early) =>
  [1 - early, 0.7, 0.5, 0.3, 0.1]
    .filter((final) => final >= early && final <= 1 - early)
    .map((final) => [early, final] as const),
);
/** Claims that stand for fewer false matches than this on the calls at hand are not judged by them: chance would decide. */
const MIN_EXPECTED_FALSE_MATCHES = 20;
/** Observed over claimed false matches that a budget may reach on the calls it is chosen on: a little below the claim. */
const MAX_OF_CLAIM = 0.95;

/** The thresholds whose claims so many calls of strangers can judge: none below 201 calls. */
export function judgedThresholds(strangers: number): readonly number[] {
  return BUDGET_THRESHOLDS.filter((threshold) => strangers * fmrFromScore(threshold) >= MIN_EXPECTED_FALSE_MATCHES);
}

/**
 * How much of the false-match budget each early look, and the last one, may spend: the largest early share with which the
 * whole procedure stays within its claim on these calls, at every threshold of which they can tell. Early looks are what makes answers quick; the
 * looks of one call resemble each other, so that together they may spend more than the budget and still keep it. Where the calls can tell of no
 * threshold, the smallest shares: nothing says that the looks resemble each other.
 */
export function chooseShares(
  calls: readonly CallScores[],
  calibration: Omit<ProcedureCalibration, 'sequential'>,
  minSpeechMs: number,
): SequentialShares {
  const shares = SHARES.map(([earlyShare, finalShare]) => ({
    earlyShare,
    finalShare: Math.round(finalShare * 1000) / 1000,
  }));
  const strangers = calls.filter(({ target }) => !target);
  const judged = judgedThresholds(strangers.length);
  if (judged.length === 0) return shares.at(-1)!;
  const keepsClaim = (sequential: SequentialShares) =>
    judged.every((threshold) => {
      const rates = procedureRates(strangers, { ...calibration, sequential }, { threshold, minSpeechMs });
      return rates.observedFmr <= MAX_OF_CLAIM * rates.claimedFmr;
    });
  return shares.find(keepsClaim) ?? shares.at(-1)!;
}
