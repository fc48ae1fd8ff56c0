/** The speaker model of a verified package, run in the inference pool: the domain's `SpeakerEmbedder`. */
import { VoiceAuthError } from '../domain/errors.js';
import type { InferenceOptions, SpeakerEmbedder } from '../domain/ports/speaker-model.js';
import { withSpan } from '../observability/tracing.js';
import type { InferencePool } from './inference-pool.js';
import type { ModelManifest } from './manifest.js';

/** Longer windows would hold a child for long and say little more; memory of a run grows with its length. */
const MAX_WINDOW_MS = 60_000;
/** Copies of windows kept for the next ones: new memory for each costs the server a third more processor time per window. */
const MAX_SPARE = 8;

export class PoolSpeakerEmbedder implements SpeakerEmbedder {
  readonly modelId: string;
  readonly sampleRateHz: number;
  readonly minWindowMs: number;
  readonly preferredWindowMs: number;

  private readonly spare: Float32Array[] = [];
  private readonly spareSamples: number;

  constructor(
    manifest: ModelManifest,
    private readonly pool: InferencePool,
  ) {
    this.modelId = manifest.id;
    this.sampleRateHz = manifest.sampleRateHz;
    this.minWindowMs = manifest.window.minMs;
    this.preferredWindowMs = manifest.window.preferredMs;
    this.spareSamples = Math.round((manifest.window.preferredMs * manifest.sampleRateHz) / 1000);
  }

  async embed(window: Float32Array, options: InferenceOptions): Promise<Float32Array> {
    const windowMs = (window.length * 1000) / this.sampleRateHz;
    if (windowMs < this.minWindowMs || windowMs > MAX_WINDOW_MS) {
      throw new VoiceAuthError(
        'AudioProcessingError',
        `A window has ${Math.round(windowMs)} ms of speech; the model takes ${this.minWindowMs} to ${MAX_WINDOW_MS} ms.`,
        { details: { windowMs: Math.round(windowMs), minWindowMs: this.minWindowMs, maxWindowMs: MAX_WINDOW_MS } },
      );
    }
    const memory = this.memoryFor(window.length);
    const waveform = memory.subarray(0, window.length);
    waveform.set(window);
    const attributes = { 'window.ms': Math.round(windowMs), 'inference.priority': options.priority };
    try {
      return await withSpan('window.embed', attributes, async () => {
        const { embedding } = await this.pool.run<'embed'>({ kind: 'embed', waveform }, options);
        // The array that arrived is a view into the channel's buffer and would keep all of it alive.
        return embedding.slice();
      });
    } finally {
      // Nobody reads it any more: what runs was sent, and what was given up is not tried again.
      if (memory.length === this.spareSamples && this.spare.length < MAX_SPARE) this.spare.push(memory);
    }
  }

  /** At least so many samples. */
  private memoryFor(samples: number): Float32Array {
    if (samples > this.spareSamples) return new Float32Array(samples);
    return this.spare.pop() ?? new Float32Array(this.spareSamples);
  }
}
