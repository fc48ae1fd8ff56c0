/**
 * Measures the activations of a network over training speech, for `scripts/quantise-model.py static`:
 * `npx tsx scripts/measure-activations.ts <observed.onnx> <out.json> --speech <folder of corpora>`, with the graph that
 * `quantise-model.py observe` wrote. Speech: every second training speaker, so that the others stay for a cohort
 * (`compare-models.ts`). The same input gives the same file.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { measureActivations } from './activation-histograms.js';
import { listTrainingSpeakers, telephoneWindows } from './training-speech.js';

const RATE_HZ = 16_000;
const MIN_S = 1.5;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { speech: { type: 'string' }, windows: { type: 'string', default: '400' } },
});
const [modelPath, outPath] = positionals;
const speakers = values.speech === undefined ? undefined : await listTrainingSpeakers(values.speech);
if (modelPath === undefined || outPath === undefined || !speakers) {
  console.log(
    'skipped: usage: npx tsx scripts/measure-activations.ts <observed.onnx> <out.json> --speech <folder of corpora> [--windows 400]',
  );
  process.exit(0);
}

const chosen = speakers.filter((_, index) => index % 2 === 1).slice(0, Number(values.windows));
const windows: Float32Array[] = [];
for await (const { samples } of telephoneWindows(chosen, { rateHz: RATE_HZ, minS: MIN_S })) windows.push(samples);
const tensors = await measureActivations(modelPath, windows);
writeFileSync(outPath, `${JSON.stringify({ windows: windows.length, tensors })}\n`);
console.log(`${Object.keys(tensors).length} activations over ${windows.length} windows of training speech`);
