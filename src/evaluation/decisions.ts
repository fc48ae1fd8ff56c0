/**
 * Costs of decisions that were already taken, for several systems on the same trials. All systems see the same resamples, so
 * the interval of a difference is that of the difference and not of two unrelated figures.
 */
import {
  type BootstrapOptions,
  bootstrapBySpeaker,
  type Interval,
  intervalWithoutEvents,
  quantile,
  type TrialSpeakers,
} from './bootstrap.js';
import { normalisedDcf } from './dcf.js';
import type { Estimate } from './measure.js';
import { countPairs } from './supported-rates.js';

export interface DecidedTrials {
  readonly speakers: TrialSpeakers;
  readonly isTarget: Uint8Array;
}

export interface DecisionCost {
  readonly pMiss: Estimate;
  readonly pFa: Estimate;
  readonly dcf: Estimate;
  /** Share of the first system's cost that this one saves; negative when it costs more. */
  readonly saved: Estimate;
}

/**
 * `accepted`: one array per system, 1 where it accepts the trial, a share where it was asked several times. The first system
 * is what the others are compared with.
 */
export function compareDecisions(
  trials: DecidedTrials,
  accepted: readonly ArrayLike<number>[],
  options: { readonly pTarget: number; readonly bootstrap: BootstrapOptions },
): readonly DecisionCost[] {
  const { speakers, isTarget } = trials;
  const unit = new Float64Array(isTarget.length).fill(1);
  const statistic = (weights: Float64Array): readonly number[] | undefined => {
    const rates = accepted.map((decisions) => errorRates(isTarget, decisions, weights));
    if (rates.some((pair) => pair === undefined)) return undefined;
    const costs = rates.map((pair) => normalisedDcf(pair!.pMiss, pair!.pFa, { pTarget: options.pTarget }));
    return rates.flatMap((pair, index) => [
      pair!.pMiss,
      pair!.pFa,
      costs[index]!,
      savedShare(costs[index]!, costs[0]!),
    ]);
  };
  const values = statistic(unit);
  if (!values) throw new RangeError('decisions can only be compared on targets and nontargets');
  const intervals = bootstrapBySpeaker(speakers, statistic, options.bootstrap);
  const estimateAt = (index: number): Estimate => ({ value: values[index]!, interval: intervals[index] });
  const pairsOf = (label: 0 | 1) =>
    countPairs(
      speakers,
      [...isTarget.keys()].filter((index) => isTarget[index] === label),
    );
  const [strangers, owners] = [pairsOf(0), pairsOf(1)];
  const shareAt = (index: number, pairs: number): Estimate => ({
    value: values[index]!,
    interval: intervalOfShare(values[index]!, intervals[index]!, { pairs, bootstrap: options.bootstrap }),
  });
  return accepted.map((_, system) => ({
    pMiss: shareAt(4 * system, owners),
    pFa: shareAt(4 * system + 1, strangers),
    dcf: estimateAt(4 * system + 2),
    saved: estimateAt(4 * system + 3),
  }));
}

/**
 * Shares of accepted trials of one class at several settings, with intervals: observed false matches per claim, or owners
 * accepted per threshold. `accepted[k][i]`: how much of trial i setting k accepts, 0 or 1 for a single one. Where none or all are
 * accepted, the interval is what so many pairs of people leave possible.
 */
export function acceptedShares(
  speakers: TrialSpeakers,
  accepted: readonly ArrayLike<number>[],
  bootstrap: BootstrapOptions,
): readonly Estimate[] {
  const statistic = (weights: Float64Array): readonly number[] | undefined => {
    let total = 0;
    for (let i = 0; i < weights.length; i++) total += weights[i]!;
    if (total === 0) return undefined;
    return accepted.map((decisions) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += decisions[i]! * weights[i]!;
      return sum / total;
    });
  };
  const values = statistic(new Float64Array(speakers.enroll.length).fill(1));
  if (!values) throw new RangeError('no trials to count');
  const intervals = bootstrapBySpeaker(speakers, statistic, bootstrap);
  const pairs = countPairs(speakers, speakers.enroll.keys());
  return values.map((value, index) => ({
    value,
    interval: intervalOfShare(value, intervals[index]!, { pairs, bootstrap }),
  }));
}

/**
 * The same with every person who enrolled counting once, however many trials there are of them: of people with many calls, some would
 * otherwise drown the rest. For target trials.
 */
export function acceptedSharesPerPerson(
  speakers: TrialSpeakers,
  accepted: readonly ArrayLike<number>[],
  bootstrap: BootstrapOptions,
): readonly Estimate[] {
  const byPerson = accepted.map((row) => sharesByPerson(speakers.enroll, row));
  const people = Uint32Array.from(byPerson[0]?.keys() ?? []);
  const shares = byPerson.map((share) => Float64Array.from(share.values()));
  return acceptedShares({ enroll: people, test: people, speakers: speakers.speakers }, shares, bootstrap);
}

export interface PerOwner {
  /** Average over the owners, each of whom counts the same however often somebody pretended to be them. */
  readonly mean: number;
  /** Nine in ten owners have at most this. */
  readonly ninthTenth: number;
  /** Share of the owners to whom any stranger was matched. */
  readonly matched: number;
  readonly owners: number;
}

/**
 * How false matches are spread over the people whom strangers pretended to be: some voices are easier to be taken for than
 * others. `accepted[i]`: 1 where the attempt on owner `owners[i]` was accepted, else 0. Throws `RangeError` without attempts.
 */
export function falseMatchesPerOwner(owners: ArrayLike<number>, accepted: ArrayLike<number>): PerOwner {
  const rates = Float64Array.from(sharesByPerson(owners, accepted).values()).sort();
  if (rates.length === 0) throw new RangeError('no attempts to count');
  return {
    mean: rates.reduce((sum, rate) => sum + rate, 0) / rates.length,
    ninthTenth: quantile(rates, 0.9),
    matched: rates.filter((rate) => rate > 0).length / rates.length,
    owners: rates.length,
  };
}

/** `pairs` of people are the independent units: each person with themselves for owners. */
function intervalOfShare(
  value: number,
  resampled: Interval,
  { pairs, bootstrap }: { readonly pairs: number; readonly bootstrap: BootstrapOptions },
): Interval {
  return value === 0 || value === 1 ? intervalWithoutEvents(value, pairs, bootstrap.confidence) : resampled;
}

/** Where the first costs nothing there is nothing to save: equal is 0, and anything else is called twice as much. */
function savedShare(cost: number, first: number): number {
  if (first === 0) return cost === 0 ? 0 : -1;
  return 1 - cost / first;
}

function errorRates(isTarget: Uint8Array, accepted: ArrayLike<number>, weights: Float64Array) {
  let [targets, nontargets, missed, matched] = [0, 0, 0, 0];
  for (let i = 0; i < isTarget.length; i++) {
    const weight = weights[i]!;
    if (isTarget[i]) {
      targets += weight;
      missed += weight * (1 - accepted[i]!);
    } else {
      nontargets += weight;
      matched += weight * accepted[i]!;
    }
  }
  return targets > 0 && nontargets > 0 ? { pMiss: missed / targets, pFa: matched / nontargets } : undefined;
}

/** Share of each person's trials that were accepted, in the order in which people first appear. */
function sharesByPerson(people: ArrayLike<number>, accepted: ArrayLike<number>): ReadonlyMap<number, number> {
  const sums = new Map<number, { trials: number; accepted: number }>();
  for (let i = 0; i < people.length; i++) {
    const sum = sums.get(people[i]!) ?? { trials: 0, accepted: 0 };
    sum.trials += 1;
    sum.accepted += accepted[i]!;
    sums.set(people[i]!, sum);
  }
  return new Map([...sums].map(([person, sum]) => [person, sum.accepted / sum.trials]));
}
