/**
 * What a normScore is worth: the fitted impostor tail of a model, and the meaning of `score`. The numbers are data
 * (`models/<id>/calibration.json`), written by `voice-auth calibrate`; this file only reads them.
 */
import { z } from 'zod';

const knot = z.tuple([z.number(), z.number().gt(0).lt(1)]);

const tail = z.object({
  netSpeechMs: z.number().positive(),
  knots: z
    .array(knot)
    .min(3)
    .refine((knots) => increasing(knots.map(([normScore]) => normScore)), 'normScores must increase')
    .refine((knots) => increasing(knots.map(([, fmr]) => -fmr)), 'fmr must decrease'),
});

export const calibrationSchema = z.object({
  version: z.literal(1),
  modelId: z.string(),
  cohortTop: z.number().int().min(2),
  /** Of the `cohort.f32` it was fitted with, which the package loader compares; undefined in calibrations made elsewhere. */
  cohortSha256: z.string().optional(),
  /** Identifies the speech detector it was fitted with: `silero`, or the SHA-256 of `speech.onnx`; undefined = not recorded. */
  speechDetector: z.string().optional(),
  /** Where it comes from, for people; undefined in calibrations that do not say. */
  fittedOn: z.string().optional(),
  /** Impostor tail at several amounts of probe speech, shortest first; knots are [normScore, fmr]. */
  tails: z
    .array(tail)
    .min(1)
    .refine((tails) => increasing(tails.map((entry) => entry.netSpeechMs)), 'amounts of speech must increase'),
  /**
   * Shares of the false-match budget: what one of the early looks at a live call may spend, and what its last look may.
   * Chosen so that the whole procedure keeps the claim on simulated calls.
   */
  sequential: z.object({
    earlyShare: z.number().gt(0).max(1),
    finalShare: z.number().gt(0).max(1),
  }),
  /** With this much speech and an fmr above this, owners practically never get accepted later. */
  futility: z.object({ minNetSpeechMs: z.number().positive(), fmr: z.number().gt(0).max(1) }),
  /** Cosine to a stored sample above which the probe is a copy of that recording, not another utterance. */
  replayCosine: z.number().gt(0).max(1),
});

export type Calibration = z.output<typeof calibrationSchema>;

/**
 * No claim goes below this: a tail fitted on thousands of trials says nothing about one in 10^15. It also keeps the
 * probability of a steep tail from underflowing to 0.
 */
const LOWEST_LOG_FMR = Math.log(1e-15);

/** `score` in [0, 1] of a false-match probability: `fmr = (1 - score)^3`. */
export function scoreFromFmr(fmr: number): number {
  return 1 - Math.cbrt(Math.min(1, Math.max(0, fmr)));
}

/** The false-match probability that a score or threshold stands for. */
export function fmrFromScore(score: number): number {
  return (1 - Math.min(1, Math.max(0, score))) ** 3;
}

/**
 * Estimated probability that a random other speaker with this much speech scores at least `normScore`. Log-linear between
 * the knots of a tail, exponential beyond the last one (slope of the last decade), log-linear between amounts of speech.
 * In (0, 1]; NaN for a normScore that is no number, so that nothing is accepted on it.
 */
export function impostorFmr({ tails }: Pick<Calibration, 'tails'>, normScore: number, netSpeechMs: number): number {
  const above = tails.findIndex((entry) => entry.netSpeechMs >= netSpeechMs);
  if (above === 0) return Math.exp(logTail(tails[0]!.knots, normScore));
  if (above === -1) return Math.exp(logTail(tails.at(-1)!.knots, normScore));
  const [shorter, longer] = [tails[above - 1]!, tails[above]!];
  const share = Math.log(netSpeechMs / shorter.netSpeechMs) / Math.log(longer.netSpeechMs / shorter.netSpeechMs);
  return Math.exp((1 - share) * logTail(shorter.knots, normScore) + share * logTail(longer.knots, normScore));
}

function logTail(knots: readonly (readonly [number, number])[], normScore: number): number {
  const next = knots.findIndex(([at]) => at >= normScore);
  // Below the first knot the curve runs on to 1 with the slope of the first piece.
  if (next === 0) return Math.min(0, extend(knots[0]!, knots[1]!, normScore));
  if (next === -1) {
    const last = knots.at(-1)!;
    const decade = knots.findLast(([, fmr]) => fmr >= last[1] * 10) ?? knots[0]!;
    return Math.max(LOWEST_LOG_FMR, extend(decade, last, normScore));
  }
  return extend(knots[next - 1]!, knots[next]!, normScore);
}

/** The straight line through two knots in (normScore, ln fmr), at `normScore`. */
function extend(a: readonly [number, number], b: readonly [number, number], normScore: number): number {
  const slope = (Math.log(b[1]) - Math.log(a[1])) / (b[0] - a[0]);
  return Math.log(b[1]) + slope * (normScore - b[0]);
}

function increasing(values: readonly number[]): boolean {
  return values.every((value, index) => index === 0 || value > values[index - 1]!);
}
