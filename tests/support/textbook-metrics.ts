/**
 * Error rates and costs straight from their definitions, slow and independent of the code under test: every threshold is
 * tried on every trial, isotonic regression merges blocks one pair at a time.
 */

export interface LabelledScore {
  readonly score: number;
  readonly target: boolean;
  readonly weight?: number;
}

interface Rates {
  readonly pMiss: number;
  readonly pFa: number;
}

const weightOf = ({ weight = 1 }: LabelledScore) => weight;
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Accepted is what scores at least the threshold. */
export function ratesAt(trials: readonly LabelledScore[], threshold: number): Rates {
  const of = (target: boolean) => trials.filter((trial) => trial.target === target);
  const share = (side: readonly LabelledScore[], chosen: (trial: LabelledScore) => boolean) =>
    sum(side.filter(chosen).map(weightOf)) / sum(side.map(weightOf));
  return {
    pMiss: share(of(true), ({ score }) => score < threshold),
    pFa: share(of(false), ({ score }) => score >= threshold),
  };
}

export function allRates(trials: readonly LabelledScore[]): Rates[] {
  const heavy = trials.filter((trial) => weightOf(trial) > 0);
  const thresholds = [...new Set(heavy.map(({ score }) => score)), Number.POSITIVE_INFINITY].sort((a, b) => a - b);
  return thresholds.map((threshold) => ratesAt(trials, threshold));
}

/** Bisection on the piecewise linear curve through all points for the point where both rates are the same. */
export function textbookEer(trials: readonly LabelledScore[]): number {
  return crossingOf(allRates(trials));
}

/** The same on the hull, built by leaving out every point that lies on or above a line between two others. */
export function textbookRocchEer(trials: readonly LabelledScore[]): number {
  return crossingOf(textbookHull(allRates(trials)));
}

export function textbookMinDcf(trials: readonly LabelledScore[], pTarget: number): number {
  const costs = allRates(trials).map(({ pMiss, pFa }) => pTarget * pMiss + (1 - pTarget) * pFa);
  return Math.min(...costs) / Math.min(pTarget, 1 - pTarget);
}

export function textbookActDcf(trials: readonly LabelledScore[], pTarget: number): number {
  const { pMiss, pFa } = ratesAt(trials, Math.log((1 - pTarget) / pTarget));
  return (pTarget * pMiss + (1 - pTarget) * pFa) / Math.min(pTarget, 1 - pTarget);
}

export function textbookPMissAtPFa(trials: readonly LabelledScore[], maxPFa: number): number {
  return Math.min(
    ...allRates(trials)
      .filter(({ pFa }) => pFa <= maxPFa)
      .map(({ pMiss }) => pMiss),
  );
}

export function textbookCllr(trials: readonly LabelledScore[]): number {
  const of = (target: boolean) => trials.filter((trial) => trial.target === target);
  const loss = (side: readonly LabelledScore[], sign: number) =>
    sum(side.map((trial) => weightOf(trial) * Math.log2(1 + Math.exp(sign * trial.score)))) / sum(side.map(weightOf));
  return (loss(of(true), -1) + loss(of(false), 1)) / 2;
}

/** Pool adjacent violators on posteriors at even priors, then Cllr of the log odds. */
export function textbookMinCllr(trials: readonly LabelledScore[]): number {
  const heavy = trials.filter((trial) => weightOf(trial) > 0);
  const total = (target: boolean) => sum(heavy.filter((trial) => trial.target === target).map(weightOf));
  const [allTargets, allNontargets] = [total(true), total(false)];
  let blocks = [...new Set(heavy.map(({ score }) => score))]
    .sort((a, b) => a - b)
    .map((score) => {
      const here = heavy.filter((trial) => trial.score === score);
      const mass = (target: boolean) => sum(here.filter((trial) => trial.target === target).map(weightOf));
      return { t: mass(true) / allTargets, n: mass(false) / allNontargets };
    });
  for (;;) {
    const at = blocks.findIndex((block, index) => {
      const next = blocks[index + 1];
      return next !== undefined && block.t * (next.t + next.n) > next.t * (block.t + block.n);
    });
    if (at < 0) break;
    const merged = { t: blocks[at]!.t + blocks[at + 1]!.t, n: blocks[at]!.n + blocks[at + 1]!.n };
    blocks = [...blocks.slice(0, at), merged, ...blocks.slice(at + 2)];
  }
  const loss = blocks.map(({ t, n }) => {
    const posterior = t / (t + n);
    const ofTargets = t === 0 ? 0 : -t * Math.log2(posterior);
    const ofNontargets = n === 0 ? 0 : -n * Math.log2(1 - posterior);
    return ofTargets + ofNontargets;
  });
  return sum(loss) / 2;
}

function textbookHull(points: readonly Rates[]): Rates[] {
  return points.filter(
    (point) =>
      !points.some((a) =>
        points.some((b) => {
          if (!(a.pFa > point.pFa && b.pFa < point.pFa)) return false;
          const share = (a.pFa - point.pFa) / (a.pFa - b.pFa);
          return a.pMiss + share * (b.pMiss - a.pMiss) < point.pMiss - 1e-12;
        }),
      ) && !points.some((other) => other.pFa === point.pFa && other.pMiss < point.pMiss),
  );
}

function crossingOf(points: readonly Rates[]): number {
  // Along the curve, by position: pMiss - pFa rises from -1 to 1.
  let [low, high] = [0, points.length - 1];
  const at = (position: number): Rates => {
    const index = Math.min(Math.floor(position), points.length - 2);
    const [a, b] = [points[index]!, points[index + 1]!];
    const share = position - index;
    return { pMiss: a.pMiss + share * (b.pMiss - a.pMiss), pFa: a.pFa + share * (b.pFa - a.pFa) };
  };
  for (let step = 0; step < 200; step++) {
    const middle = (low + high) / 2;
    const { pMiss, pFa } = at(middle);
    if (pMiss < pFa) low = middle;
    else high = middle;
  }
  return at(high).pMiss;
}
