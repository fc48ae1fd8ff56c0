import { describe, expect, it } from 'vitest';
import { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from '../../../src/audio/g711.js';
import { SoundMeter } from '../../../src/audio/sound-meter.js';

const RATE_HZ = 8000;
const STEP = 1 / 32_768;

/** Adds half a second of a signal in pieces of `pieceSamples`. */
function measured(sampleAt: (i: number) => number, pieceSamples = 160): SoundMeter {
  const meter = new SoundMeter();
  const samples = Float32Array.from({ length: RATE_HZ / 2 }, (_, i) => sampleAt(i));
  for (let at = 0; at < samples.length; at += pieceSamples) {
    meter.add(samples.subarray(at, at + pieceSamples), RATE_HZ);
  }
  return meter;
}

function decoded(decode: typeof decodeAlaw, codes: readonly number[]): (i: number) => number {
  const values = new Float32Array(codes.length);
  decode(Uint8Array.from(codes), values);
  return (i) => values[i % values.length]!;
}

const tone = (peak: number) => (i: number) => peak * Math.sin((2 * Math.PI * 220 * i) / RATE_HZ);

describe('SoundMeter', () => {
  it.each([
    ['zeros', () => 0],
    ['an offset', () => -300 * STEP],
    ['one idle code of A-law', decoded(decodeAlaw, [0xd5])],
    ['the other one', decoded(decodeAlaw, [0x55])],
    ['both by turns', decoded(decodeAlaw, [0xd5, 0x55])],
    ['both idle codes of mu-law by turns', decoded(decodeMulaw, [0xff, 0x7f])],
  ])('takes %s for silence', (_, sampleAt) => {
    const meter = measured(sampleAt);
    expect([meter.heard, meter.audibleMs]).toEqual([false, 0]);
  });

  it.each([
    ['A-law', encodeAlaw, decodeAlaw],
    ['mu-law', encodeMulaw, decodeMulaw],
  ])('hears a voice that %s hardly carries, but not as speech', (_, encode, decode) => {
    const codes = encode(Float32Array.from({ length: RATE_HZ / 2 }, (_, i) => tone(20 * STEP)(i)));
    const meter = measured(decoded(decode, [...codes]));
    expect([meter.heard, meter.audibleMs]).toEqual([true, 0]);
  });

  it('counts what could be speech', () => {
    // -60 dBFS is a tone with a peak of 46 steps.
    expect(measured(tone(40 * STEP)).audibleMs).toBe(0);
    expect(measured(tone(52 * STEP)).audibleMs).toBeCloseTo(500, 6);
    expect(measured((i) => (i < 1600 ? 0 : tone(0.1)(i))).audibleMs).toBeCloseTo(300, 6);
    expect(measured((i) => 0.1 + tone(52 * STEP)(i)).audibleMs).toBeCloseTo(500, 6);
  });

  it('says the same however the signal is cut', () => {
    for (const pieceSamples of [1, 7, 160, 333, RATE_HZ]) {
      const meter = measured(tone(52 * STEP), pieceSamples);
      expect(meter.heard).toBe(true);
      // At most a block that is not full yet is missing.
      expect(meter.audibleMs).toBeGreaterThan(450);
    }
  });
});
