/**
 * Net speech to one embedding: windows of the model's preferred length, embedded and pooled by their length. Remembers
 * finished windows, so that a call that goes on pays only for its newest one.
 */
import { sliceWindows } from '../../audio/windows.js';
import { VoiceAuthError } from '../errors.js';
import type { InferenceOptions, SpeakerEmbedder } from '../ports/speaker-model.js';
import { poolEmbeddings, type WeightedEmbedding } from '../scoring/embedding.js';

export class SpeechEmbedding {
  private readonly embedder: SpeakerEmbedder;
  private readonly finished = new Map<string, WeightedEmbedding>();

  constructor(embedder: SpeakerEmbedder) {
    this.embedder = embedder;
  }

  /**
   * The pooled embedding of `speech` (mono, the model's rate), of which an earlier call's speech must be a prefix.
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
    for (const { start, end } of windows) {
      const name = `${start}-${end}`;
      let part = this.finished.get(name);
      if (!part) {
        const embedding = await this.embedder.embed(speech.subarray(start, end), options);
        part = { embedding, weight: end - start };
        if (end - start >= this.embedder.preferredWindowMs * perMs) this.finished.set(name, part);
      }
      parts.push(part);
    }
    return poolEmbeddings(parts);
  }
}
