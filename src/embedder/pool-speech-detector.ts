/**
 * A speech detector run in the inference pool: the domain's `SpeechDetector`. What it remembers (the audio before, a recurrent
 * state) lives here, with the stream, and goes along with every request, so any child can answer any stream.
 */
import { VoiceAuthError } from '../domain/errors.js';
import type { InferenceOptions, SpeechDetector, SpeechDetectorStream } from '../domain/ports/speaker-model.js';
import type { InferencePool } from './inference-pool.js';
import type { DetectorLayout } from './inference-protocol.js';

export class PoolSpeechDetector implements SpeechDetector {
  readonly sampleRateHz: number;
  readonly frameSamples: number;

  constructor(
    private readonly pool: InferencePool,
    private readonly layout: DetectorLayout,
  ) {
    this.sampleRateHz = layout.sampleRateHz;
    this.frameSamples = layout.frameSamples;
  }

  createStream(): SpeechDetectorStream {
    return new PoolDetectorStream(this.pool, this.layout);
  }
}

class PoolDetectorStream implements SpeechDetectorStream {
  private state: Float32Array;
  /** The context, and behind it room for the samples of a request; only one is under way at a time. */
  private buffer: Float32Array;
  private busy = false;

  constructor(
    private readonly pool: InferencePool,
    private readonly layout: DetectorLayout,
  ) {
    this.state = new Float32Array(layout.stateValues);
    this.buffer = new Float32Array(layout.contextSamples);
  }

  async detect(samples: Float32Array, options: InferenceOptions): Promise<Float32Array> {
    if (this.busy) throw misuse('a speech detector stream takes one request at a time');
    const { frameSamples, contextSamples } = this.layout;
    const frames = samples.length / frameSamples;
    if (!Number.isInteger(frames)) throw misuse(`this speech detector takes whole frames of ${frameSamples} samples`);
    if (samples.length === 0) return new Float32Array(0);
    const input = this.inputOf(samples);
    this.busy = true;
    try {
      const output = await this.pool.run<'detect'>(
        { kind: 'detect', frames, samples: input, state: this.state },
        options,
      );
      this.state = output.state;
      input.copyWithin(0, input.length - contextSamples);
      return output.probabilities;
    } finally {
      this.busy = false;
    }
  }

  private inputOf(samples: Float32Array): Float32Array {
    const { contextSamples } = this.layout;
    const length = contextSamples + samples.length;
    if (this.buffer.length < length) {
      const context = this.buffer.subarray(0, contextSamples);
      this.buffer = new Float32Array(length);
      this.buffer.set(context);
    }
    this.buffer.set(samples, contextSamples);
    return this.buffer.subarray(0, length);
  }
}

function misuse(message: string): VoiceAuthError {
  return new VoiceAuthError('InternalError', message);
}
