/**
 * Confidence intervals by resampling speakers, the units that are independent of one another: trials are not, because a
 * voice that is hard to tell from others is so in all its trials (Poh and Bengio, "Estimating the confidence interval of
 * expected performance curve in biometric authentication using joint bootstrap", ICASSP 2007).
 *
 * A resample draws as many speakers as there are, with replacement. One drawn k times stands for k people who have not met:
 * their target trials count k times, and a trial between speakers drawn j and k times counts j x k times. Both sides of a
 * trial are thus resampled, and no two copies of one speaker are compared as strangers.
 */
import { randomGenerator } from './random.js';

export interface TrialSpeakers {
  /** Number of the speaker on each side of each trial, from 0; the same on both sides of a target trial. */
  readonly enroll: Uint32Array;
  readonly test: Uint32Array;
  readonly speakers: number;
}

export interface BootstrapOptions {
  readonly resamples: number;
  readonly seed: number;
  /** Default 0.95. */
  readonly confidence?: number;
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** How often a resample without any target or nontarget is drawn anew before giving up. */
const MAX_REDRAWS = 100;

/**
 * Percentile intervals of every number that `statistic` makes of weighted trials. `statistic` returns undefined when the
 * weights leave nothing to measure; such a resample is drawn again. The weights' array is reused between calls. Throws
 * `RangeError` when hardly any resample can be measured.
 */
export function bootstrapBySpeaker(
  trials: TrialSpeakers,
  statistic: (weights: Float64Array) => readonly number[] | undefined,
  options: BootstrapOptions,
): readonly Interval[] {
  const { resamples, seed, confidence = 0.95 } = options;
  if (!(resamples >= 2 && confidence > 0 && confidence < 1)) {
    throw new RangeError('a bootstrap needs at least 2 resamples and a confidence between 0 and 1');
  }
  const random = randomGenerator(seed);
  const counts = new Uint32Array(trials.speakers);
  const weights = new Float64Array(trials.enroll.length);
  const draw = (): readonly number[] => {
    for (let attempt = 0; attempt < MAX_REDRAWS; attempt++) {
      drawSpeakers(counts, random);
      weighTrials(trials, counts, weights);
      const values = statistic(weights);
      if (values) return values;
    }
    throw new RangeError('too few speakers: nearly every resample is without targets or nontargets');
  };
  const first = draw();
  const columns = first.map((value) => {
    const column = new Float64Array(resamples);
    column[0] = value;
    return column;
  });
  for (let resample = 1; resample < resamples; resample++) {
    draw().forEach((value, index) => {
      columns[index]![resample] = value;
    });
  }
  const tail = (1 - confidence) / 2;
  return columns.map((column) => {
    column.sort();
    return { low: quantile(column, tail), high: quantile(column, 1 - tail) };
  });
}

/**
 * The interval of a share of 0 or 1. Every resample of such trials is as they are, so a bootstrap would say that nothing else is
 * possible; this is what so many independent units leave possible (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934, one-sided; at
 * 95 % about 3 / units, the rule of three).
 */
export function intervalWithoutEvents(share: 0 | 1, units: number, confidence = 0.95): Interval {
  const possible = 1 - (1 - confidence) ** (1 / units);
  return share === 0 ? { low: 0, high: possible } : { low: 1 - possible, high: 1 };
}

/** The weight of every trial when each speaker was drawn so many times. */
export function weighTrials({ enroll, test }: TrialSpeakers, counts: Uint32Array, weights: Float64Array): void {
  for (let i = 0; i < weights.length; i++) {
    const [a, b] = [enroll[i]!, test[i]!];
    weights[i] = a === b ? counts[a]! : counts[a]! * counts[b]!;
  }
}

/** Of ascending values, with linear interpolation between neighbours (type 7 of Hyndman and Fan, 1996). */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (at - below) * (sorted[above]! - sorted[below]!);
}

function drawSpeakers(counts: Uint32Array, random: () => number): void {
  counts.fill(0);
  for (let i = 0; i < counts.length; i++) counts[Math.floor(random() * counts.length)]!++;
}
