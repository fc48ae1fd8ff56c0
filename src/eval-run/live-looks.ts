/**
 * Plays calls against the service's decision rule, look by look: who is accepted, after how much speech, and how often the
 * whole procedure matches a stranger, compared with what the threshold claims.
 */
import type { Calibration } from '../domain/scoring/calibration.js';
import { fmrFromScore, impostorFmr } from '../domain/scoring/calibration.js';
import type { BootstrapOptions } from '../evaluation/bootstrap.js';
import { type CallScores, chooseShares, playCall } from '../evaluation/call-procedure.js';
import { acceptedShares, acceptedSharesPerPerson, falseMatchesPerOwner } from '../evaluation/decisions.js';
import { fitTails, LOOKS_S, MIN_SPEECH_MS } from '../evaluation/fit-calibration.js';
import { numberSpeakers } from '../evaluation/measure.js';
import type { CorpusResults } from '../evaluation/results.js';
import { type Trial, trialName } from '../evaluation/trials.js';
import { reported } from './cross-validate.js';
import { type HalfOf, type ScoredTrials, scoreTrials, type Voices } from './score-trials.js';

/** Thresholds on `score`: claims of 1 in 10, 37, 100, 171 (the default), 1000 and 10,000. */
const THRESHOLDS = [0.536, 0.7, 0.785, 0.82, 0.9, 0.954] as const;
/** Net speech after which it is told how many owners are accepted: a short greeting, a sentence or two, a short talk. */
const ACCEPTED_AFTER_S = [3, 5, 10] as const;
/** Claims of false matches that are checked one by one. */
const CLAIMS = [0.3, 0.1, 0.03, 0.01, 0.003, 0.001] as const;

/** The looks at one trial. */
export interface LiveTrial {
  readonly enrollSpeaker: string;
  readonly testSpeaker: string;
  readonly target: boolean;
  /** One per entry of LOOKS_S, as far as the call's speech goes. */
  readonly normScores: readonly number[];
}

/** Trials by looks: `looks[k]` are the voices after LOOKS_S[k] seconds. Calls too short for the first look are left out. */
export function liveTrials(trials: readonly Trial[], enroll: Voices, looks: readonly Voices[]): readonly LiveTrial[] {
  const long = looks.map((voices, look) => {
    // A shorter call was embedded whole under the same name: that is not another look at it.
    const enough = [...voices].filter(([, { netSpeechMs }]) => netSpeechMs >= LOOKS_S[look]! * 1000 - 1);
    return new Map(enough);
  });
  const usable = trials.filter(({ enrollId, testId }) => enroll.has(enrollId) && long[0]?.has(testId));
  const scores = new Map<string, number[]>();
  for (const voices of long) {
    const seen = usable.filter(({ testId }) => voices.has(testId));
    scoreTrials(seen, enroll, voices).normScores.forEach((normScore, index) => {
      const name = trialName(seen[index]!);
      const before = scores.get(name);
      if (before) before.push(normScore);
      else scores.set(name, [normScore]);
    });
  }
  return usable.map((trial) => ({
    enrollSpeaker: enroll.get(trial.enrollId)!.speaker,
    testSpeaker: long[0]!.get(trial.testId)!.speaker,
    target: trial.target,
    normScores: scores.get(trialName(trial))!,
  }));
}

/**
 * The calibration with everything that is fitted, impostor tail and budget of the looks, fitted anew on nontargets of these trials; undefined
 * when they are too few.
 */
export function refit(calibration: Calibration, trials: readonly LiveTrial[]): Calibration | undefined {
  const calls = trials.map(callOf);
  const tails = fitTails(calls);
  if (tails.length === 0) return undefined;
  const sequential = chooseShares(calls, { tails, futility: calibration.futility }, MIN_SPEECH_MS);
  return { ...calibration, tails, sequential };
}

/** A trial as a call that is played against the decision rule. */
export function callOf({ target, normScores }: LiveTrial): CallScores {
  return { target, looks: normScores.map((normScore, look) => ({ netSpeechMs: LOOKS_S[look]! * 1000, normScore })) };
}

/** Seconds of net speech at which the procedure accepts, or undefined. */
export function acceptedAfterS(trial: LiveTrial, calibration: Calibration, threshold: number): number | undefined {
  const outcome = playCall(callOf(trial), calibration, { threshold, minSpeechMs: MIN_SPEECH_MS });
  return outcome.accepted ? outcome.netSpeechMs / 1000 : undefined;
}

/** The calibration that may judge a trial, or undefined when none may. */
export type CalibrationFor = (enrollSpeaker: string, testSpeaker: string) => Calibration | undefined;

/** Each half judged by a calibration fitted on the other half; undefined when one cannot be fitted. */
export function crossValidated(
  calibration: Calibration,
  trials: readonly LiveTrial[],
  halfOf: HalfOf,
): CalibrationFor | undefined {
  const inHalf = (half: 0 | 1) => trials.filter((trial) => halfOf(trial.enrollSpeaker, trial.testSpeaker) === half);
  const byHalf = [refit(calibration, inHalf(1)), refit(calibration, inHalf(0))];
  if (byHalf.includes(undefined)) return undefined;
  return (enrollSpeaker, testSpeaker) => {
    const half = halfOf(enrollSpeaker, testSpeaker);
    return half === undefined ? undefined : byHalf[half];
  };
}

type CalibrationName = CorpusResults['live'][number]['calibration'];

/**
 * Plays all trials at every threshold; undefined when no calibration may judge owners and strangers both. Throws
 * `RangeError` when there are too few speakers to resample.
 */
export function playCalls(
  calibrationName: CalibrationName,
  trials: readonly LiveTrial[],
  options: { readonly calibrationFor: CalibrationFor; readonly bootstrap: BootstrapOptions },
): CorpusResults['live'][number] | undefined {
  const judged = trials.flatMap((trial) => {
    const calibration = options.calibrationFor(trial.enrollSpeaker, trial.testSpeaker);
    return calibration ? [{ trial, calibration }] : [];
  });
  const sides = [true, false].map((target) => judged.filter(({ trial }) => trial.target === target));
  const [owners, strangers] = sides as [typeof judged, typeof judged];
  if (owners.length === 0 || strangers.length === 0) return undefined;
  const [ownerTimes, strangerTimes] = [owners, strangers].map((side) =>
    THRESHOLDS.map((threshold) => side.map(({ trial, calibration }) => acceptedAfterS(trial, calibration, threshold))),
  ) as [(number | undefined)[][], (number | undefined)[][]];
  const shares = (side: typeof judged, times: readonly (readonly (number | undefined)[])[], afterS: number) =>
    acceptedShares(
      speakersOf(side.map(({ trial }) => trial)),
      times.map((row) => acceptedWithin(row, afterS)),
      options.bootstrap,
    );
  const ownersAccepted = shares(owners, ownerTimes, Number.POSITIVE_INFINITY);
  const eachOwnerAccepted = acceptedSharesPerPerson(
    speakersOf(owners.map(({ trial }) => trial)),
    ownerTimes.map((row) => acceptedWithin(row, Number.POSITIVE_INFINITY)),
    options.bootstrap,
  );
  const acceptedAfter = ACCEPTED_AFTER_S.map((seconds) => ({ seconds, byRow: shares(owners, ownerTimes, seconds) }));
  const observed = shares(strangers, strangerTimes, Number.POSITIVE_INFINITY);
  const pretended = speakersOf(strangers.map(({ trial }) => trial)).enroll;
  const perOwner = strangerTimes.map((row) =>
    falseMatchesPerOwner(pretended, acceptedWithin(row, Number.POSITIVE_INFINITY)),
  );
  const rows = THRESHOLDS.map((threshold, row) => {
    const times = ownerTimes[row]!.filter((time) => time !== undefined).sort((a, b) => a - b);
    return {
      threshold,
      claimed: fmrFromScore(threshold),
      observed: reported(observed[row]!),
      ownersAccepted: reported(ownersAccepted[row]!),
      eachOwnerAccepted: reported(eachOwnerAccepted[row]!),
      medianSpeechS: times[times.length >> 1] ?? null,
      perOwner: {
        mean: perOwner[row]!.mean,
        ninthTenth: perOwner[row]!.ninthTenth,
        matched: perOwner[row]!.matched,
      },
      acceptedAfter: acceptedAfter.map(({ seconds, byRow }) => ({ seconds, share: reported(byRow[row]!) })),
      curve: LOOKS_S.map((seconds): [number, number] => [
        seconds,
        times.filter((time) => time <= seconds).length / owners.length,
      ]),
    };
  });
  return {
    calibration: calibrationName,
    targets: owners.length,
    nontargets: strangers.length,
    owners: perOwner[0]!.owners,
    rows,
  };
}

/** Single comparisons: how many strangers get at least the score that stands for each claim. */
export function checkClaims(
  calibrationName: CalibrationName,
  conditions: readonly ScoredTrials[],
  options: { readonly calibrationFor: CalibrationFor; readonly bootstrap: BootstrapOptions },
): CorpusResults['claims'][number] | undefined {
  const claimed: number[] = [];
  const people: { enrollSpeaker: string; testSpeaker: string }[] = [];
  for (const trials of conditions) {
    for (const [index, enrollSpeaker] of trials.enrollSpeakers.entries()) {
      const testSpeaker = trials.testSpeakers[index]!;
      const calibration = trials.isTarget[index] ? undefined : options.calibrationFor(enrollSpeaker, testSpeaker);
      if (!calibration) continue;
      claimed.push(impostorFmr(calibration, trials.normScores[index]!, trials.netSpeechMs[index]!));
      people.push({ enrollSpeaker, testSpeaker });
    }
  }
  if (claimed.length === 0) return undefined;
  const observed = acceptedShares(
    speakersOf(people),
    CLAIMS.map((claim) => Uint8Array.from(claimed, (fmr) => (fmr <= claim ? 1 : 0))),
    options.bootstrap,
  );
  const points = CLAIMS.map((claim, index) => ({ claimed: claim, observed: reported(observed[index]!) }));
  return { calibration: calibrationName, nontargets: claimed.length, points };
}

/** 1 where a call was accepted by then, else 0; `times` in seconds of net speech, undefined = never. */
function acceptedWithin(times: readonly (number | undefined)[], seconds: number): Uint8Array {
  return Uint8Array.from(times, (time) => (time !== undefined && time <= seconds ? 1 : 0));
}

function speakersOf(people: readonly { readonly enrollSpeaker: string; readonly testSpeaker: string }[]) {
  const sides = {
    enrollSpeakers: people.map(({ enrollSpeaker }) => enrollSpeaker),
    testSpeakers: people.map(({ testSpeaker }) => testSpeaker),
  };
  return numberSpeakers(
    sides,
    Uint32Array.from(people, (_, index) => index),
  );
}
