/**
 * A calibration from what a deployment has recorded anyway: everybody's voice samples against everybody else's voiceprint are
 * impostor attempts of the right population, through the right telephones. No audio is needed, and what comes out is a few
 * quantiles of many comparisons: nothing about anybody.
 *
 * What the data cannot support is left as it was. Samples are of no call that was looked at again and again, so the budget of
 * the looks stays; so do the tails of amounts of speech that too few samples have; and so does a tail beyond the smallest rate
 * that the number of people supports.
 */
import { type Calibration, impostorFmr } from '../domain/scoring/calibration.js';
import { cosine } from '../domain/scoring/embedding.js';
import { type Cohort, normaliseScore } from '../domain/scoring/score-normalisation.js';
import type { BootstrapOptions, TrialSpeakers } from './bootstrap.js';
import { acceptedShares } from './decisions.js';
import { TAILS_S } from './fit-calibration.js';
import { type ImpostorTails, TAIL_FMRS } from './impostor-tail.js';
import type { Estimate } from './measure.js';
import { countPairs, HIGHEST_SUPPORTED_FMR, supportedFmr } from './supported-rates.js';

/** What is recorded of one person, without a name. All embeddings of unit length and of one model. */
export interface RecordedVoice {
  readonly voiceprint: Float32Array;
  readonly samples: readonly { readonly embedding: Float32Array; readonly netSpeechMs: number }[];
}

/** Comparisons of samples with other people's voiceprints. */
export interface StrangerScores {
  /** People are numbers, from 0. */
  readonly speakers: TrialSpeakers;
  readonly normScores: Float64Array;
  /** Of the sample. */
  readonly netSpeechMs: Float64Array;
}

/** What was fitted of one amount of speech. */
export interface FittedAmount {
  readonly netSpeechMs: number;
  /** Pairs of people who were compared at this amount of speech. */
  readonly pairs: number;
  /** Below it the tail is the one before; undefined when there are too few pairs, and all of it is. */
  readonly smallestFmr: number | undefined;
}

export interface RecordedFit {
  readonly calibration: Calibration;
  readonly amounts: readonly FittedAmount[];
}

/** What a claim turned out to be. */
export interface ClaimCheck {
  readonly claimed: number;
  /** Undefined when the pairs are too few to say. */
  readonly observed: Estimate | undefined;
}

const CLAIMS = [0.1, 0.03, 0.01, 0.003, 0.001] as const;
/** No normScore lies outside: differences of cosines over deviations of at least 1e-4 stay far within in practice. */
const SCORE_RANGE = 1000;

/** Every sample against the voiceprint of everybody else. */
export function scoreStrangers(voices: readonly RecordedVoice[], cohort: Cohort): StrangerScores {
  const references = voices.map(({ voiceprint }) => cohort.statistics(voiceprint));
  const total = voices.reduce((sum, { samples }) => sum + samples.length, 0) * Math.max(0, voices.length - 1);
  const scores: StrangerScores = {
    speakers: { enroll: new Uint32Array(total), test: new Uint32Array(total), speakers: voices.length },
    normScores: new Float64Array(total),
    netSpeechMs: new Float64Array(total),
  };
  let at = 0;
  for (const [test, { samples }] of voices.entries()) {
    for (const { embedding, netSpeechMs } of samples) {
      const statistics = cohort.statistics(embedding);
      for (const [enroll, { voiceprint }] of voices.entries()) {
        if (enroll === test) continue;
        scores.speakers.enroll[at] = enroll;
        scores.speakers.test[at] = test;
        scores.normScores[at] = normaliseScore(cosine(voiceprint, embedding), references[enroll]!, statistics);
        scores.netSpeechMs[at++] = netSpeechMs;
      }
    }
  }
  return scores;
}

/**
 * Tails from recorded comparisons where they support it, everything else from `base`. Undefined when no amount of speech has
 * enough pairs of people (`MIN_PEOPLE` who have samples of about the same length).
 */
export function fitRecorded(scores: StrangerScores, base: Calibration): RecordedFit | undefined {
  const amounts = TAILS_S.map((seconds) => seconds * 1000);
  const groups = amounts.map((): number[] => []);
  for (const [index, netSpeechMs] of scores.netSpeechMs.entries()) {
    groups[nearest(amounts, netSpeechMs)]!.push(index);
  }
  const fitted: FittedAmount[] = [];
  const tails = new Map<number, ImpostorTails[number]>(base.tails.map((tail) => [tail.netSpeechMs, tail]));
  for (const [group, netSpeechMs] of amounts.entries()) {
    const pairs = countPairs(scores.speakers, groups[group]!);
    const smallestFmr = supportedFmr(pairs);
    const isEnough = smallestFmr <= HIGHEST_SUPPORTED_FMR;
    fitted.push({ netSpeechMs, pairs, smallestFmr: isEnough ? smallestFmr : undefined });
    if (!isEnough) continue;
    const normScores = Float64Array.from(groups[group]!, (index) => scores.normScores[index]!);
    tails.set(netSpeechMs, { netSpeechMs, knots: joinTails(normScores, smallestFmr, { base, netSpeechMs }) });
  }
  if (fitted.every(({ smallestFmr }) => smallestFmr === undefined)) return undefined;
  const ordered = [...tails.values()].sort((a, b) => a.netSpeechMs - b.netSpeechMs);
  return { calibration: { ...base, tails: ordered }, amounts: fitted };
}

/** How many strangers a calibration lets through at each claim, one comparison at a time. */
export function checkRecorded(
  scores: StrangerScores,
  calibration: Calibration,
  bootstrap: BootstrapOptions,
): readonly ClaimCheck[] {
  const all = Array.from(scores.normScores, (_, index) => index);
  const smallest = supportedFmr(countPairs(scores.speakers, all));
  const fmrs = scores.normScores.map((score, index) => impostorFmr(calibration, score, scores.netSpeechMs[index]!));
  const judged = CLAIMS.filter((claim) => claim >= smallest);
  const shares =
    judged.length === 0
      ? []
      : acceptedShares(
          scores.speakers,
          judged.map((claim) => Uint8Array.from(fmrs, (fmr) => (fmr <= claim ? 1 : 0))),
          bootstrap,
        );
  return CLAIMS.map((claimed, index) => ({ claimed, observed: shares[index] }));
}

/** Observed where there is enough data; beyond, as careful as `base` and never less steep than it continues from there. */
function joinTails(
  normScores: Float64Array,
  smallestFmr: number,
  { base, netSpeechMs }: { readonly base: Calibration; readonly netSpeechMs: number },
): [number, number][] {
  const descending = normScores.sort().reverse();
  const observed = (fmr: number) => descending[Math.floor(fmr * descending.length)]!;
  const before = (fmr: number) => scoreOf(base, fmr, netSpeechMs);
  const joint = TAIL_FMRS.findLast((fmr) => fmr >= smallestFmr)!;
  const knots: [number, number][] = [];
  for (const fmr of TAIL_FMRS) {
    const score =
      fmr >= smallestFmr
        ? observed(fmr)
        : Math.max(before(fmr), observed(joint) + Math.max(0, before(fmr) - before(joint)));
    const rounded = Math.round(score * 1e4) / 1e4;
    if (rounded > (knots.at(-1)?.[0] ?? Number.NEGATIVE_INFINITY)) knots.push([rounded, fmr]);
  }
  return knots;
}

/** The normScore that a calibration gives this rate: `impostorFmr` falls with the score, so halving finds it. */
function scoreOf(calibration: Calibration, fmr: number, netSpeechMs: number): number {
  let [low, high] = [-SCORE_RANGE, SCORE_RANGE];
  while (high - low > 1e-6) {
    const middle = (low + high) / 2;
    if (impostorFmr(calibration, middle, netSpeechMs) > fmr) low = middle;
    else high = middle;
  }
  return high;
}

/** Index of the amount closest in ratio. */
function nearest(amounts: readonly number[], netSpeechMs: number): number {
  const distance = (amount: number) => Math.abs(Math.log(amount / Math.max(1, netSpeechMs)));
  return amounts.reduce((best, amount, index) => (distance(amount) < distance(amounts[best]!) ? index : best), 0);
}
