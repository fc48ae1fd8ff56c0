/**
 * Fits the impostor tail of a model on real telephone calls and measures what it claims: `npm run calibrate -- <folder>`.
 *
 * Every call goes through the service's own path (decoder, gate, speech detector, windows). Reference: the first 15 s of
 * net speech of a call; probes: the first 2, 3, 4, ... s of another call, as the looks at a live call see them. Nontarget
 * pairs give the tail, and the budget that each look may spend so that the whole procedure keeps its claim; target pairs
 * are only counted. With --check both are also fitted on one half of the people and measured on the other, both ways.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config/config.js';
import type { Calibration } from '../src/domain/scoring/calibration.js';
import { Cohort } from '../src/domain/scoring/score-normalisation.js';
import { openEmbedder } from '../src/embedder/open-embedder.js';
import { BUDGET_THRESHOLDS, procedureRates } from '../src/evaluation/call-procedure.js';
import { createLogger } from '../src/observability/logger.js';
import { Metrics } from '../src/observability/metrics.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../tests/support/built.js';
import { readTelephoneCalls } from './telephone-calls.js';
import {
  COHORT_TOP,
  embedCalls,
  fitCalibration,
  hearCalls,
  MIN_SPEECH_MS,
  RankedTrials,
  type Trial,
  trialsBetween,
} from './telephone-trials.js';

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

const heard = await hearCalls(found, {
  detector: model.detector,
  decoder,
  sampleRateHz: model.embedder.sampleRateHz,
});
const calls = await embedCalls(heard, model.embedder, cohort);
await model.drain(5000);
await decoder.close();

const trials = trialsBetween(calls);
const calibrationOf = (from: readonly Trial[]) => fitCalibration(from, config.embedder.modelId);

function report(title: string, calibration: Calibration, on: readonly Trial[]): void {
  console.log(
    `\n${title}: ${on.filter((t) => t.target).length} target, ${on.filter((t) => !t.target).length} nontarget trials`,
  );
  const { earlyShare, finalShare } = calibration.sequential;
  console.log(`budget: ${earlyShare} for each early look, ${finalShare} for the last one`);
  console.log('threshold  claimed FMR  observed FMR (whole procedure)  owners accepted  median net speech');
  for (const threshold of BUDGET_THRESHOLDS) {
    const rates = procedureRates(on, calibration, { threshold, minSpeechMs: MIN_SPEECH_MS });
    const median = rates.medianNetSpeechMs === undefined ? '-' : `${rates.medianNetSpeechMs / 1000} s`;
    console.log(
      `${threshold.toFixed(3).padEnd(11)}${rates.claimedFmr.toExponential(1).padEnd(13)}` +
        `${rates.observedFmr.toExponential(1).padEnd(32)}${(100 * rates.ownersAccepted).toFixed(1).padStart(5)} %          ${median}`,
    );
  }
}

/** In percent. */
function equalErrorRate(seconds: number | undefined): string {
  return (100 * new RankedTrials(trials, seconds).equalErrorRate()).toFixed(1);
}

console.log(
  `\n${calls.length} calls of ${new Set(calls.map(({ person }) => person)).size} people; trials are between calls only`,
);
for (const seconds of [3, 5, 10])
  console.log(`EER after the first ${seconds} s of net speech: ${equalErrorRate(seconds)} %`);
console.log(`EER with all speech (at most 30 s): ${equalErrorRate(undefined)} %`);
const cross = trials.filter((trial) => trial.target).length;
if (cross === 0) console.log('no target trials: every person has one call only');
const calibration = calibrationOf(trials);
report('fitted on all, measured on all', calibration, trials);
if (values.check) {
  const people = [...new Set(calls.map(({ person }) => person))].sort();
  const half = (side: number) => {
    const members = new Set(people.filter((_, index) => index % 2 === side));
    return trials.filter((trial) => trial.people.every((person) => members.has(person)));
  };
  report('fitted on the even half of the people, measured on the odd half', calibrationOf(half(0)), half(1));
  report('fitted on the odd half of the people, measured on the even half', calibrationOf(half(1)), half(0));
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
