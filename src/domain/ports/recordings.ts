/** Audio that comes as a file: fetched from a URL or uploaded. Adapters live in `recordings`. */

export interface DecodedRecording {
  /** One array per channel (1 or 2), samples in [-1, 1], all of the same length. */
  readonly channels: readonly Float32Array[];
  readonly sampleRateHz: number;
  /** What the bytes were, e.g. `wav/pcm_s16le`, `mp3`, `ogg/opus`. */
  readonly format: string;
}

export interface RecordingFetcher {
  /**
   * Downloads a recording under the outgoing-connection rules (https only, public addresses, byte and time caps).
   * Throws `ValidationError` for a URL that may not be fetched, `AudioDownloadError` for a download that failed,
   * `PayloadTooLarge` for more bytes than allowed, `Busy` when too many downloads run and, when aborted, the signal's reason
   * if it is a `VoiceAuthError`, else `Timeout`.
   */
  fetch(audioUrl: string, options: { readonly signal: AbortSignal }): Promise<Uint8Array>;
}

export interface RecordingDecoder {
  /**
   * Decodes a whole recording off the main thread. Throws `UnsupportedAudioError` for a format that cannot be read here,
   * `AudioProcessingError` for damaged or empty audio and for more than the configured duration, `Busy` when too
   * many decodes wait and, when aborted, what `RecordingFetcher.fetch` throws then.
   */
  decode(bytes: Uint8Array, options: { readonly signal: AbortSignal }): Promise<DecodedRecording>;
}
