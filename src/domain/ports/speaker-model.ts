/** The two neural networks the domain needs, without knowing how or where they run. Adapter: `embedder`. */

export interface SpeakerEmbedder {
  readonly modelId: string;
  readonly sampleRateHz: number;
  /** Shortest and preferred length of one window of net speech. */
  readonly minWindowMs: number;
  readonly preferredWindowMs: number;
  /**
   * Embeds one window of net speech (mono, `sampleRateHz`, samples in [-1, 1]) into a unit-length vector. The samples are
   * copied before this returns, so the caller may reuse its buffer.
   * Throws `Busy` (queue full or waited too long), `InferenceUnavailable` (the model's process failed twice),
   * `AudioProcessingError` (window too short or too long, or audio that the model can make nothing of) and, when aborted, the
   * signal's reason.
   */
  embed(window: Float32Array, options: InferenceOptions): Promise<Float32Array>;
}

export interface InferenceOptions {
  /** Live calls go before uploads in the queue. */
  readonly priority: 'live' | 'upload';
  /**
   * Rejects with its reason at once, and drops the request if it still waits; a running inference is left to finish and its
   * result ignored.
   */
  readonly signal?: AbortSignal;
}

/** A detector model is loaded once; every call gets its own stream, which remembers what the detector needs of the call's past. */
export interface SpeechDetector {
  readonly sampleRateHz: number;
  /** Samples per frame: input length must be a multiple of this. */
  readonly frameSamples: number;
  createStream(): SpeechDetectorStream;
}

export interface SpeechDetectorStream {
  /**
   * Speech probability of each frame of `samples`. One request at a time per stream. The samples are copied before this
   * returns. Throws like `SpeakerEmbedder.embed`.
   */
  detect(samples: Float32Array, options: InferenceOptions): Promise<Float32Array>;
}
