import { describe, expect, it } from 'vitest';
import { decodeMulaw, encodeMulaw } from '../../../src/audio/g711.js';
import { QualityMeter, type QualityReport } from '../../../src/audio/quality.js';
import { concat, noise, sine, syllables } from './signals.js';

const RATE_HZ = 16_000;
const FRAME_SAMPLES = 512;

/** Whole frames of `samples`, all speech or all not. */
function push(meter: QualityMeter, samples: Float32Array, isSpeech: boolean): void {
  for (let at = 0; at + FRAME_SAMPLES <= samples.length; at += FRAME_SAMPLES) {
    meter.push(samples.subarray(at, at + FRAME_SAMPLES), isSpeech);
  }
}

function reportOfSpeech(samples: Float32Array): QualityReport {
  const meter = new QualityMeter();
  push(meter, samples, true);
  return meter.report();
}

function clipAt(level: number, samples: Float32Array): Float32Array {
  return samples.map((value) => Math.max(-level, Math.min(level, value)));
}

describe('levels', () => {
  it('are undefined where nothing was heard', () => {
    const meter = new QualityMeter();
    meter.push(new Float32Array(0), true);
    expect(meter.report()).toEqual({
      speechLevelDb: undefined,
      noiseLevelDb: undefined,
      snrDb: undefined,
      clippedRatio: 0,
      speechFrames: 0,
    });
  });

  it('are those of the signal, and SNR leaves the noise out of the speech', () => {
    const meter = new QualityMeter();
    // -20 dBFS of voice (a sine of amplitude 0.1414) over noise of -30 dBFS.
    const tone = sine(400, { rateHz: RATE_HZ, samples: 200 * FRAME_SAMPLES, amplitude: Math.SQRT2 / 10 });
    push(meter, noise(200 * FRAME_SAMPLES, 10 ** (-30 / 20)), false);
    const hiss = noise(tone.length, 10 ** (-30 / 20), 9);
    push(
      meter,
      tone.map((value, i) => value + hiss[i]!),
      true,
    );
    const report = meter.report();
    expect(report.speechFrames).toBe(200);
    expect(report.speechLevelDb).toBeCloseTo(-20 + 10 * Math.log10(1.1), 1);
    expect(Math.abs(report.noiseLevelDb! + 30)).toBeLessThan(0.5);
    expect(Math.abs(report.snrDb! - 10)).toBeLessThan(0.6);
  });

  it('have an SNR that is no better for the noise in the speech', () => {
    const meter = new QualityMeter();
    // 3 dB of voice over noise of -30 dBFS: speech and noise together are 4.8 dB over it.
    push(meter, noise(200 * FRAME_SAMPLES, 10 ** (-30 / 20)), false);
    const amplitude = Math.SQRT2 * 10 ** (-27 / 20);
    const tone = sine(400, { rateHz: RATE_HZ, samples: 200 * FRAME_SAMPLES, amplitude });
    const hiss = noise(tone.length, 10 ** (-30 / 20), 9);
    push(
      meter,
      tone.map((value, i) => value + hiss[i]!),
      true,
    );
    expect(Math.abs(meter.report().snrDb! - 3)).toBeLessThan(0.5);
  });

  it('have no SNR without a frame that is not speech', () => {
    const report = reportOfSpeech(syllables(10 * FRAME_SAMPLES, RATE_HZ));
    expect(report.speechLevelDb).toBeLessThan(0);
    expect(report.noiseLevelDb).toBeUndefined();
    expect(report.snrDb).toBeUndefined();
  });

  it('stay finite on silence', () => {
    const silent = new QualityMeter();
    push(silent, new Float32Array(FRAME_SAMPLES * 2), true);
    push(silent, new Float32Array(FRAME_SAMPLES * 2), false);
    expect(silent.report()).toEqual({
      speechLevelDb: -120,
      noiseLevelDb: -120,
      snrDb: -20,
      clippedRatio: 0,
      speechFrames: 2,
    });
  });

  it('are not led astray by a few words that the detector took for noise', () => {
    const meter = new QualityMeter();
    push(meter, noise(80 * FRAME_SAMPLES, 0.001), false);
    push(meter, syllables(20 * FRAME_SAMPLES, RATE_HZ), false);
    expect(Math.abs(meter.report().noiseLevelDb! + 60)).toBeLessThan(1);
  });
});

describe('clipping', () => {
  const voice = syllables(200 * FRAME_SAMPLES, RATE_HZ, 0.4);

  it('is the share of samples cut off at full scale', () => {
    const loud = clipAt(
      1,
      voice.map((value) => 3 * value),
    );
    const atTop = loud.filter((value) => Math.abs(value) === 1).length / loud.length;
    expect(atTop).toBeGreaterThan(0.02);
    const found = reportOfSpeech(loud).clippedRatio;
    expect(found).toBeGreaterThan(0.8 * atTop);
    expect(found).toBeLessThan(1.2 * atTop);
  });

  it('is found when the cut waveform was made quieter afterwards, or went through mu-law', () => {
    const loud = clipAt(
      1,
      voice.map((value) => 3 * value),
    );
    const full = reportOfSpeech(loud).clippedRatio;
    expect(Math.abs(reportOfSpeech(loud.map((value) => 0.4 * value)).clippedRatio - full)).toBeLessThan(0.2 * full);
    const companded = new Float32Array(loud.length);
    decodeMulaw(encodeMulaw(loud), companded);
    expect(reportOfSpeech(companded).clippedRatio).toBeGreaterThan(0.8 * full);
  });

  it('is found on one side only', () => {
    const oneSided = voice.map((value) => Math.max(-0.3, value));
    expect(reportOfSpeech(oneSided).clippedRatio).toBeGreaterThan(0.005);
    expect(reportOfSpeech(oneSided.map((value) => -value)).clippedRatio).toBeCloseTo(
      reportOfSpeech(oneSided).clippedRatio,
      6,
    );
  });

  it('is not seen in a clean voice, nor in one that mu-law has made coarse', () => {
    expect(reportOfSpeech(voice).clippedRatio).toBeLessThan(0.0005);
    const companded = new Float32Array(voice.length);
    decodeMulaw(encodeMulaw(voice), companded);
    expect(reportOfSpeech(companded).clippedRatio).toBeLessThan(0.002);
  });

  it('needs three samples in a row, within speech', () => {
    const peaks = new Float32Array(FRAME_SAMPLES);
    for (const at of [10, 11, 50, 51, 100]) peaks[at] = 1;
    expect(reportOfSpeech(peaks).clippedRatio).toBe(0);
    peaks[52] = 1;
    expect(reportOfSpeech(peaks).clippedRatio).toBe(3 / FRAME_SAMPLES);
    const meter = new QualityMeter();
    push(meter, new Float32Array(FRAME_SAMPLES).fill(1), false);
    expect(meter.report().clippedRatio).toBe(0);
  });

  it('follows a run from one speech frame into the next, but not across a gap', () => {
    const end = new Float32Array(4).fill(1, 2);
    const begin = new Float32Array(4).fill(1, 0, 1);
    const joined = new QualityMeter();
    joined.push(end, true);
    joined.push(begin, true);
    expect(joined.report().clippedRatio).toBe(3 / 8);
    const apart = new QualityMeter();
    apart.push(end, true);
    apart.push(new Float32Array(4), false);
    apart.push(begin, true);
    expect(apart.report().clippedRatio).toBe(0);
  });

  it('takes a flat stretch for a top only while nothing was higher', () => {
    const plateau = new Float32Array(FRAME_SAMPLES).fill(0.3);
    const higher = concat(plateau, sine(500, { rateHz: RATE_HZ, samples: FRAME_SAMPLES, amplitude: 0.6 }));
    expect(reportOfSpeech(plateau).clippedRatio).toBe(1);
    expect(reportOfSpeech(higher).clippedRatio).toBe(0);
  });
});
