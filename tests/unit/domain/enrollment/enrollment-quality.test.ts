import { describe, expect, it } from 'vitest';
import type { QualityReport } from '../../../../src/audio/quality.js';
import { requireEnrollmentQuality } from '../../../../src/domain/enrollment/enrollment-quality.js';
import { VoiceAuthError } from '../../../../src/domain/errors.js';

const good: QualityReport = {
  speechLevelDb: -20,
  noiseLevelDb: -50,
  snrDb: 30,
  clippedRatio: 0,
  speechFrames: 200,
};

function check(quality: Partial<QualityReport>, netSpeechMs = 6000, heardCaller = true): VoiceAuthError | undefined {
  try {
    requireEnrollmentQuality({ netSpeechMs, heardCaller, quality: { ...good, ...quality } }, { minSpeechMs: 5000 });
    return undefined;
  } catch (error) {
    if (error instanceof VoiceAuthError) return error;
    throw error;
  }
}

describe('requireEnrollmentQuality', () => {
  it.each<[string, Partial<QualityReport>]>([
    ['good', {}],
    ['just loud enough', { speechLevelDb: -45 }],
    ['just clean enough', { snrDb: 6 }],
    ['just not clipped too much', { clippedRatio: 0.05 }],
    ['without a pause to measure noise in', { noiseLevelDb: undefined, snrDb: undefined }],
  ])('takes audio that is %s', (_, quality) => {
    expect(check(quality)).toBeUndefined();
  });

  it('takes exactly as much speech as is needed', () => {
    expect(check({}, 5000)).toBeUndefined();
  });

  it.each<[Partial<QualityReport>, object, string]>([
    [{ speechLevelDb: -45.06 }, { check: 'speech_level_db', found: -45.1, needed: -45 }, '-45.1 dBFS, needed -45 dBFS'],
    [{ snrDb: 5.94 }, { check: 'snr_db', found: 5.9, needed: 6 }, 'SNR 5.9 dB, needed 6 dB'],
    [{ snrDb: -20 }, { check: 'snr_db', found: -20, needed: 6 }, 'SNR -20 dB'],
    [{ clippedRatio: 0.0512 }, { check: 'clipped_ratio', found: 0.051, needed: 0.05 }, '5.1 % of it, at most 5.0 %'],
  ])('says what is wrong, what was found and what is needed: %o', (quality, details, message) => {
    const error = check(quality);
    expect(error).toMatchObject({ code: 'AudioProcessingError', details });
    expect(error?.message).toContain(message);
  });

  it('says how much speech there was', () => {
    const error = check({}, 4949.6);
    expect(error?.details).toEqual({ check: 'net_speech_ms', found: 4950, needed: 5000 });
    expect(error?.message).toBe('Too little speech: found 4.9 s, needed 5.0 s');
  });

  it('says silent when nothing at all was heard, before anything else', () => {
    expect(check({ clippedRatio: 1 }, 0, false)?.details).toEqual({ check: 'silence', found: 0, needed: 5000 });
  });

  it('complains of the length first: nothing else can be measured well in too little', () => {
    expect(check({ snrDb: -10, clippedRatio: 0.5 }, 100)?.details).toMatchObject({ check: 'net_speech_ms' });
  });
});
