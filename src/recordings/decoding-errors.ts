/** The ways in which a recording cannot be decoded, each with the numbers found and allowed. */
import { MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ } from '../audio/resampler.js';
import { VoiceAuthError } from '../domain/errors.js';

const MAX_CHANNELS = 2;

/** Bytes of a known kind that our own decoders cannot read but ffmpeg might. */
export class ExternalDecoderNeeded extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ExternalDecoderNeeded';
  }
}

/** An `UnsupportedAudioError`. */
export function unsupportedAudio(message: string, details?: unknown): VoiceAuthError {
  return new VoiceAuthError('UnsupportedAudioError', message, details === undefined ? {} : { details });
}

/** An `AudioProcessingError` for bytes of a known kind in which no audio could be decoded. */
export function undecodableAudio(format: string, why = 'no audio could be decoded'): VoiceAuthError {
  return new VoiceAuthError('AudioProcessingError', `The recording (${format}) is damaged: ${why}.`, {
    details: { format },
  });
}

/** An `AudioProcessingError` for more audio than allowed; `foundMs` is what had been seen when decoding stopped. */
export function recordingTooLong(foundMs: number, maxDurationMs: number): VoiceAuthError {
  const found = Math.ceil(foundMs / 100) / 10;
  const allowed = maxDurationMs / 1000;
  return new VoiceAuthError(
    'AudioProcessingError',
    `The recording is too long: at least ${found} s found, at most ${allowed} s allowed.`,
    { details: { foundSeconds: found, allowedSeconds: allowed } },
  );
}

/** Throws `UnsupportedAudioError` unless there are 1 or 2 channels at 8 to 48 kHz. */
export function checkAudioShape(channels: number, sampleRateHz: number): void {
  if (channels < 1 || channels > MAX_CHANNELS) {
    throw unsupportedAudio(`The recording has ${channels} channels; 1 or ${MAX_CHANNELS} are supported.`, {
      foundChannels: channels,
      allowedChannels: MAX_CHANNELS,
    });
  }
  if (!(sampleRateHz >= MIN_SAMPLE_RATE_HZ && sampleRateHz <= MAX_SAMPLE_RATE_HZ)) {
    throw unsupportedAudio(
      `The recording has a sample rate of ${sampleRateHz} Hz; ${MIN_SAMPLE_RATE_HZ} to ${MAX_SAMPLE_RATE_HZ} Hz are supported.`,
      { foundSampleRateHz: sampleRateHz, minSampleRateHz: MIN_SAMPLE_RATE_HZ, maxSampleRateHz: MAX_SAMPLE_RATE_HZ },
    );
  }
}
