/**
 * The inference process: holds both networks and answers one request after another. It is a process of its own because
 * a run blocks its thread, cannot be interrupted, and takes the whole process down when it crashes.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type DetectorStep, DetectPacker, runDetectorBatch, runSpeechGraphBatch } from './detector-batch.js';
import {
  type ChildMessage,
  type DetectBatch,
  type DetectBatchOutput,
  type DetectorLayout,
  type InferenceFault,
  type LoadRequest,
  type ParentMessage,
  type RunInput,
  type RunOutput,
  SILERO_LAYOUT,
  SPEECH_GRAPH_LAYOUT,
} from './inference-protocol.js';
import { floats, SpeakerNetwork } from './speaker-network.js';
import { UnusableInput, UnusableOutput } from './unusable.js';

interface Models {
  readonly speaker: SpeakerNetwork;
  readonly detector: Detector;
  readonly load: LoadRequest;
}

interface Detector {
  readonly layout: DetectorLayout;
  detect(batch: DetectBatch): Promise<DetectBatchOutput>;
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

const SILERO_TENSORS = { input: 'input', state: 'state', rate: 'sr', output: 'output', newState: 'stateN' } as const;
const SPEECH_GRAPH_TENSORS = { input: 'waveform', output: 'speech' } as const;

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
      detector: await openDetector(request.detector),
      load: request,
    };
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
  const { contextSamples, frameSamples, stateValues } = loaded.detector.layout;
  // As calls will come: several together, of several lengths.
  const requests = [8, 8, 1].map((frames) => ({
    frames,
    samples: Float32Array.from({ length: contextSamples + frames * frameSamples }, (_, i) => 0.05 * Math.sin(i * 0.1)),
    state: new Float32Array(stateValues),
  }));
  const { faults } = await loaded.detector.detect(new DetectPacker().pack(requests));
  if (faults.some(Boolean)) throw new UnusableOutput('the speech detector gives no probability');
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
  if (input.kind === 'detect') return loaded.detector.detect(input);
  return { kind: 'embed', embedding: await loaded.speaker.embed(input.waveform) };
}

async function openDetector({ kind, path }: LoadRequest['detector']): Promise<Detector> {
  const session = await InferenceSession.create(path, SESSION_OPTIONS);
  if (kind === 'silero') {
    const { input, state, rate, output, newState } = SILERO_TENSORS;
    requireTensors(session, 'the speech detector', [input, state, rate], [output, newState]);
    const step = sileroStep(session);
    return { layout: SILERO_LAYOUT, detect: (batch) => runDetectorBatch(batch, step) };
  }
  const { input, output } = SPEECH_GRAPH_TENSORS;
  requireTensors(session, 'the speech detector', [input], [output]);
  return {
    layout: SPEECH_GRAPH_LAYOUT,
    detect: (batch) =>
      runSpeechGraphBatch(batch, async (rows, waveforms) => {
        const tensor = new Tensor('float32', waveforms, [rows, waveforms.length / rows]);
        return floats((await session.run({ [input]: tensor }))[output]);
      }),
  };
}

function sileroStep(detector: InferenceSession): DetectorStep {
  const { input, state, rate, output, newState } = SILERO_TENSORS;
  const rateHz = new Tensor('int64', BigInt64Array.of(BigInt(SILERO_LAYOUT.sampleRateHz)), []);
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
