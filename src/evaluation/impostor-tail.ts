/**
 * The impostor tail of a model: which share of other speakers scores at least so high, per amount of speech. Where there is
 * plenty of data it is what was observed; beyond, what was observed is extended as an exponential, because the quantiles of
 * the few highest scores belong to the people they were measured on: fitted on one half of the people they are wrong by a
 * factor of two to three on the other.
 *
 * Peaks over a threshold: Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3(1), 1975;
 * here with shape 0, whose only parameter, the mean excess, can be estimated from so few scores.
 */
import type { Calibration } from '../domain/scoring/calibration.js';

/** normScores of nontarget trials with (about) this much probe speech. */
export interface ImpostorScores {
  readonly netSpeechMs: number;
  readonly normScores: readonly number[];
}

export type ImpostorTails = Calibration['tails'];

/** Observed rates that become knots as they are, the last of which is where the exponential begins. */
const OBSERVED_FMRS = [0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02] as const;
const TAIL_START_FMR = 0.02;
const EXTENDED_FMRS = [0.01, 0.005, 0.002, 0.001, 0.0001] as const;
/** So that at least ten scores lie beyond the start of the exponential. */
export const MIN_IMPOSTOR_SCORES = 500;

/**
 * Fits one tail per amount of speech, shortest first. Throws `RangeError` when one has too few scores, or scores that do not
 * differ.
 */
export function fitImpostorTails(samples: readonly ImpostorScores[]): ImpostorTails {
  return [...samples].sort((a, b) => a.netSpeechMs - b.netSpeechMs).map(fitTail);
}

function fitTail({ netSpeechMs, normScores }: ImpostorScores): ImpostorTails[number] {
  if (normScores.length < MIN_IMPOSTOR_SCORES) {
    throw new RangeError(
      `${normScores.length} impostor scores for ${netSpeechMs} ms of speech; ${MIN_IMPOSTOR_SCORES} are needed`,
    );
  }
  const descending = Float64Array.from(normScores).sort().reverse();
  const quantile = (fmr: number) => descending[Math.floor(fmr * descending.length)]!;
  const start = quantile(TAIL_START_FMR);
  const excesses = descending.subarray(
    0,
    descending.findIndex((score) => score <= start),
  );
  const meanExcess = excesses.reduce((sum, score) => sum + score - start, 0) / excesses.length;
  const knots = [
    ...OBSERVED_FMRS.map((fmr): [number, number] => [round(quantile(fmr)), fmr]),
    ...EXTENDED_FMRS.map((fmr): [number, number] => [round(start + meanExcess * Math.log(TAIL_START_FMR / fmr)), fmr]),
  ];
  if (knots.some(([score], index) => index > 0 && !(score > knots[index - 1]![0]))) {
    throw new RangeError(`the impostor scores for ${netSpeechMs} ms of speech hardly differ: no tail can be fitted`);
  }
  return { netSpeechMs, knots };
}

function round(score: number): number {
  return Math.round(score * 1e4) / 1e4;
}
