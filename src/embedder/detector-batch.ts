/**
 * Speech detection of several streams in one run: one row of the network's input per stream. Silero's recurrent network is
 * called once per frame anyway, and a call costs more than its arithmetic: 16 rows take six times as long as one. Knows
 * nothing of processes or the runtime.
 */
import {
  type DetectBatch,
  type DetectBatchOutput,
  type InferenceFault,
  type InferenceWork,
  SILERO_LAYOUT,
  SPEECH_GRAPH_LAYOUT,
  SPEECH_GRAPH_OUTPUT,
} from './inference-protocol.js';
import { UnusableOutput } from './unusable.js';

type DetectInput = InferenceWork['detect']['input'];
type DetectOutput = InferenceWork['detect']['output'];

/** One call of the network: `rows` frames with their context, and the states they left, [layer, row, value]. */
export type DetectorStep = (
  rows: number,
  frames: Float32Array,
  states: Float32Array,
) => Promise<{ readonly probabilities: Float32Array; readonly states: Float32Array }>;

/** One call of `speech.onnx`: rows of as many samples each; gives the probabilities of every row. */
export type SpeechGraphRun = (rows: number, waveforms: Float32Array) => Promise<Float32Array>;

const { contextSamples: CONTEXT, frameSamples: FRAME, stateValues: STATE } = SILERO_LAYOUT;
const ROW_SAMPLES = CONTEXT + FRAME;
const LAYERS = 2;
const LAYER_VALUES = STATE / LAYERS;

/**
 * Makes one message of several requests, in buffers that are used again and again: memory outside the heap that is thrown
 * away with every message costs more in garbage collection than the copying does.
 */
export class DetectPacker {
  private samples = new Float32Array(0);
  private states = new Float32Array(0);

  /** Requests must be sorted: most frames first. What is given is good until the next call; sending it copies it. */
  pack(inputs: readonly DetectInput[]): DetectBatch {
    const frames = inputs.map((input) => input.frames);
    const [only] = inputs;
    if (only && inputs.length === 1) return { kind: 'detect', frames, samples: only.samples, states: only.state };
    const sampleCount = inputs.reduce((sum, { samples }) => sum + samples.length, 0);
    const stateCount = inputs.reduce((sum, { state }) => sum + state.length, 0);
    if (this.samples.length < sampleCount) this.samples = new Float32Array(sampleCount);
    if (this.states.length < stateCount) this.states = new Float32Array(stateCount);
    let samplesAt = 0;
    let stateAt = 0;
    for (const { samples, state } of inputs) {
      this.samples.set(samples, samplesAt);
      samplesAt += samples.length;
      this.states.set(state, stateAt);
      stateAt += state.length;
    }
    return {
      kind: 'detect',
      frames,
      samples: this.samples.subarray(0, sampleCount),
      states: this.states.subarray(0, stateCount),
    };
  }
}

/** What each row of a batch is answered with; arrays of their own, so that none keeps the whole message alive. */
export function unpackDetects(
  frames: readonly number[],
  { probabilities, states, faults }: DetectBatchOutput,
): readonly (DetectOutput | InferenceFault)[] {
  const stateValues = states.length / frames.length;
  let at = 0;
  return frames.map((count, row) => {
    const from = at;
    at += count;
    return (
      faults[row] ?? {
        probabilities: probabilities.slice(from, at),
        state: states.slice(row * stateValues, (row + 1) * stateValues),
      }
    );
  });
}

/** Runs a batch through Silero's network frame after frame, because each needs the state that the one before left; all rows at once in each. */
export async function runDetectorBatch(batch: DetectBatch, step: DetectorStep): Promise<DetectBatchOutput> {
  const { frames } = batch;
  const rowCount = frames.length;
  const faults: (InferenceFault | undefined)[] = new Array(rowCount).fill(undefined);
  const probabilities = new Float32Array(frames.reduce((sum, count) => sum + count, 0));
  const states = new Float32Array(rowCount * STATE);
  /** The rows that run, in the order of the batch, and where the samples and probabilities of every row begin. */
  const running: number[] = [];
  const samplesAt: number[] = [];
  const probabilitiesAt: number[] = [];
  let nextSample = 0;
  let nextProbability = 0;
  for (const [row, count] of frames.entries()) {
    samplesAt.push(nextSample);
    probabilitiesAt.push(nextProbability);
    const end = nextSample + CONTEXT + count * FRAME;
    if (allFinite(batch.samples, nextSample, end)) running.push(row);
    else faults[row] = 'unusable_input';
    nextSample = end;
    nextProbability += count;
  }

  const inputs = new Float32Array(running.length * ROW_SAMPLES);
  let layered = layer(batch.states, running);
  let rows = running.length;
  for (let frame = 0; ; frame++) {
    let left = rows;
    while (left > 0 && frames[running[left - 1]!]! <= frame) left--;
    if (left < rows) {
      for (let index = left; index < rows; index++) unlayer(layered, rows, index, states, running[index]!);
      layered = narrow(layered, rows, left);
      rows = left;
    }
    if (rows === 0) break;
    for (let index = 0; index < rows; index++) {
      const from = samplesAt[running[index]!]! + frame * FRAME;
      inputs.set(batch.samples.subarray(from, from + ROW_SAMPLES), index * ROW_SAMPLES);
    }
    const outputs = await step(rows, inputs.subarray(0, rows * ROW_SAMPLES), layered);
    layered = outputs.states;
    for (let index = 0; index < rows; index++) {
      const row = running[index]!;
      const probability = outputs.probabilities[index]!;
      if (!Number.isFinite(probability)) faults[row] = 'unusable_output';
      probabilities[probabilitiesAt[row]! + frame] = probability;
    }
  }
  for (const row of running) {
    const [from, end] = [row * STATE, (row + 1) * STATE];
    if (!allFinite(states, from, end)) faults[row] = 'unusable_output';
    if (!faults[row]) continue;
    states.fill(0, from, end);
    probabilities.fill(0, probabilitiesAt[row], probabilitiesAt[row]! + frames[row]!);
  }
  return { kind: 'detect', probabilities, states, faults };
}

/**
 * Runs a batch through `speech.onnx`: the rows of as many frames in one call, where they lie. A frame's probability is the mean of
 * those whose centres are in it.
 */
export async function runSpeechGraphBatch(batch: DetectBatch, run: SpeechGraphRun): Promise<DetectBatchOutput> {
  const { frames, samples } = batch;
  const faults: (InferenceFault | undefined)[] = new Array(frames.length).fill(undefined);
  const probabilities = new Float32Array(frames.reduce((sum, count) => sum + count, 0));
  const { contextSamples, frameSamples } = SPEECH_GRAPH_LAYOUT;
  const { firstCentre, step } = SPEECH_GRAPH_OUTPUT;
  let sampleAt = 0;
  let probabilityAt = 0;
  for (let first = 0; first < frames.length; ) {
    const count = frames[first]!;
    let rows = 1;
    while (frames[first + rows] === count) rows++;
    const rowSamples = contextSamples + count * frameSamples;
    const outputs = await run(rows, samples.subarray(sampleAt, sampleAt + rows * rowSamples));
    // A graph that gives fewer or more would be read at the wrong places, and nobody would notice.
    const perRow = Math.floor((rowSamples - 2 * firstCentre) / step) + 1;
    if (outputs.length !== rows * perRow)
      throw new UnusableOutput('the speech detector gives no probability every 20 ms');
    for (let row = 0; row < rows; row++) {
      const answer = probabilities.subarray(probabilityAt, probabilityAt + count);
      const start = sampleAt + row * rowSamples;
      if (!allFinite(samples, start, start + rowSamples)) faults[first + row] = 'unusable_input';
      else if (!averageOverFrames(outputs.subarray(row * perRow, (row + 1) * perRow), answer)) {
        faults[first + row] = 'unusable_output';
      }
      if (faults[first + row]) answer.fill(0);
      probabilityAt += count;
    }
    sampleAt += rows * rowSamples;
    first += rows;
  }
  return { kind: 'detect', probabilities, states: new Float32Array(0), faults };
}

/** False when a frame has no probability. */
function averageOverFrames(outputs: Float32Array, frames: Float32Array): boolean {
  const { contextSamples, frameSamples } = SPEECH_GRAPH_LAYOUT;
  const { firstCentre, step } = SPEECH_GRAPH_OUTPUT;
  for (let frame = 0; frame < frames.length; frame++) {
    const start = contextSamples + frame * frameSamples;
    const from = Math.ceil((start - firstCentre) / step);
    const to = Math.min(outputs.length, Math.ceil((start + frameSamples - firstCentre) / step));
    let sum = 0;
    for (let index = from; index < to; index++) sum += outputs[index]!;
    frames[frame] = sum / (to - from);
    // Written so that NaN fails too.
    if (!(frames[frame]! >= 0 && frames[frame]! <= 1)) return false;
  }
  return true;
}

/** A network can swallow a NaN and answer as if it had heard silence, so its output alone does not show it. */
export function allFinite(samples: Float32Array, from = 0, end = samples.length): boolean {
  for (let i = from; i < end; i++) if (!Number.isFinite(samples[i]!)) return false;
  return true;
}

/** From states row after row to the network's layout, for some of the rows. */
function layer(states: Float32Array, rows: readonly number[]): Float32Array {
  const layered = new Float32Array(rows.length * STATE);
  for (const [index, row] of rows.entries()) {
    for (let which = 0; which < LAYERS; which++) {
      const from = row * STATE + which * LAYER_VALUES;
      layered.set(states.subarray(from, from + LAYER_VALUES), (which * rows.length + index) * LAYER_VALUES);
    }
  }
  return layered;
}

/** Copies one row's state out of the network's layout. */
function unlayer(layered: Float32Array, rows: number, index: number, states: Float32Array, row: number): void {
  for (let which = 0; which < LAYERS; which++) {
    const from = (which * rows + index) * LAYER_VALUES;
    states.set(layered.subarray(from, from + LAYER_VALUES), row * STATE + which * LAYER_VALUES);
  }
}

/** The states of the first rows only. */
function narrow(layered: Float32Array, rows: number, left: number): Float32Array {
  const narrowed = new Float32Array(left * STATE);
  for (let which = 0; which < LAYERS; which++) {
    const from = which * rows * LAYER_VALUES;
    narrowed.set(layered.subarray(from, from + left * LAYER_VALUES), which * left * LAYER_VALUES);
  }
  return narrowed;
}
