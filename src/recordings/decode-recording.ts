/** Decodes a recording whose format is known. Takes as long as it takes: call it where blocking is allowed. */

import { MAX_SAMPLE_RATE_HZ } from '../audio/resampler.js';
import { readWav, WavError } from '../audio/wav.js';
import type { DecodedRecording } from '../domain/ports/recordings.js';
import { checkAudioShape, ExternalDecoderNeeded, recordingTooLong, undecodableAudio } from './decoding-errors.js';
import { decodeOggOpus, decodeWebmOpus } from './opus-decoder.js';
import type { BuiltInDecoder } from './sniff-format.js';
import { decodeFlac, decodeMp3, decodeOggVorbis } from './wasm-decoders.js';

export interface DecodingJob {
  readonly decoder: BuiltInDecoder;
  /** Name of the format, for the result and for messages. */
  readonly format: string;
  /** From the first byte of audio on. */
  readonly bytes: Uint8Array;
  readonly maxDurationMs: number;
}

/** Bytes of a WAV file up to the end of a format chunk that comes first. */
const WAV_FORMAT_END = 36;

/**
 * Decodes with the decoder named. Throws `UnsupportedAudioError` or `AudioProcessingError`, and `ExternalDecoderNeeded`
 * when the container holds a codec that only ffmpeg can read.
 */
export async function decodeRecording(job: DecodingJob): Promise<DecodedRecording> {
  const { bytes, maxDurationMs, format } = job;
  switch (job.decoder) {
    case 'wav':
      return decodeWav(job);
    case 'mp3':
      return decodeMp3(bytes, maxDurationMs);
    case 'flac':
      return decodeFlac(bytes, maxDurationMs, { format });
    case 'ogg-vorbis':
      return decodeOggVorbis(bytes, maxDurationMs);
    case 'ogg-opus':
      return decodeOggOpus(bytes, maxDurationMs);
    case 'webm-opus':
      return decodeWebmOpus(bytes, maxDurationMs);
  }
}

function decodeWav({ bytes, format, maxDurationMs }: DecodingJob): DecodedRecording {
  try {
    const maxSamples = Math.ceil((maxDurationMs * MAX_SAMPLE_RATE_HZ) / 1000);
    const wav = readWav(bytes, { maxSamples });
    const samples = wav.channels[0]?.length ?? 0;
    if (samples === 0) throw undecodableAudio(format);
    const durationMs = ((samples + wav.omittedSamples) / wav.sampleRateHz) * 1000;
    if (durationMs > maxDurationMs) throw recordingTooLong(durationMs, maxDurationMs);
    // What ffmpeg has decoded comes here as WAV too, and keeps its own name.
    return {
      channels: wav.channels,
      sampleRateHz: wav.sampleRateHz,
      format: format === 'wav' ? `wav/${wav.format}` : format,
    };
  } catch (error) {
    if (!(error instanceof WavError)) throw error;
    if (error.kind === 'unsupported') {
      checkWavShape(bytes);
      throw new ExternalDecoderNeeded(error.message);
    }
    throw undecodableAudio(format, error.message);
  }
}

/** No decoder helps with a number of channels or a rate that is not wanted: said at once, when the header is where it belongs. */
function checkWavShape(bytes: Uint8Array): void {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, WAV_FORMAT_END));
  if (header.length < WAV_FORMAT_END || header.toString('latin1', 0, 4) !== 'RIFF') return;
  if (header.toString('latin1', 12, 16) === 'fmt ') checkAudioShape(header.readUInt16LE(22), header.readUInt32LE(24));
}
