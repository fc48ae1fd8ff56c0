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

/** Rates of knots; those from the start of the exponential on are extended, the others observed. */
export const TAIL_FMRS = [0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0001] as const;
/** Where the exponential begins if there is enough data, and how many scores must lie beyond its start. */
const TAIL_START_FMR = 0.02;
const MIN_EXCESSES = 10;
/** With fewer scores nearly all of the tail would be extended. */
export const MIN_IMPOSTOR_SCORES = 50;
/** The schema of calibrations wants so many. */
const MIN_KNOTS = 3;

/**
 * Fits one tail per amount of speech, shortest first. Amounts with fewer scores than `MIN_IMPOSTOR_SCORES`, or scores that
 * hardly differ, are left out.
 */
export function fitImpostorTails(samples: readonly ImpostorScores[]): ImpostorTails {
  return [...samples]
    .filter(({ normScores }) => normScores.length >= MIN_IMPOSTOR_SCORES)
    .sort((a, b) => a.netSpeechMs - b.netSpeechMs)
    .map(fitTail)
    .filter(({ knots }) => knots.length >= MIN_KNOTS);
}

function fitTail({ netSpeechMs, normScores }: ImpostorScores): ImpostorTails[number] {
  const descending = Float64Array.from(normScores).sort().reverse();
  const quantile = (fmr: number) => descending[Math.floor(fmr * descending.length)]!;
  const startFmr = Math.max(TAIL_START_FMR, MIN_EXCESSES / descending.length);
  const start = quantile(startFmr);
  const excesses = descending.filter((score) => score > start);
  const meanExcess = excesses.reduce((sum, score) => sum + score - start, 0) / excesses.length;
  const knots: [number, number][] = [];
  for (const fmr of TAIL_FMRS) {
    const score = round(fmr >= startFmr ? quantile(fmr) : start + meanExcess * Math.log(startFmr / fmr));
    // Scores that many share make no two knots.
    if (!(score <= (knots.at(-1)?.[0] ?? Number.NEGATIVE_INFINITY))) knots.push([score, fmr]);
  }
  return { netSpeechMs, knots: knots.filter(([score]) => Number.isFinite(score)) };
}

function round(score: number): number {
  return Math.round(score * 1e4) / 1e4;
}
