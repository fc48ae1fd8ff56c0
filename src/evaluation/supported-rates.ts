/**
 * What so many people can tell about a rate: the rule of 30 (Doddington et al., "The NIST speaker recognition evaluation",
 * Speech Communication 31, 2000). With 30 errors the true rate lies within 30 % of the observed one with 90 % confidence, if trials
 * are independent. Counted are pairs of people, not comparisons: two recordings of one person against one voiceprint are
 * hardly two trials.
 */
import type { TrialSpeakers } from './bootstrap.js';

const MIN_EXPECTED_MATCHES = 30;
/** The highest rate at which a tail is worth fitting; the people that it takes follow from it. */
export const HIGHEST_SUPPORTED_FMR = 0.1;
/** The least n whose n (n - 1) / 2 pairs give 30 matches at a rate of 0.1: 25 people, 300 pairs. */
export const MIN_PEOPLE = Math.ceil((1 + Math.sqrt(1 + (8 * MIN_EXPECTED_MATCHES) / HIGHEST_SUPPORTED_FMR)) / 2);

/** The smallest false-match rate that so many pairs of people can tell anything about. */
export function supportedFmr(pairs: number): number {
  return MIN_EXPECTED_MATCHES / pairs;
}

/** Unordered pairs of people among the trials with these indices. */
export function countPairs({ enroll, test, speakers }: TrialSpeakers, indices: Iterable<number>): number {
  const pairs = new Set<number>();
  for (const index of indices) {
    const [a, b] = [enroll[index]!, test[index]!];
    pairs.add(Math.min(a, b) * speakers + Math.max(a, b));
  }
  return pairs.size;
}
