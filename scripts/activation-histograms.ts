/** How the activations of a network are distributed: the ranges that a static quantisation rounds them in come from this. */
import { InferenceSession, Tensor } from 'onnxruntime-node';

const BINS = 2048;

export interface ActivationHistogram {
  readonly min: number;
  readonly max: number;
  /** Values per bin; bins of equal width from `min` to `max`. */
  readonly counts: readonly number[];
}

/** Over all windows, of every output but the first of a graph that `quantise-model.py observe` wrote. */
export async function measureActivations(
  modelPath: string,
  windows: readonly Float32Array[],
): Promise<Readonly<Record<string, ActivationHistogram>>> {
  const session = await InferenceSession.create(modelPath, { intraOpNumThreads: 1, executionMode: 'sequential' });
  const [input = ''] = session.inputNames;
  // The first output of the graph is the embedding.
  const names = session.outputNames.slice(1);
  const eachActivation = async (work: (name: string, data: Float32Array) => void) => {
    for (const samples of windows) {
      const outputs = await session.run({ [input]: new Tensor('float32', samples, [1, samples.length]) });
      for (const name of names) work(name, outputs[name]!.data as Float32Array);
    }
  };

  // Zero is in every range, because padding and rectifiers need it.
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
  await session.release();
  return Object.fromEntries(names.map((name) => [name, { ...ranges.get(name)!, counts: [...counts.get(name)!] }]));
}
