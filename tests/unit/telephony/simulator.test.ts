import { describe, expect, it } from 'vitest';
import { dueMs } from '../../../src/telephony/simulator/schedule.js';
import { DEFAULT_VARIANT, VARIANTS, wireVariant } from '../../../src/telephony/simulator/variants.js';
import { wireAudio } from '../../../src/telephony/simulator/wire-audio.js';
import { speechLike } from './speech-like.js';

const CALL = { caller: speechLike(1, 16_000, 3), agent: speechLike(1.5, 16_000, 8), sampleRateHz: 16_000 };

function lengths(frameEnds: Uint32Array): number[] {
  return Array.from(frameEnds, (end, i) => end - (i === 0 ? 0 : frameEnds[i - 1]!));
}

describe('wireAudio', () => {
  it('interleaves the caller on its channel and fills up who is silent', () => {
    const { bytes, durationMs } = wireAudio(CALL, wireVariant({ callerChannel: 1 }));
    const samples = new Int16Array(bytes.buffer);
    expect(durationMs).toBe(1_500);
    const at = 16_000 / 2 + 123;
    expect(samples[2 * at + 1]).toBe(Math.round(CALL.caller[at]! * 32_768));
    expect(samples[2 * at]).toBe(Math.round(CALL.agent[at]! * 32_768));
    expect(samples[2 * 20_000 + 1]).toBe(0);
  });

  it('mixes both into one channel', () => {
    const samples = new Int16Array(wireAudio(CALL, wireVariant({ layout: 'mono_mixed' })).bytes.buffer);
    expect(samples).toHaveLength(24_000);
    expect(samples[9_000]).toBeCloseTo((CALL.caller[9_000]! + CALL.agent[9_000]!) * 32_768, -0.5);
  });

  it.each([8_000, 16_000, 24_000, 32_000] as const)('resamples to %i Hz', (sampleRateHz) => {
    const { bytes, bytesPerSecond, frameEnds } = wireAudio(CALL, wireVariant({ sampleRateHz }));
    expect(bytesPerSecond).toBe(sampleRateHz * 4);
    expect(bytes).toHaveLength(sampleRateHz * 6);
    expect(new Set(lengths(frameEnds))).toEqual(new Set([sampleRateHz * 0.08]));
  });

  it('cuts at odd places and still sends every byte once', () => {
    const { bytes, frameEnds } = wireAudio(CALL, wireVariant({ oddBytes: true }));
    expect(frameEnds.at(-1)).toBe(bytes.length);
    expect(lengths(frameEnds).every((length) => length > 0)).toBe(true);
    expect(Array.from(frameEnds.subarray(0, -1)).every((end) => end % 2 === 1)).toBe(true);
  });

  it('has no frame for a call without audio', () => {
    expect(wireAudio({ caller: new Float32Array(0), sampleRateHz: 8_000 }, DEFAULT_VARIANT).frameEnds).toHaveLength(0);
  });
});

describe('dueMs', () => {
  it('is real time, times speed, after the backlog', () => {
    expect(dueMs(1_000, wireVariant({}))).toBe(1_000);
    expect(dueMs(1_000, wireVariant({ speed: 4, backlogMs: 300 }))).toBe(4_300);
    expect(dueMs(0, wireVariant({ speed: Number.POSITIVE_INFINITY }))).toBe(Number.POSITIVE_INFINITY);
  });

  it('stands still while stalled and catches up', () => {
    const variant = wireVariant({ stallAtMs: 400, stallMs: 600 });
    expect([399, 400, 700, 999, 1_000, 1_200].map((ms) => dueMs(ms, variant))).toEqual([
      399, 400, 400, 400, 1_000, 1_200,
    ]);
  });
});

describe('wireVariant', () => {
  it('accepts every named variant', () => {
    for (const { options } of Object.values(VARIANTS)) expect(wireVariant(options)).toMatchObject(options);
  });

  it.each([
    { frameMs: 0 },
    { frameMs: Number.NaN },
    { speed: 0 },
    { speed: Number.NaN },
    { refuseFirst: 0.5 },
    { stallMs: -1 },
    { backlogMs: Number.POSITIVE_INFINITY },
  ])('refuses %j', (options) => {
    expect(() => wireVariant(options)).toThrow(expect.objectContaining({ code: 'ValidationError' }));
  });
});
