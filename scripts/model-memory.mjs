/**
 * Loads one model in a process of its own and embeds a 10 s window a few times, to see what memory that takes: forked by
 * `model-speed.ts` with the path of the model and the name of its input.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [path, input] = process.argv.slice(2);
const samples = Float32Array.from({ length: 160_000 }, (_, i) => 0.1 * Math.sin(i * 0.05) * Math.sin(i * 0.0009));
const before = process.memoryUsage().rss;
const session = await InferenceSession.create(path, { intraOpNumThreads: 1, executionMode: 'sequential' });
for (let i = 0; i < 5; i++) await session.run({ [input]: new Tensor('float32', samples, [1, samples.length]) });
process.send({ bytes: process.memoryUsage().rss - before });
