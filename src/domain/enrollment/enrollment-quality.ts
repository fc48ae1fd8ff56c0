/** What a recording must be like before it may become part of a voiceprint. Every error names what was found and needed. */
import type { QualityReport } from '../../audio/quality.js';
import { VoiceAuthError } from '../errors.js';

/** Speech quieter than this is close to the noise of a telephone line (G.711 idle noise is near -65 dBFS). */
const MIN_SPEECH_LEVEL_DB = -45;
/** Below this the noise is about as strong as the voice, and the voiceprint would describe the room. */
const MIN_SNR_DB = 6;
/** More clipped speech than this changes the spectrum that the embedding is made from. */
const MAX_CLIPPED_RATIO = 0.05;

/** Throws `AudioProcessingError` with `details: {check, found, needed}` for the first check that fails. */
export function requireEnrollmentQuality(
  speech: { readonly netSpeechMs: number; readonly heardCaller: boolean; readonly quality: QualityReport },
  limits: { readonly minSpeechMs: number },
): void {
  const { netSpeechMs, quality } = speech;
  if (!speech.heardCaller) {
    throw failed('silence', 'The recording is silent', { found: 0, needed: limits.minSpeechMs });
  }
  if (netSpeechMs < limits.minSpeechMs) {
    throw failed(
      'net_speech_ms',
      `Too little speech: found ${seconds(netSpeechMs)} s, needed ${seconds(limits.minSpeechMs)} s`,
      { found: Math.round(netSpeechMs), needed: limits.minSpeechMs },
    );
  }
  if (quality.clippedRatio > MAX_CLIPPED_RATIO) {
    throw failed(
      'clipped_ratio',
      `The speech is clipped: ${percent(quality.clippedRatio)} % of it, at most ${percent(MAX_CLIPPED_RATIO)} % is accepted`,
      { found: rounded(quality.clippedRatio, 3), needed: MAX_CLIPPED_RATIO },
    );
  }
  if (quality.speechLevelDb !== undefined && quality.speechLevelDb < MIN_SPEECH_LEVEL_DB) {
    throw failed(
      'speech_level_db',
      `The speech is too quiet: ${rounded(quality.speechLevelDb, 1)} dBFS, needed ${MIN_SPEECH_LEVEL_DB} dBFS`,
      { found: rounded(quality.speechLevelDb, 1), needed: MIN_SPEECH_LEVEL_DB },
    );
  }
  if (quality.snrDb !== undefined && quality.snrDb < MIN_SNR_DB) {
    throw failed('snr_db', `The recording is too noisy: SNR ${rounded(quality.snrDb, 1)} dB, needed ${MIN_SNR_DB} dB`, {
      found: rounded(quality.snrDb, 1),
      needed: MIN_SNR_DB,
    });
  }
}

function failed(check: string, message: string, numbers: { found: number; needed: number }): VoiceAuthError {
  return new VoiceAuthError('AudioProcessingError', message, { details: { check, ...numbers } });
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

function percent(ratio: number): string {
  return (ratio * 100).toFixed(1);
}
