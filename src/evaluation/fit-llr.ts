/**
 * Makes log-likelihood ratios of scores: the affine map that loses least, by logistic regression with the two classes
 * weighted to a given prior (Brümmer and du Preez 2006; FoCal and BOSARIS toolkits).
 */

export interface LlrMap {
  readonly offset: number;
  readonly slope: number;
}

/** Newton's method converges in about ten steps; the limit only ends what would not. */
const MAX_STEPS = 100;
/** Pulls very weakly to slope 0, so that classes which do not overlap have a finite answer. */
const RIDGE = 1e-6;

/**
 * The map from score to natural log-likelihood ratio. `pTarget`: prior at which to be best. Throws `RangeError` when a class
 * is empty, scores are not finite, or all scores are equal.
 */
export function fitLlr(
  scores: ArrayLike<number>,
  isTarget: ArrayLike<boolean | number>,
  options: { readonly pTarget: number },
): LlrMap {
  const { pTarget } = options;
  const { mean, deviation, targets } = summary(scores, isTarget);
  const nontargets = scores.length - targets;
  const priorLogOdds = Math.log(pTarget / (1 - pTarget));
  // In units of the scores' own spread, so that the ridge means the same for every kind of score.
  let [offset, slope] = [0, 0];
  for (let step = 0; step < MAX_STEPS; step++) {
    let [g0, g1, h00, h01, h11] = [RIDGE * offset, RIDGE * slope, RIDGE, 0, RIDGE];
    for (let i = 0; i < scores.length; i++) {
      const x = (scores[i]! - mean) / deviation;
      const probability = 1 / (1 + Math.exp(-(offset + slope * x + priorLogOdds)));
      const weight = isTarget[i] ? pTarget / targets : (1 - pTarget) / nontargets;
      const error = weight * (probability - (isTarget[i] ? 1 : 0));
      const curvature = weight * probability * (1 - probability);
      g0 += error;
      g1 += error * x;
      h00 += curvature;
      h01 += curvature * x;
      h11 += curvature * x * x;
    }
    const determinant = h00 * h11 - h01 * h01;
    // A step is cut to length 2: far from the answer the curvature says nothing.
    const [d0, d1] = [(h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant];
    const scale = Math.min(1, 2 / Math.hypot(d0, d1));
    offset -= scale * d0;
    slope -= scale * d1;
    if (Math.hypot(d0, d1) < 1e-9) break;
  }
  return { offset: offset - (slope * mean) / deviation, slope: slope / deviation };
}

export function applyLlr({ offset, slope }: LlrMap, score: number): number {
  return offset + slope * score;
}

function summary(scores: ArrayLike<number>, isTarget: ArrayLike<boolean | number>) {
  let [sum, squares, targets] = [0, 0, 0];
  for (let i = 0; i < scores.length; i++) {
    if (!Number.isFinite(scores[i])) throw new RangeError('only finite scores can be calibrated');
    sum += scores[i]!;
    if (isTarget[i]) targets++;
  }
  if (targets === 0 || targets === scores.length) throw new RangeError('calibration needs targets and nontargets');
  const mean = sum / scores.length;
  for (let i = 0; i < scores.length; i++) squares += (scores[i]! - mean) ** 2;
  const deviation = Math.sqrt(squares / scores.length);
  if (!(deviation > 0)) throw new RangeError('all scores are equal: there is nothing to calibrate');
  return { mean, deviation, targets };
}
