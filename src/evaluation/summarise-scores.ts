/** What of a set of scores is kept for drawing: the DET curve with few enough points, and histograms. */

import { quantile } from './bootstrap.js';
import type { DetCurve } from './det.js';
import type { SortedScores } from './scores.js';

const HISTOGRAM_BINS = 48;
/** Scores beyond these shares go into the outermost bins: single far ones must not squeeze the picture. */
const HISTOGRAM_TAIL = 0.0005;

/**
 * [fmr, fnmr] of points that differ by a visible distance on probit axes, from accepting everybody to accepting nobody.
 * The ends stay, and so do both ends of every long straight piece.
 */
export function thinDet({ pMiss, pFa }: DetCurve): [number, number][] {
  const kept: [number, number][] = [];
  const last = pMiss.length - 1;
  for (let point = 0; point <= last; point++) {
    const here: [number, number] = [pFa[point]!, pMiss[point]!];
    const before = kept.at(-1);
    const next = point < last ? [pFa[point + 1]!, pMiss[point + 1]!] : undefined;
    if (!before || !next || visiblyApart(before, next as [number, number])) kept.push(here);
  }
  return kept;
}

function visiblyApart(a: readonly [number, number], b: readonly [number, number]): boolean {
  // On probit axes distances grow with the logarithm of a small rate.
  return a.some((value, axis) => {
    const [x, y] = [value, b[axis]!];
    const scale = Math.min(Math.max(x, y), 1 - Math.min(x, y));
    return Math.abs(x - y) > 0.02 * Math.max(scale, 1e-4);
  });
}

export function histogram({ scores, isTarget, targets, nontargets }: SortedScores) {
  const [from, to] = [quantile(scores, HISTOGRAM_TAIL), quantile(scores, 1 - HISTOGRAM_TAIL)];
  const width = (to - from) / HISTOGRAM_BINS;
  const shares = {
    targets: new Array<number>(HISTOGRAM_BINS).fill(0),
    nontargets: new Array<number>(HISTOGRAM_BINS).fill(0),
  };
  scores.forEach((score, index) => {
    const bin = width > 0 ? Math.min(HISTOGRAM_BINS - 1, Math.max(0, Math.floor((score - from) / width))) : 0;
    if (isTarget[index]) shares.targets[bin]! += 1 / targets;
    else shares.nontargets[bin]! += 1 / nontargets;
  });
  return { from, to, ...shares };
}
