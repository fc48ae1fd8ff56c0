/**
 * The trade-off between the two errors as the threshold moves: P(miss), the false non-match rate (FNMR) of ISO/IEC
 * 19795-1, against P(false alarm), its false match rate (FMR). Martin et al., "The DET Curve in Assessment of Detection Task
 * Performance", Eurospeech 1997.
 */
import { type SortedScores, type TrialWeights, totalWeights } from './scores.js';

/** Points from "accept everybody" (pMiss 0, pFa 1) to "accept nobody" (pMiss 1, pFa 0), one per distinct score and the last. */
export interface DetCurve {
  /** Accepted is what scores at least this; ascending, the last is Infinity. */
  readonly thresholds: Float64Array;
  readonly pMiss: Float64Array;
  readonly pFa: Float64Array;
}

/**
 * Equal scores make one point: no threshold can tell them apart. Throws `RangeError` when all targets or all nontargets
 * weigh nothing.
 */
export function detCurve(sorted: SortedScores, weights?: TrialWeights): DetCurve {
  const { scores, isTarget } = sorted;
  const total = totalWeights(sorted, weights);
  if (!(total.target > 0 && total.nontarget > 0)) throw new RangeError('targets and nontargets both need weight');
  const thresholds = new Float64Array(scores.length + 1);
  const pMiss = new Float64Array(scores.length + 1);
  const pFa = new Float64Array(scores.length + 1);
  let [points, missed, accepted] = [0, 0, total.nontarget];
  for (let i = 0; i < scores.length; ) {
    const score = scores[i]!;
    let [targets, nontargets] = [0, 0];
    for (; i < scores.length && scores[i] === score; i++) {
      const weight = weights ? weights[i]! : 1;
      if (isTarget[i]) targets += weight;
      else nontargets += weight;
    }
    if (targets === 0 && nontargets === 0) continue;
    thresholds[points] = score;
    pMiss[points] = missed / total.target;
    pFa[points] = accepted / total.nontarget;
    points++;
    missed += targets;
    accepted -= nontargets;
  }
  thresholds[points] = Number.POSITIVE_INFINITY;
  pMiss[points] = 1;
  pFa[points] = 0;
  const end = points + 1;
  return { thresholds: thresholds.subarray(0, end), pMiss: pMiss.subarray(0, end), pFa: pFa.subarray(0, end) };
}

/**
 * The lower left convex hull of the curve, from "accept everybody" to "accept nobody": what can be reached by choosing
 * among thresholds at random. Its pieces are the blocks that pooling adjacent violators finds (Fawcett and Niculescu-Mizil,
 * "PAV and the ROC convex hull", Machine Learning 68, 2007). Returns indices of points.
 */
export function convexHull({ pMiss, pFa }: DetCurve): Uint32Array {
  const hull = new Uint32Array(pMiss.length);
  let size = 0;
  for (let next = 0; next < pMiss.length; next++) {
    while (size >= 2) {
      const [a, b] = [hull[size - 2]!, hull[size - 1]!];
      const cross = (pFa[a]! - pFa[b]!) * (pMiss[next]! - pMiss[b]!) - (pFa[b]! - pFa[next]!) * (pMiss[b]! - pMiss[a]!);
      if (cross > 0) break;
      size--;
    }
    hull[size++] = next;
  }
  return hull.subarray(0, size);
}

/** The smallest FNMR among thresholds whose FMR is not above `maxPFa`; nothing is interpolated. */
export function pMissAtPFa({ pMiss, pFa }: DetCurve, maxPFa: number): number {
  // Both rates are monotonic, and the last point has an FMR of 0.
  let [low, high] = [0, pFa.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pFa[middle]! <= maxPFa) high = middle;
    else low = middle + 1;
  }
  return pMiss[low]!;
}
