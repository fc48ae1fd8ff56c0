// Runs a model on one input after another from standard input: `node scripts/run-onnx.mjs model.onnx`. An input is its rank, its dimensions
// (uint32) and its values (float32, all little-endian); the answer is a line of JSON with the outputs by name. The recipe in training/ checks
// and evaluates its exports with this runtime, the service's own.
import { InferenceSession, Tensor } from 'onnxruntime-node';

/** The input that the bytes begin with and where it ends, or undefined when it has not arrived whole. */
function firstInput(bytes) {
  const header = bytes.length < 4 ? 4 : 4 + 4 * bytes.readUInt32LE(0);
  if (bytes.length < header) return undefined;
  const shape = [];
  for (let at = 4; at < header; at += 4) shape.push(bytes.readUInt32LE(at));
  const end = header + 4 * shape.reduce((product, size) => product * size, 1);
  if (bytes.length < end) return undefined;
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset + header, bytes.byteOffset + end));
  return { tensor: new Tensor('float32', values, shape), end };
}

const session = await InferenceSession.create(process.argv[2], { intraOpNumThreads: 1, interOpNumThreads: 1 });
let bytes = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  bytes = Buffer.concat([bytes, chunk]);
  for (let input = firstInput(bytes); input; input = firstInput(bytes)) {
    bytes = bytes.subarray(input.end);
    const outputs = await session.run({ [session.inputNames[0]]: input.tensor });
    const numbers = Object.entries(outputs).map(([name, { data }]) => [name, [...data]]);
    process.stdout.write(`${JSON.stringify(Object.fromEntries(numbers))}\n`);
  }
}
