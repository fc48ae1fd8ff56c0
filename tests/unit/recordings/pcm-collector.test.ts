import { describe, expect, it } from 'vitest';
import { PcmCollector } from '../../../src/recordings/pcm-collector.js';

const MINUTE_MS = 60_000;

describe('PcmCollector', () => {
  it('joins pieces per channel and cuts at the end', () => {
    const collector = new PcmCollector('test', MINUTE_MS);
    expect(collector.add([Float32Array.of(0.5, 0.25), Float32Array.of(-0.5, -0.25)], 8000)).toBe(true);
    expect(collector.add([], 8000)).toBe(true);
    expect(collector.add([new Float32Array(0), new Float32Array(0)], 8000)).toBe(true);
    expect(collector.add([Float32Array.of(0.125, 0), Float32Array.of(-0.125, 1)], 8000)).toBe(true);
    expect(collector.samples).toBe(4);
    expect(collector.finish(3)).toEqual({
      channels: [Float32Array.of(0.5, 0.25, 0.125), Float32Array.of(-0.5, -0.25, -0.125)],
      sampleRateHz: 8000,
      format: 'test',
    });
  });

  it('clips and silences what is no sample', () => {
    const collector = new PcmCollector('test', MINUTE_MS);
    collector.add([Float32Array.of(1.5, -1.5, Number.NaN, Number.POSITIVE_INFINITY, -1, 1)], 8000);
    expect([...collector.finish().channels[0]!]).toEqual([1, -1, 0, 1, -1, 1]);
  });

  it('keeps the first shape', () => {
    const collector = new PcmCollector('test', MINUTE_MS);
    collector.add([new Float32Array(4)], 8000);
    expect(collector.add([new Float32Array(4)], 16_000)).toBe(false);
    expect(collector.add([new Float32Array(4), new Float32Array(4)], 8000)).toBe(false);
    expect(collector.finish().channels).toEqual([new Float32Array(4)]);
    const uneven = new PcmCollector('test', MINUTE_MS);
    uneven.add([new Float32Array(4), new Float32Array(4)], 8000);
    expect(uneven.add([new Float32Array(4), new Float32Array(3)], 8000)).toBe(false);
  });

  it('refuses the first sample too many, and shapes that are not supported', () => {
    const collector = new PcmCollector('test', 1000);
    expect(collector.add([new Float32Array(8000)], 8000)).toBe(true);
    expect(() => collector.add([new Float32Array(1)], 8000)).toThrow(
      expect.objectContaining({ code: 'AudioProcessingError' }),
    );
    const three = [1, 2, 3].map(() => new Float32Array(1));
    for (const [channels, rate] of [
      [three, 8000],
      [[new Float32Array(1)], 7999],
      [[new Float32Array(1)], 48_001],
      [[new Float32Array(1)], Number.NaN],
    ] as const) {
      expect(() => new PcmCollector('test', 1000).add(channels, rate)).toThrow(
        expect.objectContaining({ code: 'UnsupportedAudioError' }),
      );
    }
  });

  it('fails when there is nothing', () => {
    expect(() => new PcmCollector('mp3', 1000).finish()).toThrow(
      expect.objectContaining({ code: 'AudioProcessingError', details: { format: 'mp3' } }),
    );
  });
});
