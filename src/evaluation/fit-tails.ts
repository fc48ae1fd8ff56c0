/** Fits the impostor tail of a model: quantiles of nontarget normScores per amount of probe speech. */
import type { Calibration } from '../domain/scoring/calibration.js';

export type Tail = Calibration['tails'][number];

/** False match rates that get a knot each. */
const KNOT_FMRS = [0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001] as const;
/** The schema of calibrations wants so many. */
const MIN_KNOTS = 3;

export interface TailSample {
  readonly netSpeechMs: number;
  /** Of nontarget trials. */
  readonly normScores: readonly number[];
}

/**
 * One tail per sample, shortest speech first. Knots that a sample cannot place apart from the one before are left out;
 * samples too small for three knots are left out as a whole.
 */
export function fitTails(samples: readonly TailSample[]): Tail[] {
  return [...samples]
    .sort((a, b) => a.netSpeechMs - b.netSpeechMs)
    .map(({ netSpeechMs, normScores }) => ({ netSpeechMs, knots: knotsOf(normScores) }))
    .filter(({ knots }) => knots.length >= MIN_KNOTS);
}

function knotsOf(normScores: readonly number[]): [number, number][] {
  const falling = [...normScores].sort((a, b) => b - a);
  const knots: [number, number][] = [];
  for (const fmr of KNOT_FMRS) {
    if (fmr * falling.length < 1) break;
    const normScore = Number(falling[Math.floor(fmr * falling.length)]!.toFixed(4));
    if (knots.length === 0 || normScore > knots.at(-1)![0]) knots.push([normScore, fmr]);
  }
  return knots;
}
