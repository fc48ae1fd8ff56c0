/**
 * Cllr: how much information log-likelihood ratios lose, averaged over all costs and priors, in bits; 0 = perfect, 1 = as
 * good as saying nothing. Brümmer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech
 * and Language 20 (2006). `minCllr` is what is left when the scores are replaced by the best increasing function of them
 * (isotonic regression, found by pooling adjacent violators); the difference is what calibration loses.
 */
import { convexHull, type DetCurve } from './det.js';
import { type SortedScores, type TrialWeights, totalWeights } from './scores.js';

/** Cllr of scores that are natural-logarithm likelihood ratios. */
export function cllr(sorted: SortedScores, weights?: TrialWeights): number {
  return weightedCllr(sorted, cllrCosts(sorted), weights);
}

/** What each trial loses, in bits: to be computed once when the same scores are weighted many times. */
export function cllrCosts({ scores, isTarget }: SortedScores): Float64Array {
  return scores.map((score, index) => softplus(isTarget[index] ? -score : score) / Math.LN2);
}

/** Cllr from the costs of `cllrCosts`. */
export function weightedCllr(sorted: SortedScores, costs: Float64Array, weights: TrialWeights): number {
  const { isTarget } = sorted;
  const total = totalWeights(sorted, weights);
  let [target, nontarget] = [0, 0];
  for (let i = 0; i < costs.length; i++) {
    const cost = weights ? weights[i]! * costs[i]! : costs[i]!;
    if (isTarget[i]) target += cost;
    else nontarget += cost;
  }
  return 0.5 * (target / total.target + nontarget / total.nontarget);
}

/**
 * Cllr after isotonic regression. Every piece of the hull is one pooled block; with `t` of all targets and `n` of all
 * nontargets in it, its likelihood ratio is t / n.
 */
export function minCllr(curve: DetCurve, hull: Uint32Array = convexHull(curve)): number {
  const { pMiss, pFa } = curve;
  let sum = 0;
  for (let piece = 1; piece < hull.length; piece++) {
    const [from, to] = [hull[piece - 1]!, hull[piece]!];
    const [t, n] = [pMiss[to]! - pMiss[from]!, pFa[from]! - pFa[to]!];
    // A block of one class only costs nothing: its likelihood ratio is 0 or infinite, and rightly so.
    if (t > 0 && n > 0) sum += t * Math.log1p(n / t) + n * Math.log1p(t / n);
  }
  return sum / (2 * Math.LN2);
}

/** ln(1 + e^x) without overflow. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}
