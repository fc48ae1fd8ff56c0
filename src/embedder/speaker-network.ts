/** The speaker model inside an inference child: its front end, its graph, and the checks on what goes in and comes out. */
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { Fbank } from '../audio/fbank.js';
import { allFinite } from './detector-batch.js';
import type { LoadRequest } from './inference-protocol.js';
import { UnusableInput, UnusableOutput } from './unusable.js';

const UNIT_TOLERANCE = 1e-3;

export class SpeakerNetwork {
  private readonly inputTensor: string;
  private readonly outputTensor: string;
  private readonly fbank: Fbank | undefined;
  /** Shape of the input for so many values, as the graph wants it. */
  private readonly dimensions: (values: number) => number[];

  /** Throws when the graph is not what the manifest says. */
  constructor(
    private readonly session: InferenceSession,
    private readonly model: LoadRequest['speaker'],
  ) {
    this.inputTensor = chooseTensor(session.inputNames, model.inputTensor, 'input');
    this.outputTensor = chooseTensor(session.outputNames, model.outputTensor, 'output');
    this.fbank = model.fbank ? new Fbank(model.sampleRateHz, model.fbank) : undefined;
    const columns = this.fbank?.columns;
    const rank = rankOf(session, this.inputTensor);
    if (columns !== undefined) this.dimensions = (values) => [1, values / columns, columns];
    else if (rank === 3) this.dimensions = (values) => [1, 1, values];
    else this.dimensions = (values) => [1, values];
  }

  /** The embedding of mono samples in [-1, 1], of unit length. */
  async embed(waveform: Float32Array): Promise<Float32Array> {
    if (!allFinite(waveform)) throw new UnusableInput('samples that are not numbers');
    const values = this.fbank ? this.fbank.compute(waveform) : waveform;
    if (values.length === 0) throw new UnusableInput('less than one frame');
    const outputs = await this.session.run({
      [this.inputTensor]: new Tensor('float32', values, this.dimensions(values.length)),
    });
    const embedding = floats(outputs[this.outputTensor]);
    const { embeddingSize } = this.model;
    if (embedding.length !== embeddingSize) {
      throw new UnusableOutput(`the model gives ${embedding.length} values, its manifest says ${embeddingSize}`);
    }
    return this.model.unitLength ? requireUnitLength(embedding) : scaleToUnitLength(embedding);
  }
}

/** The values of a tensor that must be of 32-bit floats. */
export function floats(tensor: Tensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new UnusableOutput('the model does not give 32-bit floats');
  return tensor.data;
}

function requireUnitLength(embedding: Float32Array): Float32Array {
  // Written so that NaN fails too.
  if (!(Math.abs(lengthOf(embedding) - 1) <= UNIT_TOLERANCE)) {
    throw new UnusableOutput('the model gives an embedding that is not of unit length');
  }
  return embedding;
}

function scaleToUnitLength(embedding: Float32Array): Float32Array {
  const length = lengthOf(embedding);
  if (!(length > 0 && Number.isFinite(length))) throw new UnusableOutput('the model gives an embedding without length');
  return embedding.map((value) => value / length);
}

function lengthOf(embedding: Float32Array): number {
  let squares = 0;
  for (const value of embedding) squares += value * value;
  return Math.sqrt(squares);
}

function chooseTensor(names: readonly string[], wanted: string | null, what: 'input' | 'output'): string {
  const [only] = names;
  if (wanted === null) {
    if (only === undefined || names.length > 1) {
      throw new Error(
        `the speaker model has ${names.length} ${what}s (${names.join(', ')}): its manifest must name one`,
      );
    }
    return only;
  }
  if (!names.includes(wanted)) throw new Error(`the speaker model has no ${what} "${wanted}"`);
  return wanted;
}

function rankOf(session: InferenceSession, name: string): number | undefined {
  const metadata = session.inputMetadata.find((value) => value.name === name);
  return metadata?.isTensor ? metadata.shape.length : undefined;
}
