/**
 * What features cost beside a model: the filter-bank front end in this process, and the waveform model (whose front end is
 * in its graph) in one session of its own, interleaved, one core each.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { Fbank } from '../src/audio/fbank.js';
import { load, manifest, median, modelPath, round, sound } from './inference-pool-bench.js';

const ROUNDS = 7;
const MEASURE_MS = 150;

export async function measureFbank(): Promise<void> {
  const session = await InferenceSession.create(modelPath, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
  });
  const fbank = new Fbank(manifest.sampleRateHz, {
    numMelBins: 80,
    frameLengthMs: 25,
    frameShiftMs: 10,
    window: 'hamming',
    removeDcOffset: true,
    preemphasis: 0.97,
    lowFreqHz: 20,
    highFreqHz: manifest.sampleRateHz / 2,
    usePower: true,
    useEnergy: false,
    rawEnergy: true,
    energyFloor: 0,
    htkCompat: true,
    inputScale: 'int16',
    meanNormalisation: 'window',
  });
  const rows: Record<string, Record<string, number>> = {};
  for (const seconds of [1.5, 3, 10]) {
    const samples = sound(seconds * manifest.sampleRateHz);
    const input = {
      [load.speaker.inputTensor ?? session.inputNames[0]!]: new Tensor('float32', samples, [1, samples.length]),
    };
    const costs: Record<'features' | 'model', number[]> = { features: [], model: [] };
    fbank.compute(samples);
    await session.run(input);
    for (let i = 0; i < ROUNDS; i++) {
      costs.features.push(await cpuMs(() => fbank.compute(samples)));
      costs.model.push(await cpuMs(() => session.run(input)));
    }
    const [features, model] = [median(costs.features), median(costs.model)];
    rows[`window of ${seconds} s`] = {
      'features, cpu ms': round(features),
      'waveform model, cpu ms': round(model),
      'features of the model, %': round((100 * features) / model, 1),
    };
  }
  console.log('\nFilter-bank features in TypeScript beside a model that makes its own (medians of interleaved rounds)');
  console.table(rows);
}

/** Processor time of one of many. */
async function cpuMs(work: () => unknown): Promise<number> {
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  let count = 0;
  while (performance.now() - startedMs < MEASURE_MS) {
    await work();
    count++;
  }
  const { user, system } = process.cpuUsage(cpu);
  return (user + system) / 1000 / count;
}
