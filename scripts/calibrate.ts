/**
 * Fits the impostor tail of a model on real telephone calls and measures what it claims: `npm run calibrate -- <folder>`.
 *
 * Every call goes through the service's own path (decoder, gate, speech detector, windows). Reference: the first 15 s of
 * net speech of a call; probes: the first 2, 3, 4, ... s of another call, as the looks at a live call see them. Nontarget
 * pairs give the tail, and the budget that each look may spend so that the whole procedure keeps its claim; target pairs are
 * only counted. With --check the
 * tail is also fitted on one half of the people and measured on the other, both ways.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config/config.js';
import { WorkLimit } from '../src/domain/admission.js';
import { CallerSpeech } from '../src/domain/caller-speech/caller-speech.js';
import { listenToRecording } from '../src/domain/caller-speech/listen-to-recording.js';
import { SpeechEmbedding } from '../src/domain/caller-speech/speech-embedding.js';
import { type Calibration, calibrationSchema } from '../src/domain/scoring/calibration.js';
import { cosine } from '../src/domain/scoring/embedding.js';
import { Cohort, type CohortStatistics, normaliseScore } from '../src/domain/scoring/score-normalisation.js';
import { openEmbedder } from '../src/embedder/open-embedder.js';
import { BUDGET_THRESHOLDS, type CallScores, chooseShares, procedureRates } from '../src/evaluation/call-procedure.js';
import { fitImpostorTails } from '../src/evaluation/impostor-tail.js';
import { createLogger } from '../src/observability/logger.js';
import { Metrics } from '../src/observability/metrics.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../tests/support/built.js';
import { readTelephoneCalls } from './telephone-calls.js';

const LOOKS_S = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 25, 29.5];
const TAILS_S = [2, 3, 4, 5, 7, 10, 14, 20];
const ENROLL_S = 15;
const MIN_SPEECH_MS = 2000;
const COHORT_TOP = 100;
const POLICY = {
  futility: { minNetSpeechMs: 6000, fmr: 0.3 },
  replayCosine: 0.999,
} as const;

interface Embedded {
  readonly embedding: Float32Array;
  readonly statistics: CohortStatistics;
}

interface Call {
  readonly person: string;
  readonly reference: Embedded;
  /** Probe per entry of LOOKS_S, as far as the call's speech goes. */
  readonly probes: readonly Embedded[];
}

interface Trial {
  readonly people: readonly [string, string];
  readonly target: boolean;
  readonly normScores: readonly number[];
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { write: { type: 'boolean', default: false }, check: { type: 'boolean', default: false } },
});
const folder = positionals[0];
const found = folder === undefined ? undefined : readTelephoneCalls(folder);
if (folder === undefined || !found) {
  console.log(
    `skipped: no index.tsv in ${folder ?? '(no folder given)'}. Usage: npm run calibrate -- <folder> [--write] [--check]`,
  );
  process.exit(0);
}

const config = loadConfig({ ...process.env, INFERENCE_QUEUE: '1000', INFERENCE_QUEUE_TIMEOUT_MS: '60000' });
const calibrationPath = join(config.embedder.modelsDir, config.embedder.modelId, 'calibration.json');
// A new model has none yet, and the package loader wants one; what it says is not used here.
if (values.write && !existsSync(calibrationPath)) writeFileSync(calibrationPath, '{}');
const metrics = new Metrics();
const model = await openEmbedder(config.embedder, {
  metrics,
  logger: createLogger('warn'),
  childModule: builtModule('embedder/inference-child.js'),
});
const decoder = new WorkerRecordingDecoder(config.recordings, {
  workerModule: builtModule('recordings/decode-worker.js'),
});
const cohort = new Cohort(model.package.cohort, model.package.manifest.embeddingSize, { top: COHORT_TOP });

const recordings = new WorkLimit({ max: 8, what: 'recordings', retryAfterSeconds: 1 });
const calls: Call[] = [];
const never = new AbortController().signal;
let next = 0;
async function embedCalls(): Promise<void> {
  for (let index = next++; index < found!.length; index = next++) {
    const { person, path } = found![index]!;
    const speech = new CallerSpeech({
      detector: model.detector,
      maxSpeechMs: 30_000,
      inference: { priority: 'upload' },
    });
    await listenToRecording({ kind: 'upload', bytes: readFileSync(path), channel: undefined }, speech, {
      fetcher: { fetch: () => Promise.reject(new Error('nothing is fetched here')) },
      decoder,
      recordings,
      signal: never,
    });
    const samples = speech.samples();
    const perSecond = model.embedder.sampleRateHz;
    const embed = async (seconds: number): Promise<Embedded> => {
      const embedding = await new SpeechEmbedding(model.embedder).embed(
        samples.subarray(0, Math.round(seconds * perSecond)),
        { priority: 'upload' },
      );
      return { embedding, statistics: cohort.statistics(embedding) };
    };
    if (samples.length < 2 * perSecond) continue;
    const probes: Embedded[] = [];
    for (const seconds of LOOKS_S) if (samples.length >= seconds * perSecond) probes.push(await embed(seconds));
    calls.push({ person, reference: await embed(ENROLL_S), probes });
    process.stderr.write(`\r${calls.length}/${found!.length} calls`);
  }
}
await Promise.all([embedCalls(), embedCalls(), embedCalls()]);
process.stderr.write('\n');
await model.drain(5000);
await decoder.close();

const trials: Trial[] = calls.flatMap((enrolled) =>
  calls
    .filter((probe) => probe !== enrolled)
    .map((probe) => ({
      people: [enrolled.person, probe.person] as const,
      target: enrolled.person === probe.person,
      normScores: probe.probes.map((part) =>
        normaliseScore(
          cosine(enrolled.reference.embedding, part.embedding),
          enrolled.reference.statistics,
          part.statistics,
        ),
      ),
    })),
);

function fitCalibration(from: readonly Trial[]): Calibration {
  const tails = fitImpostorTails(
    TAILS_S.map((seconds) => {
      const look = LOOKS_S.indexOf(seconds);
      const heard = from.filter((trial) => !trial.target && trial.normScores.length > look);
      return { netSpeechMs: seconds * 1000, normScores: heard.map((trial) => trial.normScores[look]!) };
    }),
  );
  const sequential = chooseShares(from.map(callOf), { tails, futility: POLICY.futility }, MIN_SPEECH_MS);
  return calibrationSchema.parse({
    version: 1,
    modelId: config.embedder.modelId,
    cohortTop: COHORT_TOP,
    tails,
    sequential,
    ...POLICY,
  });
}

function callOf({ target, normScores }: Trial): CallScores {
  return { target, looks: normScores.map((normScore, look) => ({ netSpeechMs: LOOKS_S[look]! * 1000, normScore })) };
}

function report(title: string, calibration: Calibration, on: readonly Trial[]): void {
  console.log(
    `\n${title}: ${on.filter((t) => t.target).length} target, ${on.filter((t) => !t.target).length} nontarget trials`,
  );
  const { earlyShare, finalShare } = calibration.sequential;
  console.log(`budget: ${earlyShare} for each early look, ${finalShare} for the last one`);
  console.log('threshold  claimed FMR  observed FMR (whole procedure)  owners accepted  median net speech');
  for (const threshold of BUDGET_THRESHOLDS) {
    const rates = procedureRates(on.map(callOf), calibration, { threshold, minSpeechMs: MIN_SPEECH_MS });
    const median = rates.medianNetSpeechMs === undefined ? '-' : `${rates.medianNetSpeechMs / 1000} s`;
    console.log(
      `${threshold.toFixed(3).padEnd(11)}${rates.claimedFmr.toExponential(1).padEnd(13)}` +
        `${rates.observedFmr.toExponential(1).padEnd(32)}${(100 * rates.ownersAccepted).toFixed(1).padStart(5)} %          ${median}`,
    );
  }
}

/** Equal error rate, in percent, of single looks at so much speech (the last look of longer calls for `undefined`). */
function equalErrorRate(look: number | undefined): string {
  const scored = trials
    .filter((trial) => look === undefined || trial.normScores.length > look)
    .map((trial) => ({
      target: trial.target,
      normScore: look === undefined ? trial.normScores.at(-1)! : trial.normScores[look]!,
    }))
    .sort((a, b) => a.normScore - b.normScore);
  const targets = scored.filter(({ target }) => target).length;
  let missed = 0;
  let falseMatches = scored.length - targets;
  for (const { target } of scored) {
    if (target) missed++;
    else falseMatches--;
    if (missed / targets >= falseMatches / (scored.length - targets)) break;
  }
  return ((100 * missed) / targets).toFixed(1);
}

console.log(
  `\n${calls.length} calls of ${new Set(calls.map(({ person }) => person)).size} people; trials are between calls only`,
);
for (const seconds of [3, 5, 10])
  console.log(`EER after the first ${seconds} s of net speech: ${equalErrorRate(LOOKS_S.indexOf(seconds))} %`);
console.log(`EER with all speech (at most 30 s): ${equalErrorRate(undefined)} %`);
const cross = trials.filter((trial) => trial.target).length;
if (cross === 0) console.log('no target trials: every person has one call only');
const calibration = fitCalibration(trials);
report('fitted on all, measured on all', calibration, trials);
if (values.check) {
  const people = [...new Set(calls.map(({ person }) => person))].sort();
  const half = (side: number) => {
    const members = new Set(people.filter((_, index) => index % 2 === side));
    return trials.filter((trial) => trial.people.every((person) => members.has(person)));
  };
  report('fitted on the even half of the people, measured on the odd half', fitCalibration(half(0)), half(1));
  report('fitted on the odd half of the people, measured on the even half', fitCalibration(half(1)), half(0));
}
if (values.write) {
  const provenance = {
    fittedOn: `${calls.length} real telephone calls, cross-call nontarget trials (WUW Corpus II)`,
    command: 'npm run calibrate -- <folder> --write',
  };
  const { tails, ...rest } = calibration;
  const lines = tails.map((tail) => `    ${JSON.stringify(tail)}`).join(',\n');
  const head = JSON.stringify({ ...rest, ...provenance }, null, 2).replace(/\n}$/, '');
  writeFileSync(calibrationPath, `${head},\n  "tails": [\n${lines}\n  ]\n}\n`);
  console.log(`\nwritten: models/${config.embedder.modelId}/calibration.json`);
}
