/** All the figures of one set of scores, with intervals. */
import { type BootstrapOptions, bootstrapBySpeaker, type Interval, intervalWithoutEvents } from './bootstrap.js';
import { cllrCosts, minCllr, weightedCllr } from './cllr.js';
import { actDcf, minDcf } from './dcf.js';
import { convexHull, detCurve, pMissAtPFa } from './det.js';
import { eer, rocchEer } from './eer.js';
import { type SortedScores, sortScores, type TrialWeights, totalWeights } from './scores.js';

/** Priors of a target at which costs are given, and false match rates at which misses are. */
export const TARGET_PRIORS = [0.01, 0.05] as const;
export const FALSE_MATCH_RATES = [0.1, 0.01, 0.001] as const;

export interface SpeakerTrials {
  readonly scores: ArrayLike<number>;
  readonly isTarget: ArrayLike<boolean | number>;
  /** Speaker on each side of each trial. */
  readonly enrollSpeakers: readonly string[];
  readonly testSpeakers: readonly string[];
}

export interface MeasureOptions {
  /** Whether scores are log-likelihood ratios: only then do actual costs and Cllr mean anything. */
  readonly areLlrs: boolean;
  /** Undefined = no intervals. Costs of 0 have none either way. */
  readonly bootstrap: BootstrapOptions | undefined;
}

export interface Estimate {
  readonly value: number;
  readonly interval: Interval | undefined;
}

export type Measures = Readonly<Record<string, Estimate>>;

/**
 * `eer`, `eerEachOwner` (every owner counting once, however many target trials there are of them), `rocchEer`, `minDcf@<prior>`, `minCllr`, `pMiss@<fmr>`,
 * and for llrs `actDcf@<prior>` and `cllr`.
 */
export function measure(trials: SpeakerTrials, options: MeasureOptions): Measures {
  const sorted = sortScores(trials.scores, trials.isTarget);
  const costs = options.areLlrs ? cllrCosts(sorted) : undefined;
  const owners = eachOwnerOnce(trials, sorted);
  const found = estimate(trials, sorted, (weights) => figures(sorted, owners, costs, weights), options.bootstrap);
  return options.bootstrap ? boundWithoutEvents(found, countOwners(trials), options.bootstrap.confidence) : found;
}

/** Where no or every trial is an error all resamples agree, which is no evidence that nothing else can happen. */
function boundWithoutEvents(measures: Measures, owners: number, confidence: number | undefined): Measures {
  const bounded = Object.entries(measures).map(([name, { value, interval }]): [string, Estimate] => {
    const isRate = /eer|pMiss/i.test(name);
    if (isRate && (value === 0 || value === 1)) {
      // Of owners, because three people or more make at least as many pairs of strangers.
      return [name, { value, interval: intervalWithoutEvents(value, owners, confidence) }];
    }
    return [name, { value, interval: !isRate && value === 0 ? undefined : interval }];
  });
  return Object.fromEntries(bounded);
}

function countOwners({ enrollSpeakers, isTarget }: SpeakerTrials): number {
  return new Set(enrollSpeakers.filter((_, index) => isTarget[index])).size;
}

/** A weight per trial in the order of the scores: the target trials of every enrolled speaker weigh 1 together, nontargets 1 each. */
function eachOwnerOnce({ enrollSpeakers }: Pick<SpeakerTrials, 'enrollSpeakers'>, sorted: SortedScores): Float64Array {
  const ownTrials = new Map<string, number>();
  sorted.order.forEach((trial, rank) => {
    const owner = enrollSpeakers[trial]!;
    if (sorted.isTarget[rank]) ownTrials.set(owner, (ownTrials.get(owner) ?? 0) + 1);
  });
  return Float64Array.from(sorted.order, (trial, rank) =>
    sorted.isTarget[rank] ? 1 / ownTrials.get(enrollSpeakers[trial]!)! : 1,
  );
}

/** Named figures of the trials as they are, and their intervals over resampled speakers. */
export function estimate(
  trials: Pick<SpeakerTrials, 'enrollSpeakers' | 'testSpeakers'>,
  sorted: SortedScores,
  figuresOf: (weights: TrialWeights) => Readonly<Record<string, number>>,
  bootstrap: BootstrapOptions | undefined,
): Measures {
  const values = figuresOf(undefined);
  const intervals = bootstrap
    ? bootstrapBySpeaker(
        numberSpeakers(trials, sorted.order),
        (weights) => {
          const { target, nontarget } = totalWeights(sorted, weights);
          return target > 0 && nontarget > 0 ? Object.values(figuresOf(weights)) : undefined;
        },
        bootstrap,
      )
    : [];
  return Object.fromEntries(
    Object.entries(values).map(([name, value], index) => [name, { value, interval: intervals[index] }]),
  );
}

/** Speakers as numbers, trials in the order of `order`. */
export function numberSpeakers(
  { enrollSpeakers, testSpeakers }: Pick<SpeakerTrials, 'enrollSpeakers' | 'testSpeakers'>,
  order: Uint32Array,
) {
  const numbers = new Map<string, number>();
  const numberOf = (speaker: string): number => {
    const known = numbers.get(speaker) ?? numbers.size;
    numbers.set(speaker, known);
    return known;
  };
  const enroll = Uint32Array.from(order, (index) => numberOf(enrollSpeakers[index]!));
  const test = Uint32Array.from(order, (index) => numberOf(testSpeakers[index]!));
  return { enroll, test, speakers: numbers.size };
}

function figures(
  sorted: SortedScores,
  owners: Float64Array,
  costs: Float64Array | undefined,
  weights: TrialWeights,
): Readonly<Record<string, number>> {
  const curve = detCurve(sorted, weights);
  const hull = convexHull(curve);
  const found: Record<string, number> = {
    eer: eer(curve),
    eerEachOwner: eer(detCurve(sorted, weights ? owners.map((weight, rank) => weight * weights[rank]!) : owners)),
    rocchEer: rocchEer(curve, hull),
  };
  for (const pTarget of TARGET_PRIORS) found[`minDcf@${pTarget}`] = minDcf(curve, { pTarget }, hull);
  found.minCllr = minCllr(curve, hull);
  for (const fmr of FALSE_MATCH_RATES) found[`pMiss@${fmr}`] = pMissAtPFa(curve, fmr);
  if (costs) {
    for (const pTarget of TARGET_PRIORS) {
      found[`actDcf@${pTarget}`] = actDcf(sorted, { pTarget }, weights ? { weights } : {});
    }
    found.cllr = weightedCllr(sorted, costs, weights);
  }
  return found;
}
