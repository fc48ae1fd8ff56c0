/**
 * The inference process: holds both networks and answers one request after another. It is a process of its own because
 * a run blocks its thread, cannot be interrupted, and takes the whole process down when it crashes.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type DetectorStep, DetectPacker, runDetectorBatch } from './detector-batch.js';
import {
  type ChildMessage,
  DETECTOR_CONTEXT_SAMPLES,
  DETECTOR_FRAME_SAMPLES,
  DETECTOR_SAMPLE_RATE_HZ,
  DETECTOR_STATE_VALUES,
  type InferenceFault,
  type LoadRequest,
  type ParentMessage,
  type RunInput,
  type RunOutput,
} from './inference-protocol.js';
import { floats, SpeakerNetwork, UnusableInput, UnusableOutput } from './speaker-network.js';

interface Models {
  readonly speaker: SpeakerNetwork;
  readonly detector: InferenceSession;
  readonly load: LoadRequest;
}

/** One core per process, and nothing of the runtime's own on standard error (its messages would not be JSON). */
const SESSION_OPTIONS: InferenceSession.SessionOptions = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  // Windows have hundreds of lengths; a plan of memory kept for each of them would only grow.
  enableMemPattern: false,
  logSeverityLevel: 4,
};

const DETECTOR_TENSORS = { input: 'input', state: 'state', rate: 'sr', output: 'output', newState: 'stateN' } as const;

let models: Models | undefined;

// The server decides when this process ends: it drains it. A signal to the whole process group must not get ahead of that.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
// The channel closes when the server lets go of this process, and also when the server dies, even by SIGKILL.
process.on('disconnect', () => process.exit(0));
process.on('message', (message: ParentMessage) => {
  void (message.kind === 'load' ? load(message) : answer(message.id, message.input));
});

async function load(request: LoadRequest): Promise<void> {
  try {
    const loaded: Models = {
      speaker: new SpeakerNetwork(
        await InferenceSession.create(request.speaker.path, SESSION_OPTIONS),
        request.speaker,
      ),
      detector: await InferenceSession.create(request.detector.path, SESSION_OPTIONS),
      load: request,
    };
    const { input, state, rate, output, newState } = DETECTOR_TENSORS;
    requireTensors(loaded.detector, 'the speech detector', [input, state, rate], [output, newState]);
    await warmUp(loaded);
    models = loaded;
    reply({ kind: 'ready' });
  } catch (error) {
    reply({ kind: 'failed', reason: error instanceof Error ? error.message : 'unknown' });
  }
}

/** The first run of a session allocates and is slow; it also shows whether the model is what its manifest says. */
async function warmUp(loaded: Models): Promise<void> {
  const waveform = new Float32Array(loaded.load.speaker.warmUpSamples);
  for (let i = 0; i < waveform.length; i++) waveform[i] = 0.05 * Math.sin(i * 0.1) * Math.sin(i * 0.0013);
  await loaded.speaker.embed(waveform);
  const samples = waveform.slice(0, DETECTOR_CONTEXT_SAMPLES + DETECTOR_FRAME_SAMPLES);
  const batch = new DetectPacker().pack([{ samples, state: new Float32Array(DETECTOR_STATE_VALUES) }]);
  const { faults } = await runDetectorBatch(batch, detectorStep(loaded.detector));
  if (faults[0]) throw new UnusableOutput('the speech detector gives no probability');
}

async function answer(id: number, input: RunInput): Promise<void> {
  const startedMs = performance.now();
  try {
    if (!models) throw new Error('no model is loaded');
    const output = await run(models, input);
    reply({ kind: 'done', id, output, computeMs: performance.now() - startedMs });
  } catch (error) {
    reply({ kind: 'fault', id, fault: faultOf(error) });
  }
}

async function run(loaded: Models, input: RunInput): Promise<RunOutput> {
  if (input.kind === 'detect') return runDetectorBatch(input, detectorStep(loaded.detector));
  return { kind: 'embed', embedding: await loaded.speaker.embed(input.waveform) };
}

function detectorStep(detector: InferenceSession): DetectorStep {
  const { input, state, rate, output, newState } = DETECTOR_TENSORS;
  const rateHz = new Tensor('int64', BigInt64Array.of(BigInt(DETECTOR_SAMPLE_RATE_HZ)), []);
  return async (rows, frames, states) => {
    const outputs = await detector.run({
      [input]: new Tensor('float32', frames, [rows, frames.length / rows]),
      [state]: new Tensor('float32', states, [2, rows, states.length / rows / 2]),
      [rate]: rateHz,
    });
    const probabilities = floats(outputs[output]);
    const newStates = floats(outputs[newState]);
    if (probabilities.length !== rows || newStates.length !== states.length) {
      throw new UnusableOutput('the speech detector gives no probability');
    }
    return { probabilities, states: newStates };
  };
}

function faultOf(error: unknown): InferenceFault {
  if (error instanceof UnusableInput) return 'unusable_input';
  return error instanceof UnusableOutput ? 'unusable_output' : 'runtime';
}

function requireTensors(session: InferenceSession, what: string, inputs: string[], outputs: string[]): void {
  for (const name of inputs) {
    if (!session.inputNames.includes(name)) throw new Error(`${what} has no input "${name}"`);
  }
  for (const name of outputs) {
    if (!session.outputNames.includes(name)) throw new Error(`${what} has no output "${name}"`);
  }
}

function reply(message: ChildMessage): void {
  if (process.connected) process.send?.(message, () => undefined);
}
