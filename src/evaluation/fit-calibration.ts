/**
 * A calibration from played calls: the impostor tail per amount of speech, and the budget that each look at a call may spend
 * so that the whole procedure keeps its claim. And the form in which it lies in a model package.
 */
import { type Calibration, calibrationSchema } from '../domain/scoring/calibration.js';
import { LAST_EARLY_LOOK_MS, NEXT_LOOK_MS } from '../domain/verification/decide.js';
import { type CallScores, chooseShares } from './call-procedure.js';
import { fitImpostorTails, type ImpostorTails } from './impostor-tail.js';

/** Amounts of speech that get an impostor tail of their own, in seconds. */
export const TAILS_S: readonly number[] = [2, 3, 4, 5, 7, 10, 14, 20];
/** `MIN_SPEECH_MS` as it comes: below this the service decides nothing. */
export const MIN_SPEECH_MS = 2000;
/** Net speech of a long call's last look, in seconds: with `MAX_AUDIO_DURATION` as it comes, less what detector frames round off. */
const LAST_LOOK_S = LAST_EARLY_LOOK_MS / 1000;
/**
 * Net speech at which a call is looked at, in seconds: all that the service takes, since every look is another chance for a
 * stranger.
 */
export const LOOKS_S: readonly number[] = [
  ...Array.from({ length: Math.ceil((LAST_LOOK_S * 1000 - MIN_SPEECH_MS) / NEXT_LOOK_MS) }, (_, look) => {
    return (MIN_SPEECH_MS + look * NEXT_LOOK_MS) / 1000;
  }),
  LAST_LOOK_S,
];
/** Speech of an enrollment in the trials that calibrations are fitted on, in seconds. */
export const ENROLL_S = 15;
/** How many of the closest cohort speakers make the statistics, unless asked otherwise or the package has a calibration that says. */
export const COHORT_TOP = 100;

/** What no fit decides: after 6 s a caller whose fmr is above 0.3 is given up, and a cosine of 0.999 is a copy. */
const POLICY = { futility: { minNetSpeechMs: 6000, fmr: 0.3 }, replayCosine: 0.999 } as const;

export interface FitOptions {
  readonly modelId: string;
  readonly cohortTop: number;
  /** Of the `cohort.f32` that the scores were normalised with, if they were with one of a package. */
  readonly cohortSha256?: string;
  /** Which speech detector found the speech, if one is known. */
  readonly speechDetector?: string;
}

/** Where a calibration comes from, for people. */
export interface Provenance {
  readonly fittedOn: string;
  /** What to run to get it again. */
  readonly command: string;
}

/** One impostor tail per entry of `TAILS_S` for which there are enough nontarget calls; none when there are too few for any. */
export function fitTails(calls: readonly CallScores[]): ImpostorTails {
  const strangers = calls.filter(({ target }) => !target);
  return fitImpostorTails(
    TAILS_S.map((seconds) => {
      const netSpeechMs = seconds * 1000;
      const found = strangers.map(({ looks }) => looks.find((look) => look.netSpeechMs === netSpeechMs));
      return { netSpeechMs, normScores: found.flatMap((look) => look?.normScore ?? []) };
    }),
  );
}

/** Tails and budget from nontarget calls (target calls are not looked at); undefined when there are too few of them. */
export function fitCalibration(calls: readonly CallScores[], options: FitOptions): Calibration | undefined {
  const tails = fitTails(calls);
  if (tails.length === 0) return undefined;
  const sequential = chooseShares(calls, { tails, futility: POLICY.futility }, MIN_SPEECH_MS);
  return calibrationSchema.parse({ version: 1, ...options, tails, sequential, ...POLICY });
}

/** The text of a `calibration.json`: one line per tail, so that changes can be read. */
export function formatCalibration({ tails, ...rest }: Calibration, provenance: Provenance): string {
  const head = JSON.stringify({ ...rest, ...provenance }, null, 2).replace(/\n}$/, '');
  const lines = tails.map((tail) => `    ${JSON.stringify(tail)}`).join(',\n');
  return `${head},\n  "tails": [\n${lines}\n  ]\n}\n`;
}
