/**
 * Measures how the activations of a network are distributed over training speech, for `scripts/quantise-model.py static`:
 * `npx tsx scripts/measure-activations.ts <observed.onnx> <out.json> --speech <folder of corpora>`. The graph is what
 * `quantise-model.py observe` wrote: every output but the embedding is an activation. Speech: every second training
 * speaker, so that the others stay for a cohort (`compare-models.ts`). The same input gives the same file.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { listTrainingSpeakers, telephoneWindows } from './training-speech.js';

const BINS = 2048;
const RATE_HZ = 16_000;
const MIN_S = 1.5;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { speech: { type: 'string' }, windows: { type: 'string', default: '400' } },
});
const [modelPath, outPath] = positionals;
const speakers = values.speech === undefined ? undefined : listTrainingSpeakers(values.speech);
if (modelPath === undefined || outPath === undefined || !speakers) {
  console.log(
    'skipped: usage: npx tsx scripts/measure-activations.ts <observed.onnx> <out.json> --speech <folder of corpora> [--windows 400]',
  );
  process.exit(0);
}

const session = await InferenceSession.create(modelPath, { intraOpNumThreads: 1, executionMode: 'sequential' });
const [input = ''] = session.inputNames;
// The first output of the graph is the embedding.
const names = session.outputNames.slice(1);

const chosen = speakers.filter((_, index) => index % 2 === 1).slice(0, Number(values.windows));
const windows: Float32Array[] = [];
for await (const { samples } of telephoneWindows(chosen, { rateHz: RATE_HZ, minS: MIN_S })) windows.push(samples);

const ranges = new Map(names.map((name) => [name, { min: 0, max: 0 }]));
await eachActivation((name, data) => {
  const range = ranges.get(name)!;
  for (const value of data) {
    if (value < range.min) range.min = value;
    if (value > range.max) range.max = value;
  }
});
const counts = new Map(names.map((name) => [name, new Float64Array(BINS)]));
await eachActivation((name, data) => {
  const { min, max } = ranges.get(name)!;
  const bins = counts.get(name)!;
  const perUnit = BINS / Math.max(max - min, 1e-12);
  for (const value of data) {
    const bin = Math.min(BINS - 1, Math.floor((value - min) * perUnit));
    bins[bin] = bins[bin]! + 1;
  }
});
const tensors = Object.fromEntries(
  names.map((name) => [name, { ...ranges.get(name)!, counts: [...counts.get(name)!] }]),
);
writeFileSync(outPath, `${JSON.stringify({ windows: windows.length, tensors })}\n`);
console.log(`${names.length} activations over ${windows.length} windows of training speech`);

async function eachActivation(work: (name: string, data: Float32Array) => void): Promise<void> {
  for (const [index, samples] of windows.entries()) {
    const outputs = await session.run({ [input]: new Tensor('float32', samples, [1, samples.length]) });
    for (const name of names) work(name, outputs[name]!.data as Float32Array);
    if ((index + 1) % 100 === 0) process.stderr.write(`${index + 1}/${windows.length} windows\n`);
  }
}
