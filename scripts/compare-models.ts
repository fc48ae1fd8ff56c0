/**
 * Two models side by side: `npm run compare:models -- <model A> <model B> --data <folder of calls> --speech <folder of
 * corpora>`. A is the folder of a model package; B a package or an ONNX file that takes and gives what A does, for
 * instance what `quantise-model.py` made of it. Speed is measured in turns; accuracy on the same trials between real
 * telephone calls, heard once by the service's own path, each model with a cohort of its own embeddings of the same
 * training speech (every second training speaker; the others are for `measure-activations.ts`). Intervals: people drawn
 * with replacement. Without --data no trials are made, only cosines of embeddings; with --no-speed, no speed is measured.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config/config.js';
import { fmrFromScore } from '../src/domain/scoring/calibration.js';
import { cosine } from '../src/domain/scoring/embedding.js';
import { Cohort } from '../src/domain/scoring/score-normalisation.js';
import { InferencePool } from '../src/embedder/inference-pool.js';
import { SILERO_LAYOUT } from '../src/embedder/inference-protocol.js';
import { type ModelManifest, parseManifest } from '../src/embedder/manifest.js';
import { loadRequest } from '../src/embedder/open-embedder.js';
import { PoolSpeakerEmbedder } from '../src/embedder/pool-speaker-embedder.js';
import { PoolSpeechDetector } from '../src/embedder/pool-speech-detector.js';
import { playCall } from '../src/evaluation/call-procedure.js';
import { COHORT_TOP, fitCalibration, MIN_SPEECH_MS } from '../src/evaluation/fit-calibration.js';
import { createLogger } from '../src/observability/logger.js';
import { Metrics } from '../src/observability/metrics.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../tests/support/built.js';
import { type ComparedModel, compareSpeed } from './model-speed.js';
import { readTelephoneCalls } from './telephone-calls.js';
import {
  type EmbeddedCall,
  embedCalls,
  type HeardCall,
  hearCalls,
  RankedTrials,
  type Trial,
  trialsBetween,
} from './telephone-trials.js';
import { listTrainingSpeakers, telephoneWindows } from './training-speech.js';

const CHILDREN = 2;
const COHORT_MIN_S = 1.5;
const REPLICATES = 1000;
const SEED = 20_240_601;
const upload = { priority: 'upload' } as const;

interface Candidate extends ComparedModel {
  readonly manifest: ModelManifest;
}

/** One number per figure, in percent. */
type Figures = ReadonlyMap<string, number>;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: { data: { type: 'string' }, speech: { type: 'string' }, speed: { type: 'boolean', default: true } },
});
const [pathA, pathB] = positionals;
if (pathA === undefined || pathB === undefined || !existsSync(join(pathA, 'manifest.json')) || !existsSync(pathB)) {
  console.log(
    'skipped: usage: npm run compare:models -- <model folder A> <model folder or file B> [--data <folder of calls> --speech <folder of corpora>] [--no-speed]',
  );
  process.exit(0);
}
const a = candidate(pathA, undefined);
const b = candidate(pathB, a.manifest);
const calls = values.data === undefined ? undefined : readTelephoneCalls(values.data);
if (values.data !== undefined && calls === undefined) {
  console.error(`No calls to compare on: ${values.data} has no index.tsv.`);
  process.exit(2);
}
const speakers = values.speech === undefined ? undefined : await listTrainingSpeakers(values.speech);
if (values.speed) await compareSpeed([a, b], tone());
if (speakers) await compareAccuracy();
else console.log('\naccuracy skipped: it needs --speech <folder of corpora>, and for trials --data <folder of calls>');

function candidate(path: string, fallback: ModelManifest | undefined): Candidate {
  const isFolder = statSync(path).isDirectory();
  let manifest = fallback;
  if (isFolder) {
    const parsed = parseManifest(readFileSync(join(path, 'manifest.json'), 'utf8'));
    if (parsed.kind !== 'manifest') throw new Error(`${path}: ${parsed.problem}`);
    manifest = parsed.manifest;
  }
  if (manifest?.input.kind !== 'waveform' || manifest.input.tensor === null) {
    throw new Error(`${path}: not a model that takes a waveform and names its input`);
  }
  return {
    name: basename(path),
    path: isFolder ? join(path, 'model.onnx') : path,
    inputTensor: manifest.input.tensor,
    sampleRateHz: manifest.sampleRateHz,
    manifest,
  };
}

async function compareAccuracy(): Promise<void> {
  const config = loadConfig();
  const { threshold } = config.verification;
  const rateHz = a.manifest.sampleRateHz;
  const windows: Float32Array[] = [];
  const cohortSpeakers = speakers!.filter((_, index) => index % 2 === 0);
  for await (const { samples } of telephoneWindows(cohortSpeakers, { rateHz, minS: COHORT_MIN_S })) {
    windows.push(samples);
  }
  const rows: Float32Array[] = [];
  for (const model of [a, b]) {
    await withEmbedder(model, async (embedder) => {
      const { embeddingSize } = model.manifest;
      const embeddings = new Float32Array(windows.length * embeddingSize);
      for (const [i, window] of windows.entries()) {
        embeddings.set(await embedder.embed(window, upload), i * embeddingSize);
      }
      rows.push(embeddings);
    });
  }
  const size = a.manifest.embeddingSize;
  const rowsOf = (side: number) => windows.map((_, i) => rows[side]!.subarray(i * size, (i + 1) * size));
  console.log();
  printCosines(`${windows.length} training speakers, up to 10 s`, rowsOf(0), rowsOf(1));
  if (!calls) return;

  let heard: readonly HeardCall[] = [];
  await withEmbedder(a, async (_, detector) => {
    const decoder = new WorkerRecordingDecoder(config.recordings, {
      workerModule: builtModule('recordings/decode-worker.js'),
    });
    heard = await hearCalls(calls, { detector, decoder, sampleRateHz: rateHz });
    await decoder.close();
  });
  const people = [...new Set(heard.map(({ person }) => person))].sort();
  console.log(`${heard.length} calls of ${people.length} people`);

  const both: { calls: readonly EmbeddedCall[]; embeddings: readonly (readonly Float32Array[])[] }[] = [];
  for (const [side, model] of [a, b].entries()) {
    await withEmbedder(model, async (embedder) => {
      const cohort = new Cohort(rows[side]!, model.manifest.embeddingSize, { top: COHORT_TOP });
      const embeddings: Float32Array[][] = [[], []];
      for (const [i, seconds] of [3, 10].entries()) {
        for (const { samples } of heard.filter((call) => call.samples.length >= seconds * rateHz)) {
          embeddings[i]!.push(await embedder.embed(samples.slice(0, seconds * rateHz), upload));
        }
      }
      both.push({ calls: await embedCalls(heard, embedder, cohort), embeddings });
    });
  }
  const [ofA, ofB] = [both[0]!, both[1]!];
  for (const [i, seconds] of [3, 10].entries()) {
    printCosines(`the first ${seconds} s of calls`, ofA.embeddings[i]!, ofB.embeddings[i]!);
  }

  const trialsOfA = trialsBetween(ofA.calls);
  const askA = figuresOf(trialsOfA, people, threshold);
  const askB = figuresOf(trialsBetween(ofB.calls), people, threshold);
  const whole: readonly [Figures, Figures] = [askA(() => 1), askB(() => 1)];
  const draws = drawPeople(people);
  const differences = new Map<string, number[]>([...whole[0].keys()].map((name) => [name, []]));
  for (const counts of draws) {
    // Two calls of one person are drawn with that person; calls of two people with both.
    const weight = ({ people: [one, other], target }: Trial) =>
      target ? counts.get(one)! : counts.get(one)! * counts.get(other)!;
    const [figuresA, figuresB] = [askA(weight), askB(weight)];
    for (const [name, all] of differences) all.push(figuresB.get(name)! - figuresA.get(name)!);
  }
  const targets = trialsOfA.filter(({ target }) => target).length;
  console.log(
    `\n${targets} target and ${trialsOfA.length - targets} nontarget trials; threshold ${threshold}, which claims ` +
      `${(100 * fmrFromScore(threshold)).toFixed(2)} % false matches; B - A with 95 % of ${REPLICATES} draws of people`,
  );
  console.log(`${''.padEnd(52)}A          B          B - A`);
  for (const [name, all] of differences) {
    const sorted = all.filter(Number.isFinite).sort((x, y) => x - y);
    const at = (share: number) => signed(sorted[Math.round(share * (sorted.length - 1))]!);
    const [valueA, valueB] = [whole[0].get(name)!, whole[1].get(name)!];
    console.log(
      `${name.padEnd(52)}${`${valueA.toFixed(2)} %`.padEnd(11)}${`${valueB.toFixed(2)} %`.padEnd(11)}` +
        `${signed(valueB - valueA)} (${at(0.025)} to ${at(0.975)})`,
    );
  }
  console.log('\nenrolled with A, called with B:');
  for (const [name, value] of figuresOf(trialsBetween(ofA.calls, ofB.calls), people, threshold)(() => 1)) {
    console.log(`${name.padEnd(52)}${value.toFixed(2)} %`);
  }
}

function printCosines(of: string, ofA: readonly Float32Array[], ofB: readonly Float32Array[]): void {
  const cosines = ofA.map((embedding, i) => cosine(embedding, ofB[i]!)).sort((x, y) => x - y);
  const mean = cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
  console.log(
    `cosine of both embeddings of ${of}: mean ${mean.toFixed(5)}, 1st percentile ` +
      `${cosines[Math.floor(cosines.length / 100)]!.toFixed(5)}, least ${cosines[0]!.toFixed(5)} (${cosines.length} windows)`,
  );
}

/** Everything that is said about a model's accuracy, for any weighting of the trials. */
function figuresOf(
  trials: readonly Trial[],
  people: readonly string[],
  threshold: number,
): (weight: (trial: Trial) => number) => Figures {
  const ranked = [3, 5, 10, undefined].map((seconds) => ({ seconds, trials: new RankedTrials(trials, seconds) }));
  const isEven = new Map(people.map((person, index) => [person, index % 2 === 0]));
  const within = (even: boolean) => trials.filter((trial) => trial.people.every((one) => isEven.get(one) === even));
  const accepted = (on: readonly Trial[], from: readonly Trial[]) => {
    const calibration = fitCalibration(from, { modelId: a.manifest.id, cohortTop: COHORT_TOP });
    if (!calibration) throw new Error('too few calls of different people to fit a calibration on');
    const rule = { threshold, minSpeechMs: MIN_SPEECH_MS };
    return on.map((trial) => ({ trial, accepted: playCall(trial, calibration, rule).accepted }));
  };
  const procedures = [
    { name: 'tail of all people', decided: accepted(trials, trials) },
    {
      name: 'tail of the other half',
      decided: [...accepted(within(true), within(false)), ...accepted(within(false), within(true))],
    },
  ];
  return (weight) => {
    const figures = new Map<string, number>();
    for (const { seconds, trials: of } of ranked) {
      const name = seconds === undefined ? 'EER, all speech (at most 30 s)' : `EER, first ${seconds} s`;
      figures.set(name, 100 * of.equalErrorRate(weight));
    }
    for (const { name, decided } of procedures) {
      const rate = (target: boolean) => {
        let [all, yes] = [0, 0];
        for (const { trial, accepted: accept } of decided) {
          if (trial.target !== target) continue;
          const times = weight(trial);
          all += times;
          if (accept) yes += times;
        }
        return (100 * yes) / all;
      };
      figures.set(`owners accepted, ${name}`, rate(true));
      figures.set(`false matches, ${name}`, rate(false));
    }
    return figures;
  };
}

/** How often each person is in each draw; the same draws every time. */
function drawPeople(people: readonly string[]): readonly ReadonlyMap<string, number>[] {
  let state = SEED;
  // Mulberry32.
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Array.from({ length: REPLICATES }, () => {
    const counts = new Map(people.map((person) => [person, 0]));
    for (let i = 0; i < people.length; i++) {
      const person = people[Math.floor(random() * people.length)]!;
      counts.set(person, counts.get(person)! + 1);
    }
    return counts;
  });
}

async function withEmbedder(
  { manifest, path }: Candidate,
  work: (embedder: PoolSpeakerEmbedder, detector: PoolSpeechDetector) => Promise<void>,
): Promise<void> {
  const pool = new InferencePool(
    {
      children: CHILDREN,
      maxWaiting: 1000,
      queueTimeoutMs: 60_000,
      // One detector for all: what differs is the model's doing.
      load: loadRequest({ manifest, modelPath: path, speechDetectorPath: undefined }, 'silero'),
      childModule: builtModule('embedder/inference-child.js'),
    },
    { metrics: new Metrics(), logger: createLogger('warn') },
  );
  await pool.start();
  await work(new PoolSpeakerEmbedder(manifest, pool), new PoolSpeechDetector(pool, SILERO_LAYOUT));
  await pool.drain(5000);
}

/** What speed is measured on: what a network computes takes as long for any sound. */
function tone(): Float32Array {
  return Float32Array.from({ length: 160_000 }, (_, i) => 0.1 * Math.sin(i * 0.05) * Math.sin(i * 0.0009));
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(2)}`;
}
