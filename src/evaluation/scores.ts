/**
 * Scores of trials in the form every metric takes: sorted once, with who is a target beside them. A bootstrap then only
 * brings other weights, and no metric ever sorts again.
 */

export interface SortedScores {
  /** Ascending. */
  readonly scores: Float64Array;
  /** 1 for a target, 0 for a nontarget, in the order of `scores`. */
  readonly isTarget: Uint8Array;
  /** Where each score stood in the input. */
  readonly order: Uint32Array;
  readonly targets: number;
  readonly nontargets: number;
}

/** One weight per trial in the order of `SortedScores.scores`; undefined = 1 each. */
export type TrialWeights = Float64Array | undefined;

/**
 * Higher scores must mean "more likely the same speaker". Throws `RangeError` when the lengths differ, a score is not
 * finite, or there is no target or no nontarget: no error rate exists then.
 */
export function sortScores(scores: ArrayLike<number>, isTarget: ArrayLike<boolean | number>): SortedScores {
  if (scores.length !== isTarget.length) {
    throw new RangeError(`${scores.length} scores, but ${isTarget.length} labels of target or nontarget`);
  }
  let targets = 0;
  for (let i = 0; i < scores.length; i++) {
    if (!Number.isFinite(scores[i]))
      throw new RangeError(`score ${i + 1} is ${scores[i]}: only finite scores can be ranked`);
    if (isTarget[i]) targets++;
  }
  const nontargets = scores.length - targets;
  if (targets === 0) throw new RangeError('no target trials: nobody to be missed');
  if (nontargets === 0) throw new RangeError('no nontarget trials: nobody to be falsely matched');
  const order = Uint32Array.from({ length: scores.length }, (_, index) => index).sort(
    (a, b) => scores[a]! - scores[b]!,
  );
  return {
    scores: Float64Array.from(order, (index) => scores[index]!),
    isTarget: Uint8Array.from(order, (index) => (isTarget[index] ? 1 : 0)),
    order,
    targets,
    nontargets,
  };
}

/** Sum of the weights of targets and of nontargets. */
export function totalWeights({ isTarget, targets, nontargets }: SortedScores, weights: TrialWeights) {
  if (!weights) return { target: targets, nontarget: nontargets };
  let [target, nontarget] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    if (isTarget[i]) target += weights[i]!;
    else nontarget += weights[i]!;
  }
  return { target, nontarget };
}
