// Runs a waveform model on samples from standard input (float32, little-endian, one channel) and prints its outputs as JSON, by name:
// `node scripts/run-onnx.mjs model.onnx < samples.f32`. The recipe in training/ checks its exports with this runtime, the service's own.
import { readFileSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const bytes = readFileSync(0);
const samples = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const session = await InferenceSession.create(process.argv[2], { intraOpNumThreads: 1, interOpNumThreads: 1 });
const outputs = await session.run({
  [session.inputNames[0]]: new Tensor('float32', samples, [1, samples.length]),
});
console.log(JSON.stringify(Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, [...data]]))));
