import { describe, expect, it } from 'vitest';
import { EnergyGate } from '../../../src/audio/energy-gate.js';
import { add, concat, noise, rmsDb, sine, syllables } from './signals.js';

const SAMPLE_RATE_HZ = 16_000;
const FRAME_SAMPLES = 512;
const FRAME_MS = 32;
const SECOND = SAMPLE_RATE_HZ;

function dbToRms(levelDb: number): number {
  return 10 ** (levelDb / 20);
}

function frames(samples: Float32Array): Float32Array[] {
  return Array.from({ length: Math.floor(samples.length / FRAME_SAMPLES) }, (_, i) =>
    samples.subarray(i * FRAME_SAMPLES, (i + 1) * FRAME_SAMPLES),
  );
}

function newGate(): EnergyGate {
  return new EnergyGate({ sampleRateHz: SAMPLE_RATE_HZ, frameSamples: FRAME_SAMPLES });
}

function push(gate: EnergyGate, samples: Float32Array): boolean[] {
  return frames(samples).map((frame) => gate.push(frame));
}

function openShare(decisions: boolean[]): number {
  return decisions.filter(Boolean).length / decisions.length;
}

describe('EnergyGate', () => {
  it('never opens on digital silence or below the absolute floor', () => {
    expect(openShare(push(newGate(), new Float32Array(5 * SECOND)))).toBe(0);
    expect(openShare(push(newGate(), noise(5 * SECOND, dbToRms(-64))))).toBe(0);
  });

  it('closes on steady noise, also with hum and an offset, and knows its level', () => {
    const hum = sine(50, { rateHz: SAMPLE_RATE_HZ, samples: 6 * SECOND, amplitude: 0.05 }).map((value) => value + 0.1);
    const gate = newGate();
    push(gate, hum.subarray(0, 2 * SECOND));
    expect(openShare(push(gate, hum.subarray(2 * SECOND)))).toBe(0);

    const noisy = newGate();
    push(noisy, noise(2 * SECOND, dbToRms(-45)));
    expect(openShare(push(noisy, noise(20 * SECOND, dbToRms(-45), 2)))).toBeLessThan(0.02);
    expect(Math.abs(noisy.floorDb - -45)).toBeLessThan(1.5);
  });

  it('closes again within four seconds when the noise becomes louder', () => {
    const gate = newGate();
    push(gate, noise(4 * SECOND, dbToRms(-55)));
    expect(openShare(push(gate, noise(2 * SECOND, dbToRms(-40), 2)))).toBe(1);
    push(gate, noise(2 * SECOND, dbToRms(-40), 3));
    expect(openShare(push(gate, noise(4 * SECOND, dbToRms(-40), 4)))).toBeLessThan(0.02);
    expect(Math.abs(gate.floorDb - -40)).toBeLessThan(1.5);
  });

  it.each([10, 15, 25])('loses no speech at %d dB SNR, wherever it begins', (snrDb) => {
    const voice = syllables(2 * SECOND, SAMPLE_RATE_HZ, 0.05);
    for (const pauseSeconds of [0, 0.5, 2.3, 4]) {
      const pause = new Float32Array(pauseSeconds * SECOND);
      const clean = concat(pause, voice, pause, voice);
      const noisy = add(clean, noise(clean.length, dbToRms(rmsDb(voice) - snrDb)));
      const decisions = push(newGate(), noisy);
      // Speech is what stands out of the noise at all: syllables fade to nothing.
      const lost = frames(clean).filter((frame, i) => !decisions[i] && rmsDb(frame) > rmsDb(voice) - snrDb + 3);
      expect(lost).toHaveLength(0);
    }
  });

  it('loses nothing of a voice that never pauses, in quiet or at 10 dB SNR', () => {
    const voice = syllables(12 * SECOND, SAMPLE_RATE_HZ, 0.05);
    const noisy = add(voice, noise(voice.length, dbToRms(rmsDb(voice) - 10)));
    for (const samples of [voice, noisy]) {
      const decisions = push(newGate(), samples);
      expect(frames(voice).filter((frame, i) => !decisions[i] && rmsDb(frame) > rmsDb(voice) - 7)).toHaveLength(0);
    }
  });

  it('hears a quiet voice after loud noise has stopped', () => {
    const gate = newGate();
    push(gate, noise(4 * SECOND, dbToRms(-25)));
    const voice = syllables(SECOND, SAMPLE_RATE_HZ, 0.003);
    push(gate, new Float32Array(FRAME_SAMPLES * 2));
    const decisions = push(gate, voice);
    expect(frames(voice).filter((frame, i) => !decisions[i] && rmsDb(frame) > -55)).toHaveLength(0);
  });

  it('stays open for 200 to 350 ms after the last sound', () => {
    const gate = newGate();
    push(gate, new Float32Array(2 * SECOND));
    push(gate, noise(FRAME_SAMPLES, 0.1));
    const openMs = push(gate, new Float32Array(SECOND)).filter(Boolean).length * FRAME_MS;
    expect(openMs).toBeGreaterThanOrEqual(200);
    expect(openMs).toBeLessThanOrEqual(350);
  });

  it('keeps its times at other rates and frame lengths', () => {
    const gate = new EnergyGate({ sampleRateHz: 8_000, frameSamples: 80 });
    for (let i = 0; i < 300; i++) gate.push(new Float32Array(80));
    expect(gate.push(new Float32Array(80).fill(0.3))).toBe(true);
    let open = 0;
    while (gate.push(new Float32Array(80))) open++;
    expect(open * 10).toBeGreaterThanOrEqual(200);
    expect(open * 10).toBeLessThanOrEqual(350);
  });

  it('refuses frames of another length', () => {
    expect(() => newGate().push(new Float32Array(511))).toThrow(RangeError);
  });
});
