/**
 * Whether it pays to embed windows of several calls in one run, as speech detection does: it does not, since a window
 * has arithmetic enough to fill a core by itself. The network runs in this process here, without a pool.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { load, manifest, median, modelPath, round, sound } from './inference-pool-bench.js';

const ROUNDS = 5;
const MEASURE_MS = 150;

export async function measureWindowBatches(): Promise<void> {
  const session = await InferenceSession.create(modelPath, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
  });
  const sizes = [1, 2, 4, 8];
  const rows: Record<string, Record<string, number>> = {};
  for (const seconds of [2, 3, 5, 10]) {
    const samples = seconds * manifest.sampleRateHz;
    const tensors = sizes.map((size) => new Tensor('float32', sound(samples * size), [size, samples]));
    const run = (tensor: Tensor) => session.run({ [load.speaker.inputTensor ?? session.inputNames[0]!]: tensor });
    for (const tensor of tensors) await run(tensor);
    const perWindowMs: number[][] = sizes.map(() => []);
    for (let i = 0; i < ROUNDS; i++) {
      for (const [index, tensor] of tensors.entries()) {
        const startedMs = performance.now();
        const cpu = process.cpuUsage();
        let windows = 0;
        while (performance.now() - startedMs < MEASURE_MS) {
          await run(tensor);
          windows += sizes[index]!;
        }
        const { user, system } = process.cpuUsage(cpu);
        perWindowMs[index]!.push((user + system) / 1000 / windows);
      }
    }
    rows[`windows of ${seconds} s`] = Object.fromEntries(
      sizes.map((size, index) => [`cpu ms per window, ${size} together`, round(median(perWindowMs[index]!))]),
    );
  }
  console.log('\nEmbedding windows of equal length together (medians of interleaved rounds)');
  console.table(rows);
}
