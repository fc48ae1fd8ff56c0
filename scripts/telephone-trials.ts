/**
 * Trials between real telephone calls, as the service would hear them: decoder, gate, speech detector, windows. Reference:
 * the first 15 s of net speech of a call; probes: the first 2, 3, 4, ... s of another call, as the looks at a live call see
 * them. For `compare-models.ts`, where two models hear the same speech; `voice-auth calibrate` makes the same trials of one.
 */
import { readFileSync } from 'node:fs';
import { WorkLimit } from '../src/domain/admission.js';
import { CallerSpeech } from '../src/domain/caller-speech/caller-speech.js';
import { listenToRecording } from '../src/domain/caller-speech/listen-to-recording.js';
import { SpeechEmbedding } from '../src/domain/caller-speech/speech-embedding.js';
import type { RecordingDecoder } from '../src/domain/ports/recordings.js';
import type { SpeakerEmbedder, SpeechDetector } from '../src/domain/ports/speaker-model.js';
import { cosine } from '../src/domain/scoring/embedding.js';
import { type Cohort, type CohortStatistics, normaliseScore } from '../src/domain/scoring/score-normalisation.js';
import type { CallScores } from '../src/evaluation/call-procedure.js';
import { ENROLL_S, LOOKS_S } from '../src/evaluation/fit-calibration.js';
import type { TelephoneCall } from './telephone-calls.js';

/** Calls worked on at a time. */
const LANES = 3;

export interface HeardCall {
  readonly person: string;
  /** Net speech, at most 30 s, at the model's rate. */
  readonly samples: Float32Array;
}

interface Embedded {
  readonly embedding: Float32Array;
  readonly statistics: CohortStatistics;
}

export interface EmbeddedCall {
  readonly person: string;
  readonly reference: Embedded;
  /** Probe per entry of LOOKS_S, as far as the call's speech goes. */
  readonly probes: readonly Embedded[];
}

export interface Trial extends CallScores {
  readonly people: readonly [string, string];
}

/** The net speech of every call that has 2 s of it, in the order given. */
export async function hearCalls(
  calls: readonly TelephoneCall[],
  deps: { readonly detector: SpeechDetector; readonly decoder: RecordingDecoder; readonly sampleRateHz: number },
): Promise<readonly HeardCall[]> {
  const recordings = new WorkLimit({ max: 8, what: 'recordings', retryAfterSeconds: 1 });
  const signal = new AbortController().signal;
  const heard = await inLanes(calls, 'calls heard', async ({ person, path }) => {
    const speech = new CallerSpeech({
      detector: deps.detector,
      maxSpeechMs: 30_000,
      inference: { priority: 'upload' },
    });
    await listenToRecording({ kind: 'upload', bytes: readFileSync(path), channel: undefined }, speech, {
      fetcher: { fetch: () => Promise.reject(new Error('nothing is fetched here')) },
      decoder: deps.decoder,
      recordings,
      signal,
    });
    return { person, samples: speech.samples() };
  });
  return heard.filter(({ samples }) => samples.length >= 2 * deps.sampleRateHz);
}

export async function embedCalls(
  heard: readonly HeardCall[],
  embedder: SpeakerEmbedder,
  cohort: Cohort,
): Promise<readonly EmbeddedCall[]> {
  return inLanes(heard, 'calls embedded', async ({ person, samples }) => {
    const embed = async (seconds: number): Promise<Embedded> => {
      const speech = samples.subarray(0, Math.round(seconds * embedder.sampleRateHz));
      const embedding = await new SpeechEmbedding(embedder).embed(speech, { priority: 'upload' });
      return { embedding, statistics: cohort.statistics(embedding) };
    };
    const probes: Embedded[] = [];
    for (const seconds of LOOKS_S) {
      if (samples.length >= seconds * embedder.sampleRateHz) probes.push(await embed(seconds));
    }
    return { person, reference: await embed(ENROLL_S), probes };
  });
}

/** Every ordered pair of different calls. `probes`: the same calls in the same order, by another model if asked. */
export function trialsBetween(calls: readonly EmbeddedCall[], probes = calls): readonly Trial[] {
  return calls.flatMap((enrolled, index) =>
    probes
      .filter((_, other) => other !== index)
      .map((probe) => ({
        people: [enrolled.person, probe.person] as const,
        target: enrolled.person === probe.person,
        looks: probe.probes.map((part, look) => ({
          netSpeechMs: LOOKS_S[look]! * 1000,
          normScore: normaliseScore(
            cosine(enrolled.reference.embedding, part.embedding),
            enrolled.reference.statistics,
            part.statistics,
          ),
        })),
      })),
  );
}

/**
 * Trials of one amount of speech (the last look of longer calls for `undefined`), sorted once, so that their equal error
 * rate can be asked for many weightings of the same trials.
 */
export class RankedTrials {
  private readonly ranked: readonly { readonly trial: Trial; readonly normScore: number }[];

  constructor(trials: readonly Trial[], seconds: number | undefined) {
    const look = seconds === undefined ? undefined : LOOKS_S.indexOf(seconds);
    this.ranked = trials
      .filter((trial) => look === undefined || trial.looks.length > look)
      .map((trial) => ({
        trial,
        normScore: (look === undefined ? trial.looks.at(-1) : trial.looks[look])!.normScore,
      }))
      .sort((a, b) => a.normScore - b.normScore);
  }

  /** `weight`: how often a trial counts. */
  equalErrorRate(weight: (trial: Trial) => number = () => 1): number {
    const weights = this.ranked.map(({ trial }) => weight(trial));
    let targets = 0;
    let nontargets = 0;
    for (const [i, { trial }] of this.ranked.entries()) {
      if (trial.target) targets += weights[i]!;
      else nontargets += weights[i]!;
    }
    let missed = 0;
    let falseMatches = nontargets;
    for (const [i, { trial }] of this.ranked.entries()) {
      if (trial.target) missed += weights[i]!;
      else falseMatches -= weights[i]!;
      if (missed / targets >= falseMatches / nontargets) break;
    }
    return missed / targets;
  }
}

/** Some at a time; answers in the order of the items. */
async function inLanes<T, R>(items: readonly T[], what: string, work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  let done = 0;
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) {
      results[index] = await work(items[index]!);
      process.stderr.write(`\r${++done}/${items.length} ${what}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  process.stderr.write('\n');
  return results;
}
