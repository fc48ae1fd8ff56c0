/**
 * Gathers decoded audio piece by piece and stops the decoder as soon as there is too much of it: a few kilobytes of
 * compressed silence can stand for hours, so the limit has to hold while decoding, not afterwards.
 */
import type { DecodedRecording } from '../domain/ports/recordings.js';
import { checkAudioShape, recordingTooLong, undecodableAudio } from './decoding-errors.js';

export class PcmCollector {
  readonly #format: string;
  readonly #maxDurationMs: number;
  /** One list of pieces per channel. */
  #pieces: Float32Array[][] = [];
  #sampleRateHz = 0;
  #samples = 0;

  constructor(format: string, maxDurationMs: number) {
    this.#format = format;
    this.#maxDurationMs = maxDurationMs;
  }

  /**
   * Keeps a piece (without copying it; one array per channel, equally long). The first piece with samples decides the
   * shape: false means that a later one has another shape, that it was not kept and that the rest should be left.
   * Throws `UnsupportedAudioError` for a shape that is not supported and `AudioProcessingError` for too much audio.
   */
  add(channels: readonly Float32Array[], sampleRateHz: number): boolean {
    const length = channels[0]?.length ?? 0;
    if (length === 0) return true;
    if (this.#samples === 0) {
      checkAudioShape(channels.length, sampleRateHz);
      this.#sampleRateHz = sampleRateHz;
      this.#pieces = channels.map(() => []);
    } else if (
      sampleRateHz !== this.#sampleRateHz ||
      channels.length !== this.#pieces.length ||
      channels.some((samples) => samples.length !== length)
    ) {
      return false;
    }
    this.#samples += length;
    const foundMs = (this.#samples / this.#sampleRateHz) * 1000;
    if (foundMs > this.#maxDurationMs) throw recordingTooLong(foundMs, this.#maxDurationMs);
    channels.forEach((samples, channel) => {
      this.#pieces[channel]!.push(samples);
    });
    return true;
  }

  /** Samples per channel so far. */
  get samples(): number {
    return this.#samples;
  }

  /**
   * All pieces joined, cut to `keepSamples`, clipped to [-1, 1] and with anything that is no number silenced. Throws
   * `AudioProcessingError` when there is nothing. The collector is empty afterwards.
   */
  finish(keepSamples = this.#samples): DecodedRecording {
    const length = Math.min(this.#samples, keepSamples);
    if (length <= 0) throw undecodableAudio(this.#format);
    const channels: Float32Array[] = [];
    // One channel after the other, so that at most one is held twice.
    for (let pieces = this.#pieces.shift(); pieces !== undefined; pieces = this.#pieces.shift()) {
      channels.push(joinPieces(pieces, length));
    }
    this.#samples = 0;
    return { channels, sampleRateHz: this.#sampleRateHz, format: this.#format };
  }
}

function joinPieces(pieces: readonly Float32Array[], length: number): Float32Array {
  const joined = new Float32Array(length);
  let at = 0;
  for (const piece of pieces) {
    const part = piece.length > length - at ? piece.subarray(0, length - at) : piece;
    joined.set(part, at);
    at += part.length;
  }
  for (let i = 0; i < length; i += 1) {
    const sample = joined[i]!;
    if (!(sample >= -1 && sample <= 1)) joined[i] = sample > 1 ? 1 : sample < -1 ? -1 : 0;
  }
  return joined;
}
