/**
 * Detection cost, normalised as in the NIST SRE evaluation plans (e.g. SRE 2016, section 3.1): what misses and false alarms
 * cost at a prior probability of a target, divided by what the better of "accept everybody" and "accept nobody" costs. 1 =
 * as good as not listening at all.
 */
import { convexHull, type DetCurve } from './det.js';
import { type SortedScores, type TrialWeights, totalWeights } from './scores.js';

export interface CostModel {
  readonly pTarget: number;
  /** Default 1. */
  readonly costMiss?: number;
  /** Default 1. */
  readonly costFa?: number;
}

/** The cost of a pair of error rates. Throws `RangeError` unless 0 < pTarget < 1 and the costs are positive. */
export function normalisedDcf(pMiss: number, pFa: number, model: CostModel): number {
  const { pTarget, costMiss = 1, costFa = 1 } = model;
  if (!(pTarget > 0 && pTarget < 1 && costMiss > 0 && costFa > 0)) {
    throw new RangeError('a cost model needs 0 < pTarget < 1 and positive costs');
  }
  const [miss, fa] = [costMiss * pTarget, costFa * (1 - pTarget)];
  return (miss * pMiss + fa * pFa) / Math.min(miss, fa);
}

/** The least cost that any threshold reaches on these very trials. It lies on the convex hull. */
export function minDcf(curve: DetCurve, model: CostModel, hull: Uint32Array = convexHull(curve)): number {
  let least = Number.POSITIVE_INFINITY;
  for (const point of hull) least = Math.min(least, normalisedDcf(curve.pMiss[point]!, curve.pFa[point]!, model));
  return least;
}

/** The threshold with the least cost on these trials; halfway to the next lower score, so that it suits others as well. */
export function bestThreshold(curve: DetCurve, model: CostModel): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let point = 0; point < curve.thresholds.length; point++) {
    const cost = normalisedDcf(curve.pMiss[point]!, curve.pFa[point]!, model);
    if (cost < least) [least, best] = [cost, point];
  }
  if (best === 0) return curve.thresholds[0]!;
  const [below, at] = [curve.thresholds[best - 1]!, curve.thresholds[best]!];
  const middle = (below + at) / 2;
  // Between neighbouring floating-point numbers there is no middle.
  return middle > below && middle < at ? middle : at;
}

/** The threshold on log-likelihood ratios that decision theory gives: accept where accepting costs less on average. */
export function bayesThreshold({ pTarget, costMiss = 1, costFa = 1 }: CostModel): number {
  return Math.log((costFa * (1 - pTarget)) / (costMiss * pTarget));
}

/** The cost of accepting what scores at least `threshold`; of log-likelihood ratios by default, at the Bayes threshold. */
export function actDcf(
  sorted: SortedScores,
  model: CostModel,
  options: { readonly threshold?: number; readonly weights?: TrialWeights } = {},
): number {
  const { threshold = bayesThreshold(model), weights } = options;
  const { scores, isTarget } = sorted;
  const total = totalWeights(sorted, weights);
  let [missed, accepted] = [0, 0];
  for (let i = 0; i < scores.length; i++) {
    const weight = weights ? weights[i]! : 1;
    if (isTarget[i]) {
      if (!(scores[i]! >= threshold)) missed += weight;
    } else if (scores[i]! >= threshold) accepted += weight;
  }
  return normalisedDcf(missed / total.target, accepted / total.nontarget, model);
}
