/**
 * `npm run compare:detectors -- <clips> [--model <id>] [--models-dir <folder>]`: the speech detector of a model package beside Silero VAD, both through the
 * inference pool as in the service but without its energy gate and hysteresis, on clips that `python3 -m training.speech_clips` made. Prints errors by kind of clip and time.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { StreamingResampler } from '../src/audio/resampler.js';
import { readWav } from '../src/audio/wav.js';
import type { SpeechDetector } from '../src/domain/ports/speaker-model.js';
import { InferencePool } from '../src/embedder/inference-pool.js';
import { DETECTOR_LAYOUTS } from '../src/embedder/inference-protocol.js';
import { loadModelFiles } from '../src/embedder/model-package.js';
import { loadRequest } from '../src/embedder/open-embedder.js';
import { PoolSpeechDetector } from '../src/embedder/pool-speech-detector.js';
import { createLogger } from '../src/observability/logger.js';
import { Metrics } from '../src/observability/metrics.js';
import { builtModule } from '../tests/support/built.js';

interface Clips {
  readonly labelsPerSecond: number;
  readonly clips: readonly {
    readonly file: string;
    readonly kind: string;
    readonly labels: readonly number[] | null;
  }[];
}

interface Tally {
  missed: number;
  speech: number;
  found: number;
  other: number;
  readonly probabilities: { readonly value: number; readonly speech: boolean }[];
}

const FRAMES_PER_REQUEST = 8;
/** Where speech begins and ends is a matter of taste: what lies closer to an edge of the labels does not count. */
const EDGE_SECONDS = 0.05;
const live = { priority: 'live' } as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'phone-resnet-192-v4' },
    'models-dir': { type: 'string', default: 'models' },
  },
});
const [folder] = positionals;
if (folder === undefined) {
  console.error('usage: npm run compare:detectors -- <folder of clips> [--model <id>] [--models-dir <folder>]');
  process.exit(2);
}
const { labelsPerSecond, clips } = JSON.parse(readFileSync(join(folder, 'clips.json'), 'utf8')) as Clips;
const files = await loadModelFiles(values['models-dir'], values.model);
if (files.speechDetectorPath === undefined)
  throw new Error(`${values.model} has no speech.onnx to compare (docs/models.md)`);

const rows: Record<string, Record<string, string>> = {};
for (const choice of ['silero', 'auto'] as const) {
  const name = choice === 'auto' ? values.model : 'Silero VAD';
  const load = loadRequest(files, choice);
  const pool = new InferencePool(
    {
      children: 1,
      maxWaiting: 100,
      queueTimeoutMs: 60_000,
      gatherMs: 0,
      load,
      childModule: builtModule('embedder/inference-child.js'),
    },
    { metrics: new Metrics(), logger: createLogger('warn') },
  );
  await pool.start();
  const detector = new PoolSpeechDetector(pool, DETECTOR_LAYOUTS[load.detector.kind]);
  const tallies = new Map<string, Tally>();
  let heardSeconds = 0;
  let tookMs = 0;
  for (const { file, kind, labels } of clips) {
    const wav = readWav(readFileSync(join(folder, file)));
    const resampler = new StreamingResampler(wav.sampleRateHz, detector.sampleRateHz);
    const samples = Float32Array.from([...resampler.process(wav.channels[0]!), ...resampler.flush()]);
    const startedMs = performance.now();
    const probabilities = await detectAll(detector, samples);
    tookMs += performance.now() - startedMs;
    heardSeconds += samples.length / detector.sampleRateHz;
    const tally = tallies.get(kind) ?? { missed: 0, speech: 0, found: 0, other: 0, probabilities: [] };
    tallies.set(kind, tally);
    count(tally, probabilities, detector, labels);
  }
  await pool.drain(5000);
  for (const [kind, tally] of tallies) {
    rows[kind] = {
      ...rows[kind],
      [`${name}: missed`]: tally.speech === 0 ? '' : percent(tally.missed / tally.speech),
      [`${name}: found where none is`]: percent(tally.found / tally.other),
      [`${name}: AUC`]: tally.speech === 0 ? '' : areaUnderCurve(tally.probabilities).toFixed(4),
    };
  }
  console.log(`${name}: ${(tookMs / heardSeconds).toFixed(2)} ms per second of audio, one request at a time`);
}
console.table(rows);

async function detectAll(detector: SpeechDetector, samples: Float32Array): Promise<number[]> {
  const stream = detector.createStream();
  const probabilities: number[] = [];
  const request = detector.frameSamples * FRAMES_PER_REQUEST;
  for (let at = 0; at + request <= samples.length; at += request) {
    probabilities.push(...(await stream.detect(samples.subarray(at, at + request), live)));
  }
  return probabilities;
}

/** Judged label by label, so that detectors with frames of different lengths are judged alike. */
function count(
  tally: Tally,
  probabilities: readonly number[],
  { frameSamples, sampleRateHz }: SpeechDetector,
  labels: readonly number[] | null,
): void {
  const edge = Math.round(EDGE_SECONDS * labelsPerSecond);
  const length = Math.floor((probabilities.length * frameSamples * labelsPerSecond) / sampleRateHz);
  for (let at = 0; at < Math.min(length, labels?.length ?? length); at++) {
    const speech = labels?.[at] === 1;
    const around = labels?.slice(Math.max(0, at - edge), at + edge + 1) ?? [];
    if (around.some((label) => (label === 1) !== speech)) continue;
    // Labels are of windows of 25 ms, one every 10 ms.
    const centre = ((at + 1.25) * sampleRateHz) / labelsPerSecond;
    const value = probabilities[Math.min(probabilities.length - 1, Math.floor(centre / frameSamples))]!;
    if (speech) {
      tally.speech++;
      if (value < 0.5) tally.missed++;
    } else {
      tally.other++;
      if (value >= 0.5) tally.found++;
    }
    tally.probabilities.push({ value, speech });
  }
}

/** How often a frame of speech gets a higher probability than one without; of equal ones it hardly matters. */
function areaUnderCurve(probabilities: Tally['probabilities']): number {
  let others = 0;
  let speech = 0;
  let won = 0;
  for (const entry of [...probabilities].sort((a, b) => a.value - b.value)) {
    if (entry.speech) {
      speech++;
      won += others;
    } else others++;
  }
  return won / (speech * others);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
