/**
 * Net speech to one embedding: windows of the model's preferred length, embedded and pooled by their length. Remembers
 * finished windows and the newest of the others, from the moment they are asked for: a call that goes on pays only for its
 * newest window, and that once, for however many people it is embedded.
 */
import { type SampleRange, sliceWindows } from '../../audio/windows.js';
import { VoiceAuthError } from '../errors.js';
import type { InferenceOptions, SpeakerEmbedder } from '../ports/speaker-model.js';
import { poolEmbeddings, type WeightedEmbedding } from '../scoring/embedding.js';

/** A window that was embedded or is on its way. */
interface Part {
  readonly embedded: Promise<WeightedEmbedding>;
  /** Of whoever asked first. */
  readonly signal: AbortSignal | undefined;
}

export class SpeechEmbedding {
  private readonly embedder: SpeakerEmbedder;
  private readonly parts = new Map<string, Part>();
  /** The one part that is shorter than a finished window: more speech makes it useless. */
  private unfinished: string | undefined;

  constructor(embedder: SpeakerEmbedder) {
    this.embedder = embedder;
  }

  /**
   * The pooled embedding of `speech` (mono, the model's rate), of which an earlier call's speech must be a prefix. May be
   * called while it runs: a window that is on its way is waited for, and asked for anew when only who asked first gave up.
   * Throws `AudioProcessingError` when it is shorter than the model's shortest window, and what the embedder throws.
   */
  async embed(speech: Float32Array, options: InferenceOptions): Promise<Float32Array> {
    const perMs = this.embedder.sampleRateHz / 1000;
    const windows = sliceWindows(speech.length, {
      minSamples: Math.round(this.embedder.minWindowMs * perMs),
      preferredSamples: Math.round(this.embedder.preferredWindowMs * perMs),
    });
    if (windows.length === 0) {
      throw new VoiceAuthError('AudioProcessingError', 'There is too little speech to embed', {
        details: {
          check: 'net_speech_ms',
          found: Math.round(speech.length / perMs),
          needed: this.embedder.minWindowMs,
        },
      });
    }
    const parts: WeightedEmbedding[] = [];
    for (const window of windows) parts.push(await this.part(speech, window, options));
    return poolEmbeddings(parts);
  }

  private async part(speech: Float32Array, window: SampleRange, options: InferenceOptions): Promise<WeightedEmbedding> {
    const name = `${window.start}-${window.end}`;
    for (let known = this.parts.get(name); known; known = this.parts.get(name)) {
      try {
        return await known.embedded;
      } catch (error) {
        if (!known.signal?.aborted) throw error;
        options.signal?.throwIfAborted();
      }
    }
    const embedded = this.embedWindow(speech, window, options).catch((error: unknown) => {
      if (this.parts.get(name)?.embedded === embedded) this.parts.delete(name);
      throw error;
    });
    this.remember(name, window, { embedded, signal: options.signal });
    return embedded;
  }

  private async embedWindow(
    speech: Float32Array,
    { start, end }: SampleRange,
    options: InferenceOptions,
  ): Promise<WeightedEmbedding> {
    return { embedding: await this.embedder.embed(speech.subarray(start, end), options), weight: end - start };
  }

  private remember(name: string, { start, end }: SampleRange, part: Part): void {
    const preferredSamples = (this.embedder.preferredWindowMs * this.embedder.sampleRateHz) / 1000;
    if (end - start < preferredSamples) {
      if (this.unfinished !== undefined) this.parts.delete(this.unfinished);
      this.unfinished = name;
    }
    this.parts.set(name, part);
  }
}
