/**
 * Equal error rate: where FNMR and FMR are the same. Two readings of the same curve are given.
 *
 * `eer` walks the curve itself and interpolates linearly between the two points around the crossing, as most toolkits do:
 * it is what published figures mean, so it is the one that reports show. `rocchEer` takes the convex hull of the curve
 * (Brümmer and de Villiers, BOSARIS Toolkit, 2011): it never exceeds `eer` by more than rounding, does not jump with single
 * trials, and equals the worst minimum cost over all priors. It is given beside the first for comparison with PYLLR and BOSARIS.
 */
import { convexHull, type DetCurve } from './det.js';

export function eer({ pMiss, pFa }: DetCurve): number {
  let at = 1;
  while (pMiss[at]! < pFa[at]!) at++;
  return crossing(pFa[at - 1]!, pMiss[at - 1]!, pFa[at]!, pMiss[at]!);
}

export function rocchEer(curve: DetCurve, hull: Uint32Array = convexHull(curve)): number {
  const { pMiss, pFa } = curve;
  let at = 1;
  while (pMiss[hull[at]!]! < pFa[hull[at]!]!) at++;
  const [a, b] = [hull[at - 1]!, hull[at]!];
  return crossing(pFa[a]!, pMiss[a]!, pFa[b]!, pMiss[b]!);
}

/** Where the straight line from (fa0, miss0), below the diagonal, to (fa1, miss1), on or above it, meets the diagonal. */
function crossing(fa0: number, miss0: number, fa1: number, miss1: number): number {
  const share = (fa0 - miss0) / (fa0 - miss0 + (miss1 - fa1));
  return miss0 + share * (miss1 - miss0);
}
